#!/usr/bin/env python3
"""Measures variants of published networks with the public implementations.

    python tests/variants/generate.py [--sources DIR] [--out DIR] [ID ..]

needs torch, diffusers and transformers; DIR holds checkouts of openai/guided-diffusion, openai/point-e, NVlabs/edm,
NVlabs/edm2, baofff/U-ViT and facebookresearch/DiT, under the names of the repositories. Variants whose implementation
is not at hand are left out. For each there is a folder with

    config.json      the configuration, as the class itself writes or takes it
    spec.yaml        spec, model and hyperparameters, for classes that are not imported
    tensors.tsv      names and shapes of the state dict, in its order
    io.safetensors   inputs, outputs, and the gradient of mean(out ** 2) for each input of floats

Weights are not stored: element i of the tensor `name` follows from both, see `noise`. The tests make them anew.
"""

import argparse
import json
import math
import pathlib
import sys

import numpy as np
import torch

from table import VARIANTS

SEED = 0x9E3779B97F4A7C15
CONSTRUCTIONS = 48


def noise(name, count):
    """Numbers from -1 to 1, uniform: splitmix64 from the FNV-1a hash of the name, the upper 24 bits of each."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = (state ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(state) + np.uint64(SEED) * np.arange(1, count + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1


def weight(name, shape):
    """Vectors are near 1 if they are called weights and near 0 otherwise; all else has the spread 1 / sqrt(fan-in)."""
    count = math.prod(shape)
    values = noise(name, count)
    if len(shape) <= 1:
        values = 0.2 * values + (1.0 if name.endswith("weight") else 0.0)
    else:
        values = values * math.sqrt(3 / math.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def fill(model, kept, prefix):
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for name, tensor in state.items():
            if tensor.is_floating_point() and not any(name.startswith(prefix) for prefix in kept):
                tensor.copy_(weight(name, tuple(tensor.shape)))
    return state


def inputs(shapes):
    """A shape of normal numbers, or the values themselves."""
    generator = torch.Generator().manual_seed(7)
    made = {}
    for name, what in shapes.items():
        if isinstance(what, tuple):
            made[name] = torch.randn(what, generator=generator)
        elif isinstance(what, list) and all(isinstance(own, (int, np.integer)) for row in what for own in np.ravel(row)):
            made[name] = torch.tensor(what, dtype=torch.int64)
        else:
            made[name] = torch.tensor(what, dtype=torch.float32)
    return made


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, tensor in sorted(tensors.items()):
        array = tensor.detach().contiguous().numpy()
        kind = {"float32": "F32", "int64": "I64"}[str(array.dtype)]
        raw = array.tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def statistics(state):
    """What many constructions show of each tensor: family, mean, standard deviation, largest magnitude, elements."""
    draws = {}
    for seed in range(CONSTRUCTIONS):
        torch.manual_seed(seed)
        for name, tensor in state().items():
            draws.setdefault(name, []).append(tensor.detach().double().numpy())
    rows = ["name\tkind\tshape\tfamily\tmean\tstd\tabs_max\tsamples"]
    for name, values in draws.items():
        values = np.stack(values)
        shape = "x".join(map(str, values.shape[1:])) or "scalar"
        mean, std, largest = values.mean(), values.std(), np.abs(values).max()
        kurtosis = ((values - mean) ** 4).mean() / std**4 if std > 0 else 0
        spread = math.sqrt(24 / values.size)
        if (values == values.flat[0]).all():
            family = "zero" if largest == 0 else f"constant {values.flat[0]:g}"
        elif (values == values[0]).all():
            family = "fixed"
        elif abs(kurtosis - 1.8) < 5 * spread and largest < 1.8 * std:
            family = "uniform"
        elif abs(kurtosis - 3) < 5 * spread and values.size > 2000:
            family = "normal"
        else:
            family = "random"
        row = [name, "param", shape, family, f"{mean:.6g}", f"{std:.6g}", f"{largest:.6g}", str(values.size)]
        rows.append("\t".join(row))
    return "\n".join(rows) + "\n"


def measure(variant, folder):
    torch.manual_seed(0)
    model = variant.build().eval().float()
    state = fill(model, variant.kept, variant.prefix(model))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(variant.written(model), indent=2) + "\n")
    if variant.spec:
        settings = "".join(f"  {name}: {json.dumps(value)}\n" for name, value in variant.spec["settings"].items())
        text = f"spec: {variant.spec['spec']}\nmodel: {variant.spec['model']}\nsettings:\n{settings}"
        (folder / "spec.yaml").write_text(text)
    rows = []
    for name, tensor in state.items():
        rows.append(f"{name}\t{'x'.join(map(str, tensor.shape)) or 'scalar'}\n")
    (folder / "tensors.tsv").write_text("".join(rows))
    given = inputs(variant.inputs)
    for tensor in given.values():
        if tensor.is_floating_point():
            tensor.requires_grad_(True)
    outputs = variant.run(model, given)
    loss = (outputs["out"] ** 2).mean()
    loss.backward()
    io = {f"in.{name}": tensor for name, tensor in given.items()}
    io |= {name if name == "out" else f"out.{name}": tensor for name, tensor in outputs.items()}
    for name, tensor in given.items():
        if tensor.grad is not None and tensor.grad.abs().max() > 0:
            io[f"grad.in.{name}"] = tensor.grad
    write_safetensors(folder / "io.safetensors", io)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sources", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    parser.add_argument("ids", nargs="*")
    arguments = parser.parse_args()
    if arguments.sources:
        for name in ["guided-diffusion", "point-e", "U-ViT", "DiT"]:
            sys.path.append(str(arguments.sources / name))
    for variant in VARIANTS:
        if arguments.ids and variant.id not in arguments.ids:
            continue
        try:
            measure(variant, arguments.out / variant.id)
            print(f"{variant.id}: measured")
        except ModuleNotFoundError as error:
            print(f"{variant.id}: left out, {error}")


if __name__ == "__main__":
    main()

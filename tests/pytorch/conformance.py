"""Emitted PyTorch against the released code: outputs, and gradients of mean(out ** 2), of the small configurations.

    python conformance.py PACKAGES REFERENCE

`PACKAGES/<id>` is the folder that `archc build --target pytorch` wrote for `REFERENCE/<id>`.
"""

import importlib
import inspect
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

# Largest differences relative to the largest magnitude, as in runtime/tests/conformance.rs.
OUTPUT = 3e-5
GRADIENT = 1e-4
# What counts as nothing beside the largest gradient.
NOTHING = 1e-5


def load(folder):
    """The class of the model of a package."""
    [package] = [path.parent for path in folder.glob("*/model.py")]
    sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(package.name)
    finally:
        sys.path.pop(0)
    return getattr(module, module.__all__[0])


def difference(found, expected):
    """The largest difference, relative to the largest magnitude."""
    assert found.shape == expected.shape, f"{tuple(found.shape)} instead of {tuple(expected.shape)}"
    largest = expected.abs().max().item()
    off = (found.double() - expected.double()).abs().max().item()
    return off / largest if largest > 0 else off


def check(folder, reference):
    """Problems of a package, and the largest errors of its outputs and gradients."""
    io = load_file(reference / "io.safetensors")
    weights = load_file(reference / "weights.safetensors")
    config = json.loads((reference / "config.json").read_text())
    model = load(folder)()
    problems = []
    if set(model.state_dict()) != set(weights):
        problems.append(f"other parameters: {sorted(set(model.state_dict()) ^ set(weights))}")
    model.load_state_dict(weights)
    model.eval()

    given = {name[3:]: value for name, value in io.items() if name.startswith("in.")}
    inputs = []
    for name in inspect.signature(model.forward).parameters:
        value = given[name.rstrip("_") if name not in given else name]
        inputs.append(value.requires_grad_() if value.is_floating_point() else value)
    outputs = model(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    outputs = dict(zip(model.OUTPUTS, outputs, strict=True))
    outputs["out"].square().mean().backward()

    compared = set()
    worst = {"out": 0.0, "grad": 0.0}

    def compare(name, found, kind, tolerance):
        compared.add(name)
        expected = io[name]
        if found is None:
            if expected.abs().max() > 0:
                problems.append(f"{name}: there is no gradient")
            return
        off = difference(found.detach(), expected)
        worst[kind] = max(worst[kind], off)
        if not off <= tolerance:
            problems.append(f"{name}: differs by {off:.1e} of the largest magnitude")

    for name, value in outputs.items():
        compare(name if name == "out" else f"out.{name}", value, "out", OUTPUT)
    # Published names, also of parts that stand in the place of what they are part of.
    gradients = {name: value.grad for name, value in model.state_dict(keep_vars=True).items()}
    largest = max(grad.abs().max().item() for grad in gradients.values() if grad is not None)
    for name, found in gradients.items():
        if name in config["near_zero_gradient_parameters"]:
            compared.add(f"grad.{name}")
            if found is not None and found.abs().max().item() > NOTHING * largest:
                problems.append(f"grad.{name}: {found.abs().max().item():e} instead of nothing")
        elif f"grad.{name}" in io:
            compare(f"grad.{name}", found, "grad", GRADIENT)
    for name, value in zip(inspect.signature(model.forward).parameters, inputs, strict=True):
        key = f"grad.in.{name}" if f"grad.in.{name}" in io else f"grad.in.{name.rstrip('_')}"
        if key in io:
            compare(key, value.grad, "grad", GRADIENT)
    due = {name for name in io if name.startswith(("grad.", "out"))}
    problems += [f"{name}: not compared" for name in sorted(due - compared)]
    return problems, worst


def main():
    packages, reference = map(Path, sys.argv[1:3])
    ids = sorted(path.name for path in reference.iterdir() if path.is_dir())
    failed = 0
    for id in ids:
        try:
            problems, worst = check(packages / id, reference / id)
        except Exception as error:  # What does not run is reported with the rest.
            problems, worst = [f"{type(error).__name__}: {error}"], {"out": float("nan"), "grad": float("nan")}
        failed += bool(problems)
        print(f"{id:24} outputs {worst['out']:.1e}  gradients {worst['grad']:.1e}  {'FAILED' if problems else 'ok'}")
        for problem in problems[:5]:
            print(f"    {problem}")
    print(f"{len(ids) - failed} of {len(ids)} networks are the released ones")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()

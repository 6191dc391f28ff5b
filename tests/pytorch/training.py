"""Emitted training: its process, losses and updates against archc's, and one process against two, which end with the same
weights.

    python training.py ARCHC LESSONS FOLDER
"""

import importlib.util
import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
SPEC = "tests/pytorch/digits.arch"
# Processes of all kinds: `process` of a small model each.
PROCESSES = [
    "schedule: linear; prediction: eps",
    "schedule: scaled_linear(zero_terminal_snr: true); prediction: v; weighting: min_snr(gamma: 5)",
    "schedule: cosine; prediction: v; weighting: p2(k: 1, gamma: 1)",
    "schedule: cosine; prediction: x0; weighting: min_snr(gamma: 5)",
    "schedule: flow; prediction: flow; times: logit_normal(mean: 0, std: 1)",
    "schedule: flow(shift: 3); prediction: flow; weighting: sigma_sqrt",
    "schedule: flow; prediction: flow; weighting: cosmap",
    "schedule: ve(sigma_max: 50); prediction: eps",
    "schedule: edm; prediction: x0; precondition: edm(sigma_data: 0.5); weighting: edm(sigma_data: 0.5); times: log_normal(mean: -1.2, std: 1.2)",
    "schedule: edm; prediction: x0; precondition: edm(sigma_data: 0.5); weighting: edm(sigma_data: 0.5)",
    "schedule: cosine; prediction: v; precondition: edm(sigma_data: 0.5); weighting: min_snr(gamma: 5)",
    "schedule: linear; prediction: eps; variance: learned_range",
    "schedule: scaled_linear(zero_terminal_snr: true); prediction: v; variance: learned_range",
    "schedule: cosine; prediction: v; precondition: edm(sigma_data: 0.5); variance: learned_range",
]
# Losses that are more than the square of an error: the layout of samples, and `process`.
LOSSES = [
    ("image[3, 8, 8]", "schedule: flow; prediction: flow; channel_weights: [1, 1.5, 0.25]"),
    ("image[3, 8, 8]", "schedule: cosine; prediction: eps; variance: learned_range"),
    ("tokens[16, 3]", "schedule: linear; prediction: v; variance: learned_range; channel_weights: [0, 2, 1]; weighting: min_snr(gamma: 5)"),
]
DRAWS = {True: [-2.0, -0.3, 0.0, 0.7, 1.9], False: [0.001, 0.2, 0.5, 0.77, 0.999]}
# Relative difference of numbers in f64, and of weights after training in f32 as a share of how far they moved.
NUMBERS, WEIGHTS = 1e-9, 0.02
# Relative difference of losses in f32.
LOSS, UPDATES = 1e-5, 3


def run(*command, **others):
    return subprocess.run([str(word) for word in command], check=True, text=True, **others)


def load(folder, name):
    """A module of the package in a folder."""
    [package] = [path.parent for path in folder.glob("*/model.py")]
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(f"{package.name}.{name}")
    finally:
        sys.path.pop(0)


def write(spec, name, layout, time, process):
    """A small model of a process: two layers, between which it is told the time."""
    channels = int(layout.rstrip("]").split(",")[1]) if layout.startswith("tokens") else int(layout[6])
    out = channels * (2 if "learned_range" in process else 1)
    own = "linear({})" if layout.startswith("tokens") else "conv2d({}, kernel: 3)"
    result = layout.replace(str(channels), str(out), 1) if layout.startswith("image") else f"{layout.split(',')[0]}, {out}]"
    spec.write_text(
        f"arch 1\n\nmodel {name}(x: {layout}, t: {time}) -> {result} {{\n    process {{ {process} }}\n"
        f"    (x -> {own.format(8)} @a + t -> sinusoid(8) -> linear(8) @b) -> silu() -> {own.format(out)} @c\n}}\n"
    )


def check_process(archc, lessons, folder, at, process):
    kind = "sigma" if "ve(" in process or "edm;" in process else "timestep"
    spec = folder / f"process{at}.arch"
    write(spec, f"Process{at}", "image[1, 8, 8]", kind, process)
    package = folder / f"package{at}"
    run(archc, "build", spec, "--target", "pytorch", "--out", package, stdout=subprocess.DEVNULL)
    own = load(package, "process")
    draws = DRAWS[own.NORMAL]
    expected = json.loads(run(lessons, "draws", spec, *draws, capture_output=True).stdout)
    found = own.lesson(torch.tensor(draws, dtype=torch.float64))
    learned = getattr(found, "variance", ())
    found = torch.stack([found.told, *found.input, *found.target, found.weight, *learned], dim=1)
    expected = torch.tensor(expected, dtype=torch.float64)
    error = ((found - expected).abs() / expected.abs().clamp(min=1e-6)).max().item()
    print(f"process      {error:.1e}  {process}")
    return error <= NUMBERS


def check_loss(archc, lessons, folder, at, layout, process):
    """Updates of the emitted script against those of archc, on the same batches."""
    spec, data, out = folder / f"loss{at}.arch", folder / f"loss{at}.npz", folder / f"loss{at}.safetensors"
    write(spec, f"Loss{at}", layout, "timestep", process)
    shape = [int(size) for size in layout[layout.index("[") + 1 : -1].split(",")]
    np.savez(data, samples=np.random.default_rng(at).normal(size=(64, *shape)).astype(np.float32))
    package = folder / f"losses{at}"
    run(archc, "build", spec, "--target", "pytorch", "--out", package, stdout=subprocess.DEVNULL)
    losses = json.loads(run(lessons, "updates", spec, data, UPDATES, out, capture_output=True).stdout)
    kept = load_file(out)

    def part(prefix):
        return {name.removeprefix(prefix): own for name, own in kept.items() if name.startswith(prefix)}

    model = getattr(load(package, "model"), f"Loss{at}")()
    model.load_state_dict(part("before."))
    process_of, script = load(package, "process"), load_script(package)
    recipe = Namespace(lr=1e-3, warmup=0, steps=UPDATES, final_lr=0.0, weight_decay=0.0, clip=1.0, ema=0.999, bf16=False)
    learner = script.Run(model, recipe, torch.device("cpu"))
    off = 0.0
    for update, expected in enumerate(losses):
        told, p, q, *target, weight = (columns := kept[f"{update}.lessons"].double().unbind(1))[:6]
        learned = (columns[6:],) if len(columns) > 6 else ()
        lesson = process_of.Lesson(told, (p, q), tuple(target), weight, *learned)
        loss, _ = learner.update(model, part(f"{update}.inputs."), kept[f"{update}.target"], lesson)
        off = max(off, abs(loss - expected) / abs(expected))
    before, after = part("before."), part("after.")
    moved, error = largest(before, after), largest(model.state_dict(), after)
    print(f"loss         {off:.1e}, weights {error:.1e} of {moved:.1e}  {process}")
    return off <= LOSS and moved > 1e-3 and error <= WEIGHTS * moved


def load_script(package):
    """`train.py` of a package, as a module of its own."""
    name = f"train_{package.name}"
    script = importlib.util.spec_from_file_location(name, package / "train.py")
    module = importlib.util.module_from_spec(script)
    sys.path.insert(0, str(package))
    try:
        script.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def train(package, data, out, processes, *flags):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = command if processes > 1 else [sys.executable]
    arguments = ["--data", data, "--out", out, "--batch", 32, "--lr", 1e-3, "--warmup", 5, "--save-every", 10, *flags]
    run(*command, package / "train.py", *arguments, stdout=subprocess.DEVNULL)
    return load_file(sorted(out.glob("step-*"))[-1] / "weights.safetensors")


def largest(found, expected):
    assert set(found) == set(expected), sorted(set(found) ^ set(expected))
    off = max((found[name] - own).abs().max().item() for name, own in expected.items())
    return off / max(own.abs().max().item() for own in expected.values())


def main():
    archc, lessons, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    holds = [check_process(archc, lessons, folder, at, process) for at, process in enumerate(PROCESSES)]
    holds += [check_loss(archc, lessons, folder, at, *case) for at, case in enumerate(LOSSES)]

    package = folder / "digits"
    run(archc, "build", SPEC, "--target", "pytorch", "--out", package, stdout=subprocess.DEVNULL)
    digits = np.load(ROOT / "tests/data/digits.npz")
    samples = next(digits[name] for name in ("samples", "images", "data", "x") if name in digits)
    labels = next(digits[name] for name in ("labels", "targets", "y") if name in digits)
    data = folder / "digits.npz"
    np.savez(data, samples=samples.reshape(-1, 1, 8, 8).astype(np.float32), labels=labels.astype(np.int64))
    limits = ("--range", 0, 16, "--steps", 20)
    one = train(package, data, folder / "one", 1, *limits)
    Digits = load(package, "model").Digits
    torch.manual_seed(0)
    moved = largest(Digits().state_dict(), one)
    print(f"moved        {moved:.1e}")
    holds.append(moved > 1e-3)
    for name, found in [
        ("two, DDP", train(package, data, folder / "two", 2, *limits)),
        ("two, FSDP2", train(package, data, folder / "sharded", 2, *limits, "--fsdp")),
        ("resumed", resumed(package, data, folder / "resumed", limits)),
    ]:
        error = largest(found, one)
        print(f"{name:12} {error:.1e} from one process")
        holds.append(error <= WEIGHTS * moved)

    # The checkpoint is one of archc.
    weights = sorted((folder / "one").glob("step-*"))[-1] / "weights.safetensors"
    inputs = {"x": torch.randn(2, 1, 8, 8), "t": torch.tensor([100.0, 700.0]), "y": torch.tensor([3, 7])}
    save_file(inputs, folder / "inputs.safetensors")
    out = folder / "outputs.safetensors"
    run(archc, "run", SPEC, "--weights", weights, "--inputs", folder / "inputs.safetensors", "--output", out, stdout=subprocess.DEVNULL)
    model = Digits()
    model.load_state_dict(load_file(weights))
    expected = model.eval()(**inputs)
    error = largest({"out": load_file(out)["out"]}, {"out": expected.detach()})
    print(f"archc run    {error:.1e}")
    holds.append(error <= 3e-5)
    print(f"{sum(holds)} of {len(holds)} hold")
    return 0 if all(holds) else 1


def resumed(package, data, out, limits):
    """Trained to a checkpoint and on from it, with the same plan."""
    train(package, data, out, 1, *limits)
    last = sorted(out.glob("step-*"))[-1]
    for path in sorted(last.iterdir()):
        path.unlink()
    last.rmdir()
    return train(package, data, out, 1, *limits)


if __name__ == "__main__":
    sys.exit(main())

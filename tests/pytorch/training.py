"""Emitted training: its process against archc's, and one process against two, which end with the same weights.

    python training.py ARCHC LESSONS FOLDER
"""

import importlib
import json
import subprocess
import sys
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
]
DRAWS = {True: [-2.0, -0.3, 0.0, 0.7, 1.9], False: [0.001, 0.2, 0.5, 0.77, 0.999]}
# Relative difference of numbers in f64, and of weights after training in f32 as a share of how far they moved.
NUMBERS, WEIGHTS = 1e-9, 0.02


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


def check_process(archc, lessons, folder, at, process):
    kind = "sigma" if "ve(" in process or "edm;" in process else "timestep"
    spec = folder / f"process{at}.arch"
    text = f"arch 1\n\nmodel Process{at}(x: image[1, 8, 8], t: {kind}) -> image[1, 8, 8] {{\n    process {{ {process} }}\n"
    spec.write_text(text + "    (x -> conv2d(4, kernel: 3) @a + t -> sinusoid(8) -> linear(4) @b) -> conv2d(1, kernel: 3) @c\n}\n")
    package = folder / f"package{at}"
    run(archc, "build", spec, "--target", "pytorch", "--out", package, stdout=subprocess.DEVNULL)
    own = load(package, "process")
    draws = DRAWS[own.NORMAL]
    expected = json.loads(run(lessons, spec, *draws, capture_output=True).stdout)
    found = own.lesson(torch.tensor(draws, dtype=torch.float64))
    found = torch.stack([found.told, *found.input, *found.target, found.weight], dim=1)
    expected = torch.tensor(expected, dtype=torch.float64)
    error = ((found - expected).abs() / expected.abs().clamp(min=1e-6)).max().item()
    print(f"process      {error:.1e}  {process}")
    return error <= NUMBERS


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

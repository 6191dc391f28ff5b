"""What `run.sh` runs: checks and timings of archc on a device, one JSON file and one table. See there."""

import argparse
import json
import os
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "reference" / "tiny"
# Largest difference of an output, relative to its largest magnitude. f32 is to be computed without TF32.
TOLERANCE = {"f32": 1e-4, "bf16": 3e-2}
# Networks at their published size, and what stands for them on a CPU.
LARGE = {
    "dit_xl_2": ("dit.arch#dit_xl_2", ["depth=2", "dim=128", "heads=4"]),
    "sd15_unet": ("stable_diffusion.arch#sd15_unet", ["widths=[32,32,64,64]", "H=16", "W=16"]),
    "sdxl_base_unet": ("stable_diffusion.arch#sdxl_base_unet", None),
    "sd3_medium": ("sd3.arch#sd3_medium", None),
}
BATCHES = {"cuda": [1, 32], "cpu": [1]}


def read(path):
    """Tensors of a safetensors file in f32 or whole numbers, by name."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    kinds = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "I32": "<i4", "F16": "<f2"}
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] in kinds:
            start, end = (8 + length + offset for offset in entry["data_offsets"])
            tensors[name] = np.frombuffer(data[start:end], kinds[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def case(folder):
    """Which spec a small network is, and its hyperparameters, all of which `spec.yaml` holds in quotes."""
    text = (folder / "spec.yaml").read_text()
    spec = re.search(r"^spec: (\S+)", text, re.MULTILINE).group(1)
    tiny = re.search(r"^tiny:(.*?)(?=^\w|\Z)", text, re.MULTILINE | re.DOTALL).group(1)
    settings = [f"{name}={value}" for name, value in re.findall(r'(\w+):\s*"([^"]*)"', tiny)]
    return f"{ROOT / 'specs' / spec}#{folder.name}", settings


class Report:
    def __init__(self, options):
        self.options = options
        self.start = time.monotonic()
        self.rows = []

    def left(self):
        return self.options.seconds - (time.monotonic() - self.start)

    def add(self, kind, name, holds, **figures):
        row = {"kind": kind, "name": name, "holds": holds, **figures}
        self.rows.append(row)
        shown = ", ".join(f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in figures.items())
        print(f"{kind:12} {name:32} {'ok' if holds else 'FAILS':6} {shown}", flush=True)

    def archc(self, *arguments):
        """Runs the program; what it prints, or why it failed."""
        left = max(self.left(), 1)
        try:
            done = subprocess.run([self.options.archc, *arguments], capture_output=True, text=True, timeout=left)
        except subprocess.TimeoutExpired:
            return None, "the time is up"
        return (done.stdout, None) if done.returncode == 0 else (None, (done.stderr or done.stdout).strip()[-300:])


def settings_of(settings):
    return [part for setting in settings for part in ("--set", setting)]


def conformance(report):
    for folder in sorted(path for path in TINY.iterdir() if (path / "spec.yaml").exists()):
        spec, settings = case(folder)
        expected = read(folder / "io.safetensors")["out"]
        for dtype, tolerance in TOLERANCE.items():
            with tempfile.TemporaryDirectory() as scratch:
                output = f"{scratch}/out.safetensors"
                given = ["--weights", f"{folder}/weights.safetensors", "--inputs", f"{folder}/io.safetensors"]
                where = ["--device", report.options.device, "--dtype", dtype]
                _, why = report.archc("run", spec, *settings_of(settings), *given, *where, "--output", output)
                if why:
                    report.add("conformance", f"{folder.name} {dtype}", False, why=why)
                    continue
                found = read(output)["out"]
            error = float(np.abs(found - expected).max() / np.abs(expected).max())
            report.add("conformance", f"{folder.name} {dtype}", error <= tolerance, error=error)


def operators(report):
    for name, (spec, settings) in sized(report):
        text, why = report.archc("verify", spec, *settings, "--device", report.options.device, "--format", "json")
        if why:
            report.add("operators", name, False, why=why)
            continue
        found = json.loads(text)
        worst = max(own["result"] for own in found)
        report.add("operators", name, all(own["holds"] for own in found), shapes=len(found), worst=worst)


def emitted(report):
    programs = sorted(Path(report.options.emitted).iterdir()) if report.options.emitted else []
    for program in (path for path in programs if os.access(path, os.X_OK) and path.is_file()):
        try:
            done = subprocess.run([program], capture_output=True, text=True, timeout=max(report.left(), 1))
            report.add("emitted", program.name, done.returncode == 0)
        except subprocess.TimeoutExpired:
            report.add("emitted", program.name, False, why="the time is up")


def gpus():
    """How many there are."""
    try:
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout.count("GPU ")
    except FileNotFoundError:
        return 0


def training(report):
    """Losses and norms of gradients of a few updates beside those of the CPU, in f32, bf16, and on two GPUs."""
    spec, data = ROOT / "specs" / "examples" / "digits_unet.arch", ROOT / "tests" / "data" / "digits.npz"
    shared = ["--data", str(data), "--range", "0,16", "--steps", "8", "--batch", "16", "--accumulate", "4"]
    shared += ["--lr", "1e-3", "--warmup", "0", "--sample-every", "0", "--watch-every", "0"]

    def figures(*where):
        with tempfile.TemporaryDirectory() as scratch:
            _, why = report.archc("train", str(spec), *shared, *where, "--out", f"{scratch}/run")
            if why:
                return None, why
            lines = (Path(scratch) / "run" / "metrics.jsonl").read_text().splitlines()
            return np.array([[json.loads(line)[key] for key in ("loss", "gradient_norm")] for line in lines]), None

    expected, why = figures("--device", "cpu")
    if why:
        return report.add("training", "cpu", False, why=why)
    device = ["--device", report.options.device]
    ways = {"f32": (device, 1e-3), "bf16": ([*device, "--dtype", "bf16"], 5e-2)}
    if report.options.device == "cuda" and gpus() > 1:
        ways["two GPUs"] = ([*device, "--devices", "0,1"], 1e-3)
    for name, (where, tolerance) in ways.items():
        found, why = figures(*where)
        if why:
            report.add("training", name, False, why=why)
            continue
        error = float(np.abs(found / expected - 1).max())
        report.add("training", name, error <= tolerance, error=error)


def sized(report):
    """Networks with their settings for the device."""
    for name, (spec, small) in LARGE.items():
        if report.options.device == "cuda":
            yield name, (f"{ROOT / 'specs' / spec}", [])
        elif small is not None:
            yield name, (f"{ROOT / 'specs' / spec}", settings_of(small))


def speed(report):
    dtype = "bf16" if report.options.device == "cuda" else "f32"
    for name, (spec, settings) in sized(report):
        for batch in BATCHES[report.options.device]:
            where = ["--device", report.options.device, "--dtype", dtype, "--batch", str(batch)]
            text, why = report.archc("bench", spec, *settings, *where, "--repeats", "5", "--format", "json")
            if why:
                report.add("speed", f"{name} batch {batch}", False, why=why)
                continue
            own = json.loads(text)
            figures = {
                "archc_ms": 1e3 * own["median_s"],
                "share_of_matmul": own["flop_per_s"] / own["matmul_flop_per_s"],
            }
            figures.update(torch_figures(report, name, batch, dtype))
            if "eager_ms" in figures:
                figures["of_eager"] = figures["eager_ms"] / figures["archc_ms"]
            if "compiled_ms" in figures:
                figures["of_compiled"] = figures["compiled_ms"] / figures["archc_ms"]
            report.add("speed", f"{name} batch {batch}", True, **figures)


def torch_figures(report, name, batch, dtype):
    """Milliseconds of the same network in PyTorch, eager and compiled; nothing where PyTorch or the time is missing."""
    try:
        import torch

        made = network(torch, name, batch, report.options.device == "cuda")
    except ImportError as error:
        print(f"no comparison: {error}", file=sys.stderr)
        return {}
    kind = {"bf16": torch.bfloat16, "f32": torch.float32}[dtype]
    model, inputs = made
    model = model.to(report.options.device, kind).eval()
    move = lambda value: value.to(report.options.device, kind if value.is_floating_point() else value.dtype)
    inputs = {key: move(value) for key, value in inputs.items()}

    def median(call):
        times = []
        with torch.no_grad():
            for _ in range(8):
                start = time.perf_counter()
                call(**inputs)
                if report.options.device == "cuda":
                    torch.cuda.synchronize()
                times.append(time.perf_counter() - start)
        return 1e3 * statistics.median(times[3:])

    figures = {"eager_ms": median(model)}
    # Compiling takes a minute or two.
    if report.left() > 150:
        figures["compiled_ms"] = median(torch.compile(model))
    return figures


def network(torch, name, batch, full):
    """A network of diffusers, or that of `tests/bench/compare.py`, with inputs."""
    if name == "dit_xl_2":
        sys.path.insert(0, str(ROOT / "tests" / "bench"))
        from compare import DiT

        model = DiT(28, 1152, 16) if full else DiT(2, 128, 4)
        inputs = {
            "x": torch.randn(batch, 4, 32, 32),
            "timestep": torch.randint(0, 1000, (batch,)),
            "y": torch.randint(0, 1000, (batch,)),
        }
        return model, inputs
    import diffusers

    config = json.loads((ROOT / "tests" / "reference" / "full" / f"{name}.json").read_text())
    shape = dict(config["config"])
    if not full:
        shape.update(block_out_channels=[32, 32, 64, 64], sample_size=16)
    model = getattr(diffusers, config["class"]).from_config(shape)
    size = shape["sample_size"]
    text = shape.get("cross_attention_dim") or shape["joint_attention_dim"]
    noisy = torch.randn(batch, shape["in_channels"], size, size)
    hidden = torch.randn(batch, 77, text)
    inputs = {"encoder_hidden_states": hidden, "timestep": torch.full((batch,), 500)}
    if name == "sd3_medium":
        inputs["pooled_projections"] = torch.randn(batch, shape["pooled_projection_dim"])
        inputs["hidden_states"] = noisy
        return model, inputs
    inputs["sample"] = noisy
    if name == "sdxl_base_unet":
        condition = {"text_embeds": torch.randn(batch, 1280), "time_ids": torch.zeros(batch, 6)}
        return Conditioned(torch, model, condition), inputs
    return model, inputs


def Conditioned(torch, model, condition):
    """A U-Net that is given the same condition at every call."""

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model
            for name, value in condition.items():
                self.register_buffer(name, value)

        def forward(self, **inputs):
            return self.model(**inputs, added_cond_kwargs={name: getattr(self, name) for name in condition})

    return Module()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archc", required=True)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--out", default="report.json")
    parser.add_argument("--emitted")
    parser.add_argument("--only", choices=["conformance", "operators", "training", "emitted", "speed"], action="append")
    options = parser.parse_args()
    report = Report(options)
    for part in [conformance, operators, training, emitted, speed]:
        if not options.only or part.__name__ in options.only:
            part(report)
    found = {"device": options.device, "seconds": time.monotonic() - report.start, "rows": report.rows}
    Path(options.out).write_text(json.dumps(found, indent=1) + "\n")
    broken = [row["name"] for row in report.rows if not row["holds"]]
    print(f"{len(report.rows) - len(broken)} of {len(report.rows)} hold; {options.out}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

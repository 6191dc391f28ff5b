"""Runs the same networks, weights and inputs in PyTorch and in archc, by turns, and prints how their times compare.

    pip install torch diffusers safetensors
    cargo build --release
    python tests/bench/compare.py [--archc target/release/archc] [--only dit_s_2] [--rounds 5] [--compile]

A ratio above 1 says that archc is faster. Outputs are compared too, so that the times are those of the same work.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

SPECS = Path(__file__).resolve().parents[2] / "specs"


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d))


class Mlp(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


def modulate(x, shift, scale):
    return x * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


class DiTBlock(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.attn = Attention(dim, heads)
        self.mlp = Mlp(dim)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.norm = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)

    def forward(self, x, c):
        a, b, g, d, e, h = self.adaLN_modulation(c).chunk(6, dim=1)
        x = x + g.unsqueeze(1) * self.attn(modulate(self.norm(x), a, b))
        return x + h.unsqueeze(1) * self.mlp(modulate(self.norm(x), d, e))


class DiT(nn.Module):
    """The network of Peebles & Xie 2023 with the parameter names of its released code."""

    def __init__(self, depth, dim, heads, size=32, patch=2, channels=4, classes=1000):
        super().__init__()
        self.patch, self.size, self.out = patch, size, 2 * channels
        self.x_embedder = nn.ModuleDict({"proj": nn.Conv2d(channels, dim, patch, patch)})
        self.t_embedder = nn.ModuleDict({"mlp": nn.Sequential(nn.Linear(256, dim), nn.SiLU(), nn.Linear(dim, dim))})
        self.y_embedder = nn.ModuleDict({"embedding_table": nn.Embedding(classes + 1, dim)})
        self.pos_embed = nn.Parameter(torch.randn(1, (size // patch) ** 2, dim) * 0.02, requires_grad=False)
        self.blocks = nn.ModuleList(DiTBlock(dim, heads) for _ in range(depth))
        self.final_layer = nn.ModuleDict(
            {
                "linear": nn.Linear(dim, patch * patch * self.out),
                "adaLN_modulation": nn.Sequential(nn.SiLU(), nn.Linear(dim, 2 * dim)),
            }
        )

    def forward(self, x, timestep, y):
        frequencies = torch.exp(-torch.arange(128) * (torch.log(torch.tensor(10000.0)) / 128))
        angles = timestep[:, None].float() * frequencies
        c = self.t_embedder["mlp"](torch.cat([angles.cos(), angles.sin()], dim=1))
        c = c + self.y_embedder["embedding_table"](y)
        h = self.x_embedder["proj"](x).flatten(2).transpose(1, 2) + self.pos_embed
        for block in self.blocks:
            h = block(h, c)
        shift, scale = self.final_layer["adaLN_modulation"](c).chunk(2, dim=1)
        h = F.layer_norm(h, h.shape[-1:], eps=1e-6)
        h = self.final_layer["linear"](modulate(h, shift, scale))
        n, p = self.size // self.patch, self.patch
        h = h.view(-1, n, n, p, p, self.out).permute(0, 5, 1, 3, 2, 4)
        return h.reshape(-1, self.out, self.size, self.size)


def dit(depth, dim, heads, batch):
    inputs = {
        "x": torch.randn(batch, 4, 32, 32),
        "timestep": torch.randint(0, 1000, (batch,)),
        "y": torch.randint(0, 1000, (batch,)),
    }
    settings = [f"depth={depth}", f"dim={dim}", f"heads={heads}"]
    return DiT(depth, dim, heads), inputs, "dit.arch#dit_s_2", settings, lambda model, i: model(**i)


def unet(widths, size, batch):
    from diffusers import UNet2DConditionModel

    model = UNet2DConditionModel(sample_size=size, block_out_channels=widths, cross_attention_dim=768)
    inputs = {
        "sample": torch.randn(batch, 4, size, size),
        "timestep": torch.randint(0, 1000, (batch,)),
        "encoder_hidden_states": torch.randn(batch, 77, 768),
    }
    settings = [f"widths={list(widths)}"]
    call = lambda model, i: model(**i).sample
    return model, inputs, "stable_diffusion.arch#sd15_unet", settings, call


def sd3(depth, heads, size, batch):
    from diffusers import SD3Transformer2DModel

    model = SD3Transformer2DModel(
        sample_size=128, num_layers=depth, num_attention_heads=heads, attention_head_dim=64, in_channels=16,
        out_channels=16, joint_attention_dim=1024, caption_projection_dim=64 * heads, pooled_projection_dim=512,
        pos_embed_max_size=96,
    )
    inputs = {
        "hidden_states": torch.randn(batch, 16, size, size),
        "timestep": torch.randint(0, 1000, (batch,)),
        "encoder_hidden_states": torch.randn(batch, 77, 1024),
        "pooled_projections": torch.randn(batch, 512),
    }
    settings = [f"depth={depth}", f"heads={heads}", "text_dim=1024", "pooled_dim=512", "table=96"]
    settings += [f"H={size}", f"W={size}"]
    return model, inputs, "sd3.arch#sd3_medium", settings, lambda model, i: model(**i).sample


CASES = {
    "dit_s_2": lambda batch: dit(12, 384, 6, batch),
    "dit_b_2": lambda batch: dit(12, 768, 12, batch),
    # SD 1.5 at a width and a size that fit beside PyTorch.
    "sd15_like": lambda batch: unet((160, 320, 640, 640), 32, batch),
    # SD3 medium, a third as deep and half as wide.
    "sd3_like": lambda batch: sd3(8, 12, 32, batch),
}


def torch_times(model, call, inputs, repeats, train, optimizer):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        if train:
            optimizer.zero_grad()
            (call(model, inputs) ** 2).mean().backward()
            optimizer.step()
        else:
            with torch.no_grad():
                call(model, inputs)
        times.append(time.perf_counter() - start)
    return times


def peak_memory(name, batch, train):
    """Peak memory of a process of its own that does the work three times, in bytes."""
    arguments = [sys.executable, __file__, "--peak-of", name, "--batch", str(batch)]
    arguments += ["--threads", str(torch.get_num_threads()), "--work", "train" if train else "forward"]
    return int(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)


def measure_peak(options):
    model, inputs, _, _, call = CASES[options.peak_of](options.batch)
    model.eval()
    train = options.work == "train"
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0) if train else None
    torch_times(model, call, inputs, 3, train, optimizer)
    # Not `ru_maxrss`, which a process inherits from the one that started it.
    status = Path("/proc/self/status").read_text()
    print(1024 * int(re.search(r"VmHWM:\s+(\d+)", status).group(1)))


def compare(name, options, train):
    torch.manual_seed(0)
    model, inputs, spec, settings, call = CASES[name](options.batch)
    model.eval()
    with tempfile.TemporaryDirectory() as folder:
        weights, given, output = (str(Path(folder) / f) for f in ("weights", "inputs", "output"))
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, weights)
        save_file({f"in.{k}": v if k == "y" else v.float() for k, v in inputs.items()}, given)
        target = [f"{SPECS}/{spec}", *(part for s in settings for part in ("--set", s))]
        target += ["--weights", weights, "--inputs", given]
        run = lambda *arguments: subprocess.run(
            [options.archc, *arguments], check=True, capture_output=True, text=True
        ).stdout
        run("run", *target, "--output", output)
        with torch.no_grad():
            expected = call(model, inputs)
        error = ((load_file(output)["out"] - expected).abs().max() / expected.abs().max()).item()
        assert error < 1e-4, f"{name}: outputs differ by {error}"

        optimizer = torch.optim.AdamW(model.parameters(), lr=0.0) if train else None
        timed = torch.compile(model) if options.compile else model
        torch_times(timed, call, inputs, 2, train, optimizer)
        ours, theirs = [], []
        for _ in range(options.rounds):
            bench = ["bench", *target, "--format", "json", "--warmup", "2", "--repeats", str(options.repeats)]
            bench += ["--threads", str(torch.get_num_threads())] + (["--train"] if train else [])
            report = json.loads(run(*bench))
            ours += report["runs_s"]
            theirs += torch_times(timed, call, inputs, options.repeats, train, optimizer)
    mine, other = statistics.median(ours), statistics.median(theirs)
    return {
        "network": name,
        "work": "training step" if train else "forward pass",
        "batch": options.batch,
        "archc_ms": 1e3 * mine,
        "torch_ms": 1e3 * other,
        "ratio": other / mine,
        "ratio_of_minima": min(theirs) / min(ours),
        "error": error,
        "archc_share_of_matmul": report["flop_per_s"] / report["matmul_flop_per_s"],
        "archc_memory_mib": report["measured_memory"] / 2**20 if report["measured_memory"] else None,
        "torch_memory_mib": peak_memory(name, options.batch, train) / 2**20,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archc", default="target/release/archc")
    parser.add_argument("--only", choices=CASES, action="append")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", action="store_true", help="against torch.compile instead of eager")
    parser.add_argument("--work", choices=["forward", "train", "both"], default="both")
    parser.add_argument("--json", help="also write the figures here")
    parser.add_argument("--peak-of", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak_of:
        return measure_peak(options)
    rows = []
    for name in options.only or CASES:
        for train in {"forward": [False], "train": [True], "both": [False, True]}[options.work]:
            row = compare(name, options, train)
            rows.append(row)
            print(
                f"{row['network']:10} {row['work']:13} batch {row['batch']}: archc {row['archc_ms']:8.1f} ms, "
                f"torch {row['torch_ms']:8.1f} ms, ratio {row['ratio']:.2f} "
                f"(of minima {row['ratio_of_minima']:.2f}), error {row['error']:.0e}, "
                f"{100 * row['archc_share_of_matmul']:.0f} % of a matrix product, "
                f"memory {row['archc_memory_mib'] or 0:.0f} MiB, torch {row['torch_memory_mib']:.0f} MiB",
                flush=True,
            )
    if options.json:
        Path(options.json).write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

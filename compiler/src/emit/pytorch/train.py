"""Trains @MODEL@ by the process of its spec, on one device or on many.

    python train.py --data DIR --out RUN
    torchrun --nproc-per-node 8 train.py --data DIR --out RUN --fsdp --bf16

DIR holds images of one size, in a folder for each class if the model has classes; a file DIR.npz holds arrays `samples`,
`labels` and what else the model is given, by name. A run that was stopped goes on from its last checkpoint, on as many
devices as there are now. Samples and noise of an update depend on the seed and on its number alone, not on the devices.
"""

import argparse
import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from @PACKAGE@ import @MODEL@, process


def options():
    parser = argparse.ArgumentParser(description="Train @MODEL@.")
    parser.add_argument("--data", type=Path, required=True, help="folder of images, or .npz")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--range", type=float, nargs=2, help="values of arrays that become -1 and 1")
    parser.add_argument("--steps", type=int, default=10000, help="updates")
    parser.add_argument("--batch", type=int, default=64, help="samples of an update, over all devices")
    parser.add_argument("--lr", type=float, default=0.0001, help="learning rate after the warm-up")
    parser.add_argument("--warmup", type=int, default=100, help="updates over which the rate grows from zero")
    parser.add_argument("--final-lr", type=float, default=0.0, help="what is left of the rate at the end")
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--clip", type=float, default=1.0, help="largest norm of all gradients; 0 does not clip")
    parser.add_argument("--ema", type=float, default=0.999, help="decay of the average of the parameters")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=1000, help="updates between checkpoints")
    parser.add_argument("--bf16", action="store_true", help="compute in bf16; parameters stay f32")
    parser.add_argument("--fsdp", action="store_true", help="shard parameters over the devices (FSDP2)")
    return parser.parse_args()


def images(folder):
    """Pixels from -1 to 1 and classes of the images in a folder."""
    from PIL import Image

    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    if process.CHANNELS not in modes:
        raise SystemExit(f"the model has {process.CHANNELS} channels, images have 1, 3 or 4: give an .npz")
    folders = sorted(path for path in folder.iterdir() if path.is_dir()) or [folder]
    pixels, labels = [], []
    for label, own in enumerate(folders):
        for path in sorted(path for path in own.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg")):
            pixels.append(np.asarray(Image.open(path).convert(modes[process.CHANNELS]), np.float32) / 127.5 - 1)
            labels.append(label)
    if len({image.shape for image in pixels}) != 1:
        raise SystemExit(f"{folder} has to hold images, all of one size")
    samples = torch.from_numpy(np.stack(pixels))
    samples = samples[:, None] if samples.ndim == 3 else samples.permute(0, 3, 1, 2).contiguous()
    return {"samples": samples, "labels": torch.tensor(labels)}


def arrays(file, limits):
    """Arrays of a file; whole numbers are pixels from 0 to 255, unless `limits` says otherwise."""
    found = {name: torch.from_numpy(array) for name, array in np.load(file).items()}
    if "samples" not in found:
        raise SystemExit(f"{file} holds no `samples`")
    low, high = limits or ((-1, 1) if found["samples"].is_floating_point() else (0, 255))
    found["samples"] = (found["samples"].float() - low) * (2 / (high - low)) - 1
    return found


def data(options):
    found = images(options.data) if options.data.is_dir() else arrays(options.data, options.range)
    count = len(found["samples"])
    wanted = ["labels"] * (process.LABEL is not None) + list(process.CONDITIONS)
    missing = [name for name in wanted if len(found.get(name, ())) != count]
    if missing:
        raise SystemExit(f"{options.data} holds {count} samples, and not as many of {', '.join(missing)}")
    if process.LABEL is not None and not 0 <= found["labels"].min() <= found["labels"].max() < process.CLASSES:
        raise SystemExit(f"labels have to be from 0 to {process.CLASSES - 1}")
    if count < options.batch:
        raise SystemExit(f"there are {count} samples, too few for a batch of {options.batch}")
    return found


def lessons(found, options, step, rank, world):
    """What this device is given at an update, what it should say, and its lessons."""
    count, size = len(found["samples"]), options.batch
    rows = []
    for place in range(step * size, (step + 1) * size):
        order = torch.Generator().manual_seed(options.seed * 1_000_003 + place // count)
        if place % count == 0 or not rows:
            epoch = torch.randperm(count, generator=order)
        rows.append(epoch[place % count])
    rows = torch.stack(rows)
    random = torch.Generator().manual_seed((options.seed + 1) * 2_000_003 + step)
    own = slice(rank, None, world)
    draw = torch.randn if process.NORMAL else torch.rand
    lesson = process.lesson(draw(size, generator=random, dtype=torch.float64)[own])
    noise = torch.randn(size, *found["samples"].shape[1:], generator=random).double()[own]
    rows = rows[own]
    clean = found["samples"][rows].double()

    def mixed(pair):
        p, q = (own.reshape(-1, *[1] * (clean.ndim - 1)) for own in pair)
        return (p * clean + q * noise).float()

    inputs = {process.NOISY: mixed(lesson.input)}
    inputs |= {name: lesson.told.float() for name in process.TIMES}
    if process.LABEL is not None:
        inputs[process.LABEL] = found["labels"][rows].long()
    inputs |= {name: found[name][rows] for name in process.CONDITIONS}
    return inputs, mixed(lesson.target), lesson


def rate(options, step):
    """Linear warm-up, then a cosine."""
    if step < options.warmup:
        return options.lr * (step + 1) / options.warmup
    done = (step - options.warmup) / max(options.steps - options.warmup, 1)
    cosine = (1 + math.cos(math.pi * min(done, 1.0))) / 2
    return options.lr * (options.final_lr + (1 - options.final_lr) * cosine)


def groups(model, decay):
    """Parameters; weights that multiply features decay, what scales or shifts them does not."""
    multiply = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    weights = {id(module.weight) for module in model.modules() if isinstance(module, multiply)}
    trained = [own for own in model.parameters() if own.requires_grad]
    return [
        {"params": [own for own in trained if id(own) in weights], "weight_decay": decay},
        {"params": [own for own in trained if id(own) not in weights], "weight_decay": 0.0},
    ]


def full(tensor):
    """All of a tensor that may be sharded, on the CPU."""
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).cpu().clone().contiguous()


def like(value, parameter):
    """A whole tensor, sharded as a parameter is."""
    value = value.to(parameter.device)
    if isinstance(parameter, DTensor):
        return distribute_tensor(value, parameter.device_mesh, parameter.placements)
    return value


class Run:
    """A model in training, and its checkpoints."""

    def __init__(self, model, options, device):
        self.model, self.options, self.step = model, options, 0
        self.named = {name: own for name, own in model.named_parameters() if own.requires_grad}
        # Foreach kernels want all tensors sharded or none.
        self.optimizer = torch.optim.AdamW(groups(model, options.weight_decay), lr=options.lr, foreach=False)
        self.average = {name: own.detach().clone() for name, own in self.named.items()}
        self.device = device

    def update(self, forward, inputs, target, lesson):
        options, step = self.options, self.step
        for group in self.optimizer.param_groups:
            group["lr"] = rate(options, step)
        inputs = {name: value.to(self.device) for name, value in inputs.items()}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=options.bf16):
            out = forward(**inputs)
        out = (out[0] if isinstance(out, tuple) else out).float()
        loss = process.loss(out, target.to(self.device), lesson).mean()
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.named.values(), options.clip or math.inf, foreach=False)
        loss, norm = loss.detach(), full(norm)
        if dist.is_initialized():
            dist.all_reduce(loss, dist.ReduceOp.AVG if self.device.type == "cuda" else dist.ReduceOp.SUM)
            loss /= 1 if self.device.type == "cuda" else dist.get_world_size()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise SystemExit(f"update {step}: the loss is {loss.item()}, the norm of the gradients {norm.item()}")
        self.optimizer.step()
        decay = min(options.ema, (1 + step) / (10 + step))
        for name, own in self.named.items():
            self.average[name].lerp_(own.detach(), 1 - decay)
        self.step += 1
        return loss.item(), norm.item()

    def weights(self, values=None):
        """Parameters, or other values in their place, under the names of the checkpoint."""
        kept = {}
        for name, value in (values or {}).items():
            kept[name] = self.named[name].data
            self.named[name].data = value
        state = {name: full(value) for name, value in self.model.state_dict().items()}
        for name, value in kept.items():
            self.named[name].data = value
        return state

    def moments(self):
        state = self.optimizer.state
        own = {name: state[parameter] for name, parameter in self.named.items() if parameter in state}
        return {f"{kind}.{name}": full(one[kind]) for name, one in own.items() for kind in ("exp_avg", "exp_avg_sq")}

    def save(self, is_first):
        """A checkpoint, whole or not at all; every device takes part."""
        folder = self.options.out / f"step-{self.step:08}"
        files = {
            "weights": self.weights(),
            "average": self.weights(self.average),
            "state": self.moments() | {f"average.{name}": full(own) for name, own in self.average.items()}
            | {f"weights.{name}": full(own) for name, own in self.named.items()},
        }
        if is_first and not folder.exists():
            new = self.options.out / f".{folder.name}"
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            for name, tensors in files.items():
                save_file(tensors, new / f"{name}.safetensors")
            (new / "step.json").write_text(json.dumps({"step": self.step, "seed": self.options.seed}))
            os.replace(new, folder)

    def resume(self):
        """Goes on from the last checkpoint, if there is one."""
        found = sorted(self.options.out.glob("step-*/step.json"))
        if not found:
            return
        said = json.loads(found[-1].read_text())
        if said["seed"] != self.options.seed:
            raise SystemExit(f"{found[-1].parent} was made with --seed {said['seed']}")
        state = load_file(found[-1].parent / "state.safetensors")
        self.step = said["step"]
        for name, own in self.named.items():
            with torch.no_grad():
                own.copy_(like(state[f"weights.{name}"], own))
            self.average[name] = like(state[f"average.{name}"], own)
            if f"exp_avg.{name}" in state:
                moments = {kind: like(state[f"{kind}.{name}"], own) for kind in ("exp_avg", "exp_avg_sq")}
                self.optimizer.state[own] = {"step": torch.tensor(float(self.step)), **moments}


def main():
    own = options()
    is_cuda = torch.cuda.is_available()
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if is_cuda else torch.device("cpu")
    if is_cuda:
        torch.cuda.set_device(device)
    if world > 1:
        dist.init_process_group("nccl" if is_cuda else "gloo")
    if own.batch % world:
        raise SystemExit(f"--batch {own.batch} cannot be divided over {world} devices")
    found = data(own)

    # The same parameters on every device.
    torch.manual_seed(own.seed)
    model = @MODEL@().to(device).train()
    forward = model
    if world > 1 and own.fsdp:
        mesh = init_device_mesh(device.type, (world,))
        for block in (block for blocks in model.modules() if isinstance(blocks, nn.ModuleList) for block in blocks):
            if any(parameter.requires_grad for parameter in block.parameters()):
                fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
    elif world > 1:
        forward = DistributedDataParallel(model, device_ids=[device.index] if is_cuda else None)
    run = Run(model, own, device)
    run.resume()
    own.out.mkdir(parents=True, exist_ok=True)
    while run.step < own.steps:
        # What is dropped at random differs between devices, and is the same when a stopped run comes to this update again.
        torch.manual_seed((own.seed + 1) * 3_000_017 + run.step * world + rank)
        loss, norm = run.update(forward, *lessons(found, own, run.step, rank, world))
        if rank == 0 and (run.step % 10 == 0 or run.step == own.steps):
            line = {"step": run.step, "loss": loss, "gradient_norm": norm, "lr": rate(own, run.step - 1)}
            print(json.dumps(line), flush=True)
            with open(own.out / "metrics.jsonl", "a") as file:
                file.write(json.dumps(line) + "\n")
        if run.step % own.save_every == 0 or run.step == own.steps:
            run.save(rank == 0)
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Writes `pndm.json`: trajectories of diffusers' PNDM without Runge-Kutta steps, in double precision.

    python tests/reference/process/pndm.py

needs torch and diffusers. The schedule is computed anew in f64, since diffusers keeps it in f32; the steps are its own.
"""

import json
import pathlib

import diffusers
import torch
from diffusers import PNDMScheduler

STEPS = 10
CHAIN = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "skip_prk_steps": True}
CASES = [
    ("sd_epsilon", "gauss", {"set_alpha_to_one": False, "steps_offset": 1, "timestep_spacing": "leading", "prediction_type": "epsilon"}),
    ("sd_v", "two_point", {"set_alpha_to_one": False, "steps_offset": 1, "timestep_spacing": "leading", "prediction_type": "v_prediction"}),
    ("trailing", "gauss", {"set_alpha_to_one": True, "steps_offset": 0, "timestep_spacing": "trailing", "prediction_type": "epsilon"}),
]
TOYS = {
    "gauss": "x0 ~ N(0.3, 0.5^2); E[x0|x] = 0.3 + a*0.25/(a^2*0.25 + b^2) * (x - 0.3*a)",
    "two_point": "x0 = +1 or -1 with probability one half; E[x0|x] = tanh(a*x / b^2)",
}
START = [-1.7, -0.4, 0.25, 1.3]


def expected(toy, x, a, b):
    """The data that a value is expected to come from."""
    if toy == "gauss":
        return 0.3 + a * 0.25 / (a**2 * 0.25 + b**2) * (x - 0.3 * a)
    return torch.tanh(a * x / b**2)


def trajectory(toy, config, dtype):
    scheduler = PNDMScheduler(**CHAIN, **config)
    if dtype == torch.float64:
        roots = torch.linspace(CHAIN["beta_start"] ** 0.5, CHAIN["beta_end"] ** 0.5, 1000, dtype=dtype)
        scheduler.alphas_cumprod = (1 - roots**2).cumprod(0)
        scheduler.final_alpha_cumprod = torch.ones((), dtype=dtype) if config["set_alpha_to_one"] else scheduler.alphas_cumprod[0]
    scheduler.set_timesteps(STEPS)
    x, seen = torch.tensor(START, dtype=dtype), []
    for time in scheduler.timesteps:
        kept = scheduler.alphas_cumprod[time].to(dtype)
        a, b = kept.sqrt(), (1 - kept).sqrt()
        x0 = expected(toy, x, a, b)
        noise = (x - a * x0) / b
        said = noise if config["prediction_type"] == "epsilon" else a * noise - b * x0
        x = scheduler.step(said, time, x).prev_sample
        seen.append(x.tolist())
    return scheduler.timesteps.tolist(), seen


def main():
    runs = []
    for case, toy, config in CASES:
        times, exact = trajectory(toy, config, torch.float64)
        _, upstream = trajectory(toy, config, torch.float32)
        off = (torch.tensor(exact) - torch.tensor(upstream)).abs().max().item()
        run = {"case": case, "toy": toy, "config": {**CHAIN, **config}, "timesteps": times}
        runs.append({**run, "max_abs_difference": off, "exact_f64": exact})
        print(case, off)
    header = {"what": f"PNDM trajectories without Runge-Kutta steps, {STEPS} steps", "source": f"diffusers {diffusers.__version__} PNDMScheduler"}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in {**header, "toys": TOYS, "x_init": START}.items()]
    rows = ",\n  ".join(json.dumps(run) for run in runs)
    text = "{\n" + ",\n".join([*lines, f' "runs": [{rows}]']) + "\n}\n"
    (pathlib.Path(__file__).parent / "pndm.json").write_text(text)


if __name__ == "__main__":
    main()

"""How emitted PyTorch starts, against many constructions of the released models (`init.tsv`).

    python initialisers.py PACKAGES REFERENCE

Constants have to be equal, and drawn parameters have to agree in mean and standard deviation within five standard errors of
the two samples. Networks whose `init.tsv` is that of other hyperparameters than the package's are left out.
"""

import csv
import math
import sys
from pathlib import Path

import torch
import yaml
from conformance import difference, load
from safetensors.torch import load_file

CONSTRUCTIONS = 16
# Standard errors.
APART = 5.0
FIXED = 1e-6
# Fourth moments over squared variances.
KURTOSIS = {"uniform": 9.0 / 5.0}
NORMAL = 3.0


def problem(row, drawn, fixed):
    """What is wrong with draws of a parameter, if anything."""
    mean, std, samples = (float(row[name]) for name in ("mean", "std", "samples"))
    family = row["family"]
    if family == "zero" or family.startswith("constant"):
        return None if (drawn == mean).all() else f"is not {mean}"
    if family == "fixed":
        off = difference(drawn[0], fixed)
        return None if off <= FIXED else f"is off by {off:.1e}"
    drawn = drawn.double().flatten()
    pooled = 1.0 / len(drawn) + 1.0 / samples
    spread = KURTOSIS.get(family, NORMAL)
    errors = {
        "mean": (drawn.mean().item(), mean, std * math.sqrt(pooled)),
        "standard deviation": (drawn.std(correction=0).item(), std, std * math.sqrt((spread - 1.0) / 4.0 * pooled)),
    }
    for name, (found, expected, error) in errors.items():
        if abs(found - expected) > APART * error:
            return f"has the {name} {found:.6g}, published {expected:.6g}"
    return None


def check(folder, reference):
    """Problems of a package, and how many parameters were compared."""
    with open(reference / "init.tsv") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    model = load(folder)
    states = []
    for seed in range(CONSTRUCTIONS):
        torch.manual_seed(seed)
        states.append({name: value.detach() for name, value in model().state_dict().items()})
    fixed = load_file(reference / "weights.safetensors")
    problems = []
    for row in rows:
        name = row["name"]
        found = problem(row, torch.stack([state[name] for state in states]), fixed.get(name))
        if found:
            problems.append(f"{name} {found}")
    return problems, len(rows)


def main():
    packages, reference = map(Path, sys.argv[1:3])
    failed = compared = networks = 0
    for folder in sorted(path for path in reference.iterdir() if (path / "init.tsv").exists()):
        if yaml.safe_load((folder / "spec.yaml").read_text()).get("init"):
            continue
        problems, count = check(packages / folder.name, folder)
        networks, compared, failed = networks + 1, compared + count, failed + bool(problems)
        print(f"{folder.name:24} {count:4} parameters  {'FAILED' if problems else 'ok'}")
        for text in problems[:5]:
            print(f"    {text}")
    print(f"{networks - failed} of {networks} networks start as the released ones, {compared} parameters")
    sys.exit(failed > 0 or compared == 0)


if __name__ == "__main__":
    main()

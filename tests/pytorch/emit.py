"""Writes the small configurations of all published networks as PyTorch packages.

    python emit.py ARCHC REFERENCE PACKAGES
"""

import subprocess
import sys
from pathlib import Path

import yaml


def main():
    archc, reference, packages = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    for case in sorted(reference.glob("*/spec.yaml")):
        described, id = yaml.safe_load(case.read_text()), case.parent.name
        settings = [word for item in described["tiny"].items() for word in ("--set", "=".join(item))]
        spec = f"specs/{described['spec']}#{id}"
        # Found by its exit code; what archc says goes to the terminal.
        subprocess.run(
            [archc, "build", spec, "--target", "pytorch", "--out", str(packages / id), *settings],
            check=True,
            stdout=subprocess.DEVNULL,
        )


if __name__ == "__main__":
    main()

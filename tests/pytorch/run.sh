#!/bin/sh
# Emitted PyTorch against the released code, how it starts too, and its training by one process against that by two. Installs
# torch into a virtual environment, unless PYTHON names an interpreter that has torch, safetensors, NumPy, Pillow and PyYAML.
set -eu
cd "$(dirname "$0")/../.."
work=${WORK:-target/pytorch}
mkdir -p "$work"
if [ -z "${PYTHON:-}" ]; then
    PYTHON=$work/venv/bin/python
    [ -x "$PYTHON" ] || python3 -m venv "$work/venv"
    "$PYTHON" -m pip install --quiet torch safetensors numpy pyyaml pillow
fi
cargo build --workspace
rm -rf "$work/packages"
"$PYTHON" tests/pytorch/emit.py target/debug/archc tests/reference/tiny "$work/packages"
"$PYTHON" tests/pytorch/conformance.py "$work/packages" tests/reference/tiny
"$PYTHON" tests/pytorch/initialisers.py "$work/packages" tests/reference/tiny
rm -rf "$work/training"
"$PYTHON" tests/pytorch/training.py target/debug/archc target/debug/lessons "$work/training"

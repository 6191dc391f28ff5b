#!/bin/sh
# Everything that needs a CUDA machine, without cargo and network: conformance of the published networks, the comparison of
# every operator with the CPU, a few updates of training, emitted programs, and speed beside PyTorch. Writes report.json and
# prints a table.
#
#     cargo build --release --features cuda     # where there is cargo
#     tests/gpu/run.sh                          # where there is a GPU
#
# DEVICE=cpu runs the same on the CPU with small networks. ARCHC is the program, PYTHON one with numpy and, for the
# comparison, torch and diffusers; EMITTED a folder of programs made by `archc build --bin`; SECONDS_LEFT the time to stop at.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
exec "${PYTHON:-python3}" "$here/run.py" \
    --archc "${ARCHC:-$here/../../target/release/archc}" \
    --device "${DEVICE:-cuda}" \
    --seconds "${SECONDS_LEFT:-540}" \
    --out "${OUT:-report.json}" \
    ${EMITTED:+--emitted "$EMITTED"}

#!/usr/bin/env bash
# The engine on a GPU, in one call of under eight minutes: tests/gpu, then tokens/s, TTFT and TPOT
# against what the memory allows, beside transformers' generate. Needs a Python with torch,
# transformers and pytest (PYTHON names it), and nothing else of this project's requirements.
# Writes gpu.json and gpu.log into $OUT, else var/bench. Options are those of bench/gpu.py.
set -eu
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then
  PYTHON=python3
  if [ -x .venv/bin/python ]; then PYTHON=.venv/bin/python; fi
fi
exec "$PYTHON" bench/gpu.py --out "${OUT:-var/bench}" "$@"

#!/usr/bin/env bash
# Everything that needs a CUDA device, in one command of at most eight minutes, on a machine that has
# an NVIDIA GPU, Python, PyTorch's build for CUDA, a C++ compiler and ninja or a network to install
# it from:
#
#   benchmarks/cuda.sh [results]
#
# It builds samepad for that PyTorch, runs the tests that need a device, measures layers and writes
# results.json and results.md (by default build/cuda.json and .md). With DEVICE=cpu it does the same
# without a device, to see that it works; such figures mean nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
output=${1:-build/cuda}
device=${DEVICE:-cuda}
python=${PYTHON:-python3}
start=$SECONDS

if [ "$device" = cuda ]; then
  "$python" -c 'import torch; assert torch.cuda.is_available(), "CUDA: not measured, for there is no device"'
fi

echo "==> Installing samepad for the PyTorch of $python"
environment=build/cuda-environment
"$python" -m venv --system-site-packages "$environment"
# Where PyTorch is in a virtual environment itself, the new one does not see that by itself.
"$python" -c 'import torch, pathlib; print(pathlib.Path(torch.__file__).parents[1])' \
  >"$(echo "$environment"/lib/python3*/site-packages)/torch.pth"
python=$PWD/$environment/bin/python
"$python" -m pip uninstall --quiet --yes setuptools  # venv's own may be too old, and hides others
"$python" -m pip install --quiet 'setuptools>=77' 'cmake>=3.26' ninja numpy pytest tqdm
export PATH="$PWD/$environment/bin:$PATH"
"$python" -m pip install --quiet --no-deps --no-build-isolation .

echo "==> Tests, $((SECONDS - start)) s after the start"
timeout 120 "$python" -m pytest -q tests/python/test_cuda.py

echo "==> Measurements, $((SECONDS - start)) s after the start"
left=$((460 - (SECONDS - start)))
"$python" -m benchmarks.cuda --device "$device" --within "$left" --output "$output"
echo "==> Done in $((SECONDS - start)) s"

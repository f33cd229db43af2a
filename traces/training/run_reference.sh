#!/usr/bin/env bash
# Trains the reference model, captures its routing and measures its quality: one GPU, about ten minutes.
#   run_reference.sh TOKENS.npz OUT [training seconds] [test windows of each kind]
# OUT receives ids.u8, scores.u16, sequences.csv, import.yaml, check.json, quality.csv,
# training_log.csv, device.txt and log.txt; the weights stay in OUT.work.
set -euo pipefail
tokens=$1 out=$2 seconds=${3:-330} windows=${4:-80}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out" "$out.work"
{
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || echo "no GPU"
  python3 -c 'import sys, torch, transformers, numpy; print("python", sys.version.split()[0], "torch", torch.__version__, "transformers", transformers.__version__, "numpy", numpy.__version__)'
} > "$out/device.txt"
export PYTHONUNBUFFERED=1
started=$SECONDS
python3 "$here/train.py" --tokens "$tokens" --out "$out.work" --seconds "$seconds" ${TRAIN_FLAGS:-} 2>&1 | tee "$out/log.txt"
cp "$out.work/training_log.csv" "$out/"
echo "trained: $((SECONDS - started)) s" | tee -a "$out/device.txt"
python3 "$here/capture_reference.py" --tokens "$tokens" --model "$out.work/model.pt" --out "$out" 2>&1 | tee -a "$out/log.txt"
echo "captured: $((SECONDS - started)) s" | tee -a "$out/device.txt"
python3 "$here/evaluate.py" --tokens "$tokens" --model "$out.work/model.pt" --out "$out/quality.csv" --windows "$windows" 2>&1 | tee -a "$out/log.txt"
echo "measured: $((SECONDS - started)) s" | tee -a "$out/device.txt"

#!/usr/bin/env bash
# On a machine with NVIDIA GPUs: installs into .venv and starts main, one process for all of them.
# Arguments go to main, and --dry_run shows what would be done:
#   CONFIG=configs/base.py ./launch/gpu.sh --workdir=runs/base --config.data.corpus='text:books/*.txt'
set -euo pipefail
export GLIBC_TUNABLES="${GLIBC_TUNABLES-}"  # what env.sh has is for steps on a CPU
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh"
install data,finetune,gcs,hf,cuda
run exec "$venv/bin/python" -m bert_jax.main --config="${CONFIG:-configs/tiny.py}" "$@"

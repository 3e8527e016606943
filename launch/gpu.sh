#!/usr/bin/env bash
# On a machine with NVIDIA GPUs: installs bert_jax into .venv and starts a run, one process for all
# GPUs. CONFIG names the configuration (tiny, if it is not set). Arguments are passed to bert_jax
# train, and --dry_run only prints the commands:
#   CONFIG=base ./launch/gpu.sh --workdir=runs/base --config.data.corpus='text:books/*.txt'
set -euo pipefail
export GLIBC_TUNABLES="${GLIBC_TUNABLES-}"  # the value in env.sh is for steps on a CPU
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh"
install data,finetune,gcs,hf,cuda
run exec "$venv/bin/python" -m bert_jax.main --config="${CONFIG:-configs/tiny.py}" "$@"

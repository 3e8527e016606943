#!/usr/bin/env bash
# On a TPU VM: installs bert_jax into .venv and starts a run. CONFIG names the configuration (tiny,
# if it is not set). Arguments are passed to bert_jax train, and --dry_run only prints the commands:
#   CONFIG=base ./launch/tpu_vm.sh --workdir=gs://bucket/run --config.data.corpus=tokens:DIR
# On a pod, it has to run on every worker, with --distributed; tpu_pod.sh does that.
set -euo pipefail
export GLIBC_TUNABLES="${GLIBC_TUNABLES-}"  # the value in env.sh is for steps on a CPU
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh"

# The runtimes are Ubuntu 22.04, whose Python is 3.10; uv brings a newer one and needs no root.
if [ -z "${PYTHON:-}" ] && ! new_enough; then
  make_venv() {
    run "$python" -m pip install --quiet --user uv
    run "$python" -m uv venv --quiet --seed --python=3.12 "$venv"
  }
fi
install data,finetune,hf,tpu
run exec "$venv/bin/python" -m bert_jax.main --config="${CONFIG:-configs/tiny.py}" "$@"

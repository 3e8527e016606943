#!/usr/bin/env bash
# Installs into .venv and makes the first run: pretrains configs/code.py on text that Python has.
# Arguments go to main:
#   ./launch/local.sh --config.train.num_steps=100
#   CONFIG=configs/base.py ./launch/local.sh --workdir=runs/base --config.data.corpus='text:books/*.txt'
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh"
install data,finetune,hf,plot
config=${CONFIG:-configs/code.py}
stage "training $config; the next time: . $venv/bin/activate && bert_jax train --config=$config"
run exec "$venv/bin/python" -m bert_jax.main --config="$config" "$@"

#!/usr/bin/env bash
# Installs bert_jax into .venv and starts the first run: it pretrains configs/code.py on text that
# Python has. Arguments are passed to bert_jax train, and --dry_run only prints the commands:
#   ./launch/local.sh --config.train.num_steps=100
#   CONFIG=tiny ./launch/local.sh --workdir=runs/books --config.data.corpus='text:books/*.txt'
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh"
install data,finetune,hf,plot
config=${CONFIG:-configs/code.py}
stage "training $config; the next time: . $(quote "$venv/bin/activate") && bert_jax train --config=$config"
run exec "$venv/bin/python" -m bert_jax.main --config="$config" "$@"

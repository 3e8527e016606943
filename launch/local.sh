#!/usr/bin/env bash
# Installs into .venv and pretrains configs/tiny.py on the built-in text. Arguments go to main:
#   ./launch/local.sh --config.train.num_steps=100
#   CONFIG=configs/base.py ./launch/local.sh --workdir=runs/base --config.data.corpus='text:books/*.txt'
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh"
install data,finetune,hf
run exec "$venv/bin/python" -m bert_jax.main --config="${CONFIG:-configs/tiny.py}" "$@"

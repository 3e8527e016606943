#!/usr/bin/env bash
# Installs bert_jax with its tests' libraries into .venv and runs the tests. Arguments are passed to
# pytest, and --dry_run only prints the commands:
#   ./launch/test.sh                 the fast tests: under five minutes on two cores
#   ./launch/test.sh --all           all tests
#   ./launch/test.sh tests/data      the fast tests of a folder
set -euo pipefail
chosen=(-m 'not slow')
for argument in "$@"; do
  shift
  if [ "$argument" = --all ]; then chosen=(); else set -- "$@" "$argument"; fi
done
[ "${#chosen[@]}" = 0 ] || export QUICK="${QUICK-1}"  # fewer cases of one kind
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh"
install test
run exec env -u INSTALL "$venv/bin/python" -m pytest -n 2 --dist worksteal "${chosen[@]}" "$@"

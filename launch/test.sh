#!/usr/bin/env bash
# Installs the test extra into .venv and runs the tests. Arguments go to pytest:
#   ./launch/test.sh                 the fast tests: under five minutes on two cores
#   ./launch/test.sh --all           all tests
#   ./launch/test.sh tests/data      the fast tests of a folder
set -euo pipefail
chosen=(-m 'not slow')
for argument in "$@"; do
  shift
  if [ "$argument" = --all ]; then chosen=(); else set -- "$@" "$argument"; fi
done
[ "${#chosen[@]}" = 0 ] || export QUICK="${QUICK-1}"  # fewer of what is alike
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh"
install test
run exec env -u INSTALL "$venv/bin/python" -m pytest -n 2 --dist worksteal "${chosen[@]}" "$@"

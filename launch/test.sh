#!/usr/bin/env bash
# Installs the test extra into .venv and runs the tests. Arguments go to pytest:
#   ./launch/test.sh -m 'not slow'
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "$0")/env.sh"
install test
run exec env -u INSTALL "$venv/bin/python" -m pytest -n 2 --dist worksteal "$@"

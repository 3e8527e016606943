# shellcheck shell=bash
# Sourced by the other scripts: makes .venv beside the code and installs what it is told.
#   install EXTRA      pip install -e .[EXTRA] at the versions of launch/constraints.txt
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Python 3.11 or newer is needed, $("$python" --version) is here; set PYTHON=" >&2
  exit 2
}
venv=${VENV:-.venv}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"

install() {
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint launch/constraints.txt --editable ".[$1]"
}

# Big buffers come and go with every step: huge pages save the kernel from handing out 4 kB at a
# time (a fifth of a CPU step's time).
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}

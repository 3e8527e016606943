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

# Gigabytes come and go with every step on a CPU. Given back to the kernel each time, they cost up to
# a quarter of the step; so the process keeps them, in huge pages.
malloc=glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1
malloc=$malloc:glibc.malloc.mmap_threshold=68719476736:glibc.malloc.trim_threshold=68719476736
export GLIBC_TUNABLES=${GLIBC_TUNABLES:-$malloc}
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}

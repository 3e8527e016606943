# shellcheck shell=bash
# The scripts for one machine source this file. It changes to the folder of the checkout, sources
# run.sh, and creates no files. It defines these functions:
#   install EXTRA      pip install -e .[EXTRA] at the versions of launch/constraints.txt, into .venv,
#                      which it makes. INSTALL=only ends the script after that; INSTALL=no installs
#                      nothing and uses what is there
#   stage LINE         says on stderr what the script does next
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/run.sh
source launch/run.sh
check_config
case ${INSTALL:-yes} in
  yes | 1 | no | only) ;;
  *) fail "INSTALL=$INSTALL is not known; expected INSTALL=only or INSTALL=no" ;;
esac

python=${PYTHON:-python3}
venv=${VENV:-.venv}

new_enough() { "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; }

make_venv() {
  type "$python" >/dev/null 2>&1 ||
    fail "PYTHON=$python is not a program; set PYTHON= to Python 3.11 or newer"
  new_enough || fail "$python is $("$python" --version); set PYTHON= to Python 3.11 or newer"
  run "$python" -m venv "$venv"
}

stage() { [ "$dry_run" ] || echo "${0##*/}: $1" >&2; }

install() {
  if [ "${INSTALL:-}" = no ]; then
    [ "$dry_run" ] || [ -x "$venv/bin/python" ] ||
      fail "INSTALL=no, but $venv/bin/python does not exist; first run: INSTALL=only ./launch/${0##*/}"
    return 0
  fi
  [ -x "$venv/bin/python" ] || {
    stage "making the Python environment $venv"
    make_venv
  }
  stage "installing bert_jax and its libraries into $venv (several minutes the first time)"
  run "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint launch/constraints.txt --editable ".[$1]"
  [ "${INSTALL:-}" != only ] || exit 0
}

# On a CPU, every step allocates and frees gigabytes. If glibc returns them to the kernel each time,
# a step takes up to a quarter longer. So the process keeps them, in huge pages.
malloc=glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1
malloc=$malloc:glibc.malloc.mmap_threshold=68719476736:glibc.malloc.trim_threshold=68719476736
run export GLIBC_TUNABLES="${GLIBC_TUNABLES-$malloc}"
run export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-2}"

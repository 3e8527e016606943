# shellcheck shell=bash
# Sourced by the other scripts; creates nothing by itself.
#   install EXTRA      pip install -e .[EXTRA] at the versions of launch/constraints.txt, into .venv,
#                      which it makes; INSTALL=only leaves it at that, INSTALL=no takes what is there
#   stage LINE         says on stderr what the script does next
#   -h and --help      print the comment at the top of the script and end it, before it installs
set -euo pipefail
case " $* " in *' -h '* | *' --help '*)
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
  echo "The keys of a configuration: bert_jax train --config=NAME --help (once it is installed)"
  exit 0
  ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/run.sh
source launch/run.sh

python=${PYTHON:-python3}
venv=${VENV:-.venv}

new_enough() { "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; }

make_venv() {
  new_enough || {
    echo "Python 3.11 or newer is needed, $("$python" --version) is here; set PYTHON=" >&2
    exit 2
  }
  run "$python" -m venv "$venv"
}

stage() { [ "$dry_run" ] || echo "${0##*/}: $1" >&2; }

install() {
  [ "${INSTALL:-}" != no ] || return 0
  [ -x "$venv/bin/python" ] || {
    stage "making the Python environment $venv"
    make_venv
  }
  stage "installing bert_jax and its libraries into $venv (several minutes the first time)"
  run "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint launch/constraints.txt --editable ".[$1]"
  [ "${INSTALL:-}" != only ] || exit 0
}

# Gigabytes come and go with every step on a CPU. Given back to the kernel each time, they cost up to
# a quarter of the step; so the process keeps them, in huge pages.
malloc=glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1
malloc=$malloc:glibc.malloc.mmap_threshold=68719476736:glibc.malloc.trim_threshold=68719476736
run export GLIBC_TUNABLES="${GLIBC_TUNABLES-$malloc}"
run export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-2}"

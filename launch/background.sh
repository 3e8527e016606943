#!/usr/bin/env bash
# Runs one command in the background of this machine. It continues when the connection ends.
# tpu_pod.sh uses this script on every worker.
#   ./launch/background.sh start COMMAND...   starts it; its output is in runs/run.log
#   ./launch/background.sh state              prints none, running, exit CODE, stopped, or lost (it
#                                             was killed, or the machine restarted)
#   ./launch/background.sh stop               sends SIGTERM, so that a run saves; after ten minutes,
#                                             SIGKILL
set -euo pipefail
cd "$(dirname "$0")/.."

running() {  # another process may have the same number by now, but it has another folder
  [ -e runs/run.pid ] && [ "/proc/$(cat runs/run.pid)/cwd" -ef . ]
}

start() {
  if running; then
    echo 'background.sh: a run is active; ./launch/background.sh stop ends it' >&2
    exit 2
  fi
  rm -f runs/run.pid runs/run.exit runs/run.stopped
  # shellcheck disable=SC2016  # the inner shell expands the variables
  setsid bash -c '(echo "$BASHPID" >runs/run.pid; exec "$@") & wait $!; echo $? >runs/run.exit' - "$@" \
    </dev/null >>runs/run.log 2>&1 &
  local begun=$!
  until [ -s runs/run.pid ]; do
    kill -0 "$begun" 2>/dev/null || [ -s runs/run.pid ] || {
      echo 'background.sh: the command could not be started; see runs/run.log' >&2
      exit 1
    }
    sleep 0.1
  done
}

state() {
  if running; then
    echo 'run: running'
  elif [ ! -e runs/run.pid ]; then
    echo 'run: none'
  else
    [ -e runs/run.exit ] || sleep 2  # it may be about to be written
    if [ -e runs/run.stopped ]; then
      echo 'run: stopped'
    elif [ -s runs/run.exit ]; then
      echo "run: exit $(cat runs/run.exit)"
    else
      echo 'run: lost'
    fi
  fi
}

stop() {
  ! running || touch runs/run.stopped
  for ((second = 0; second < 600; second++)); do
    running || return 0
    [ "$second" -gt 0 ] || kill -TERM "$(cat runs/run.pid)"
    sleep 1
  done
  kill -KILL "$(cat runs/run.pid)"
}

case ${1:-} in
  -h | --help) sed -n '2,/^[^#]/s/^# //p' launch/background.sh ;;
  start | state | stop) mkdir -p runs && "$@" ;;
  *)
    echo "background.sh: unknown command '${1:-}': start COMMAND..., state or stop" >&2
    exit 2
    ;;
esac

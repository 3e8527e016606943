#!/usr/bin/env bash
# Controls a TPU slice, or several, from your own machine. It needs gcloud, and for more than one
# worker ssh-add:
#   ./launch/tpu_pod.sh COMMAND NAME --zone=ZONE [FLAG...] [-- ARGUMENTS OF bert_jax train]
#
#   create     creates the TPU now; with --queue, as soon as one is free
#   install    installs the last commit of this checkout on every worker
#   start      starts bert_jax train on every worker, in the background. CONFIG names the
#              configuration, and -- --workdir=gs://BUCKET/RUN is needed
#   watch      creates, installs and starts what is missing, also after a preemption, until the run
#              is complete; it takes the flags of create and the arguments of start
#   logs       shows the last lines of the first worker. --follow waits for more, --all shows every
#              worker, --lines=+1 shows all lines. The log of a preempted TPU is lost
#   status     shows the state of the TPU and of the run
#   stop       tells the run to save and to end
#   delete     deletes the TPU
#
# Flags, all with the sign = before a value:
#   --zone=us-west4-a         the zone of Google Cloud; it is needed
#   --type=v5litepod-256      the type, for create and watch: v5e-256, v4-128, v5p-128, v6e-8 ...
#   --version=RUNTIME         the software of the TPU, if it is not the usual one of its type
#   --project=ID              the project, if it is not that of gcloud's configuration
#   --spot                    a TPU that is cheaper and may be preempted
#   --queue                   a queued request for a TPU
#   --slices=2                the number of slices; several are always queued
#   --poll=60                 the seconds between two checks of watch
#   --dry_run                 only prints the commands
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/run.sh
source launch/run.sh

say() { echo "tpu_pod.sh: $1" >&2; }

command=${1:-} name=${2:-}
usage='create, install, start, watch, logs, status, stop or delete, then NAME --zone=ZONE'
case $command in
  create | install | start | watch | logs | status | stop | delete) ;;
  *) fail "unknown command '$command': $usage" ;;
esac
case $name in '' | -*) fail "'$command' is not followed by the TPU's name: $usage" ;; esac
shift 2

zone='' type='' version='' project='' spot='' queue='' slices=1 poll=60 lines=100 follow='' who=0
while [ $# -gt 0 ]; do
  case $1 in
    --zone=*) zone=${1#*=} ;;
    --type=*) type=${1#*=} ;;
    --version=*) version=${1#*=} ;;
    --project=*) project=${1#*=} ;;
    --slices=*) slices=${1#*=} ;;
    --poll=*) poll=${1#*=} ;;
    --spot) spot=1 ;;
    --queue) queue=1 ;;
    --lines=*) lines=${1#*=} ;;
    --follow) follow=' -F' ;;
    --all) who=all ;;
    --) shift && break ;;
    --zone | --type | --version | --project | --slices | --poll | --lines)
      fail "$1 has no value; write $1=${2:-VALUE}"
      ;;
    *) fail "unknown flag '$1': see --help; flags of bert_jax train come after --" ;;
  esac
  shift
done

[ "$zone" ] || fail '--zone is missing, such as --zone=us-west4-a'
[[ $lines =~ ^[+]?[0-9]+$ ]] || fail "--lines must be a number, or +1 for all, not '$lines'"
[[ $poll =~ ^[0-9]+([.][0-9]+)?$ ]] || fail "--poll must be a number of seconds, not '$poll'"
[[ $slices =~ ^[1-9][0-9]*$ ]] || fail "--slices must be a number of slices, not '$slices'"
[ "$slices" = 1 ] || queue=1
if [ "$command" = create ] || [ "$command" = watch ]; then
  [ "$type" ] || fail '--type is missing, such as --type=v5litepod-256'
  case $type in v5e-*) type=v5litepod-${type#v5e-} ;; esac  # its name in Google Cloud
  [ "$version" ] || case $type in  # cloud.google.com/tpu/docs/runtimes
    v6e-*) version='v2-alpha-tpuv6e' ;;
    v5p-*) version='v2-alpha-tpuv5' ;;
    v5litepod-*) version='v2-alpha-tpuv5-lite' ;;
    v[234]-*) version='tpu-ubuntu2204-base' ;;
    *) fail "--type=$type is not known here; name its runtime: --version=RUNTIME" ;;
  esac
fi
workdir=
for argument in "$@"; do
  case $argument in --workdir=*) workdir=${argument#*=} ;; esac
done
case $command:$workdir in
  start:gs://* | watch:gs://*) check_config ;;
  start:* | watch:*)
    fail "--workdir='$workdir' would be lost with the TPU; end with -- --workdir=gs://BUCKET/RUN"
    ;;
  *) [ $# = 0 ] || fail "$command takes no arguments of bert_jax train: '$1'" ;;
esac

kind='tpu-vm'
[ ! "$queue" ] || kind='queued-resources'
where=(--zone="$zone" ${project:+"--project=$project"} --quiet)
tpus=(gcloud compute tpus "$kind")
here='cd bert_jax && '
main="./launch/background.sh start ./launch/tpu_vm.sh $(quote --distributed "$@")"
main="INSTALL=no ${CONFIG:+CONFIG=$(quote "$CONFIG") }$main"

on() {  # on WORKER COMMAND runs it on worker 0 or on all
  run "${tpus[@]}" ssh "$name" "${where[@]}" ${queue:+"--node=$1"} --worker="$1" --command="$2"
}

create() {
  local slice=(--node-id="$name")
  [ "$slices" = 1 ] || slice=(--node-count="$slices" --node-prefix="$name")
  if [ "$queue" ]; then
    slice+=(--runtime-version="$version")
  else
    slice=(--version="$version")
  fi
  run "${tpus[@]}" create "$name" "${where[@]}" --accelerator-type="$type" "${slice[@]}" ${spot:+--spot}
}

install() {
  [ -z "$(git status --porcelain)" ] || say 'changes that are not committed are not copied'
  run mkdir -p runs &&
    run git archive --format=tar.gz --output="runs/$name.tar.gz" "${commit:-HEAD}" &&
    run "${tpus[@]}" scp "runs/$name.tar.gz" "$name:bert_jax.tar.gz" "${where[@]}" \
      ${queue:+--node=all} --worker=all &&
    on all "mkdir -p bert_jax && tar -xzf bert_jax.tar.gz -C bert_jax && ${here}INSTALL=only ./launch/tpu_vm.sh"
}

start() { on all "$here$main"; }
restart() { on all "$here./launch/background.sh stop && $main"; }
stop() { on all "$here./launch/background.sh stop"; }
logs() { on "$who" "tail -n $lines$follow bert_jax/runs/run.log"; }
delete() { run "${tpus[@]}" delete "$name" "${where[@]}" ${queue:+--force}; }
describe() { run "${tpus[@]}" describe "$name" "${where[@]}" --format="value(state${queue:+.state})"; }
state() { on 0 'if [ -d bert_jax ]; then bert_jax/launch/background.sh state; else echo run: none; fi'; }
status() { describe && state; }

tpu_state() {
  local answer
  if answer=$(describe 2>&1); then
    echo "${answer##*$'\n'}"
  elif [[ $answer == *NOT_FOUND* ]]; then
    echo gone
  else  # this machine may be offline, which is no reason to create another TPU
    say "$answer" && echo unknown
  fi
}

run_state() {
  local answer
  answer=$(state 2>&1) || say "$answer"
  answer=$(sed -n 's/^run: //p' <<<"$answer")
  echo "${answer:-unknown}"
}

watch() {
  if [ "$dry_run" ]; then describe && state && delete && create && install && start && return; fi
  local tpu run news told='' crashes=0 well=0 commit
  commit=$(git rev-parse HEAD)  # a run continues with the code that it began with
  while true; do
    tpu=$(tpu_state) run=
    case $tpu in READY | ACTIVE) run=$(run_state) ;; esac
    news="$name is $tpu${run:+, the run: $run}"
    [ "$news" = "$told" ] || say "$(date '+%F %T') $news"
    told=$news
    case $tpu in
      gone) create || say 'not created yet' ;;
      PREEMPTED | TERMINATED | SUSPENDED | FAILED) delete && crashes=0 ;;
    esac
    case $run in
      'exit 0') say "done; $name is still there: ./launch/tpu_pod.sh delete" && return 0 ;;
      'exit 2' | 'exit 3') say 'starting the run again would not help: see logs' && return "${run#exit }" ;;
      stopped) return 143 ;;
      none) { install && start; } || say 'not started yet' ;;
      lost | 'exit 143') restart || say 'not started yet' ;;
      running)
        well=$((well + 1))
        [ "$well" -lt 60 ] || crashes=0
        ;;
      exit*)
        crashes=$((crashes + 1)) well=0
        [ "$crashes" -lt 3 ] || { say "given up after $crashes crashes: see logs" && return "${run#exit }"; }
        restart || say 'not started yet'
        ;;
    esac
    sleep "$poll"
  done
}

"$command"

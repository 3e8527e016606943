#!/usr/bin/env bash
# A TPU slice or several, from one's desk, by gcloud (and ssh-add, for more than one worker):
#   ./launch/tpu_pod.sh COMMAND NAME --zone=ZONE [FLAG...] [-- MAIN'S ARGUMENTS]
#
#   create     the TPU, now; with --queue when there is room for it
#   install    the checkout's last commit and what it needs, on every worker
#   start      main on every worker, in the background; CONFIG= names the configuration
#   watch      makes what is missing (the TPU, the installation, the run), again after a preemption,
#              until the run is done; takes the flags of create and the arguments of start
#   logs       the first worker's last lines; --follow waits for more, --all has every worker's,
#              --lines=+1 has all lines (a preempted TPU takes its log along)
#   status     of the TPU and of the run
#   stop       saves and ends the run
#   delete     the TPU
#
#   --zone=us-west4-a --type=v5litepod-256 --version=RUNTIME --project=ID --spot --queue
#   --slices=2 (by the queue, always)   --poll=60 (seconds, of watch)   --dry_run
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/run.sh
source launch/run.sh

say() { echo "tpu_pod.sh: $1" >&2; }
fail() { say "$1" && exit 2; }

command=${1:-} name=${2:-}
usage='create, install, start, watch, logs, status, stop or delete, then NAME --zone=ZONE'
case $command in
  -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' launch/tpu_pod.sh && exit ;;
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
    *) fail "unknown flag '$1': see the first lines of launch/tpu_pod.sh; main's come after --" ;;
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
  [ "$version" ] || case $type in  # cloud.google.com/tpu/docs/runtimes
    v6e-*) version='v2-alpha-tpuv6e' ;;
    v5p-*) version='v2-alpha-tpuv5' ;;
    v5litepod-*) version='v2-alpha-tpuv5-lite' ;;
    v[234]-*) version='tpu-ubuntu2204-base' ;;
    *) fail "--type=$type is not known here (v5litepod-256, v5p-128...); give its runtime, --version=" ;;
  esac
fi
workdir=
for argument in "$@"; do
  case $argument in --workdir=*) workdir=${argument#*=} ;; esac
done
case $command:$workdir in
  start:gs://* | watch:gs://*) ;;
  start:* | watch:*) fail "--workdir='$workdir' does not outlive the TPU; end with -- --workdir=gs://BUCKET/RUN" ;;
  *) [ $# = 0 ] || fail "$command takes no arguments for main: '$1'" ;;
esac

kind='tpu-vm'
[ ! "$queue" ] || kind='queued-resources'
where=(--zone="$zone" ${project:+"--project=$project"} --quiet)
tpus=(gcloud compute tpus "$kind")
here='cd bert_jax && '
main="./launch/background.sh start ./launch/tpu_vm.sh $(quote --distributed "$@")"
main="INSTALL=no ${CONFIG:+CONFIG=$(quote "$CONFIG") }$main"

on() {  # 0 or all, COMMAND
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
  [ -z "$(git status --porcelain)" ] || say 'only what is committed is copied; there is more here'
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
  else  # the desk may be offline: no reason to make another TPU
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
  commit=$(git rev-parse HEAD)  # a run goes on with the code that it began with
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
      'exit 2' | 'exit 3') say 'nothing that starting again would mend: see logs' && return "${run#exit }" ;;
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

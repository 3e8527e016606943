# shellcheck shell=bash
# The other scripts source this file, from the checkout. With -h or --help among their arguments, it
# prints the comment at the top of the script and ends the script. It removes --dry_run (or
# --dry-run) from the arguments. It defines these functions:
#   run COMMAND...     runs it; under --dry_run prints it instead, so that it can be pasted
#   quote WORD...      prints the words, quoted for a shell
#   fail LINE          prints the line with the script's name on stderr and ends with 2
#   check_config       fails if CONFIG is neither a file nor the name of one in configs/
fail() {
  echo "${0##*/}: $1" >&2
  exit 2
}

case " $* " in *' -h '* | *' --help '*)
  script=launch/${0##*/}
  [ -f "$script" ] || script=$0  # Slurm runs a copy with another name
  sed -n '2,/^[^#]/{s/^# //p;s/^#$//p}' "$script"
  echo 'The keys of a configuration: bert_jax train --config=NAME --help (once it is installed)'
  exit 0
  ;;
esac

dry_run=
for argument in "$@"; do  # `set` and `shift` change the arguments of the script that sources this file
  shift
  case $argument in
    --dry_run | --dry-run) dry_run=1 ;;
    *) set -- "$@" "$argument" ;;
  esac
done

check_config() {  # the configuration's file receives the part after a colon
  local file=${CONFIG:-} names
  file=${file%%:*}
  if [ "$file" ] && [ ! -f "$file" ] && [ ! -f "configs/$file.py" ]; then
    names=$(cd configs && echo *.py)
    fail "CONFIG=$CONFIG is neither a file nor one of these names: ${names//.py/}"
  fi
}

quote() {
  local word quoted=() tick="'" escaped="'\\''"
  for word in "$@"; do
    case $word in '' | *[!A-Za-z0-9_./:,=@%+-]*) word="'${word//$tick/$escaped}'" ;; esac
    quoted+=("$word")
  done
  echo "${quoted[*]}"
}

run() {
  if [ ! "$dry_run" ]; then
    "$@"
  else
    [ "$1" != exec ] || shift  # pasted, it would take the terminal along
    quote "$@"
  fi
}

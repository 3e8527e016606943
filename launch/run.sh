# shellcheck shell=bash
# The other scripts source this file. It removes --dry_run from their arguments. If CONFIG is set, it
# has to name a file (the file receives the part after a colon). It defines two functions:
#   run COMMAND...     runs it; under --dry_run prints it instead, so that it can be pasted
#   quote WORD...      the words as a shell has to be given them
dry_run=
for argument in "$@"; do  # `set` and `shift` change the arguments of the script that sources this file
  shift
  if [ "$argument" = --dry_run ]; then dry_run=1; else set -- "$@" "$argument"; fi
done

[ -z "${CONFIG:-}" ] || [ -f "${CONFIG%%:*}" ] || {
  echo "CONFIG=$CONFIG is no file of this checkout" >&2
  exit 2
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

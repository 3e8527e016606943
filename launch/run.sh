# shellcheck shell=bash
# Sourced by the other scripts: takes --dry_run out of their arguments, wherever it stands, wants
# CONFIG, where it is set, to name a file (what follows a colon is the file's), and gives
#   run COMMAND...     runs it; under --dry_run prints it instead, so that it can be pasted
#   quote WORD...      the words as a shell has to be given them
dry_run=
for argument in "$@"; do  # of whoever sources this: `set` and `shift` are theirs too
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

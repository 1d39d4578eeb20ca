#!/usr/bin/env bash
# Holds plain npm servers to what the harness says of every server. It installs socket.io as package-lock.json has it, and:
#   upstream  judges server.mjs (socket.io with allowEIO3) with --profile upstream: all of it must pass
#   rooms     judges rooms.mjs, a room server, with --events rooms.toml as well: all of it must pass
#   defects   judges rooms.mjs with one defect at a time: the case in the list below must find it
#
# Usage: run.sh [upstream|rooms|defects] [options of `throng-harness run`]; without a name, all three.
# HARNESS is the program to run; by default cargo builds it.
set -euo pipefail
# Of rooms.mjs: short enough that the harness waits for a silent session.
export HEARTBEAT_MS=2000
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
server=
stop() {
  [ -z "$server" ] || { kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; } || true
  server=
}
trap 'stop; rm -rf "$work"' EXIT

# A defect of rooms.mjs, and the case that must find it.
defects="
roster-to-all  events.roster-of-others
double-entry   events.roster-of-two
wrong-entry    events.roster-outside
ghosts         events.end.disconnect
late-join      events.roster-of-repeats
no-leave       events.leave
open-rooms     events.outsider
talk-to-all    events.other-rooms
current-room   events.two-rooms
one-room       events.end.cut
small-rooms    events.many-members
late-copy      events.join
late-leak      events.other-rooms
late-left      events.leave
old-roster     events.roster
lower-case     events.names
short-names    events.names
id-rooms       events.ids-as-names
silent-ghosts  events.end.silence
lost-at-rest   events.after-rest
"

start() { # FILE [OPTION]: sets $url
  stop
  node "$work/$1" ${2:+"$2"} >"$work/log" &
  server=$!
  for _ in $(seq 100); do
    url=$(sed -n 's/.* listening on //p' "$work/log")
    [ -z "$url" ] || return 0
    sleep 0.1
  done
  echo "$1 did not start" >&2
  exit 3
}

run() { # OPTIONS: the harness, with the profile of upstream
  if [ -n "${HARNESS:-}" ]; then
    "$HARNESS" run --profile upstream --target "$url" --keep-going "$@"
  else
    cargo run --quiet --manifest-path "$here/../Cargo.toml" -- run --profile upstream --target "$url" --keep-going "$@"
  fi
}

parts="upstream rooms defects"
if [[ " $parts " = *" ${1:-none} "* ]]; then
  parts=$1
  shift
fi

cp "$here"/package.json "$here"/package-lock.json "$here"/*.mjs "$work/"
(cd "$work" && npm ci --silent --no-audit --no-fund)

status=0
passed=0
failed=0
for part in $parts; do
  case $part in
    upstream)
      start server.mjs
      run --strict "$@" || status=1
      ;;
    rooms)
      start rooms.mjs
      run --strict --events "$here/rooms.toml" --filter events "$@" || status=1
      ;;
    defects)
      while read -r defect case; do
        [ -n "$defect" ] || continue
        start rooms.mjs "--defects=$defect"
        code=0
        run --strict --events "$here/rooms.toml" --filter "$case" "$@" >"$work/out" || code=$?
        # 1: a MUST is violated; 4: a SHOULD.
        if { [ $code = 1 ] || [ $code = 4 ]; } && grep -qE "^(fail|warn) +$case" "$work/out"; then
          echo "found $defect by $case"
          passed=$((passed + 1))
        else
          echo "error $defect was not found by $case (exit code $code)"
          failed=$((failed + 1))
          status=1
        fi
      done <<<"$defects"
      echo "$passed passed, $failed failed"
      ;;
  esac
done
exit $status

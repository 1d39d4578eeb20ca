#!/usr/bin/env bash
# Kills or starts one of several nodes of a server: `node.sh down I`, `node.sh up I`; for
# `throng-harness run --node-command`, and a template for servers of others.
#
# $NODES is a directory with one folder per node: `I/command` is the command line of node I, whose
# last two words are its fixed address; `I/pid` and `I/log` are written here.
set -euo pipefail
dir="$NODES/$2"
case "$1" in
  up)
    [ ! -e "$dir/pid" ] || { echo "node $2 is up" >&2; exit 1; }
    touch "$dir/log"
    old=$(stat -c %s "$dir/log")
    # A session of its own: what kills the caller's group does not kill a node by accident.
    # The file is whole from the moment that it is there.
    setsid bash -c 'echo $$ > "$1/pid.new"; mv "$1/pid.new" "$1/pid"; exec bash -c "exec $(cat "$1/command")"' _ "$dir" \
      < /dev/null >> "$dir/log" 2>&1 &
    for _ in $(seq 600); do
      tail -c "+$((old + 1))" "$dir/log" | grep -q "listening on http" && exit 0
      kill -0 "$(cat "$dir/pid" 2> /dev/null || echo $$)" 2> /dev/null || break
      sleep 0.05
    done
    tail "$dir/log" >&2
    exit 1
    ;;
  down)
    pid=$(cat "$dir/pid")
    rm "$dir/pid"
    kill -KILL "$pid"
    # Its port is free, and its sockets are closed, when the process is gone.
    while kill -0 "$pid" 2> /dev/null; do sleep 0.01; done
    ;;
  *)
    echo "usage: node.sh up|down I" >&2
    exit 2
    ;;
esac

#!/usr/bin/env bash
# Runs the transport and Socket.IO cases against npm socket.io with allowEIO3. Every difference is in
# known-failing.txt with our interpretation of the text; a new or a missing difference fails the run.
#
# Usage: run.sh [options of `throng-harness run`]. HARNESS is the program to run; by default cargo builds it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
server=
cleanup() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

cp "$here/package.json" "$here/package-lock.json" "$here/server.mjs" "$work/"
(cd "$work" && npm ci --silent --no-audit --no-fund)

node "$work/server.mjs" >"$work/log" &
server=$!
url=
for _ in $(seq 100); do
  url=$(sed -n 's/^reference listening on //p' "$work/log")
  [ -z "$url" ] || break
  sleep 0.1
done
[ -n "$url" ] || { echo "the reference did not start" >&2; exit 3; }

run=(run --target "$url" --keep-going --known-failing "$here/known-failing.txt" "$@")
if [ -n "${HARNESS:-}" ]; then
  "$HARNESS" "${run[@]}"
else
  cargo run --quiet --manifest-path "$here/../Cargo.toml" -- "${run[@]}"
fi

#!/usr/bin/env bash
# Single gets from 64 tasks on one core: memring-client beside the crate memcache, interleaved, on the same server.
# scripts/compare-clients.sh [ROUNDS]: against one memring node, and against memcached where .tools/bin/memcached is.
# MEMRING_BIN names another program. Wants two cores with nothing else to do; its figures mean nothing otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${MEMRING_BIN:-}" ]; then
  cargo build --release --locked --quiet --package memring-cli
  MEMRING_BIN=${CARGO_TARGET_DIR:-target}/release/memring
fi
target=$PWD/.tools/compare-clients
cargo build --release --locked --quiet --manifest-path benches/clients/Cargo.toml --target-dir "$target"

server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true' EXIT
# A port that nobody listens on now.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

# compare NAME COMMAND…: with this server on the second core, the clients on the first.
compare() {
  local name=$1
  shift
  taskset -c 1 "$@" >/dev/null 2>&1 &
  server=$!
  for _ in $(seq 100); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    sleep 0.1
  done
  echo "$name:"
  taskset -c 0 "$target/release/memring-compare-clients" "127.0.0.1:$port" "${rounds:-7}"
  kill "$server"
  wait "$server" || true
  server=
}

rounds=${1:-7}
compare memring "$MEMRING_BIN" serve --listen 127.0.0.1 --port "$port" --admin-port 0 --threads 1
if [ -x .tools/bin/memcached ]; then
  compare memcached .tools/bin/memcached -l 127.0.0.1 -p "$port" -U 0 -t 1 -u "$(id -un)"
fi

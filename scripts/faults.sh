#!/usr/bin/env bash
# Real nodes through faults, and what their clients saw: scripts/faults.sh [STORY]…, all of them by default.
#   weak        level one, where the checkers must find something
#   kills       kill -9, restart, SIGSTOP, at the defaults, until WRITES writes are acknowledged (100000)
#   restarts    SIGTERM and restart, node by node, with one copy: how much of the cache is kept
#   minority    one node cut off: every command on both sides, and how soon the copies are equal afterwards
#   partitions  a one-way cut, a bridge, 10 % loss
#   relay       delay, jitter, reordered and doubled datagrams, silence towards one node
#   calm        no fault: how fast the clients are (not by default)
# FAULT_SEED chooses what happens when; SECONDS_A_FAULT how long each lasts (5). MEMRING_BIN names another program.
# Minority and partitions need root: they make network namespaces, and remove them.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ] && [[ " ${*:-minority} " =~ \ (minority|partitions)\  ]]; then
  echo "faults: minority and partitions need root, for network namespaces" >&2
  exit 1
fi
scripts/install-tools.sh faults
if [ -z "${MEMRING_BIN:-}" ]; then
  cargo build --release --locked --quiet --package memring-cli
  MEMRING_BIN=$PWD/target/release/memring
  if [ -n "${CARGO_TARGET_DIR:-}" ]; then MEMRING_BIN=$(realpath "$CARGO_TARGET_DIR")/release/memring; fi
fi
export MEMRING_BIN FAULT_SEED=${FAULT_SEED:-1}
if [ $# -gt 0 ]; then
  exec cargo run --release --locked --quiet --package memring-tests --bin faults -- --binary "$MEMRING_BIN" \
    --seed "$FAULT_SEED" --writes "${WRITES:-100000}" --seconds "${SECONDS_A_FAULT:-5}" "$@"
fi
exec cargo test --release --locked --quiet --package memring-tests --test faults -- --ignored --nocapture --test-threads 1

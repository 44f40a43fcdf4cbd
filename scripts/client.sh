#!/usr/bin/env bash
# The client library against real processes: scripts/client.sh
#   gets at level one go straight to a home on three nodes and, after a scale-out, on four; a kill -9 costs no read;
#   every call on a cluster and on memcached (MEMCACHED_BIN, else .tools/bin/memcached; left out where there is none).
# MEMRING_BIN names another program.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${MEMRING_BIN:-}" ]; then
  cargo build --release --locked --quiet --package memring-cli
  MEMRING_BIN=$(realpath "${CARGO_TARGET_DIR:-target}")/release/memring
fi
export MEMRING_BIN
exec cargo test --locked --quiet --package memring-tests --test client -- --ignored --show-output --test-threads 1

#!/usr/bin/env bash
# grafana/dskit's cache client, as Mimir uses it, while a node is killed: memring beside memcached, behind one address and
# with a list. MEMRING_BIN names another binary. See tests/dskit/__main__.py.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-tools.sh memcached survive dskit
export PYTHONDONTWRITEBYTECODE=1 MEMRING_SURVIVE_LOAD=$PWD/.tools/survive-load MEMRING_DSKIT_LOAD=$PWD/.tools/dskit-load
if [ -z "${MEMRING_BIN:-}" ]; then
  cargo build --release --locked --quiet --package memring-cli
  MEMRING_BIN=${CARGO_TARGET_DIR:-target}/release/memring
fi
export MEMRING_BIN
ulimit -n "$(ulimit -Hn)"
exec .tools/survive-venv/bin/python -u tests/dskit

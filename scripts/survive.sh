#!/usr/bin/env bash
# What clients see while nodes come and go, memring beside memcached: scripts/survive.sh [--write|--smoke|--report].
# WRITE=1 is --write: the full run, after which docs/survive.md and its plots are written; SMOKE=1 is --smoke: some
# seconds an event, with checks. Without either, a look. These choose what is measured:
#   SERVERS "3 2 1 memcached": memring with so many copies, and memcached   SETUPS "service list"
#   EVENTS  "kill pause roll scale outage"   RUNS of all of it   OUT folder of the figures
#   CALM AFTER DOWN RESTART PAUSE HOLD OUTAGE seconds   RATE operations a second   KEYS VALUE_BYTES TIMEOUT_MS REFRESH and the
#   others in tests/survive/settings.py
# MEMRING_BIN names another binary. --report writes the page of what OUT holds, with the paragraph REMARK.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${WRITE:-0}" != 0 ]; then set -- --write; fi
if [ "${SMOKE:-0}" != 0 ]; then set -- --smoke; fi
scripts/install-tools.sh memcached survive
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$PWD/tests/e2e MEMRING_SURVIVE_LOAD=$PWD/.tools/survive-load
if [ -z "${MEMRING_BIN:-}" ]; then
  cargo build --release --locked --quiet --package memring-cli
  MEMRING_BIN=${CARGO_TARGET_DIR:-target}/release/memring
fi
export MEMRING_BIN
if [ "${1:-}" = --smoke ]; then
  # The Go in there, if any, is there because the machine has none or an old one.
  if [ -x .tools/survive-venv/bin/go ]; then PATH=$PWD/.tools/survive-venv/bin:$PATH; fi
  (cd tests/survive/go && go test ./...)
  .tools/survive-venv/bin/python -m unittest discover --start-directory tests/survive
fi
# Both ends of every client's connection, and of those to the nodes behind the one address, are in one process.
ulimit -n "$(ulimit -Hn)"
exec .tools/survive-venv/bin/python -u tests/survive "$@"

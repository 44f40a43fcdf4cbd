#!/usr/bin/env bash
# `make bench-check`: memring bench and YCSB's core put the same load on one server at a fixed rate, in turns; fails if the rate
# is not kept, or if the server spends another CPU time on an operation: scripts/bench-check.sh [--rounds 7] [--seconds 8]
# [--rate 20000]. Wants a machine with nothing else to do, and two cores. MEMRING_BIN names another binary.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-tools.sh ycsb
if [ -z "${MEMRING_BIN:-}" ]; then
  cargo build --release --locked --quiet --package memring-cli
  MEMRING_BIN=${CARGO_TARGET_DIR:-target}/release/memring
fi
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$PWD/tests/e2e
exec python3 benches/ycsb/check.py --memring "$(realpath "$MEMRING_BIN")" --ycsb "$PWD/.tools/ycsb" "$@"

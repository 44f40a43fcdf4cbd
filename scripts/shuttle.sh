#!/usr/bin/env bash
# Runs the store's tests of thread schedules: its locks and atomics replaced by those of a scheduler (shuttle) that tries
# thousands of orders. In a folder of its own, since `--cfg shuttle` rebuilds everything that it is told.
set -euo pipefail
cd "$(dirname "$0")/.."
RUSTFLAGS="--cfg shuttle" cargo test --locked --package memring-engine --lib --target-dir target/shuttle \
  store::tests::schedules -- "$@"

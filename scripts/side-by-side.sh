#!/usr/bin/env bash
# `make bench-memory` and `make bench-hits`: scripts/side-by-side.sh memory|hits [--quick] compares memring with memcached
# 1.6.45, and with Debian's where that can be had, through the protocol. Tables go to standard output.
# MEMRING_BIN names another binary; QUICK=1 is --quick: smaller figures, for trying it out.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${QUICK:-0}" != 0 ]; then set -- "$@" --quick; fi
scripts/install-tools.sh memcached debian-memcached
if [ -z "${MEMRING_BIN:-}" ]; then
  cargo build --release --locked --quiet --package memring-cli
  MEMRING_BIN=${CARGO_TARGET_DIR:-target}/release/memring
fi
cargo build --release --locked --quiet --package memring-side-by-side
older=$PWD/.tools/debian-memcached/memcached
# A column of its own only if it is another memcached.
if [ -x "$older" ] && [ "$("$older" --version)" != "$(.tools/bin/memcached --version)" ]; then
  set -- "$@" --older "$older"
fi
exec "${CARGO_TARGET_DIR:-target}/release/memring-side-by-side" "$@" \
  --memring "$(realpath "$MEMRING_BIN")" --memcached "$PWD/.tools/bin/memcached"

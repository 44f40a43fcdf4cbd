#!/usr/bin/env bash
# `make bench`, `make bench-memory` and `make bench-hits`: scripts/side-by-side.sh speed|memory|hits [--quick] compares memring
# with memcached 1.6.45, and with Debian's where that can be had, through the protocol. Tables go to standard output.
# `speed` takes more options; without a binary, the program it runs lists them all.
# MEMRING_BIN names another binary; QUICK=1 is --quick: smaller figures, for trying it out; MC_CRUSHER names an mc-crusher, for
# rows that it drives.
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
if [ "${1:-}" = speed ]; then
  scripts/install-tools.sh nutcracker tracing
  # Ten thousand connections, of which both ends are here.
  ulimit -n "$(ulimit -Hn)"
  proxy=$PWD/.tools/nutcracker/nutcracker
  if [ -x "$proxy" ]; then set -- "$@" --nutcracker "$proxy"; fi
  if [ -n "${MC_CRUSHER:-}" ]; then set -- "$@" --mc-crusher "$(realpath "$MC_CRUSHER")"; fi
fi
exec "${CARGO_TARGET_DIR:-target}/release/memring-side-by-side" "$@" \
  --memring "$(realpath "$MEMRING_BIN")" --memcached "$PWD/.tools/bin/memcached"

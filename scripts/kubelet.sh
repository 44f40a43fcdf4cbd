#!/usr/bin/env bash
# Plays kubelet for the rendered chart: starts, rolls, scales out and scales in the pods that helm renders, as real
# processes in the image's root file system, with clients at work. Needs root for namespaces. MEMRING_BIN names another binary.
# See tests/kubelet/__main__.py.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-tools.sh charts container survive
export PYTHONDONTWRITEBYTECODE=1 MEMRING_TOOLS=$PWD/.tools MEMRING_SURVIVE_LOAD=$PWD/.tools/survive-load
if [ -z "${MEMRING_BIN:-}" ]; then
  cargo build --release --locked --quiet --package memring-cli
  MEMRING_BIN=${CARGO_TARGET_DIR:-target}/release/memring
fi
MEMRING_BIN=$(realpath "$MEMRING_BIN")
export MEMRING_BIN
ulimit -n "$(ulimit -Hn)"
# All that it makes, processes, networks and mounts, ends with it.
exec unshare --net --mount --pid --fork --kill-child --mount-proc bash -c '
  mkdir -p /run/netns
  mount -t tmpfs tmpfs /run/netns
  exec "$@"' - .tools/survive-venv/bin/python -u tests/kubelet "$@"

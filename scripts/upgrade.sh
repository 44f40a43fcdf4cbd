#!/usr/bin/env bash
# A ring of two releases: builds the last release from its commit (once, into target/releases/), lets three real nodes run
# it, replaces them one by one by this tree's program, and back; then runs the fault suite with one and with two of three
# nodes of the old release. scripts/upgrade.sh [STORY]…: those stories only (see scripts/faults.sh), mixed both ways.
# FAULT_SEED, SECONDS_A_FAULT, WRITES as there; MEMRING_BIN and OLDER_BIN name other programs. Needs git's history, and root
# for namespaces.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
# The releases and their commits are a list that a test holds to git's history.
read -r release commit < <(sed -nE 's/.*\("([0-9.]+)", "([0-9a-f]{40})"\).*/\1 \2/p' tests/tests/releases.rs | tail -1)

build_release() {
  local tree="$target/releases/$release"
  OLDER_BIN="$tree/target/release/memring"
  [ -x "$OLDER_BIN" ] && return
  git cat-file -e "$commit^{commit}" 2>/dev/null || {
    echo "upgrade: release $release is commit $commit, which this clone does not have (git fetch --unshallow)" >&2
    exit 1
  }
  mkdir -p "$tree/source"
  git archive "$commit" | tar -x -C "$tree/source"
  CARGO_TARGET_DIR="$tree/target" cargo build --release --locked --quiet --package memring-cli \
    --manifest-path "$tree/source/Cargo.toml"
}

if [ -z "${OLDER_BIN:-}" ]; then build_release; fi
if [ -z "${MEMRING_BIN:-}" ]; then
  cargo build --release --locked --quiet --package memring-cli
  MEMRING_BIN=$target/release/memring
fi
scripts/install-tools.sh faults
faults() {
  cargo run --release --locked --quiet --package memring-tests --bin faults -- --binary "$MEMRING_BIN" \
    --older "$OLDER_BIN" --seed "${FAULT_SEED:-1}" --writes "${WRITES:-50000}" --seconds "${SECONDS_A_FAULT:-3}" "$@"
}
stories=("$@")
if [ $# -eq 0 ]; then
  faults upgrade
  stories=(kills minority partitions relay)
fi
for old_nodes in 1 2; do
  echo "mixed: $old_nodes of 3 nodes run $release"
  faults --mixed "$old_nodes" "${stories[@]}"
done

#!/usr/bin/env bash
# `make test`: every gate that a change must pass, one line a step with its time, and a count at the end.
set -uo pipefail
cd "$(dirname "$0")/.."
logs=$(mktemp -d)
passed=0 failed=0 began=$SECONDS

# Hostile bytes that each decoder is given.
cases=${MEMRING_CASES:-1000000}

# A step that hangs is ended, and its log shown, long before whoever runs this gives up on all.
step_seconds_max=${STEP_SECONDS_MAX:-1500}
running=
trap '[ -z "$running" ] || kill "$running"; exit 130' INT TERM

# step NAME COMMAND…: runs, times, counts; lines that start with a part's name are figures for people and shown; the rest only on failure.
step() {
  local name=$1 log="$logs/$((passed + failed)).log" start=$SECONDS status=0
  shift
  timeout --kill-after=30 "$step_seconds_max" "$@" >"$log" 2>&1 &
  running=$!
  wait "$running" || status=$?
  running=
  if [ "$status" = 0 ]; then
    passed=$((passed + 1))
    printf '%-34s ok     %4d s  %s\n' "$name" $((SECONDS - start)) "$(figures "$log")"
    grep -E '^(ring|sim|sim met|sim order|sim leases|sim events|sim events met|sim thirty|sim thirty met|files|kill|large|semantics|text|random|client|clients|charts|chart|leases|metrics|instructions|container|packages): ' "$log" |
      grep -vE '^[a-z]+: ok ' | sed 's/^/    /'
  else
    failed=$((failed + 1))
    printf '%-34s FAILED %4d s\n' "$name" $((SECONDS - start))
    [ "$status" != 124 ] || echo "it had not ended after $step_seconds_max s"
    tail -n 200 "$log"
  fi
}

# What a log says in numbers: the sum of cargo's test counts, or the last line of our own scripts.
figures() {
  awk '/^test result:/ { tests += $4 } /^[0-9]+ passed, [0-9]+ failed/ { own = $0 }
       END { if (tests) printf "%d tests passed", tests; else if (own) printf "%s", own }' "$1"
}

step "tools" scripts/install-tools.sh clients counting memcached charts prometheus container packages
step "format" cargo fmt --all --check
step "clippy" cargo clippy --locked --workspace --all-targets -- -D warnings
step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
# One build, with our assertions and overflow checks on, for all: the optimised one is a third faster, and takes longer than
# that to build. The benches have no tests of their own; clippy has seen that they compile. What is told in few seeds here is
# told in many by `make test-all`.
step "tests, $cases cases a decoder" env MEMRING_CASES="$cases" \
  cargo test --locked --workspace --exclude memring-benches --no-fail-fast -- --show-output
step "release build" cargo build --locked --release --package memring-cli
step "client library on real nodes" scripts/client.sh
step "instruction counts" scripts/instructions.sh
step "helm chart" scripts/chart.sh
step "end to end, and against memcached" scripts/e2e.sh
step "container image" scripts/container.sh
step "installed, and as a package" scripts/packages.sh

echo "make test: $((SECONDS - began)) s"
echo "$passed passed, $failed failed"
if [ "$failed" -gt 0 ]; then
  echo "full logs: $logs"
  exit 1
fi
rm -rf "$logs"

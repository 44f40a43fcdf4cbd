#!/usr/bin/env bash
# Counts the instructions and allocations of reading one request, under valgrind's callgrind; fails above the limits.
# Each case runs TIMES and twice TIMES times; the difference, by TIMES, is the cost of one, so start-up cancels out.
set -euo pipefail
cd "$(dirname "$0")/.."
times=1000
counts=$(mktemp -d)
trap 'rm -rf "$counts"' EXIT
failed=0

scripts/install-tools.sh counting
cargo build --locked --release --quiet --package memring-instructions
binary=${CARGO_TARGET_DIR:-target}/release/memring-instructions

# run CASE TIMES: instructions and calls of malloc and its kin, of the whole process.
run() {
  local out=$counts/$1-$2
  valgrind --tool=callgrind --compress-strings=no --callgrind-out-file="$out" "$binary" "$1" "$2" >"$out.log" 2>&1 ||
    { cat "$out.log" >&2; echo "instructions: valgrind failed" >&2; exit 1; }
  awk '/^summary:/ { instructions = $2 }
       /^cfn=/ { allocates = $0 ~ /^cfn=(malloc|calloc|realloc|aligned_alloc|posix_memalign|memalign)(@.*)?$/ }
       /^calls=/ && allocates { split($1, words, "="); allocations += words[2] }
       END { if (!instructions) exit 1; print instructions, allocations + 0 }' "$out"
}

# check CASE NAME INSTRUCTIONS ALLOCATIONS: measures one case against its limits; `-` is no limit.
check() {
  local once twice instructions allocations
  once=$(run "$1" "$times")
  twice=$(run "$1" $((2 * times)))
  # Rounded up: a limit is not met by a fraction.
  instructions=$(((${twice% *} - ${once% *} + times - 1) / times))
  allocations=$(((${twice#* } - ${once#* } + times - 1) / times))
  if [ "$3" = - ]; then
    echo "instructions: $2 $instructions, allocations $allocations"
  else
    echo "instructions: $2 $instructions (limit $3), allocations $allocations"
    if [ "$instructions" -gt "$3" ]; then failed=1; fi
  fi
  if [ "$allocations" != "$4" ]; then
    echo "instructions: $2: $allocations allocations and not $4"
    failed=1
  fi
}

check copy "a copy of 36 bytes, to see that allocations are counted:" - 1
check get "get 30-byte key" 130 0
check mg "mg 30-byte key v t" 200 0
check get-100 "get of 100 keys" - 0
check set "set 30-byte key, 100 bytes" - 0
check ms "ms 30-byte key, 100 bytes, T0 F5" - 0
if [ "$failed" != 0 ]; then
  echo "instructions: above a limit" >&2
  exit 1
fi

#!/usr/bin/env bash
# Runs every fuzz target for SECONDS (60 unless given), four at a time, and fails if one crashes.
# Inputs worth keeping stay in target/fuzz/corpus and are tried first in the next run; an input that crashes stays in
# target/fuzz/crashes. RUSTC_BOOTSTRAP stands in for a nightly toolchain.
set -euo pipefail
cd "$(dirname "$0")/.."
self=$PWD/scripts/fuzz.sh
tools=$PWD/.tools
kept=$PWD/target/fuzz
seconds=${1:-60}
jobs=4

quietly() { "$@" >"$kept/build.log" 2>&1 || { cat "$kept/build.log" >&2; echo "fuzz: failed: $*" >&2; exit 1; }; }

# One target: prints one line, and the end of its log when it crashed. Inputs are short, since long ones are slow and
# find no more; memory is what a decoder may ask for at once and in all (the address sanitizer takes the greater part).
run() {
  local target=$1 binary log=$kept/$1.log options executions
  binary=$kept/$(rustc -vV | sed -n 's/^host: //p')/release/$target
  options=(-max_total_time="$seconds" -timeout=10 -malloc_limit_mb=64 -rss_limit_mb=1024)
  case $target in
    membership) options+=(-len_control=0 -max_len=512) ;; # a story of a few steps is none
    store_ops) options+=(-len_control=0 -max_len=2401) ;; # the same: 300 calls of 8 bytes
    *) options+=(-max_len=32768) ;;
  esac
  options+=(-print_final_stats=1 -artifact_prefix="$kept/crashes/$target-")
  if [ -f "fuzz/$target.dict" ]; then options+=(-dict="fuzz/$target.dict"); fi
  mkdir -p "$kept/corpus/$target" "$kept/crashes"
  # Any bytes are a story of the store: it starts from some, or would tell short ones for long.
  if [ "$target" = store_ops ] && [ -z "$(ls "$kept/corpus/$target")" ]; then
    for story in 1 2 3 4 5 6 7 8; do head -c 2401 /dev/urandom >"$kept/corpus/$target/first-$story"; done
  fi
  if "$binary" "${options[@]}" "$kept/corpus/$target" >"$log" 2>&1; then
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "fuzz: $target: $executions executions in $seconds s, no crash"
  else
    tail -n 60 "$log"
    echo "fuzz: $target: CRASHED: see target/fuzz/crashes"
    return 1
  fi
}

# The script calls itself so, for each target.
if [ -n "${2:-}" ]; then
  run "$2"
  exit
fi

scripts/install-tools.sh fuzzing
mkdir -p "$kept"
RUSTC_BOOTSTRAP=1 quietly "$tools/bin/cargo-fuzz" build --fuzz-dir fuzz --target-dir "$kept"
targets=$(sed -n 's/^path = "targets\/\(.*\)\.rs"$/\1/p' fuzz/Cargo.toml)
if [ -z "$targets" ]; then
  echo "fuzz: no targets in fuzz/Cargo.toml" >&2
  exit 1
fi
status=0
echo "$targets" | xargs -n 1 -P "$jobs" "$self" "$seconds" || status=$?
if [ "$status" != 0 ]; then exit 1; fi
echo "$(echo "$targets" | wc -l) passed, 0 failed"

#!/usr/bin/env bash
# Counts the instructions and allocations of reading one request, of one call of the store, of gets and sets at quorum on
# three nodes, and what timing gets costs a real server, under valgrind's callgrind; fails above the limits. Each case runs TIMES and twice TIMES times; the
# difference, by TIMES, is the cost of one, so start-up cancels out.
#
# Instructions inside memcpy and memmove are told beside the others and have no limit but in the cases of reading: how many
# they are follows from the value's length and the processor's widest moves, not from what is counted.
set -euo pipefail
cd "$(dirname "$0")/.."
times=1000
# Writes that evict, of 1 KB each: so many that what is done for many of them at once evens out.
evicting_times=4000
# Whole pipelines of 32; and requests of 100 keys.
piped_times=960
many_times=40

# What a call of the store may cost. Reading a request costs about 150, and a system call some thousands.
# A get finds the key in a table of its partition (hash, probe, compare: about 150), checks flush and expiry, and counts.
store_get_max=400
# An overwrite finds the same, and accounts for what goes and comes: queues, digest, size class.
store_overwrite_max=900
# A new key pushes an old one out, so it finds two keys, and changes table, queues and accounts for both.
store_evict_max=2700
# Nothing is allocated but the tables of partitions, which in a full store grow and shrink from time to time.
store_get_allocations=0
store_overwrite_allocations=0
store_evict_allocations=1

# A request of a lone node from bytes to bytes: reading it (about 120 a get, 280 a set of 100 B), the key's SHA-1 (about
# 1,400 here: valgrind has no instructions for it, processors do), the store's part above, the reply's line. What comes
# together touches its memory before, about 100 a key.
alone_get_max=2970
alone_set_max=3600
alone_pipelined_get_max=92000
alone_pipelined_set_max=112000
alone_mget_max=279000

# What a set of 1 KB at quorum on three nodes costs, twenty at a time, as busy links carry them; its copies told apart too.
# About 1400 of each are the key's SHA-1, once a node that hears of it: valgrind has no instructions for it, processors do.
# All of it: the asked node leads a third of the keys; the others' sets go there and back in frames of their own.
cluster_quorum_max=21600
# The asked node leads: two operations, two calls, their timers, the store's part, two frames, two acknowledgements.
cluster_coordinator_max=10900
# Another home: a frame read in place, the store's part, two bytes of a frame. Beside it, putting it on the link copies.
cluster_replica_max=3350
# Key and value, and what shares each between the operations; half of them again for a leader elsewhere, which decodes
# both. Links' and tables' growth is the fraction that is rounded up. Another home allocates nothing.
cluster_quorum_allocations=7
cluster_coordinator_allocations=5
cluster_replica_allocations=0
# A get of 1 KB at quorum on three nodes that all hold it, handed over as frames: about a twentieth above what was reached.
# Each side hashes the key, and valgrind's processor has no instructions for SHA-1: 1,500 of each side's are that, and with
# them a few dozen. The coordinator reads its own copy (about 1,000, with the value's allocation), asks one peer for the
# version, and puts both together; the rest is frames, the operation, the call, the timer and the reply's lists. The peer
# does as much as for a get, and no copy of the value. In a pipeline the message and the call are shared by 32 gets.
quorum_get_max=12000
quorum_get_replica_max=4000
quorum_pipelined_max=10400
# A get of many keys is compared: values come from the coordinator's copies, a key is hashed there alone, and the peer says in
# one word whether it holds the same. Both sides touch what 32 keys at a time will want before they look: 100 instructions a
# key, for waiting less.
quorum_mget_max=455000
quorum_mget_replica_max=111000
# Coordinator: the key's bytes, their being shared, keys and bytes of the message, its own copy of the value, the lists of
# reads, results and values; peer: keys, their bytes, results.
quorum_get_allocations=10
quorum_get_replica_allocations=3
quorum_pipelined_allocations=6
# The keys' bytes, their being shared, the list of keys, that of the message. The values' buffer comes back.
quorum_mget_allocations=4
quorum_mget_replica_allocations=0

# What a get may cost a real server more where it is timed, in hundredths of a percent: rounds of one get, and of 32 that come
# together. One more reading of the clock a round, and a bucket; 32 alike are one addition.
timing_max=200
timing_rounds=4000
timing_rounds_of_many=400

counts=$(mktemp -d)
trap 'rm -rf "$counts"' EXIT
failed=0

scripts/install-tools.sh counting
cargo build --locked --release --quiet --package memring-instructions --package memring-cli
binary=${CARGO_TARGET_DIR:-target}/release/memring-instructions
server=${MEMRING_BIN:-${CARGO_TARGET_DIR:-target}/release/memring}

# run CASE TIMES: instructions, calls of malloc and its kin, and those of the instructions that copy, of the whole process.
run() {
  local out=$counts/$1-$2
  valgrind --tool=callgrind --compress-strings=no --callgrind-out-file="$out" "$binary" "$1" "$2" >"$out.log" 2>&1 ||
    { cat "$out.log" >&2; echo "instructions: valgrind failed" >&2; exit 1; }
  # The line after `calls=` is what the called function costs: that is told where the function itself is.
  awk '/^summary:/ { instructions = $2 }
       /^fn=/ { copies = $0 ~ /^fn=_*(memcpy|memmove)/ }
       /^cfn=/ { allocates = $0 ~ /^cfn=(malloc|calloc|realloc|aligned_alloc|posix_memalign|memalign)(@.*)?$/ }
       /^calls=/ { if (allocates) { split($1, words, "="); allocations += words[2] } called = 1; next }
       /^[-+*0-9]/ { if (called) called = 0; else if (copies) copying += $2 }
       END { if (!instructions) exit 1; print instructions, allocations + 0, copying + 0 }' "$out"
}

# per_time ONCE TWICE TIMES: rounded up, for a limit is not met by a fraction.
per_time() {
  echo $((($2 - $1 + $3 - 1) / $3))
}

# measure CASE TIMES: what once costs, into `instructions`, `allocations` and `copying`.
measure() {
  local once twice
  # Both at a time: what else runs changes no count.
  run "$1" "$2" >"$counts/once" &
  read -ra twice <<<"$(run "$1" $((2 * $2)))"
  wait $!
  read -ra once <"$counts/once"
  instructions=$(per_time "${once[0]}" "${twice[0]}" "$2")
  allocations=$(per_time "${once[1]}" "${twice[1]}" "$2")
  copying=$(per_time "${once[2]}" "${twice[2]}" "$2")
}

# hold NAME INSTRUCTIONS ALLOCATIONS: holds what was measured against limits; `-` is no limit.
hold() {
  if [ "$2" = - ]; then
    echo "instructions: $1 $instructions, allocations $allocations"
  else
    echo "instructions: $1 $instructions (limit $2), allocations $allocations"
    if [ "$instructions" -gt "$2" ]; then failed=1; fi
  fi
  if [ "$allocations" != "$3" ]; then
    echo "instructions: $1: $allocations allocations and not $3"
    failed=1
  fi
}

# check CASE NAME INSTRUCTIONS ALLOCATIONS: one case of reading.
check() {
  measure "$1" "$times"
  hold "$2" "$3" "$4"
}

# check_store CASE NAME TIMES INSTRUCTIONS ALLOCATIONS: one case of the store or of a cluster, without its copies.
check_store() {
  measure "$1" "$3"
  instructions=$((instructions - copying))
  hold "$2, $copying in copies and" "$4" "$5"
}

# serve METRICS ROUNDS GETS: instructions of the worker's thread of a real server with `--metrics METRICS`, whose one client
# asks so many rounds of so many gets each. Threads take turns under valgrind, so nothing else is in the figure.
serve() {
  local out=$counts/serve-$1-$2-$3
  python3 - "$server" "$out" "$@" >"$out.log" 2>&1 <<'PYTHON' ||
import signal, socket, subprocess, sys, time, urllib.request

binary, out, metrics, rounds, gets = sys.argv[1:4] + [int(word) for word in sys.argv[4:6]]
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
ports = [one.getsockname()[1] for one in held]
for one in held:
    one.close()
flags = ("--port", "--peer-port", "--admin-port")
arguments = [word for flag, port in zip(flags, ports) for word in (flag, str(port))]
valgrind = ["valgrind", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={out}"]
command = [*valgrind, binary, "serve", "--name", "n1", "--threads", "1", "--metrics", metrics, *arguments]
process = subprocess.Popen(command, stdin=subprocess.DEVNULL)


def is_ready():
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{ports[2]}/startupz", timeout=5).status == 200
    except OSError:
        return False


def ask(client, request, reply):
    client.sendall(request)
    missing = len(reply)
    while missing > 0:
        missing -= len(client.recv(missing)) or sys.exit("the server has closed")


try:
    give_up = time.monotonic() + 120
    while not is_ready():
        if process.poll() is not None or time.monotonic() > give_up:
            sys.exit("the server is not ready")
        time.sleep(0.1)
    with socket.create_connection(("127.0.0.1", ports[0]), timeout=60) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        value = b"x" * 1000
        ask(client, b"set key 0 0 1000\r\n" + value + b"\r\n", b"STORED\r\n")
        hit = b"VALUE key 0 1000\r\n" + value + b"\r\nEND\r\n"
        for _ in range(rounds):
            ask(client, b"get key\r\n" * gets, hit * gets)
finally:
    process.send_signal(signal.SIGINT)
    process.wait(120)
PYTHON
    { cat "$out.log" >&2; echo "instructions: the server cannot be counted" >&2; exit 1; }
  # The main thread is the first; of a server with one worker that is the second.
  awk '/^totals:/ { print $2 }' "$out-02"
}

# time_gets NAME ROUNDS GETS: what a get costs with and without timing, and how much more that is. A worker also wakes now and
# then, whatever it is asked: so both kinds of server run at a time, for both to wake as often, and the median of three counts.
time_gets() {
  local metrics rounds trial cost=() trials=()
  for trial in 1 2 3; do
    for rounds in "$2" $((2 * $2)); do
      serve off "$rounds" "$3" >"$counts/off-$rounds" &
      serve on "$rounds" "$3" >"$counts/on-$rounds"
      wait $!
    done
    for metrics in off on; do
      cost+=("$(per_time "$(<"$counts/$metrics-$2")" "$(<"$counts/$metrics-$((2 * $2))")" $(($2 * $3)))")
    done
    trials+=("$((cost[1] - cost[0])) ${cost[*]}")
    cost=()
  done
  read -ra cost <<<"$(printf '%s\n' "${trials[@]}" | sort -n | sed -n '2s/^[^ ]* //p')"
  local more=$(((cost[1] - cost[0]) * 10000 / cost[0]))
  echo "instructions: $1 ${cost[0]}, timed ${cost[1]}: $((more / 100)).$(printf '%02d' $((more < 0 ? -more % 100 : more % 100))) %" \
    "more (limit $((timing_max / 100)) %)"
  if [ "$more" -gt "$timing_max" ]; then failed=1; fi
}

check copy "a copy of 36 bytes, to see that allocations are counted:" - 1
check digest "SHA-1 of a 30-byte key, without the processor's instructions for it:" - 0
check get "get 30-byte key" 130 0
check mg "mg 30-byte key v t" 200 0
check get-100 "get of 100 keys" - 0
check set "set 30-byte key, 100 bytes" - 0
check ms "ms 30-byte key, 100 bytes, T0 F5" - 0
check_store store-get-1k "store: get of 1 KB" "$times" "$store_get_max" "$store_get_allocations"
check_store store-overwrite-1k "store: overwrite of 1 KB" "$times" "$store_overwrite_max" "$store_overwrite_allocations"
check_store store-evict-1k "store: new key of 1 KB, evicting" \
  "$evicting_times" "$store_evict_max" "$store_evict_allocations"
check_store alone-get-1k "one node: get of 1 KB" "$times" "$alone_get_max" 0
check_store alone-set-1k "one node: set of 1 KB" "$times" "$alone_set_max" 0
check_store alone-pipelined-get "one node: 32 gets of 100 B that come together" "$times" "$alone_pipelined_get_max" 0
check_store alone-pipelined-set "one node: 32 sets of 100 B that come together" "$times" "$alone_pipelined_set_max" 0
check_store alone-mget "one node: get of 100 keys of 100 B" "$times" "$alone_mget_max" 0
check_store cluster-set-quorum "cluster: set of 1 KB at quorum" "$times" "$cluster_quorum_max" "$cluster_quorum_allocations"
check_store cluster-set-coordinator "cluster: the same, where it is asked for and ordered" \
  "$times" "$cluster_coordinator_max" "$cluster_coordinator_allocations"
check_store cluster-set-replica "cluster: the same, at another home" \
  "$times" "$cluster_replica_max" "$cluster_replica_allocations"
check_store cluster-get-quorum "three nodes: get of 1 KB at quorum" "$times" "$quorum_get_max" "$quorum_get_allocations"
check_store cluster-get-quorum-replica "three nodes: the peer's part of it" \
  "$times" "$quorum_get_replica_max" "$quorum_get_replica_allocations"
check_store cluster-get-quorum-pipelined "three nodes: one of 32 such gets that come together" \
  "$piped_times" "$quorum_pipelined_max" "$quorum_pipelined_allocations"
check_store cluster-mget-quorum "three nodes: get of 100 keys at quorum" \
  "$many_times" "$quorum_mget_max" "$quorum_mget_allocations"
check_store cluster-mget-quorum-replica "three nodes: the peers' part of it" \
  "$many_times" "$quorum_mget_replica_max" "$quorum_mget_replica_allocations"
time_gets "a real server: get of 1 KB" "$timing_rounds" 1
time_gets "a real server: one of 32 such gets that come together" "$timing_rounds_of_many" 32
if [ "$failed" != 0 ]; then
  echo "instructions: above a limit" >&2
  exit 1
fi

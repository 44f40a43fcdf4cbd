#!/usr/bin/env bash
# Tests the container image without a container engine: assembles the root file system of its last stage and runs the
# binary in it as Kubernetes would, as user 11211, with a read-only root, in a network of its own. Needs root.
# MEMRING_BIN names another binary.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-tools.sh container
if [ -z "${MEMRING_BIN:-}" ]; then
  cargo build --release --locked --quiet --package memring-cli
  MEMRING_BIN=${CARGO_TARGET_DIR:-target}/release/memring
fi
work=$(mktemp -d)
root=$work/root
log=$work/log
# The server as this machine numbers it (in the image it is 1), and what waits for it.
server= launcher=
passed=0 failed=0

stop() {
  if [ -n "$server" ] && kill -0 "$server" 2>/dev/null; then
    kill -KILL "$server"
    wait "$launcher" 2>/dev/null || true
  fi
  server= launcher=
}
trap 'stop; rm -rf "$work"' EXIT

# check NAME EXPECTED COMMAND…: what the command prints, carriage returns apart, is what is expected.
check() {
  local name=$1 expected=$2 printed
  shift 2
  printed=$("$@" 2>&1 | tr -d '\r') || true
  if [ "$printed" = "$expected" ]; then
    passed=$((passed + 1))
    echo "container: ok $name"
  else
    failed=$((failed + 1))
    echo "container: FAILED $name: expected '$expected', and not '$printed'"
  fi
}

# start COMMAND…: runs it in the image, as process 1.
start() {
  unshare --mount --net --ipc --uts --pid --fork --kill-child bash -c '
    root=$1; shift
    ip link set lo up
    hostname memring-0
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -o remount,ro,bind "$root"
    exec setpriv --no-new-privs chroot --userspec=11211:11211 "$root" "$@"' - "$root" "$@" >"$log" 2>&1 &
  launcher=$!
  for _ in $(seq 100); do
    server=$(cat "/proc/$launcher/task/$launcher/children" 2>/dev/null) && server=${server% }
    if [ -n "$server" ] && [ "$(say version 2>/dev/null | cut -d " " -f 1)" = VERSION ]; then return; fi
    if ! kill -0 "$launcher" 2>/dev/null; then break; fi
    sleep 0.1
  done
  echo "container: $* does not answer:" >&2
  cat "$log" >&2
  exit 1
}

# In the image, beside the server and as its user, as `kubectl exec` and probes run.
inside() { nsenter --target "$server" --mount --net --pid --root --wd --setgid 11211 --setuid 11211 "$@"; }

# What the server answers to the lines.
say() {
  nsenter --target "$server" --net bash -c '
    exec 3<>/dev/tcp/127.0.0.1/11211
    printf "%s\r\n" "$@" quit >&3
    cat <&3' - "$@"
}

deploy/container/rootfs.sh "$MEMRING_BIN" "$root"
echo "container: $(du --summarize --apparent-size --block-size=1M "$root" | cut -f 1) MB"
check "the image has no shell" "" find "$root" -name sh
check "only pgrep, memring and its link can be run" "memcached memring pgrep" \
  bash -c "find '$root'/usr/local/bin '$root'/usr/bin ! -type d -printf '%f\n' | sort | tr '\n' ' ' | sed 's/ \$//'"

# A chart's arguments as they are.
start /usr/local/bin/memcached "-m 64" --extended=modern,track_sizes,ext_path=/data/file:9G,ext_wbuf_size=16 "-I 5m" \
  "-c 1024" -v "-u 11211" "-t 2"
check "memcached's arguments: it stores and answers" "$(printf 'STORED\nVALUE k 0 2\nhi\nEND')" say "set k 0 0 2" hi "get k"
check "it runs as user 11211" 11211 stat -c %u "/proc/$server"
check "its root cannot be written" "touch: cannot touch '/proc/$server/root/tmp/file': Read-only file system" \
  touch "/proc/$server/root/tmp/file"
check "a probe finds it by memcached's name" "1" bash -c "$(declare -f inside); server=$server; inside pgrep memcached | wc -l"
kill -TERM "$server"
status=0
wait "$launcher" || status=$?
check "SIGTERM ends it, without an error" 0 echo "$status"

# As the chart of this repository runs it.
start /usr/local/bin/memring serve --listen 0.0.0.0 -m 64m --name memring-0 --advertise 127.0.0.1
check "memring serve: it stores and answers" "$(printf 'STORED\nVALUE k 0 2\nhi\nEND')" say "set k 0 0 2" hi "get k"
check "memring status answers in the image" 1 bash -c "$(declare -f inside); server=$server; inside memring status | grep -c ' alive '"
stop
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

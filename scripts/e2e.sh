#!/usr/bin/env bash
# End-to-end tests with foreign clients and against memcached:
# scripts/e2e.sh [files|kill|leases|large|semantics|text|random|clients|charts|hints|metrics]… [--standin]
# All parts by default. Builds what it needs; MEMRING_BIN names another binary. See tests/e2e/__main__.py.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-tools.sh clients memcached prometheus
# The Go in there, if any, is there because the machine has none or an old one.
if [ -x .tools/venv/bin/go ]; then PATH=$PWD/.tools/venv/bin:$PATH; fi
export PATH PYTHONDONTWRITEBYTECODE=1
export MEMRING_TOOLS=$PWD/.tools
export MEMRING_E2E_GO=$MEMRING_TOOLS/e2e-go
export MEMRING_E2E_RUST=$MEMRING_TOOLS/e2e-rust/release/memring-e2e
if [ -z "${MEMRING_BIN:-}" ]; then
  cargo build --release --locked --quiet --package memring-cli
  MEMRING_BIN=${CARGO_TARGET_DIR:-target}/release/memring
fi
export MEMRING_BIN
exec .tools/venv/bin/python -u tests/e2e "$@"

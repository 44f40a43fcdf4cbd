#!/usr/bin/env bash
# Checks of the Helm chart without a cluster (tests/chart): scripts/chart.sh [--write]
# --write first makes the chart's README and its copies of deploy/grafana anew.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-tools.sh charts
export PYTHONDONTWRITEBYTECODE=1 MEMRING_TOOLS=$PWD/.tools
exec .tools/charts/venv/bin/python -u tests/chart "$@"

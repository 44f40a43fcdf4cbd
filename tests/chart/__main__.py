"""Checks of the Helm chart, without a cluster: `python tests/chart`; with `--write` what is made is first made anew.

Started by scripts/chart.sh, which installs the tools and sets MEMRING_TOOLS. Each set of values in ci/ is linted and rendered
by Helm 3 and Helm 4 for every version of Kubernetes that the chart claims; what comes out is held against that version's own
schemas and, for operators' kinds, against ours. Then the chart's unit tests, kube-score, and the pages that are made from
others. Must not know what the templates say: that is for the unit tests beside them.
"""

import sys

import documents
import lint
from charts import Chart, ROOT
from kubernetes import Schemas
from report import Report


def main():
    report = Report()
    chart = Chart(ROOT)
    if "--write" in sys.argv[1:]:
        documents.write(chart)
    documents.check(report, chart)
    lint.check_sets(report, chart, Schemas(ROOT / "deploy/chart/schemas"))
    lint.check_unit_tests(report, chart)
    lint.check_score(report, chart)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""What is written twice says the same: README and values, schema and values, versions, alerts and dashboard.

Must not know how the chart renders.
"""

import json
import tomllib

import yaml
from charts import TOOLS, run

# What deploy/grafana holds and tests, and the chart hands out: Helm reads no file from outside a chart.
COPIES = ("alerts.yaml", "dashboard.json")

README_IS_MADE_BY = "scripts/chart.sh --write"


def check(report, chart):
    """All of it, without changing anything."""
    readme = (chart.path / "README.md").read_text() if (chart.path / "README.md").exists() else ""
    report.check("README.md", [] if readme == made_readme(chart) else [f"it is old: {README_IS_MADE_BY}"])
    values = yaml.safe_load((chart.path / "values.yaml").read_text())
    schema = json.loads((chart.path / "values.schema.json").read_text())
    report.check("values.schema.json", unlike(values, schema, ""))
    report.check("values.yaml", [f"{name}: no comment `# --`" for name in undocumented(chart, values)])
    report.check("appVersion", unlike_workspace(chart))
    report.check("copies of deploy/grafana", unlike_originals(chart))


def write(chart):
    """Makes what is made: the README, and the copies."""
    (chart.path / "README.md").write_text(made_readme(chart))
    for name in COPIES:
        original = chart.root / "deploy/grafana" / name
        if original.exists():
            (chart.path / "files").mkdir(exist_ok=True)
            (chart.path / "files" / name).write_bytes(original.read_bytes())


def made_readme(chart):
    """What helm-docs makes of the values' comments."""
    done = run(
        [TOOLS / "helm-docs", "--dry-run", "--log-level", "error", "--sort-values-order", "file", "--chart-search-root", chart.path]
    )
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    return "\n".join(lines).strip() + "\n"


def unlike(values, schema, path):
    """Keys that only one of both has, wherever the schema names keys."""
    named = schema.get("properties")
    if not isinstance(values, dict) or named is None:
        return []
    only = [f"{path}{key}: not in the schema" for key in values if key not in named]
    only += [f"{path}{key}: only in the schema" for key in named if key not in values]
    inside = [line for key in named if key in values for line in unlike(values[key], named[key], f"{path}{key}.")]
    return only + inside


def undocumented(chart, values):
    """Values at the top without a comment above them, unless the comment stands at what is inside."""
    lines = (chart.path / "values.yaml").read_text().splitlines()
    for at, line in enumerate(lines):
        name = line.split(":")[0]
        if name in values and not isinstance(values[name], dict) and not lines[at - 1].startswith("# -- "):
            yield name


def unlike_workspace(chart):
    """The release that the chart installs is this workspace's."""
    meta = yaml.safe_load((chart.path / "Chart.yaml").read_text())
    workspace = tomllib.loads((chart.root / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    return [] if meta["appVersion"] == workspace else [f"{meta['appVersion']}, but the workspace is {workspace}"]


def unlike_originals(chart):
    """Copies that are missing, or not what deploy/grafana says."""
    wrong = []
    for name in COPIES:
        original, copy = chart.root / "deploy/grafana" / name, chart.path / "files" / name
        if original.exists() != copy.exists():
            wrong.append(f"{name}: only {'the original' if original.exists() else 'the copy'} is there")
        elif original.exists() and original.read_bytes() != copy.read_bytes():
            wrong.append(f"{name}: the copy differs: {README_IS_MADE_BY}")
    return wrong

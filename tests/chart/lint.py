"""What tools say of the chart: Helm's own linter, Kubernetes' schemas, helm-unittest and kube-score. Must not look into templates."""

import json
import os
import re
import tempfile
from pathlib import Path

import yaml
from charts import TOOLS, for_each, run

# What the chart claims (Chart.yaml, kubeVersion) up to the newest whose schemas are there.
KUBERNETES = [f"1.{minor}" for minor in range(28, 38)]

# kube-score's checks that are not for this chart, each with the reason.
SCORE_EXCEPTIONS = {
    "container-ephemeral-storage-request-and-limit": "a node writes no file but its log: its root is read-only",
    "container-image-pull-policy": "a release's tag never changes, and a registry that is away must not stop a restart",
    "pod-networkpolicy": "who may reach a cache is the cluster's to say: networkPolicy.enabled",
    "statefulset-has-host-podantiaffinity": "topologySpreadConstraints spread nodes over hosts, and over zones",
}


def check_sets(report, chart, schemas):
    """Lints and renders every set with both Helms for every version, and validates what comes out."""
    sets = chart.value_sets()
    cases = [(helm, values) for helm in chart.helms for values in sets]
    for (helm, values), done in zip(cases, for_each(chart.lint, cases)):
        said = (done.stdout + done.stderr).strip().splitlines()
        report.check(f"helm {helm} lint, {values.name}", said if done.returncode else [])
    cases = [(helm, values, version) for values in sets for version in KUBERNETES for helm in chart.helms]
    rendered = {}
    for case, (ok, text) in zip(cases, for_each(chart.render, cases)):
        rendered[case] = text if ok else None
        if not ok:
            report.check(f"helm {case[0]} template, {case[1].name}, {case[2]}", [text.strip()])
    validated = 0
    for values in sets:
        for version in KUBERNETES:
            ours, theirs = (rendered[(helm, values, version)] for helm in chart.helms)
            same = [] if ours == theirs else ["Helm 3 and Helm 4 render different text"]
            report.check(f"both helms alike, {values.name}, {version}", same)
            documents = [document for document in yaml.load_all(theirs or "", yaml.CSafeLoader) if document]
            wrong = [line for document in documents for line in schemas.violations(document, version)]
            report.check(f"schemas, {values.name}, {version}", wrong if documents else ["nothing is rendered"])
            validated += len(documents)
    report.figure(
        f"{len(sets)} sets of values, by {' and '.join(versions(chart))}: {validated} objects valid for"
        f" Kubernetes {KUBERNETES[0]} to {KUBERNETES[-1]}"
    )


def versions(chart):
    """What each Helm calls itself."""
    said = [run([helm, "version", "--short"]).stdout for helm in chart.helms.values()]
    return ["Helm " + line.split("+")[0].lstrip("v").strip() for line in said]


def check_unit_tests(report, chart):
    """The tests in the chart's folder tests/."""
    # It wants a folder of its own for its settings, and looks for Helm there.
    with tempfile.TemporaryDirectory() as home:
        done = run([TOOLS / "helm-unittest", "--color=false", chart.path], env={**os.environ, "HOME": home})
    report.check("helm-unittest", (done.stdout + done.stderr).splitlines() if done.returncode else [])
    tests = re.search(r"^Tests:\s+(.*)$", done.stdout, re.MULTILINE)
    report.figure(f"helm-unittest: {tests.group(1).strip() if tests else 'no test was run'}")


def check_score(report, chart):
    """kube-score finds nothing beside the exceptions, in any set."""
    ignored = [word for name in SCORE_EXCEPTIONS for word in ("--ignore-test", name)]
    with tempfile.TemporaryDirectory() as folder:
        # One file a set: it looks for budgets and policies across all that it is given.
        for values in chart.value_sets():
            ok, text = chart.render("4", values, KUBERNETES[-1])
            path = Path(folder) / values.name
            path.write_text(text if ok else "")
            command = [TOOLS / "kube-score", "score", "--output-format", "json", "--ignore-container-cpu-limit"]
            done = run([*command, "--kubernetes-version", f"v{KUBERNETES[-1]}", *ignored, path])
            report.check(f"kube-score, {values.name}", complaints(done))


def complaints(done):
    """Every check of kube-score's that gave less than its best grade, which is 10."""
    try:
        objects = json.loads(done.stdout)
    except json.JSONDecodeError:
        return [done.stdout + done.stderr]
    found = []
    for scored in objects or []:
        for check in scored["checks"]:
            if not check["skipped"] and check["grade"] < 10:
                why = "; ".join(comment["summary"] for comment in check.get("comments") or [])
                found.append(f"{scored['object_name']}: {check['check']['id']}: {why}")
    return found

"""The chart, its sets of values, and Helm in both majors. Must not judge what comes out."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(os.environ.get("MEMRING_TOOLS", ROOT / ".tools")) / "charts"

# The release that is rendered: a name that is not the chart's, so that both are seen in names.
RELEASE = "r"


class Chart:
    """The chart in the repository; `helms` are the Helms it must work with."""

    def __init__(self, root):
        self.root = root
        self.path = root / "deploy/chart/memring"
        self.helms = {version: TOOLS / f"helm-{version}" / "helm" for version in ("3", "4")}

    def value_sets(self):
        """The chart's own values, and each file of ci/."""
        return [self.path / "values.yaml", *sorted((self.path / "ci").glob("*-values.yaml"))]

    def lint(self, helm, values):
        return run([self.helms[helm], "lint", "--strict", "--quiet", "--values", values, self.path])

    def render(self, helm, values, kubernetes):
        """The rendered text, or what Helm said instead; the flag is whether it is the text."""
        done = run(
            [self.helms[helm], "template", RELEASE, self.path, "--values", values, "--kube-version", kubernetes]
        )
        return done.returncode == 0, done.stdout if done.returncode == 0 else done.stderr


def run(command, **options):
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, **options
    )


def for_each(work, items):
    """Results of `work(*item)`, in the order of `items`; two at a time, for the work is other processes'."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(lambda item: work(*item), items))

"""/metrics of three real nodes: is it memcached_exporter's and our own documents' letter for letter, and can a real
Prometheus scrape it, answer every query of the dashboard, and evaluate every alert?

Asks the probes too, of a node that leaves. Not tried with memcached (`--standin`), which has no such things.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import exporter
from cluster import HOST, Cluster, die_with_parent, is_free

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
DEPLOY = os.path.join(TOP, "deploy", "grafana")
DOCUMENT = os.path.join(TOP, "docs", "metrics.md")
READY_SECONDS_MAX = 30
# Rates want two scrapes in their window, whose least is Grafana's four times the interval.
SCRAPE_SECONDS = 1
WINDOW = "30s"
ANSWERED_SECONDS_MAX = 40
DRAIN_SECONDS_MAX = 60
LINT_CODE = 3
NAMES = re.compile(r"\b((?:memring|memcached|process)_[a-z_]*[a-z])\b")
SUFFIXES = ("_bucket", "_sum", "_count")
# As a node of a Kubernetes ring has them, to see that none of ours is in their way.
TARGET_LABELS = {"cluster": "e2e", "namespace": "caches"}
CONFIG = '[[namespace]]\nprefix = "tier:"\nread = "one"\n'


class Families:
    """One scrape in the text format: types by family, and labels by series name."""

    def __init__(self, text):
        self.types, self.series, self.values = {}, {}, {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                self.types[name] = kind
            elif line and not line.startswith("#"):
                series, value = line.rsplit(" ", 1)
                name, _, labels = series.partition("{")
                names = frozenset(re.findall(r'(\w+)="', labels))
                self.series.setdefault(name, set()).add(names)
                self.values[series] = float(value)

    def names(self):
        return set(self.series)

    def labels_of(self, family):
        """Names of labels, without a histogram's own."""
        names = [family] if family in self.series else [family + suffix for suffix in SUFFIXES]
        return {label for name in names for labels in self.series.get(name, ()) for label in labels} - {"le"}


class Prometheus:
    """Debian's, scraping these nodes until it is stopped."""

    def __init__(self, nodes, folder):
        self.port = next(port for port in range(31900, 32700) if is_free(port))
        targets = [f"{HOST}:{node.admin_port}" for node in nodes]
        config = {
            "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": f"{SCRAPE_SECONDS}s"},
            "rule_files": [os.path.abspath(os.path.join(DEPLOY, "alerts.yaml"))],
            "scrape_configs": [
                {"job_name": "memring", "static_configs": [{"targets": targets, "labels": TARGET_LABELS}]},
            ],
        }
        path = os.path.join(folder, "prometheus.yml")
        with open(path, "w", encoding="ascii") as file:
            json.dump(config, file)  # JSON is YAML.
        self.log = os.path.join(folder, "prometheus.log")
        self.command = [
            tool("prometheus"), f"--config.file={path}", f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address={HOST}:{self.port}",
        ]  # fmt: skip

    def __enter__(self):
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent
            )
        try:
            wait_for(READY_SECONDS_MAX, self.is_ready)
        except TimeoutError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def is_ready(self):
        with contextlib.suppress(OSError):
            return fetch(f"http://{HOST}:{self.port}/-/ready")[0] == 200
        return False

    def api(self, path, **parameters):
        """What it answers to a question; (None, why) for one that it does not understand."""
        url = f"http://{HOST}:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        answer = json.loads(fetch(url)[2])
        return answer.get("data"), answer.get("error", "")

    def query(self, expression):
        data, error = self.api("query", query=expression)
        return (data["result"] if data else None), error


def fetch(url, accept="*/*", body=None):
    """(status, content type, body)."""
    request = urllib.request.Request(url, data=body, headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, reply.headers.get("Content-Type"), reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("Content-Type"), error.read().decode()


def wait_for(seconds_max, happened):
    give_up = time.monotonic() + seconds_max
    while not happened():
        if time.monotonic() > give_up:
            raise TimeoutError(f"not within {seconds_max} s")
        time.sleep(0.1)


def tool(name):
    return os.path.join(os.environ["MEMRING_TOOLS"], "prometheus", name)


def scrape(node, accept="*/*"):
    return fetch(f"http://{HOST}:{node.admin_port}/metrics", accept)


def promtool(*arguments, stdin=None):
    """Its exit code, and the lines that it says."""
    done = subprocess.run([tool("promtool"), *arguments], input=stdin, capture_output=True, text=True, check=False)
    return done.returncode, [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]


def complaints(*arguments):
    code, told = promtool(*arguments)
    return [] if code == 0 else [f"exit code {code}", *told]


class Load:
    """Something of every kind for every node, until it is stopped."""

    def __init__(self, nodes):
        self.nodes = nodes
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.failures = []

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()

    def run(self):
        with contextlib.ExitStack() as stack:
            connections = [
                stack.enter_context(socket.create_connection((HOST, node.port), timeout=10)) for node in self.nodes
            ]
            number = 0
            while not self.stopped.is_set():
                for connection in connections:
                    number += 1
                    self.work(connection, f"k{number % 500}")
                time.sleep(0.01)

    def work(self, connection, key):
        lines = [
            f"set {key} 0 0 5\r\nhello\r\n", f"get {key}\r\n", f"get none-{key}\r\n",
            f"get {key} tier:{key} none\r\n", f"get {key} none-{key}\r\n",
            f"set tier:{key} 0 60 3\r\nabc\r\n", f"get tier:{key}\r\n", f"add {key} 0 0 1\r\nx\r\n",
            f"mg {key} v t\r\n", f"ms {key}-m 2 T60\r\nhi\r\n", f"incr {key}-none 1\r\n", f"touch {key} 100\r\n",
            f"delete {key}-m\r\n", "mn\r\n",
        ]  # fmt: skip
        connection.sendall("".join(lines).encode())
        answer = b""
        while not answer.endswith(b"MN\r\n"):
            piece = connection.recv(65536)
            if not piece:
                raise ConnectionError("closed")
            answer += piece
        if b"ERROR" in answer:
            self.failures.append(answer[:200])


def documented():
    """Type and labels by name, of every row of docs/metrics.md."""
    rows = {}
    with open(DOCUMENT, encoding="utf-8") as file:
        for line in file:
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if line.startswith("| `") and len(cells) == 4:
                rows[cells[0].strip("`")] = (cells[1], set(re.findall(r"`(\w+)`", cells[2])))
    return rows


def expressions():
    """(where, query) of every panel of the dashboard and every alert."""
    with open(os.path.join(DEPLOY, "dashboard.json"), encoding="utf-8") as file:
        panels = json.load(file)["panels"]
    found = [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", ())]
    with open(os.path.join(DEPLOY, "alerts.yaml"), encoding="utf-8") as file:
        found += [("alert", line.split("expr: ", 1)[1].strip()) for line in file if line.strip().startswith("expr: ")]
    return found


def filled_in(query):
    return re.sub(r"\$(cluster|namespace|job|instance)\b", ".*", query).replace("$__rate_interval", WINDOW)


def same_as_exporter(nodes, report):
    """Names, labels and types; values change from one scrape to the next."""
    violations, compared = [], 0
    with exporter.Exporter() as process:
        for node in nodes:
            url = f"http://{HOST}:{process.port}/scrape?target={node.address}"
            theirs, ours = Families(fetch(url)[2]), Families(scrape(node)[2])
            names = {name for name in theirs.names() if name.startswith("memcached_")}
            own = {name for name in ours.names() if name.startswith("memcached_")}
            violations += [f"{node.name} lacks {name}" for name in sorted(names - own)]
            violations += [f"{node.name} has {name} too" for name in sorted(own - names)]
            for name in sorted(names & own):
                compared += 1
                if theirs.types.get(name) != ours.types.get(name):
                    violations.append(f"{name}: {ours.types.get(name)}, not {theirs.types.get(name)}")
                if theirs.series[name] != ours.series[name]:
                    violations.append(f"{name}: labels {ours.series[name]}, not {theirs.series[name]}")
            series = {line.split(" ")[0] for line in theirs.values if line.startswith("memcached_")}
            missing = {sort_labels(line) for line in series} - {sort_labels(line) for line in ours.values}
            violations += [f"{node.name} lacks {line}" for line in sorted(missing)]
    report.check("names, labels and types are memcached_exporter's own", violations)
    report.figure(f"{compared // len(nodes)} of memcached_exporter's metrics at every node")


def sort_labels(series):
    name, _, labels = series.partition("{")
    return name, tuple(sorted(re.findall(r'\w+="[^"]*"', labels)))


def formats(node, report):
    _, kind, text = scrape(node)
    violations = [] if kind.startswith("text/plain; version=0.0.4") else [f"text comes as {kind}"]
    # 3 is for names that are not what Prometheus would have, as some of memcached_exporter's are not.
    code, told = promtool("check", "metrics", stdin=text)
    if code not in (0, LINT_CODE):
        violations.append(f"promtool ends with {code}")
    violations += [line for line in told if not line.startswith("memcached_")]
    asked = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    _, kind, text = scrape(node, asked)
    if not kind.startswith("application/openmetrics-text") or not text.endswith("\n# EOF\n"):
        violations.append(f"OpenMetrics comes as {kind} and ends with {text[-20:]!r}")
    report.check("both formats are what they say, and promtool has nothing to say of our own names", violations)


def as_documented(nodes, report):
    rows, violations = documented(), []
    for node in nodes:
        found = Families(scrape(node)[2])
        violations += [f"{node.name} has {name} too" for name in sorted(set(found.types) - set(rows))]
        violations += [f"{node.name} lacks {name}" for name in sorted(set(rows) - set(found.types))]
        for name in sorted(set(rows) & set(found.types)):
            told = (found.types[name], found.labels_of(name))
            if told != rows[name]:
                violations.append(f"{name}: {told}, not {rows[name]}")
    report.check("docs/metrics.md names exactly what there is", violations)
    report.figure(f"{len(rows)} metrics, {len(Families(scrape(nodes[0])[2]).values)} series")


def in_prometheus(prometheus, nodes, report):
    def is_up():
        up, _ = prometheus.query("up == 1")
        return up is not None and len(up) == len(nodes)

    wait_for(READY_SECONDS_MAX, is_up)
    targets, _ = prometheus.api("targets")
    active = targets["activeTargets"]
    report.check("Prometheus scrapes every node", [target["lastError"] for target in active if target["lastError"]])
    clashes, _ = prometheus.query('{__name__=~"memring_.+|memcached_.+",exported_job!=""}')
    for label in (*TARGET_LABELS, "instance"):
        clashes += prometheus.query(f'{{__name__=~"memring_.+|memcached_.+",exported_{label}!=""}}')[0]
    report.check("no label of ours is one that Prometheus gives", [str(one["metric"]) for one in clashes[:3]])
    queries = expressions()
    names, _ = prometheus.api("label/__name__/values")
    unknown = {f"{where}: {name}" for where, query in queries for name in NAMES.findall(query) if name not in names}
    report.check("every metric that the dashboard and the alerts name is there", sorted(unknown))
    panels = [(where, filled_in(query)) for where, query in queries if where != "alert"]
    answered = set()

    def all_answered():
        for where, query in panels:
            if (where, query) not in answered and prometheus.query(query)[0]:
                answered.add((where, query))
        return len(answered) == len(panels)

    with contextlib.suppress(TimeoutError):
        wait_for(ANSWERED_SECONDS_MAX, all_answered)
    unanswered = [panel for panel in panels if panel not in answered]
    silent = [f"{where}: {query}: {prometheus.query(query)[1] or 'nothing'}" for where, query in unanswered]
    report.check("every query of the dashboard returns data", silent)
    alerts, _ = prometheus.api("rules")
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    bad = [f"{rule['name']}: {rule['health']} {rule.get('lastError', '')}" for rule in rules if rule["health"] == "err"]
    firing = [rule["name"] for rule in rules if rule["state"] == "firing"]
    report.check("every alert is evaluated, and none fires", bad + firing)
    report.figure(f"{len(panels)} queries, {len(rules)} alerts")


def files(report):
    alerts = os.path.join(DEPLOY, "alerts.yaml")
    report.check("promtool takes the alerts", complaints("check", "rules", alerts))
    report.check("each alert fires when it is to", complaints("test", "rules", os.path.join(DEPLOY, "alerts_test.yaml")))
    check = subprocess.run(
        [sys.executable, os.path.join(DEPLOY, "dashboard.py"), "--check"], capture_output=True, text=True, check=False
    )
    report.check("the dashboard is what its source writes", [check.stderr] if check.returncode else [])


def moved(nodes, report):
    """After the load, what must have happened in a cluster at quorum."""
    values = {}
    for node in nodes:
        for series, value in Families(scrape(node)[2]).values.items():
            values[series] = values.get(series, 0) + value
    timed = 'memring_request_duration_seconds_count{{command="{}",level="{}",outcome="{}"}}'
    wanted = [f'memring_hops_total{{kind="{kind}"}}' for kind in ("read", "compare", "forward", "replicate")]
    wanted += [timed.format(*kind) for kind in (
        ("set", "quorum", "hit"), ("get", "quorum", "hit"), ("get", "quorum", "miss"), ("get", "one", "hit"),
        ("add", "quorum", "refused"), ("mg", "quorum", "hit"), ("ms", "quorum", "hit"), ("incr", "quorum", "miss"),
        ("touch", "quorum", "hit"), ("delete", "quorum", "hit"),
    )]  # fmt: skip
    wanted += [f'memring_namespace_gets_total{{prefix="{prefix}",outcome="hit"}}' for prefix in ("default", "tier:*")]
    wanted += ['memring_peer_replies_total{peer="n2"}', "memring_peer_reply_seconds_total{peer=\"n3\"}"]
    still = [series for series in wanted if not values.get(series)]
    if values.get("memring_requests_in_flight"):
        still.append("memring_requests_in_flight is not 0 again")
    expected = {'memring_members{state="alive"}': 9, "memring_replicas": 9, 'memring_partitions{state="recovering"}': 0,
                'memring_partitions{state="synced"}': 3 * 16384, "memring_ready": 3}  # fmt: skip
    found = {name: values.get(name) for name in expected}
    still += [f"{name} is {found[name]}, not {value}" for name, value in expected.items() if found[name] != value]
    report.check("what the load did is told", still)


def probes(cluster, report):
    """Of nodes that serve, and of one that leaves."""
    violations = []

    def expect(node, path, status, text):
        found = node.admin(path)
        if found != (status, f"{text}\n".encode()):
            violations.append(f"{node.name} {path}: {found}, not {status} {text}")

    for node in cluster.nodes:
        for path in ("/livez", "/readyz", "/startupz"):
            expect(node, path, 200, "ok")
    leaver = cluster.nodes[-1]
    leaver.admin("/api/drain", b"")
    wait_for(DRAIN_SECONDS_MAX, lambda: json.loads(leaver.admin("/api/drain")[1] or b"{}").get("state") == "drained")
    expect(leaver, "/livez", 200, "ok")
    expect(leaver, "/readyz", 503, "drained")
    told = Families(scrape(leaver)[2]).values
    for series, value in (
        ('memring_drain_state{state="drained"}', 1), ("memring_drain_partitions_left", 0), ("memring_ready", 0),
        ('memring_partitions{state="synced"}', 0),
    ):  # fmt: skip
        if told.get(series) != value:
            violations.append(f"{series} is {told.get(series)}, not {value}")
    for node in cluster.nodes[:-1]:
        expect(node, "/readyz", 200, "ok")
    report.check("probes and metrics tell of a node that left the ring", violations)


def run(binary, report):
    if binary is None:
        report.figure("memcached has no /metrics: nothing is tried")
        return
    files(report)
    with tempfile.TemporaryDirectory(prefix="memring-e2e-") as folder:
        config = os.path.join(folder, "memring.toml")
        with open(config, "w", encoding="ascii") as file:
            file.write(CONFIG)
        with Cluster(binary, more=("--config", config)) as cluster:
            with Prometheus(cluster.nodes, folder) as prometheus, Load(cluster.nodes) as load:
                in_prometheus(prometheus, cluster.nodes, report)
            report.check("no client of the load saw an error", [str(failure) for failure in load.failures])
            formats(cluster.nodes[0], report)
            moved(cluster.nodes, report)
            same_as_exporter(cluster.nodes, report)
            as_documented(cluster.nodes, report)
            probes(cluster, report)

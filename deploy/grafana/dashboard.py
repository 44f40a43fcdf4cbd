#!/usr/bin/env python3
"""Writes dashboard.json, the overview of a memring cluster for Grafana 10 or newer; `--check` only says whether it would change.

One line a panel: what it is called, how it is drawn, and what it asks Prometheus. Must not know a running system: which
metrics there are is told in docs/metrics.md, and tests/e2e/metrics.py asks every query of a real cluster.
"""

import json
import os
import sys

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dashboard.json")
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT = 24, 8
# The variables that memcached's own dashboards have, so that a cluster is chosen alike in both.
VARIABLES = ("cluster", "namespace", "job", "instance")
CHOSEN = ", ".join(f'{name}=~"${name}"' for name in VARIABLES)
READS, WRITES = 'command=~"get|gat|mg"', 'command!~"get|gat|mg|flush_all"'
SECONDS, BYTES, RATE, SHARE, COUNT = "s", "bytes", "ops", "percentunit", "short"


def of(metric, *matchers):
    """The series of a metric at the chosen nodes."""
    return f"{metric}{{{', '.join([CHOSEN, *matchers])}}}"


def rate(metric, *matchers):
    return f"rate({of(metric, *matchers)}[$__rate_interval])"


def total(expression, *by):
    return f"sum by ({', '.join(by)}) ({expression})" if by else f"sum({expression})"


def quantile(share, which, *by):
    buckets = rate("memring_request_duration_seconds_bucket", which)
    return f"histogram_quantile({share}, {total(buckets, 'le', *by)})"


def hit_rate(*by):
    gets = 'command="get"'
    hits = total(rate("memcached_commands_total", gets, 'status="hit"'), *by)
    return f"{hits} / {total(rate('memcached_commands_total', gets), *by)}"


def members_away():
    away = total(of("memring_members", 'state!="alive"'), "instance")
    return f"max({away})"


def share_of(metric, matchers, *by):
    return f"{total(rate(metric, *matchers), *by)} / {total(rate(metric), *by)}"


def heat(which):
    return total(f"increase({of('memring_request_duration_seconds_bucket', which)}[$__rate_interval])", "le")


def peer_reply_time():
    took, count = rate("memring_peer_reply_seconds_total"), rate("memring_peer_replies_total")
    return f"{total(took, 'peer')} / {total(count, 'peer')}"


def memory_share():
    by = ("instance",)
    used, limit = (of(f"memring_memory{name}_bytes", 'part="store"') for name in ("", "_limit"))
    return f"{total(used, *by)} / {total(limit, *by)}"


# (kind, width, title, unit, [(query, legend)])
CLUSTER = (
    ("stat", 4, "Nodes", COUNT, [(total(of("memcached_up")), "up")]),
    ("stat", 4, "Members not alive", COUNT, [(members_away(), "")]),
    ("stat", 4, "Partitions recovering", COUNT, [(total(of("memring_partitions", 'state="recovering"')), "")]),
    ("stat", 4, "Hit rate", SHARE, [(hit_rate(), "")]),
    ("stat", 4, "Commands", RATE, [(total(rate("memcached_commands_total")), "")]),
    ("stat", 4, "Read p99", SECONDS, [(quantile(0.99, READS), "")]),
    ("timeseries", 12, "Commands", RATE, [(total(rate("memcached_commands_total"), "command", "status"), "{{command}} {{status}}")]),
    ("timeseries", 12, "Hit rate by namespace", SHARE, [(share_of("memring_namespace_gets_total", ['outcome="hit"'], "prefix"), "{{prefix}}")]),
    ("heatmap", 12, "Reads: how long they take", SECONDS, [(heat(READS), "{{le}}")]),
    ("heatmap", 12, "Writes: how long they take", SECONDS, [(heat(WRITES), "{{le}}")]),
    ("timeseries", 12, "Reads: p50 and p99 by level", SECONDS, [
        (quantile(0.5, READS, "level"), "{{level}} p50"), (quantile(0.99, READS, "level"), "{{level}} p99"),
    ]),
    ("timeseries", 12, "Writes: p50 and p99 by level", SECONDS, [
        (quantile(0.5, WRITES, "level"), "{{level}} p50"), (quantile(0.99, WRITES, "level"), "{{level}} p99"),
    ]),
    ("timeseries", 8, "Outcomes", RATE, [(total(rate("memring_request_duration_seconds_count"), "outcome"), "{{outcome}}")]),
    ("timeseries", 8, "Levels not met", RATE, [
        (total(rate("memring_reads_unmet_total")), "reads"), (total(rate("memring_writes_unmet_total")), "writes"),
    ]),
    ("timeseries", 8, "Reads repaired, hedged, rerouted", RATE, [
        (total(rate("memring_read_repairs_total")), "repaired"), (total(rate("memring_hedged_reads_total")), "hedged"),
        (total(rate("memring_calls_rerouted_total")), "rerouted"),
    ]),
    ("timeseries", 8, "Members by state", COUNT, [(f"max by (state) ({of('memring_members')})", "{{state}}")]),
    ("timeseries", 8, "Partitions by state", COUNT, [(total(of("memring_partitions"), "state"), "{{state}}")]),
    ("timeseries", 8, "Partitions taken over, refounded, differing", RATE, [
        (total(rate("memring_takeovers_total")), "taken over"), (total(rate("memring_partitions_refounded_total")), "refounded"),
        (total(rate("memring_partitions_differing_total")), "differing"),
    ]),
    ("timeseries", 8, "Hints", BYTES, [(total(of("memring_hint_bytes"), "place"), "{{place}}")]),
    ("timeseries", 8, "Age of the oldest hint", SECONDS, [(f"max by (instance) ({of('memring_hint_oldest_age_seconds')})", "{{instance}}")]),
    ("timeseries", 8, "Hints replayed and dropped", RATE, [
        (total(rate("memring_hints_replayed_total")), "replayed"), (total(rate("memring_hints_dropped_total")), "dropped"),
    ]),
    ("timeseries", 12, "Evictions by queue", RATE, [(total(rate("memring_evictions_total"), "queue"), "{{queue}}")]),
    ("timeseries", 12, "Requests to other nodes", RATE, [(total(rate("memring_hops_total"), "kind"), "{{kind}}")]),
)  # fmt: skip
NODES = (
    ("timeseries", 8, "Commands", RATE, [(total(rate("memcached_commands_total"), "instance"), "{{instance}}")]),
    ("timeseries", 8, "Hit rate", SHARE, [(hit_rate("instance"), "{{instance}}")]),
    ("timeseries", 8, "CPU", COUNT, [
        (total(rate("memcached_process_user_cpu_seconds_total"), "instance"), "{{instance}} user"),
        (total(rate("memcached_process_system_cpu_seconds_total"), "instance"), "{{instance}} system"),
    ]),
    ("timeseries", 8, "Memory for items in use", SHARE, [(memory_share(), "{{instance}}")]),
    ("timeseries", 8, "Memory by part", BYTES, [(total(of("memring_memory_bytes"), "part"), "{{part}}")]),
    ("timeseries", 8, "Memory of the process", BYTES, [(of("process_resident_memory_bytes"), "{{instance}}")]),
    ("timeseries", 8, "Items", COUNT, [(of("memcached_current_items"), "{{instance}}")]),
    ("timeseries", 8, "Evictions", RATE, [(total(rate("memcached_items_evicted_total"), "instance"), "{{instance}}")]),
    ("timeseries", 8, "Connections", COUNT, [
        (of("memcached_current_connections"), "{{instance}}"), (f"min({of('memcached_max_connections')})", "limit"),
    ]),
    ("timeseries", 8, "Network to clients", "Bps", [
        (total(rate("memcached_written_bytes_total"), "instance"), "{{instance}} out"),
        (f"-{total(rate('memcached_read_bytes_total'), 'instance')}", "{{instance}} in"),
    ]),
    ("timeseries", 8, "Requests in flight", COUNT, [(of("memring_requests_in_flight"), "{{instance}}")]),
    ("timeseries", 8, "Partitions not yet held, and left to hand over", COUNT, [
        (of("memring_partitions", 'state="recovering"'), "{{instance}} recovering"),
        (of("memring_drain_partitions_left"), "{{instance}} draining"),
    ]),
    ("timeseries", 8, "Waiting to be sent to a peer", BYTES, [(of("memring_peer_queue_bytes"), "{{instance}} to {{peer}}")]),
    ("timeseries", 8, "Peers that are avoided", COUNT, [
        (total(of("memring_peer_breaker_state", 'state!="closed"'), "peer", "state"), "{{peer}} {{state}}"),
        (total(of("memring_peer_slow"), "peer"), "{{peer}} slow"),
    ]),
    ("timeseries", 8, "How long a peer takes to answer", SECONDS, [(peer_reply_time(), "{{peer}}")]),
    ("timeseries", 8, "Clocks", SECONDS, [(of("memring_clock_offset_seconds"), "{{instance}}")]),
    ("timeseries", 8, "Connections refused or closed", RATE, [
        (total(rate("memcached_connections_rejected_total")), "refused"),
        (total(rate("memring_connections_closed_total"), "reason"), "{{reason}}"),
    ]),
    ("timeseries", 8, "Log lines left out", RATE, [(total(rate("memring_log_lines_suppressed_total"), "instance"), "{{instance}}")]),
)  # fmt: skip


def variable(at):
    """One that depends on those before it."""
    name, before = VARIABLES[at], VARIABLES[:at]
    chosen = ", ".join(f'{other}=~"${other}"' for other in before)
    query = f"label_values(memring_build_info{{{chosen}}}, {name})"
    return {
        "name": name, "label": name, "type": "query", "datasource": DATASOURCE, "query": {"query": query, "refId": name},
        "definition": query, "refresh": 2, "sort": 1, "multi": True, "includeAll": True, "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }  # fmt: skip


def panel(number, place, kind, title, unit, targets):
    asked = [
        {
            "refId": chr(ord("A") + at), "datasource": DATASOURCE, "expr": query, "legendFormat": legend or "__auto",
            "format": "heatmap" if kind == "heatmap" else "time_series", "instant": kind == "stat", "range": kind != "stat",
        }
        for at, (query, legend) in enumerate(targets)
    ]  # fmt: skip
    made = {
        "id": number, "type": kind, "title": title, "gridPos": place, "datasource": DATASOURCE, "targets": asked,
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
    }  # fmt: skip
    if unit == SHARE:
        made["fieldConfig"]["defaults"].update(min=0, max=1)
    if kind == "heatmap":
        made["options"] = {
            "calculate": False, "cellGap": 0, "color": {"mode": "scheme", "scheme": "Spectral", "steps": 64},
            "yAxis": {"unit": SECONDS}, "tooltip": {"show": True, "yHistogram": True},
        }  # fmt: skip
    if kind == "timeseries":
        made["options"] = {"tooltip": {"mode": "multi", "sort": "desc"}, "legend": {"displayMode": "list", "placement": "bottom"}}
    return made


def dashboard():
    panels, number, y = [], 1, 0
    for title, row in (("Cluster", CLUSTER), ("Nodes", NODES)):
        place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
        panels.append({"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []})
        number, x, y = number + 1, 0, y + 1
        height = 0
        for kind, width, name, unit, targets in row:
            if x + width > WIDTH:
                x, y, height = 0, y + height, 0
            high = HEIGHT // 2 if kind == "stat" else HEIGHT
            panels.append(panel(number, {"x": x, "y": y, "w": width, "h": high}, kind, name, unit, targets))
            number, x, height = number + 1, x + width, max(height, high)
        y += height
    datasource = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}}
    return {
        "title": "memring", "uid": "memring-overview", "tags": ["memring", "memcached"], "schemaVersion": 38,
        "editable": True, "graphTooltip": 1, "refresh": "30s", "time": {"from": "now-1h", "to": "now"}, "timezone": "utc",
        "templating": {"list": [datasource, *(variable(at) for at in range(len(VARIABLES)))]},
        "annotations": {"list": []}, "links": [], "panels": panels,
    }  # fmt: skip


def main():
    written = json.dumps(dashboard(), indent=2) + "\n"
    if "--check" in sys.argv[1:]:
        with open(PATH, encoding="utf-8") as file:
            if file.read() != written:
                sys.exit("dashboard.json is not what dashboard.py writes: run deploy/grafana/dashboard.py")
        return
    with open(PATH, "w", encoding="utf-8") as file:
        file.write(written)


if __name__ == "__main__":
    main()

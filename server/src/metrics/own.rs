//! memring's own metrics: what memcached has no name for.
//!
//! Must not know how they are gathered. Labels that are not fixed are the names of the ring's members and the prefixes of
//! configured namespaces.

use std::borrow::Cow;

use memring_engine::node::{Figures, PeerFigures, Settings};

use super::Scene;
use super::families::{Families, Kind, Labels, Value};
use crate::stopwatch::{BOUNDS_US, Summed};

use Kind::{Counter, Gauge, Histogram};

/// What keys of no namespace are told as. The label is no `namespace`, for Kubernetes gives each target one of that name.
const NO_NAMESPACE: &str = "default";

/// Tells all of them.
pub(super) fn tell(scene: &Scene, settings: &Settings, families: &mut Families) {
    tell_node(scene, settings, families);
    tell_requests(scene, families);
    tell_counters(&scene.figures, families);
    tell_hints(&scene.figures, families);
    tell_ring(&scene.figures, families);
    tell_store(&scene.figures, families);
    tell_memory(scene, families);
    tell_peers(scene, families);
    tell_clients(scene, families);
}

fn label(name: &'static str, value: impl Into<Cow<'static, str>>) -> Labels {
    vec![(name, value.into())]
}

fn whole(number: impl TryInto<u64>) -> Value {
    Value::Whole(number.try_into().unwrap_or(u64::MAX))
}

fn seconds(us: u64) -> Value {
    Value::Number(us as f64 / 1e6)
}

/// A series for each of `all`: 1 for the one that is.
fn one_of<'a>(name: &'static str, all: &'a [&'static str], is: &'a str) -> impl Iterator<Item = (Labels, Value)> + 'a {
    all.iter().map(move |state| (label(name, *state), whole(u64::from(*state == is))))
}

fn tell_node(scene: &Scene, settings: &Settings, families: &mut Families) {
    let figures = &scene.figures;
    let version = label("version", env!("CARGO_PKG_VERSION"));
    families.add(("memring_build_info", Gauge, "Always 1; which release this is."), [(version, whole(1u64))]);
    let mut who = label("name", settings.name.to_string());
    who.extend([("zone", Cow::Owned(settings.zone.clone())), ("cluster_name", Cow::Owned(settings.cluster.clone()))]);
    families.add(("memring_node_info", Gauge, "Always 1; which node this is."), [(who, whole(1u64))]);
    families.add_one(
        ("memring_ready", Gauge, "Whether the node has a ring, and does not stop."),
        whole(u64::from(figures.is_ready)),
    );
    families.add_one(
        ("memring_clock_offset_seconds", Gauge, "By how much the cluster's time is ahead of the node's own clock."),
        Value::Number(figures.clock_offset_ms as f64 / 1e3),
    );
    families.add_one(
        ("memring_log_lines_suppressed_total", Counter, "Log lines left out because too many were alike."),
        whole(scene.log_lines_left_out),
    );
    families.add_one(
        ("process_resident_memory_bytes", Gauge, "Memory in use by the process."),
        whole(scene.resident_bytes),
    );
}

fn tell_requests(scene: &Scene, families: &mut Families) {
    families.add(
        ("memring_request_duration_seconds", Histogram, "How long clients' commands took, by level and outcome."),
        scene.latencies.iter().map(histogram),
    );
    families.add_one(
        ("memring_requests_in_flight", Gauge, "Requests of clients that wait for other nodes."),
        whole(scene.in_flight),
    );
    let namespaces = scene.figures.namespaces.iter().flat_map(|namespace| {
        let name = namespace.prefix.as_ref().map(|prefix| format!("{}*", prefix.escape_ascii()));
        let name = name.unwrap_or_else(|| NO_NAMESPACE.to_owned());
        [("hit", namespace.hits), ("miss", namespace.misses)].map(|(outcome, count)| {
            let mut labels = label("prefix", name.clone());
            labels.push(("outcome", Cow::Borrowed(outcome)));
            (labels, whole(count))
        })
    });
    families.add(("memring_namespace_gets_total", Counter, "Keys read, by configured namespace."), namespaces);
}

fn histogram(sum: &Summed) -> (Labels, Value) {
    let labels = vec![
        ("command", Cow::Borrowed(sum.command)),
        ("level", Cow::Borrowed(sum.level)),
        ("outcome", Cow::Borrowed(sum.outcome)),
    ];
    let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
    let buckets = bounds.zip(sum.counts).collect();
    (labels, Value::Histogram { sum: sum.sum_us as f64 / 1e6, buckets })
}

fn tell_counters(figures: &Figures, families: &mut Families) {
    let counters = &figures.counters;
    let hops = [
        ("read", &counters.hops_read),
        ("compare", &counters.hops_compare),
        ("look", &counters.hops_look),
        ("forward", &counters.hops_forward),
        ("replicate", &counters.hops_replicate),
        ("promise", &counters.hops_promise),
        ("flush", &counters.hops_flush),
        ("stats", &counters.hops_stats),
        ("replay", &counters.hops_replay),
    ];
    let hops = hops.map(|(kind, count)| (label("kind", kind), whole(count.value())));
    families.add(("memring_hops_total", Counter, "Requests to other nodes, by what for."), hops);
    for (name, count, help) in [
        ("memring_reads_unmet_total", &counters.reads_unmet, "Reads that too few copies could answer."),
        ("memring_writes_unmet_total", &counters.writes_unmet, "Writes that too few copies acknowledged: in doubt."),
        ("memring_read_repairs_total", &counters.read_repairs, "Reads whose copies differed and were made to agree."),
        (
            "memring_hedged_reads_total",
            &counters.hedged_reads,
            "Reads that asked one more copy since others took long.",
        ),
        (
            "memring_hedges_refused_total",
            &counters.hedges_refused,
            "Those that would have, had there not been too many.",
        ),
        ("memring_calls_rerouted_total", &counters.calls_rerouted, "Requests to silent peers taken elsewhere."),
        ("memring_takeovers_total", &counters.takeovers, "Partitions taken over as serializer."),
        (
            "memring_partitions_refounded_total",
            &counters.partitions_refounded,
            "Partitions of which no complete copy was left.",
        ),
        (
            "memring_partitions_emptied_total",
            &counters.partitions_emptied,
            "Copies emptied on return: what was deleted is forgotten.",
        ),
        (
            "memring_partitions_compared_total",
            &counters.partitions_compared,
            "Partitions compared with another home's.",
        ),
        ("memring_partitions_differing_total", &counters.partitions_differing, "Those of them that differed."),
        ("memring_repairs_sent_total", &counters.repairs_sent, "Entries sent to homes that were found to lack them."),
        ("memring_repair_sent_bytes_total", &counters.repair_bytes, "Bytes of their keys and values."),
        ("memring_hints_replayed_total", &counters.hints_replayed, "Hints given to the homes they waited for."),
    ] {
        families.add_one((name, Counter, help), whole(count.value()));
    }
    families.add_one(
        ("memring_repairs_queued", Gauge, "Entries that wait to be sent to homes that lack them."),
        whole(figures.repairs.0),
    );
    families.add_one(
        ("memring_repairs_pending", Gauge, "Partitions that wait to be compared for a reason, or differ."),
        whole(figures.repairs_pending),
    );
}

fn tell_hints(figures: &Figures, families: &mut Families) {
    let hints = &figures.hints;
    let places =
        |(memory, disk): (u64, u64)| [(label("place", "memory"), whole(memory)), (label("place", "disk"), whole(disk))];
    families.add(("memring_hints", Gauge, "Writes kept for homes that have missed them."), places(hints.count));
    families.add(("memring_hint_bytes", Gauge, "Bytes of hints."), places(hints.bytes));
    families.add(("memring_hint_limit_bytes", Gauge, "The most bytes of hints."), places(hints.limit_bytes));
    families.add_one(
        (
            "memring_hint_oldest_age_seconds",
            Gauge,
            "Age of the oldest write that some member was not given yet; 0 for none.",
        ),
        Value::Number(hints.oldest_age_ms as f64 / 1e3),
    );
    families.add_one(
        ("memring_hints_dropped_total", Counter, "Hints that found no room, or that the disk has lost."),
        whole(hints.dropped),
    );
    families.add_one(
        ("memring_hint_segments_bad_total", Counter, "Files of hints that were not what was written."),
        whole(hints.bad_segments),
    );
}

fn tell_ring(figures: &Figures, families: &mut Families) {
    families
        .add_one(("memring_ring_epoch", Gauge, "The ring config's number; 0 without a ring."), whole(figures.epoch));
    families.add_one(("memring_replicas", Gauge, "Copies of each item; 0 without a ring."), whole(figures.replicas));
    let members = figures.members.iter().map(|(state, count)| (label("state", *state), whole(*count)));
    families.add(("memring_members", Gauge, "Members of the ring, by state, as this node sees them."), members);
    let (synced, recovering) = figures.partitions;
    let partitions = [(label("state", "synced"), whole(synced)), (label("state", "recovering"), whole(recovering))];
    families.add(("memring_partitions", Gauge, "Partitions that this node is a home of."), partitions);
    families.add_one(
        ("memring_partitions_led", Gauge, "Partitions whose writes this node orders."),
        whole(figures.partitions_led),
    );
    let drain = figures.drain.state.as_str();
    let states = one_of("state", &["none", "draining", "drained"], drain);
    families.add(("memring_drain_state", Gauge, "Whether the node leaves the ring: 1 for what holds."), states);
    families.add_one(
        ("memring_drain_partitions", Gauge, "Partitions that it had to hand over."),
        whole(figures.drain.partitions_total),
    );
    families.add_one(
        ("memring_drain_partitions_left", Gauge, "Those of them that their new homes do not hold in full yet."),
        whole(figures.drain.partitions_left),
    );
}

fn tell_store(figures: &Figures, families: &mut Families) {
    let store = &figures.store;
    let main = store.evictions.saturating_sub(store.evictions_small);
    let evictions = [(label("queue", "small"), whole(store.evictions_small)), (label("queue", "main"), whole(main))];
    families.add(("memring_evictions_total", Counter, "Live items dropped for room, by queue."), evictions);
    families.add_one(("memring_tombstones", Gauge, "Deletions that are remembered."), whole(store.tombstones));
    families.add_one(
        ("memring_tombstones_dropped_total", Counter, "Those that were forgotten before their time."),
        whole(store.tombstones_dropped),
    );
    families.add_one(("memring_store_index_bytes", Gauge, "Memory of the store's index."), whole(store.index_bytes));
    families.add_one(
        ("memring_store_dead_bytes", Gauge, "Memory of what was replaced or removed, and is not free yet."),
        whole(store.dead_bytes),
    );
}

fn tell_memory(scene: &Scene, families: &mut Families) {
    let Figures { store, process, hints, repairs, .. } = &scene.figures;
    let queued: usize = scene.queued.values().sum();
    let parts = [
        ("store", store.used_bytes),
        ("hints", hints.bytes.0),
        ("repairs", repairs.1 as u64),
        ("unsent_replies", process.unsent_reply_bytes),
        ("large_in", process.large_bytes_in),
        ("large_out", process.large_bytes_out),
        ("peer_queues", queued as u64),
    ];
    families.add(
        ("memring_memory_bytes", Gauge, "Memory that is accounted for, by what it is for."),
        parts.map(|(part, bytes)| (label("part", part), whole(bytes))),
    );
    let limits = [
        ("store", store.limit_maxbytes),
        ("hints", hints.limit_bytes.0),
        ("repairs", repairs.2 as u64),
        ("unsent_replies", scene.unsent_replies_bytes_max),
    ];
    families.add(
        ("memring_memory_limit_bytes", Gauge, "The most that these parts may take."),
        limits.map(|(part, bytes)| (label("part", part), whole(bytes))),
    );
}

fn tell_peers(scene: &Scene, families: &mut Families) {
    let peers = &scene.figures.peers;
    let each = |value: fn(&PeerFigures) -> Value| {
        peers.iter().map(move |peer| (label("peer", peer.name.clone()), value(peer)))
    };
    let queued = peers.iter().map(|peer| {
        let bytes = peer.address.and_then(|address| scene.queued.get(&address)).copied().unwrap_or(0);
        (label("peer", peer.name.clone()), whole(bytes))
    });
    families.add(("memring_peer_queue_bytes", Gauge, "Bytes that wait to be sent to a peer."), queued);
    let breakers = peers.iter().flat_map(|peer| {
        one_of("state", &PeerFigures::BREAKERS, peer.breaker).map(move |(state, value)| {
            let mut labels = label("peer", peer.name.clone());
            labels.extend(state);
            (labels, value)
        })
    });
    families.add(("memring_peer_breaker_state", Gauge, "Whether a peer is avoided: 1 for what holds."), breakers);
    families.add(
        ("memring_peer_slow", Gauge, "Whether a peer answers much later than the others."),
        each(|peer| whole(u64::from(peer.is_slow))),
    );
    families.add(
        ("memring_peer_replies_total", Counter, "Replies of a peer that were timed."),
        each(|peer| whole(peer.replies)),
    );
    families.add(
        ("memring_peer_reply_seconds_total", Counter, "How long they took together."),
        each(|peer| seconds(peer.replies_took_us)),
    );
    families.add_one(
        ("memring_peer_breaker_trips_total", Counter, "How often this node began to avoid a peer."),
        whole(scene.figures.breaker_trips),
    );
    families.add_one(
        ("memring_links_given_up_total", Counter, "Links to peers that let too much pile up."),
        whole(scene.figures.process.links_given_up),
    );
}

fn tell_clients(scene: &Scene, families: &mut Families) {
    let process = &scene.figures.process;
    let closed = [
        ("idle", process.idle_kicks),
        ("slow_sender", process.slow_senders_closed),
        ("slow_reader", process.slow_readers_closed),
    ];
    families.add(
        ("memring_connections_closed_total", Counter, "Clients closed by the node, by what they did not do."),
        closed.map(|(reason, count)| (label("reason", reason), whole(count))),
    );
    let (tried, failed) = (process.auth_cmds, process.auth_errors);
    let logins = [("ok", tried.saturating_sub(failed)), ("failed", failed)];
    families.add(
        ("memring_logins_total", Counter, "Logins of clients."),
        logins.map(|(outcome, count)| (label("outcome", outcome), whole(count))),
    );
    families.add_one(
        ("memring_large_reads_missed_total", Counter, "Large values told to be missing for want of room to send them."),
        whole(process.large_reads_missed),
    );
}

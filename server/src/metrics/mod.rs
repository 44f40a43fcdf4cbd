//! What a scrape is told: all that this process counts, under the names of memcached's exporter and memring's own.
//!
//! Gathered when somebody asks; nothing is kept between two scrapes. The number of series is bounded by what is configured
//! and by the ring's members, never by what clients send. Must not count anything itself.
//!
//! ```text
//! families   names, types and values; as OpenMetrics by prometheus-client, or as the older text format
//! exporter   memcached_exporter's, from the same statistics that it would read
//! own        memring's
//! ```

mod exporter;
mod families;
mod own;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use memring_engine::node::Figures;
use memring_engine::now::Now;

use self::families::Families;
use crate::front_door::FrontDoor;
use crate::stopwatch::{Latencies, Summed};
use crate::{log, process};

/// What OpenMetrics is called. Prometheus asks for it by this name.
const OPEN_METRICS: &str = "application/openmetrics-text";
const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What metrics are gathered from.
pub(crate) struct Metrics {
    pub(crate) door: Arc<FrontDoor>,
    /// One a worker; none where nothing is timed.
    pub(crate) latencies: Vec<Arc<Latencies>>,
}

/// All that is told besides statistics.
struct Scene {
    figures: Figures,
    latencies: Vec<Summed>,
    /// Requests of clients that wait for other nodes.
    in_flight: u64,
    /// Bytes that wait to be sent to peers.
    queued: BTreeMap<SocketAddr, usize>,
    unsent_replies_bytes_max: u64,
    resident_bytes: u64,
    log_lines_left_out: u64,
}

impl Metrics {
    /// Answers a scrape in the format that it asks for.
    pub(crate) fn answer(&self, now: Now, headers: &HeaderMap) -> Response {
        let families = self.gather(now);
        let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let wants_open_metrics =
            accepted.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with(OPEN_METRICS));
        let (told, kind) = if wants_open_metrics {
            (families.open_metrics(), OPEN_METRICS_TYPE)
        } else {
            (families.text(), TEXT_TYPE)
        };
        match told {
            Ok(text) => ([(CONTENT_TYPE, kind)], text).into_response(),
            // Writing to a string does not fail.
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }

    fn gather(&self, now: Now) -> Families {
        let shared = &self.door.shared;
        self.door.facts.tell(shared);
        let scene = Scene {
            figures: shared.figures(now.cluster),
            latencies: Latencies::sums(&self.latencies),
            in_flight: self.door.facts.traffic.iter().map(|traffic| traffic.in_flight()).sum(),
            queued: self.door.facts.room.queued(),
            unsent_replies_bytes_max: self.door.facts.backlog.limit_bytes() as u64,
            resident_bytes: process::resident_bytes(),
            log_lines_left_out: log::left_out(),
        };
        let mut families = Families::default();
        exporter::tell(|arguments| shared.stat_lines(now.cluster, arguments), &mut families);
        own::tell(&scene, shared.settings(), &mut families);
        families
    }
}

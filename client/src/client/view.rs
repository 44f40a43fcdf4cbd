//! The topology of a moment with the links to its servers: what a call works from, replaced whole.
//!
//! Must not know how the topology was found.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::link::{Link, LinkTerms};
use crate::topology::Topology;

/// See the file's head.
#[derive(Debug)]
pub(super) struct View {
    pub(super) topology: Arc<Topology>,
    /// One for each server; `None` where its address is not known.
    links: Vec<Option<Arc<Link>>>,
}

impl View {
    /// A view of a topology. Links of `before` to servers that are still there are kept, with their connections.
    pub(super) fn of(topology: Topology, before: &[Arc<Link>], terms: LinkTerms, alarm: &Arc<Notify>) -> Self {
        let link = |address: &str| {
            let known = before.iter().find(|link| link.address() == address);
            known.cloned().unwrap_or_else(|| Arc::new(Link::new(address, terms, alarm)))
        };
        let links = topology.servers().iter().map(|server| &server.address);
        let links = links.map(|address| (!address.is_empty()).then(|| link(address))).collect();
        Self { topology: Arc::new(topology), links }
    }

    /// The link to a server, if its address is known.
    pub(super) fn link(&self, server: usize) -> Option<&Arc<Link>> {
        self.links.get(server)?.as_ref()
    }

    /// Whether callers may ask a server.
    pub(super) fn may_ask(&self, server: usize) -> bool {
        self.link(server).is_some_and(|link| link.is_open_to_calls())
    }

    /// All links.
    pub(super) fn links(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.links.iter().flatten()
    }
}

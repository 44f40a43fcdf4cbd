//! How often reads of each configured namespace hit.
//!
//! Without namespaces nothing is counted here: all reads are of the one there is, and the node's own counters tell of them.
//! Must not know levels, nor requests. The number of series is that of the configured prefixes, and one.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Node;
use super::counters::Counter;
use super::shared::Shared;

/// Keys that were read in one namespace.
#[derive(Debug, Default)]
struct Reads {
    hits: Counter,
    misses: Counter,
}

/// What one worker has read, by namespace: the first place is for keys of none. Empty where none is configured.
#[derive(Debug, Default)]
pub(crate) struct NamespaceReads {
    each: Box<[Reads]>,
}

impl NamespaceReads {
    fn new(namespaces: usize) -> Self {
        let places = if namespaces == 0 { 0 } else { namespaces + 1 };
        Self { each: (0..places).map(|_| Reads::default()).collect() }
    }

    /// Whether there is nothing to tell apart.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    /// A key of this place was read; only the worker's own thread may say so.
    pub(crate) fn count(&self, place: usize, is_hit: bool) {
        if let Some(reads) = self.each.get(place) {
            if is_hit { reads.hits.increment() } else { reads.misses.increment() }
        }
    }
}

/// Those of all workers.
#[derive(Debug)]
pub(crate) struct NamespaceSets {
    namespaces: usize,
    workers: Mutex<BTreeMap<u16, Arc<NamespaceReads>>>,
}

impl NamespaceSets {
    pub(crate) fn new(namespaces: usize) -> Self {
        Self { namespaces, workers: Mutex::default() }
    }

    pub(crate) fn of_worker(&self, worker: u16) -> Arc<NamespaceReads> {
        let mut workers = self.workers.lock();
        Arc::clone(workers.entry(worker).or_insert_with(|| Arc::new(NamespaceReads::new(self.namespaces))))
    }

    /// Hits and misses of a place.
    fn sums(&self, place: usize) -> (u64, u64) {
        let workers = self.workers.lock();
        let reads = workers.values().filter_map(|reads| reads.each.get(place));
        reads.fold((0, 0), |(hits, misses), reads| (hits + reads.hits.value(), misses + reads.misses.value()))
    }
}

/// How often the reads of one namespace hit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamespaceFigures {
    /// Its prefix; `None` for the keys of no namespace.
    pub prefix: Option<Vec<u8>>,
    /// Keys that were found.
    pub hits: u64,
    /// Keys that were not.
    pub misses: u64,
}

impl Node {
    /// Counts a key that a client has read.
    #[inline]
    pub(crate) fn count_in_namespace(&self, key: &[u8], is_hit: bool) {
        if !self.namespace_reads.is_empty() {
            self.namespace_reads.count(self.shared.namespace_place(key), is_hit);
        }
    }
}

impl Shared {
    /// Where a key's reads are counted.
    pub(crate) fn namespace_place(&self, key: &[u8]) -> usize {
        self.namespace_index(key).map_or(0, |index| index + 1)
    }

    /// All of them; `total` are the hits and misses of the node, for where there are no namespaces.
    pub(crate) fn namespace_figures(&self, total: (u64, u64)) -> Vec<NamespaceFigures> {
        // Of two with the same prefix one has all the keys.
        let prefixes = self.settings().namespaces.iter().map(|namespace| &namespace.prefix).enumerate();
        let told = prefixes.filter(|(index, prefix)| self.namespace_index(prefix) == Some(*index));
        let of = |prefix, (hits, misses)| NamespaceFigures { prefix, hits, misses };
        if self.settings().namespaces.is_empty() {
            return vec![of(None, total)];
        }
        let named = told.map(|(index, prefix)| of(Some(prefix.clone()), self.namespace_reads.sums(index + 1)));
        std::iter::once(of(None, self.namespace_reads.sums(0))).chain(named).collect()
    }
}

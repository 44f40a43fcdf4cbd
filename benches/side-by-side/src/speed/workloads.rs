//! What a speed row asks for: which command, of which values, over how many connections.
//!
//! Must not know who answers, nor how a request is written.

/// Of every workload of one size, keys enough that what the store reads does not lie in the processor's caches.
const MANY_KEYS: u32 = 100_000;

/// As many keys as 200 MB of the largest values come to.
const LARGE_KEYS: u32 = 20_000;

/// Connections of a workload that waits for each reply: memtier_benchmark's default is 50 a thread, a pool's is about so many.
const UNPIPELINED_CONNECTIONS: usize = 100;

/// Connections of a workload with many keys on their way on each.
const BATCHED_CONNECTIONS: usize = 16;

/// Requests on their way on one connection.
const PIPELINE: usize = 32;

/// The items of one size: keys `first .. first + count`, each with a value of `value_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Items {
    pub(crate) first: u32,
    pub(crate) count: u32,
    pub(crate) value_bytes: usize,
}

pub(crate) const SMALL: Items = Items { first: 0, count: MANY_KEYS, value_bytes: 100 };
pub(crate) const MEDIUM: Items = Items { first: 1_000_000, count: MANY_KEYS, value_bytes: 1 << 10 };
pub(crate) const LARGE: Items = Items { first: 2_000_000, count: LARGE_KEYS, value_bytes: 10 << 10 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Get,
    Set,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `get`, `set`.
    Classic,
    /// `mg`, `ms`.
    Meta,
}

/// What a connection sends before it waits for the replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    /// So many requests of one key; each is an operation.
    Pipeline(usize),
    /// One request of so many keys; the whole is an operation. In the meta dialect: quiet gets and a closing `mn`.
    Keys(usize),
}

impl Batch {
    pub(crate) fn keys(self) -> usize {
        match self {
            Self::Pipeline(keys) | Self::Keys(keys) => keys,
        }
    }

    pub(crate) fn operations(self) -> u64 {
        match self {
            Self::Pipeline(requests) => requests as u64,
            Self::Keys(_) => 1,
        }
    }
}

/// One row's load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) command: Command,
    pub(crate) dialect: Dialect,
    pub(crate) items: Items,
    pub(crate) batch: Batch,
    pub(crate) connections: usize,
}

impl Workload {
    const fn single(name: &'static str, command: Command, items: Items) -> Self {
        let (dialect, batch) = (Dialect::Classic, Batch::Pipeline(1));
        Self { name, command, dialect, items, batch, connections: UNPIPELINED_CONNECTIONS }
    }

    const fn batched(name: &'static str, command: Command, items: Items, batch: Batch) -> Self {
        Self { name, command, dialect: Dialect::Classic, items, batch, connections: BATCHED_CONNECTIONS }
    }

    const fn meta(self, name: &'static str) -> Self {
        Self { name, dialect: Dialect::Meta, ..self }
    }

    /// What fills a store with the items of a size.
    pub(crate) const fn filling(items: Items) -> Self {
        Self { connections: 1, ..Self::batched("filling", Command::Set, items, Batch::Pipeline(FILLING_PIPELINE)) }
    }

    /// What asks for the items of a size, to see that all are there.
    pub(crate) const fn checking(items: Items) -> Self {
        Self { connections: 1, ..Self::batched("checking", Command::Get, items, Batch::Keys(FILLING_PIPELINE)) }
    }
}

/// Divides the number of every size's keys.
const FILLING_PIPELINE: usize = 50;

pub(crate) const GET_100: Workload = Workload::single("GET 100 B", Command::Get, SMALL);
pub(crate) const GET_1K: Workload = Workload::single("GET 1 KB", Command::Get, MEDIUM);
pub(crate) const GET_10K: Workload = Workload::single("GET 10 KB", Command::Get, LARGE);
pub(crate) const SET_100: Workload = Workload::single("SET 100 B", Command::Set, SMALL);
pub(crate) const SET_1K: Workload = Workload::single("SET 1 KB", Command::Set, MEDIUM);
pub(crate) const SET_10K: Workload = Workload::single("SET 10 KB", Command::Set, LARGE);
pub(crate) const GET_PIPELINE: Workload =
    Workload::batched("GET 100 B, pipeline 32", Command::Get, SMALL, Batch::Pipeline(PIPELINE));
pub(crate) const SET_PIPELINE: Workload =
    Workload::batched("SET 100 B, pipeline 32", Command::Set, SMALL, Batch::Pipeline(PIPELINE));
pub(crate) const MULTIGET_100: Workload =
    Workload::batched("multi-get 100 x 100 B", Command::Get, SMALL, Batch::Keys(100));
pub(crate) const MULTIGET_1K: Workload =
    Workload::batched("multi-get 100 x 1 KB", Command::Get, MEDIUM, Batch::Keys(100));
pub(crate) const MULTIGET_10K: Workload =
    Workload::batched("multi-get 50 x 10 KB", Command::Get, LARGE, Batch::Keys(50));
pub(crate) const META_GET: Workload = GET_1K.meta("mg 1 KB");
pub(crate) const META_SET: Workload = SET_1K.meta("ms 1 KB");
pub(crate) const META_GET_PIPELINE: Workload = GET_PIPELINE.meta("mg 100 B, pipeline 32");
pub(crate) const META_SET_PIPELINE: Workload = SET_PIPELINE.meta("ms 100 B, pipeline 32");
pub(crate) const META_MULTIGET: Workload = MULTIGET_1K.meta("quiet mg 100 x 1 KB, mn");

/// A row that compares single servers, and the most that memring's CPU time an operation may be, as a share of memcached's.
pub(crate) const SINGLE: [(Workload, f64); 16] = [
    (GET_100, 1.00),
    (GET_1K, 1.00),
    (GET_10K, 1.05),
    (SET_100, 0.95),
    (SET_1K, 0.95),
    (SET_10K, 0.95),
    (GET_PIPELINE, 0.65),
    (SET_PIPELINE, 0.50),
    (MULTIGET_100, 0.75),
    (MULTIGET_1K, 1.00),
    (MULTIGET_10K, 1.05),
    (META_GET, 1.00),
    (META_SET, 0.95),
    (META_GET_PIPELINE, 0.65),
    (META_SET_PIPELINE, 0.50),
    (META_MULTIGET, 1.00),
];

#[cfg(test)]
mod tests {
    use super::{FILLING_PIPELINE, LARGE, MEDIUM, SINGLE, SMALL};

    #[test]
    fn no_key_belongs_to_two_sizes_and_every_size_is_filled_by_whole_pipelines() {
        let sizes = [SMALL, MEDIUM, LARGE];
        assert!(sizes.windows(2).all(|pair| pair[0].first + pair[0].count <= pair[1].first));
        assert!(sizes.iter().all(|items| (items.count as usize).is_multiple_of(FILLING_PIPELINE)));
    }

    #[test]
    fn rows_have_names_of_their_own() {
        let mut names: Vec<&str> = SINGLE.iter().map(|(workload, _)| workload.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SINGLE.len());
    }
}

//! Limits of what nodes say to each other, each with its reason.

/// Keys in one read request: a 100-key multi-get of Grafana's clients fits ten times over.
pub const READ_KEYS_MAX: usize = 1024;

/// Partitions in one prepare: all that one node leads in a small ring fit in sixteen requests.
pub const PREPARE_PARTITIONS_MAX: usize = 1024;

/// Partitions in one fetch.
pub const FETCH_PARTITIONS_MAX: usize = 256;

/// Counts in one reply of stats: twice what a node tells.
pub const STATS_MAX: usize = 128;

/// Bytes of entries after which a fetch reply ends: small enough not to hold up client traffic on a worker.
pub const FETCH_REPLY_BYTES: usize = 256 * 1024;

/// The largest frame body. Holds the largest value (see `-I`) with its key and header, or a full fetch reply.
pub const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The largest bincode body: a ring config of a thousand members with long names fits.
pub const CONTROL_BYTES_MAX: usize = 1024 * 1024;

//! Limits of what nodes say to each other, each with its reason.

/// Keys in one read request: a 100-key multi-get of Grafana's clients fits ten times over.
pub const READ_KEYS_MAX: usize = 1024;

/// Keys in one comparison, which is read where it lies: its body is at most 71 KB.
pub const COMPARED_KEYS_MAX: usize = 256;

/// Partitions in one prepare: all that one node leads in a small ring fit in sixteen requests.
pub const PREPARE_PARTITIONS_MAX: usize = 1024;

/// Partitions in one fetch.
pub const FETCH_PARTITIONS_MAX: usize = 256;

/// Partitions in one survey of digests: a sixteenth of all, some 20 KB.
pub const SURVEYED_PARTITIONS_MAX: usize = 1024;

/// Buckets of a partition: so many digests tell where two copies of it differ.
pub const BUCKETS: usize = 64;

/// Partitions in one survey of buckets: some 40 KB.
pub const SURVEYED_BUCKETS_MAX: usize = 64;

/// Partitions in one survey of entries.
pub const LISTED_PARTITIONS_MAX: usize = 256;

/// Entries in one survey of entries: some 220 KB, which fits a frame of [`WHOLE_BYTES_MAX`].
pub const LISTED_ENTRIES_MAX: usize = 8192;

/// Counts in one reply of stats: twice what a node tells.
pub const STATS_MAX: usize = 128;

/// Bytes of entries after which a fetch reply ends: small enough not to hold up client traffic on a worker.
pub const FETCH_REPLY_BYTES: usize = 256 * 1024;

/// The largest frame body. Peers that do not know fragments send up to this in one frame.
pub const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The largest body that a node sends as one frame to a peer that knows fragments: small enough not to hold up others.
pub const WHOLE_BYTES_MAX: usize = 256 * 1024;

/// The largest frame of a fragment, header included: what a small message waits behind at most.
pub const FRAGMENT_FRAME_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a message that its first fragment may carry, before the receiver has made room for the whole.
pub const OPENING_BYTES_MAX: usize = 64 * 1024;

/// Messages that may travel in fragments on one link at once, one way. Their openings come to 2 MiB.
pub const STREAMS_MAX: usize = 32;

/// Bytes of acknowledgements in one frame: some thousands of them, and read before anything else of the link is.
pub const ACKNOWLEDGEMENTS_BYTES_MAX: usize = 4 * 1024;

/// The largest item, key and value together, that a node may be told to take (`-I`): memcached's.
pub const ITEM_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// The largest body of a message in fragments: the largest item with its fields, and a fetch reply that was almost full.
pub const MESSAGE_BYTES_MAX: usize = ITEM_BYTES_MAX + 1024 * 1024;

// The rest of a page beside one large item, and the fields of both, are within the megabyte.
const _: () = assert!(FETCH_REPLY_BYTES * 2 <= 1024 * 1024);

/// The largest bincode body: a ring config of a thousand members with long names fits.
pub const CONTROL_BYTES_MAX: usize = 1024 * 1024;

/// The longest value, in bytes, that is copied into a reply; a longer one is sent from where it lies, for copying it would
/// cost more than the calls that are saved.
pub const COPIED_VALUE_BYTES_MAX: usize = 64 * 1024;

//! The simulator: a whole cluster of production machines on one thread, in virtual time, from one seed.
//!
//! `Node` and `Control` are the production types; this room performs their effects on a made-up network with delay, loss,
//! duplication, reordering and partitions, and crashes and restarts nodes. Nothing here sleeps or reads a clock.
//!
//! ```text
//! cluster   nodes, events, virtual time        network   who hears whom, and how late
//! faults    what goes wrong, by seed           lives     runs through it, and what is asked of them
//! workload  clients and what they saw          contest   clients of keys that all change
//! leases    clients of keys that go stale      meta      answers to meta commands
//! events    what operators do and machines suffer, mixed with faults
//! seeds     many seeds of one story, on all cores
//! stories   the same for what is measured: what each seed came to
//! disk      what of a node outlives it
//! ```

pub mod cluster;
pub mod contest;
pub mod disk;
pub mod events;
pub mod faults;
pub mod leases;
pub mod lives;
pub mod meta;
pub mod network;
pub mod seeds;
pub mod stories;
pub mod workload;

pub use self::cluster::{Cluster, ClusterOptions};

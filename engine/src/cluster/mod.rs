//! What a cluster decides: quorums, reads, mutations, membership, the ring, recovery, hints.
//!
//! Pure machines and values: each takes `now` and what happened, and returns what follows from it. This room must not
//! know the store, the wire or the node that carries its decisions out.

pub mod clocks;
pub mod departure;
pub mod health;
pub mod hints;
pub mod membership;
pub mod mutation;
pub mod pace;
pub mod quorum;
pub mod read;
pub mod recovery;
pub mod repair;
pub mod ring;

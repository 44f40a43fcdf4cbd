//! The checkers: pure functions of a history of clients, for simulated clusters and for real ones.
//!
//! ```text
//! checks      keys with one writer, and counters: what readers must not have seen
//! key_order   keys that everyone changes: are their histories those of one key?
//! lease_order and those of leases?       order   how that is found out
//! ```
//!
//! Must not know where a history comes from.

pub mod checks;
pub mod key_order;
pub mod lease_order;
pub mod order;

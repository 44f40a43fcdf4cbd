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

/// One operation of one client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation<Action, Outcome> {
    /// The key.
    pub key: usize,
    /// What was asked.
    pub action: Action,
    /// The node asked.
    pub node: usize,
    /// When it began.
    pub begun_us: u64,
    /// When it ended; `u64::MAX` if its end is not known.
    pub ended_us: u64,
    /// What came of it.
    pub outcome: Outcome,
}

//! Messages by which nodes found a ring, join, leave and agree on the next ring config.

use serde::{Deserialize, Serialize};

/// Placeholder until the ring rooms are built.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum RingMessage {}

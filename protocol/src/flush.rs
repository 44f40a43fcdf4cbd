//! The flush state of a node, which travels in pings, pages and commits.
//!
//! Must not know how a flush is agreed on (the node) or applied (the store).

use serde::{Deserialize, Serialize};

use crate::entry::UnixMillis;
use crate::version::Stamp;

/// The flush state of a node: ring state that joiners and returners apply before serving.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FlushState {
    /// Every entry stamped at or below this is gone.
    pub floor: Stamp,
    /// A flush to come: when asked (its identity: the later one replaces), and at which moment.
    pub pending: Option<(Stamp, UnixMillis)>,
}

//! One turn of a machine: the moment, the view, and where effects go.

use std::sync::Arc;

use memring_protocol::entry::UnixMillis;

use super::effect::Effect;
use super::topology::Topology;
use crate::now::{Mono, Now};

/// What every step of one turn shares.
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    pub(crate) topology: Arc<Topology>,
    pub(crate) effects: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    pub(crate) fn mono(&self) -> Mono {
        self.now.mono
    }

    pub(crate) fn cluster(&self) -> UnixMillis {
        self.now.cluster
    }
}

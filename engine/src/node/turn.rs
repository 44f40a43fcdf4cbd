//! One turn of a machine: the moment, the view, and where effects go.

use std::sync::Arc;

use bytes::Bytes;
use memring_protocol::entry::UnixMillis;

use super::effect::Effect;
use super::topology::Topology;
use crate::now::{Mono, Now};

/// What every step of one turn shares.
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    pub(crate) topology: Arc<Topology>,
    pub(crate) effects: &'a mut Vec<Effect>,
    /// What the command of this turn was read from, if values are to be parts of it and not copies.
    pub(crate) frame: Option<&'a Bytes>,
}

impl Turn<'_> {
    pub(crate) fn mono(&self) -> Mono {
        self.now.mono
    }

    /// A command's value, to be kept: a part of the command's own frame if it has one. Else it is copied, for a slice of
    /// the connection's buffer would pin all of it for as long as the write is on its way.
    pub(crate) fn owned(&self, value: &[u8]) -> Bytes {
        match self.frame {
            Some(frame) => frame.slice_ref(value),
            None => Bytes::copy_from_slice(value),
        }
    }

    pub(crate) fn cluster(&self) -> UnixMillis {
        self.now.cluster
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_part_of_its_frame_or_a_copy() {
        let frame = Bytes::from(b"set k 0 0 5\r\nvalue\r\n".to_vec());
        let value = &frame[13..18];
        let (topology, now) = (Arc::<Topology>::default(), Now { mono: Mono(0), cluster: UnixMillis(0) });
        let mut turn = Turn { now, topology, effects: &mut Vec::new(), frame: Some(&frame) };
        assert_eq!((turn.owned(value).as_ptr(), &turn.owned(value)[..]), (value.as_ptr(), &b"value"[..]));
        turn.frame = None;
        assert_ne!(turn.owned(value).as_ptr(), value.as_ptr());
        assert_eq!(turn.owned(value), "value");
    }
}

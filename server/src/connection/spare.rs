//! A buffer that the connections of a thread take in turn: it stays in the processor's cache, and an idle connection has
//! none.
//!
//! Must not know what is in it.

use std::cell::Cell;
use std::fmt;

use bytes::BytesMut;

/// At most one buffer.
pub(super) struct SpareBuffer {
    buffer: Cell<BytesMut>,
    bytes_max: usize,
}

impl fmt::Debug for SpareBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpareBuffer").field("bytes_max", &self.bytes_max).finish_non_exhaustive()
    }
}

impl SpareBuffer {
    /// None yet; one of more than `bytes_max` will not be kept.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { buffer: Cell::default(), bytes_max }
    }

    /// Takes it; a buffer without memory if another has it.
    pub(super) fn take(&self) -> BytesMut {
        self.buffer.take()
    }

    /// Gives one back, with nothing of worth in it.
    pub(super) fn put(&self, mut buffer: BytesMut) {
        if buffer.capacity() <= self.bytes_max {
            buffer.clear();
            self.buffer.set(buffer);
        }
    }
}

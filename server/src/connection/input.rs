//! Bytes that a client sent and that are not yet a whole command.
//!
//! Must not know what is done with commands. Memory follows the bytes that came, never the bytes that were announced, and
//! an idle connection keeps none.

use std::cell::Cell;
use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncRead;

use crate::arrival::{Arrived, read_once};

/// What one read may take at least: several pipelined requests, and an item of the default `-I` at once.
const READ_BYTES: usize = 16 * 1024;

/// Up to this much of an unfinished command is copied out of the large buffer: a client that sends one byte a minute
/// costs this.
const LEFTOVER_BYTES_MAX: usize = 2 * 1024;

/// A read buffer above this is not kept for the next connection.
const SPARE_BYTES_MAX: usize = 64 * 1024;

/// A read buffer that the connections of a thread take in turn.
#[derive(Default)]
pub(super) struct SpareBuffer(Cell<BytesMut>);

/// The read side of one connection.
#[derive(Default)]
pub(super) struct Input {
    bytes: BytesMut,
    /// Bytes of the stream to throw away: the data of a refused command.
    swallow: usize,
}

impl Input {
    /// Reads once; `needed` bytes in all would complete the command at the front.
    pub(super) async fn read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        needed: usize,
        spare: &SpareBuffer,
    ) -> io::Result<Arrived> {
        if self.bytes.is_empty() {
            self.bytes = spare.0.take();
        }
        let missing = needed.saturating_sub(self.bytes.len());
        self.bytes.reserve(missing.clamp(READ_BYTES, READ_BYTES.max(self.bytes.len())));
        read_once(stream, &mut self.bytes).await
    }

    /// What is there, once everything to be thrown away is.
    pub(super) fn bytes(&mut self) -> &[u8] {
        let count = self.swallow.min(self.bytes.len());
        self.bytes.advance(count);
        self.swallow -= count;
        &self.bytes
    }

    /// Whether bytes are to be thrown away that have not come yet.
    pub(super) fn swallows(&self) -> bool {
        self.swallow > self.bytes.len()
    }

    /// Whether more than the end of a line is missing of `needed` bytes: the rest of a data block.
    pub(super) fn lacks_data(&self, needed: usize) -> bool {
        needed > self.bytes.len() + 1
    }

    /// Drops a command that was dealt with, and what of its data is to come.
    pub(super) fn consume(&mut self, consumed: usize, swallow: usize) {
        self.bytes.advance(consumed);
        self.swallow = swallow;
    }

    /// Takes a command out.
    pub(super) fn split(&mut self, consumed: usize) -> Bytes {
        self.bytes.split_to(consumed).freeze()
    }

    /// Gives the large buffer back before a wait.
    pub(super) fn rest(&mut self, spare: &SpareBuffer) {
        if self.bytes.len() > LEFTOVER_BYTES_MAX || self.bytes.capacity() <= LEFTOVER_BYTES_MAX {
            return;
        }
        let leftover = if self.bytes.is_empty() { BytesMut::new() } else { BytesMut::from(&self.bytes[..]) };
        let mut large = std::mem::replace(&mut self.bytes, leftover);
        if large.capacity() <= SPARE_BYTES_MAX {
            large.clear();
            spare.0.set(large);
        }
    }
}

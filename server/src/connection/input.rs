//! Bytes that a client sent and that are not yet a whole command.
//!
//! Must not know what is done with commands. Memory follows the bytes that came, never the bytes that were announced, and
//! an idle connection keeps none. A large data block has an allocation of its own, of exactly its size and its line's: the
//! address space is taken at once, its memory by the system as bytes are put there.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::AsyncRead;

use super::spare::SpareBuffer;
use crate::arrival::{Arrived, read_once};
use crate::large::Receiving;

/// What one read may take at least: several pipelined requests, and an item of the default `-I` at once.
const READ_BYTES: usize = 16 * 1024;

/// Up to this much of an unfinished command is copied out of the large buffer: a client that sends one byte a minute
/// costs this.
const LEFTOVER_BYTES_MAX: usize = 2 * 1024;

/// A read buffer above this is not kept for the next connection.
pub(super) const SPARE_INPUT_BYTES_MAX: usize = 64 * 1024;

/// What one read may take of a large data block: then others have their turn.
const BLOCK_READ_BYTES: usize = 1024 * 1024;

/// The read side of one connection.
#[derive(Default)]
pub(super) struct Input {
    bytes: BytesMut,
    /// Bytes of the stream to throw away: the data of a refused command.
    swallow: usize,
    block: Option<Block>,
}

/// A large data block on its way, with the command line before it.
struct Block {
    /// Their bytes; no more are ever put there than it has room for.
    coming: Vec<u8>,
    /// The same, when they are all there.
    whole: Option<Bytes>,
    needed: usize,
    room: Receiving,
}

impl Input {
    /// Reads once; `needed` bytes in all would complete the command at the front.
    pub(super) async fn read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        needed: usize,
        spare: &SpareBuffer,
    ) -> io::Result<Arrived> {
        if let Some(block) = &mut self.block {
            let missing = block.needed - block.coming.len();
            return read_once(stream, &mut (&mut block.coming).limit(missing.min(BLOCK_READ_BYTES))).await;
        }
        if self.bytes.is_empty() {
            self.bytes = spare.take();
        }
        let missing = needed.saturating_sub(self.bytes.len());
        self.bytes.reserve(missing.clamp(READ_BYTES, READ_BYTES.max(self.bytes.len())));
        read_once(stream, &mut self.bytes).await
    }

    /// Whether the last read took as much as it could.
    pub(super) fn is_filled(&self) -> bool {
        self.bytes.len() == self.bytes.capacity()
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
        self.block.is_some() || needed > self.bytes.len() + 1
    }

    /// The command at the front has a large data block, and `needed` bytes in all: takes memory for them, and what is there
    /// of them. False if the system has no memory.
    pub(super) fn expect(&mut self, needed: usize, room: Receiving, spare: &SpareBuffer) -> bool {
        debug_assert!(self.swallow == 0 && self.block.is_none() && self.bytes.len() < needed);
        let mut coming = Vec::new();
        if coming.try_reserve_exact(needed).is_err() {
            return false;
        }
        coming.extend_from_slice(&self.bytes);
        self.bytes.clear();
        self.rest(spare);
        self.block = Some(Block { coming, whole: None, needed, room });
        true
    }

    /// Whether the command at the front has a large data block.
    pub(super) fn has_block(&self) -> bool {
        self.block.is_some()
    }

    /// Takes that command out, if it is whole.
    pub(super) fn take_block(&mut self) -> Option<(Bytes, Receiving)> {
        let is_whole = |block: &mut Block| block.whole.is_some() || block.coming.len() == block.needed;
        let Block { coming, whole, room, .. } = self.block.take_if(is_whole)?;
        Some((whole.unwrap_or_else(|| Bytes::from(coming)), room))
    }

    /// Puts it back: its turn has not come.
    pub(super) fn put_back(&mut self, frame: Bytes, room: Receiving) {
        let needed = frame.len();
        self.block = Some(Block { coming: Vec::new(), whole: Some(frame), needed, room });
    }

    /// Gives up what has come of it.
    pub(super) fn drop_block(&mut self) {
        self.block = None;
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
        spare.put(std::mem::replace(&mut self.bytes, leftover));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::large::LargeValues;

    #[test]
    fn a_large_block_is_received_where_it_stays() {
        crate::threads::runtime().expect("a runtime").block_on(receive_a_block());
    }

    async fn receive_a_block() {
        let (large, spare) = (LargeValues::new(1 << 20, 0), SpareBuffer::new(SPARE_INPUT_BYTES_MAX));
        let frame = [&b"set k 0 0 99991\r\n"[..], &[b'x'; 99_991], b"\r\n"].concat();
        let bytes = [&frame[..], b"get k\r\n"].concat();
        let (mut input, mut stream) = (Input::default(), &bytes[..5000]);
        assert_eq!(input.read(&mut stream, 1, &spare).await.expect("read"), Arrived::Bytes(5000));
        let room = large.receive(99_991).expect("there is room");
        assert!(input.expect(frame.len(), room, &spare));
        let at = input.block.as_ref().expect("a block").coming.as_ptr();
        let mut stream = &bytes[5000..];
        while input.block.as_ref().is_some_and(|block| block.coming.len() < block.needed) {
            assert!(input.take_block().is_none());
            input.read(&mut stream, frame.len(), &spare).await.expect("read");
        }
        let (whole, room) = input.take_block().expect("it is whole");
        assert!(whole == frame && whole.as_ptr() == at && large.received_bytes() == 99_991);
        input.put_back(whole, room);
        let (whole, room) = input.take_block().expect("it is whole still");
        assert!(whole == frame && whole.as_ptr() == at && !input.has_block());
        drop(room);
        assert_eq!(large.received_bytes(), 0);
        // What comes behind it is not part of it.
        input.read(&mut stream, 1, &spare).await.expect("read");
        assert_eq!(input.bytes(), b"get k\r\n");
    }

    #[test]
    fn room_for_a_block_that_ends_early_is_given_back() {
        let (large, spare) = (LargeValues::new(1 << 20, 0), SpareBuffer::new(SPARE_INPUT_BYTES_MAX));
        let mut input = Input::default();
        assert!(input.expect(100_000, large.receive(99_980).expect("there is room"), &spare));
        input.drop_block();
        assert_eq!(large.received_bytes(), 0);
    }
}

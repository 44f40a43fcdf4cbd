//! Memory for replies that is used again: the bytes of one are given away, and come back when nobody holds them any more.
//!
//! Must not know what is put into it.

use std::collections::VecDeque;

use bytes::BytesMut;

/// The most buffers that are kept.
const KEPT_MAX: usize = 8;

/// The largest reply whose buffer is kept. A buffer has at most twice what its reply took, so all are within 4 MiB a thread.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// Buffers whose bytes were given away.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    /// The first was given away first.
    kept: VecDeque<BytesMut>,
    /// Bytes of the last reply: about what the next will have.
    guess: usize,
}

impl Spare {
    /// An empty buffer, about as large as the last one became.
    pub(crate) fn take(&mut self) -> BytesMut {
        if let Some(mut buffer) = self.kept.pop_front() {
            if buffer.try_reclaim(self.guess) {
                return buffer;
            }
            if self.kept.len() < KEPT_MAX - 1 {
                self.kept.push_back(buffer);
            }
        }
        BytesMut::with_capacity(self.guess)
    }

    /// Gives away what the buffer holds, and keeps the buffer for when that is not held any more.
    pub(crate) fn give(&mut self, mut buffer: BytesMut) -> bytes::Bytes {
        self.guess = buffer.len().min(KEPT_BYTES_MAX);
        let bytes = buffer.split().freeze();
        if bytes.len() <= KEPT_BYTES_MAX && self.kept.len() < KEPT_MAX {
            self.kept.push_back(buffer);
        }
        bytes
    }

    /// Takes a buffer back whose bytes nobody wants.
    pub(crate) fn put_back(&mut self, mut buffer: BytesMut) {
        buffer.clear();
        if buffer.capacity() <= KEPT_BYTES_MAX && self.kept.len() < KEPT_MAX {
            self.kept.push_front(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_when_its_bytes_are_not_held_and_not_before() {
        let mut spare = Spare::default();
        let mut buffer = spare.take();
        buffer.extend_from_slice(&[7; 1000]);
        let (first, held) = (buffer.as_ptr(), spare.give(buffer));
        let other = spare.take();
        assert_ne!(other.as_ptr(), first, "the first is still held");
        assert_eq!((other.len(), &held[..2]), (0, &[7, 7][..]));
        spare.put_back(other);
        drop(held);
        let again: Vec<*const u8> = [spare.take(), spare.take()].iter().map(|buffer| buffer.as_ptr()).collect();
        assert!(again.contains(&first));
    }

    #[test]
    fn it_keeps_few_buffers_and_no_large_ones() {
        let mut spare = Spare::default();
        let held: Vec<bytes::Bytes> = (0..100)
            .map(|number| {
                let mut buffer = spare.take();
                buffer.resize(if number % 2 == 0 { 10 } else { 2 * KEPT_BYTES_MAX }, 0);
                spare.give(buffer)
            })
            .collect();
        assert!(spare.kept.len() <= KEPT_MAX && spare.kept.iter().all(|buffer| buffer.capacity() <= KEPT_BYTES_MAX));
        assert_eq!(held.len(), 100);
    }
}

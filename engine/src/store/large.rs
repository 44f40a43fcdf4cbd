//! Values too large for the log: kept as they came, by reference, so that nobody copies them and whoever sends one may go
//! on while it is replaced.
//!
//! Must not know keys. A value above [`OWN_BYTES`] comes in an allocation of its own, nearly exact (its bytes' way into
//! the process sees to that); a smaller one, which may be a part of something else, is copied.

use bytes::Bytes;
use memmap2::MmapMut;
use memring_protocol::entry::ValueRef;

use super::accounting::allocation;

/// From here on a value is taken as it comes.
const OWN_BYTES: usize = 1 << 20;

/// What an allocation of this size is rounded to by the system.
const PAGE_BYTES: usize = 4096;

/// See the top of the file.
#[derive(Debug)]
pub(super) struct Larges {
    values: Vec<Option<Bytes>>,
    free: Vec<u32>,
    /// Removed, and not yet let go of: see [`Larges::take_gone`].
    gone: Vec<Bytes>,
    /// Bytes of the values with what they are rounded to.
    bytes: usize,
}

impl Larges {
    pub(super) fn new() -> Self {
        Self { values: Vec::new(), free: Vec::new(), gone: Vec::new(), bytes: 0 }
    }

    /// Bytes of all it holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
            + allocation(self.values.capacity() * size_of::<Option<Bytes>>())
            + allocation(self.free.capacity() * size_of::<u32>())
    }

    /// Bytes that keeping a value of this length adds to [`Larges::bytes`], or more.
    pub(super) fn cost(&self, len: usize) -> usize {
        // The two lists double at most.
        let lists =
            if self.free.is_empty() { self.values.len().max(4) * 2 * (size_of::<Option<Bytes>>() + 4) + 64 } else { 0 };
        cost_of(len) + lists
    }

    /// Keeps a value; its number is free for another one once it is removed.
    pub(super) fn insert(&mut self, value: ValueRef<'_>) -> u32 {
        let value = if value.len() < OWN_BYTES { copied(&value) } else { value.to_bytes() };
        self.bytes += cost_of(value.len());
        if let Some(number) = self.free.pop() {
            self.values[number as usize] = Some(value);
            return number;
        }
        self.values.push(Some(value));
        // Removing never allocates.
        self.free.reserve(self.values.capacity() - self.free.len());
        (self.values.len() - 1) as u32
    }

    pub(super) fn get(&self, number: u32) -> &Bytes {
        self.values[number as usize].as_ref().expect("a record's value is held as long as the record")
    }

    /// What was removed since the last call: to be let go of when no lock is held.
    #[inline]
    pub(super) fn take_gone(&mut self) -> Option<Vec<Bytes>> {
        if self.gone.is_empty() { None } else { Some(std::mem::take(&mut self.gone)) }
    }

    /// Removes a value: its memory is free once it is taken by [`Larges::take_gone`] and nobody sends it any more.
    pub(super) fn remove(&mut self, number: u32) {
        let value = self.values[number as usize].take().expect("a value is removed once");
        self.bytes -= cost_of(value.len());
        self.gone.push(value);
        self.free.push(number);
    }

    /// Bytes that a value counts as in its queue.
    pub(super) fn weight(&self, number: u32) -> usize {
        cost_of(self.get(number).len())
    }
}

/// A copy in memory of its own: straight from the system, so that values of all sizes that come and go leave no gaps.
fn copied(value: &[u8]) -> Bytes {
    match MmapMut::map_anon(value.len()) {
        Ok(mut memory) => {
            memory.copy_from_slice(value);
            Bytes::from_owner(memory)
        }
        // Too many mappings: the allocator may still have some.
        Err(_) => Bytes::copy_from_slice(value),
    }
}

fn cost_of(len: usize) -> usize {
    len.next_multiple_of(PAGE_BYTES) + PAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_values_are_counted_and_shared_and_small_ones_copied() {
        let mut larges = Larges::new();
        let own = Bytes::from(vec![1; OWN_BYTES]);
        let part = Bytes::from(vec![2; 4 * OWN_BYTES]).slice(7..70_007);
        let numbers: Vec<u32> = [&own, &part, &own]
            .map(|value| {
                let most = larges.bytes() + larges.cost(value.len());
                let number = larges.insert(ValueRef::Whole(value));
                assert!(larges.bytes() <= most);
                number
            })
            .into();
        assert_eq!((larges.get(numbers[1]), larges.get(numbers[2]).as_ptr()), (&part, own.as_ptr()));
        assert_ne!(larges.get(numbers[1]).as_ptr(), part.as_ptr());
        let full = larges.bytes();
        larges.remove(numbers[0]);
        assert_eq!(full - larges.bytes(), OWN_BYTES + PAGE_BYTES);
        assert_eq!(larges.insert(ValueRef::Whole(&own)), numbers[0]);
        numbers.into_iter().for_each(|number| larges.remove(number));
        assert!(larges.bytes() < 1024);
    }
}

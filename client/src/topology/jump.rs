//! Grafana's choice of a memcached server: jump hash of the key's XXH64 over the servers' names in natural order.
//!
//! Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm" (2014); names and hash as in dskit's
//! `MemcachedJumpHashSelector`, whose order is github.com/facette/natsort's. Must not know servers beyond their names.

use std::cmp::Ordering;

use twox_hash::XxHash64;

/// Servers in their order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct JumpHash {
    /// Places in the list that it was made of.
    order: Vec<usize>,
}

impl JumpHash {
    pub(super) fn of(addresses: &[String]) -> Self {
        let mut order: Vec<usize> = (0..addresses.len()).collect();
        order.sort_by(|&a, &b| natural(&addresses[a], &addresses[b]));
        Self { order }
    }

    /// The server of a key, as its place in the list; `None` where there is no server.
    pub(super) fn server_of(&self, key: &[u8]) -> Option<usize> {
        self.order.get(jump(XxHash64::oneshot(0, key), self.order.len())).copied()
    }
}

/// Figure 1 of the paper.
fn jump(mut key: u64, buckets: usize) -> usize {
    let (mut bucket, mut next) = (0, 0);
    while next < buckets as u64 {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((bucket + 1) as f64 * ((1u64 << 31) as f64 / ((key >> 33) + 1) as f64)) as u64;
    }
    bucket as usize
}

/// Runs of digits compare as numbers, what is between them as text.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (Chunks(a), Chunks(b));
    loop {
        let (a, b) = match (a.next(), b.next()) {
            (Some(a), Some(b)) => (a, b),
            (a, b) => return a.is_some().cmp(&b.is_some()),
        };
        // What is too large for a number, in Go as here, is text.
        let order = match (a.parse::<i64>(), b.parse::<i64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => a.cmp(b),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Runs of digits and of what is none, in turn.
struct Chunks<'a>(&'a str);

impl<'a> Iterator for Chunks<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let is_digit = self.0.as_bytes().first()?.is_ascii_digit();
        let end = self.0.bytes().position(|byte| byte.is_ascii_digit() != is_digit).unwrap_or(self.0.len());
        let (chunk, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_natural_order() {
        let sorted =
            ["10.0.0.2:11211", "10.0.0.10:11211", "10.0.0.10:11212", "memcached-1", "memcached-2", "memcached-10"];
        for (first, a) in sorted.iter().enumerate() {
            for (second, b) in sorted.iter().enumerate() {
                assert_eq!(natural(a, b), first.cmp(&second), "{a} {b}");
            }
        }
        assert_eq!(natural("a", "a1"), Ordering::Less);
    }

    #[test]
    fn jump_agrees_with_the_papers_code() {
        // From the reference implementation's tests (github.com/dgryski/go-jump).
        for (key, buckets, expected) in [
            (0, 1, 0),
            (3, 1, 0),
            (0, 2, 0),
            (4, 2, 1),
            (7, 2, 0),
            (1, 1, 0),
            (0xdead_10cc, 1, 0),
            (0xdead_10cc, 666, 361),
            (256, 1024, 520),
        ] {
            assert_eq!(jump(key, buckets), expected, "{key} of {buckets}");
        }
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (one, other) = (list(&["b-10:1", "b-9:1", "b-1:1"]), list(&["b-1:1", "b-10:1", "b-9:1"]));
        let (jump_one, jump_other) = (JumpHash::of(&one), JumpHash::of(&other));
        for key in 0..1000 {
            let key = format!("key-{key}");
            let name = |jump: &JumpHash, names: &[String]| names[jump.server_of(key.as_bytes()).expect("one")].clone();
            assert_eq!(name(&jump_one, &one), name(&jump_other, &other));
        }
    }
}

//! `stats detail`: what clients do by key prefix, once it is switched on.
//!
//! Must cost a relaxed load where it is off. As in memcached, the classic commands count and the meta commands do not; a
//! key without a delimiter has no prefix.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{BufMut, BytesMut};
use memring_protocol::key::Key;
use memring_protocol::text::{ErrorReply, Response};
use parking_lot::Mutex;

use crate::node::shared::Shared;

/// What ends a prefix.
const DELIMITER: u8 = b':';

/// Prefixes that are counted; later ones are not. With 250 bytes each that is about a megabyte.
const PREFIXES_MAX: usize = 4096;

#[derive(Debug, Default)]
struct Tally {
    gets: u64,
    hits: u64,
    sets: u64,
    deletes: u64,
}

/// The counts of all prefixes.
#[derive(Debug, Default)]
pub(crate) struct Details {
    on: AtomicBool,
    prefixes: Mutex<BTreeMap<Box<[u8]>, Tally>>,
}

impl Details {
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// A storage command for a key.
    pub(crate) fn note_store(&self, key: &[u8]) {
        if self.is_on() {
            count(&mut self.prefixes.lock(), key, |tally| tally.sets += 1);
        }
    }

    /// A delete of a key, whether it is there or not.
    pub(crate) fn note_delete(&self, key: &[u8]) {
        if self.is_on() {
            count(&mut self.prefixes.lock(), key, |tally| tally.deletes += 1);
        }
    }

    /// Reads of keys, and whether they found something.
    pub(crate) fn note_reads<'k>(&self, reads: impl Iterator<Item = (&'k Key, bool)>) {
        if !self.is_on() {
            return;
        }
        let mut prefixes = self.prefixes.lock();
        for (key, found) in reads {
            count(&mut prefixes, key.as_bytes(), |tally| {
                tally.gets += 1;
                tally.hits += u64::from(found);
            });
        }
    }

    /// Forgets all prefixes.
    pub(crate) fn clear(&self) {
        self.prefixes.lock().clear();
    }

    fn dump(&self) -> Response {
        let mut out = BytesMut::new();
        for (prefix, tally) in &*self.prefixes.lock() {
            let Tally { gets, hits, sets, deletes } = tally;
            out.put_slice(b"PREFIX ");
            out.put_slice(prefix);
            out.put_slice(format!(" get {gets} hit {hits} set {sets} del {deletes}\r\n").as_bytes());
        }
        out.put_slice(b"END\r\n");
        Response::Text(out.freeze())
    }
}

fn count(prefixes: &mut BTreeMap<Box<[u8]>, Tally>, key: &[u8], add: impl FnOnce(&mut Tally)) {
    let Some(end) = key.iter().position(|byte| *byte == DELIMITER) else { return };
    let prefix = &key[..end];
    if let Some(tally) = prefixes.get_mut(prefix) {
        add(tally);
    } else if prefixes.len() < PREFIXES_MAX {
        add(prefixes.entry(prefix.into()).or_default());
    }
}

/// `stats detail on|off|dump`.
pub(super) fn respond(shared: &Shared, word: Option<&[u8]>) -> Response {
    match word {
        Some(b"on") => shared.details.on.store(true, Ordering::Relaxed),
        Some(b"off") => shared.details.on.store(false, Ordering::Relaxed),
        Some(b"dump") => return shared.details.dump(),
        _ => return Response::Failed(ErrorReply::StatsDetailUsage),
    }
    Response::Ok
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_bounded_and_keys_without_one_are_left_out() {
        let details = Details::default();
        details.note_store(b"off:1");
        details.on.store(true, Ordering::Relaxed);
        details.note_store(b"plain");
        for number in 0..PREFIXES_MAX + 10 {
            details.note_store(format!("p{number}:x").as_bytes());
        }
        assert_eq!(details.prefixes.lock().len(), PREFIXES_MAX);
        details.clear();
        details.note_delete(b":x");
        details.note_store(b"a:b:c");
        let Response::Text(text) = details.dump() else { panic!("a dump is text") };
        assert_eq!(text, &b"PREFIX  get 0 hit 0 set 0 del 1\r\nPREFIX a get 0 hit 0 set 1 del 0\r\nEND\r\n"[..]);
    }
}

//! Reads that wait for one connection, put together to lines of several keys, each key asked once; and the values that come
//! back, given out again.
//!
//! Must not know connections, bytes or who waits: a reader is a number.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::answer::Value;

/// Keys in one line: as many as the multi-gets of the clients that memcached servers are tuned for.
pub(crate) const LINE_KEYS_MAX: usize = 100;

/// Places to look for a key in; above twice the keys, so that few meet.
const PLACES: usize = 256;

const _: () = assert!(PLACES >= 2 * LINE_KEYS_MAX && LINE_KEYS_MAX < 255);

/// A place among the keys of a reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Asker {
    reader: u32,
    position: u32,
}

/// A key of a line.
#[derive(Debug)]
struct Asked {
    key: Bytes,
    /// Nearly always one.
    askers: SmallVec<[Asker; 1]>,
}

/// One `get` or `gets`: its keys, each once, and what their readers have been given so far.
#[derive(Debug)]
pub(crate) struct Line {
    with_cas: bool,
    asked: Vec<Asked>,
    /// By reader, by the position of the key: the values that have come.
    readers: Vec<Vec<Option<Value>>>,
    /// The key whose value, or miss, comes next.
    next: usize,
    /// Where keys are found again: a place in `asked`, counted from 1.
    places: [u8; PLACES],
}

/// The server sent a value that is not due: the connection is out of step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotDue;

impl Line {
    /// A line without keys so far.
    pub(crate) fn new(with_cas: bool) -> Self {
        Self { with_cas, asked: Vec::new(), readers: Vec::new(), next: 0, places: [0; PLACES] }
    }

    /// Whether a reader's keys can go in here: of the same kind, and few enough. A line without keys takes any.
    pub(crate) fn has_room(&self, with_cas: bool, keys: usize) -> bool {
        self.with_cas == with_cas && (self.asked.len() + keys <= LINE_KEYS_MAX || self.asked.is_empty())
    }

    /// Whether cas tokens are asked for.
    pub(crate) fn with_cas(&self) -> bool {
        self.with_cas
    }

    /// The keys, each once.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.asked.iter().map(|asked| &asked.key[..])
    }

    /// One more reader; they are numbered from 0 in the order they are added.
    pub(crate) fn add_reader(&mut self, keys: impl IntoIterator<Item = Bytes>) {
        let reader = self.readers.len() as u32;
        let mut slots = Vec::with_capacity(1);
        for key in keys {
            let asker = Asker { reader, position: slots.len() as u32 };
            slots.push(None);
            match self.find(&key) {
                Some(known) => self.asked[known].askers.push(asker),
                None => self.asked.push(Asked { key, askers: SmallVec::from_buf([asker]) }),
            }
        }
        self.readers.push(slots);
    }

    /// A key that is asked already. One that is not is noted as the next to be added; beyond [`LINE_KEYS_MAX`] keys, as one
    /// reader may bring them, none is found.
    fn find(&mut self, key: &[u8]) -> Option<usize> {
        if self.asked.len() >= LINE_KEYS_MAX {
            return None;
        }
        let mut place = hash(key) as usize % PLACES;
        loop {
            match self.places[place] {
                0 => {
                    self.places[place] = self.asked.len() as u8 + 1;
                    return None;
                }
                known if self.asked[usize::from(known) - 1].key == key => return Some(usize::from(known) - 1),
                _ => place = (place + 1) % PLACES,
            }
        }
    }

    /// The next value of the answer: the keys before its own are misses.
    pub(crate) fn on_value(&mut self, key: &[u8], flags: u32, cas: Option<u64>, value: &[u8]) -> Result<(), NotDue> {
        let behind = self.asked[self.next..].iter().position(|asked| asked.key == key).ok_or(NotDue)?;
        let asked = &mut self.asked[self.next + behind];
        self.next += behind + 1;
        let bytes = Bytes::copy_from_slice(value);
        let (last, others) = asked.askers.split_last().expect("a key has been asked for by someone");
        for asker in others {
            let value = Value { key: asked.key.clone(), bytes: bytes.clone(), flags, cas };
            self.readers[asker.reader as usize][asker.position as usize] = Some(value);
        }
        let value = Value { key: std::mem::take(&mut asked.key), bytes, flags, cas };
        self.readers[last.reader as usize][last.position as usize] = Some(value);
        Ok(())
    }

    /// The answer is complete: each reader's hits, in the order of its keys.
    pub(crate) fn finish(self) -> impl Iterator<Item = Vec<Value>> {
        self.readers.into_iter().map(|slots| slots.into_iter().flatten().collect())
    }
}

/// FNV-1a. Who chooses keys that meet makes a line of a hundred keys slower by as many comparisons, no more.
fn hash(key: &[u8]) -> u64 {
    key.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(readers: &[&[&'static str]]) -> Line {
        let mut line = Line::new(false);
        readers.iter().for_each(|keys| line.add_reader(keys.iter().map(|key| Bytes::from(*key))));
        line
    }

    fn asked(line: &Line) -> Vec<String> {
        line.keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    /// What each reader is given when these keys are hits, as `key=value`.
    fn given(mut line: Line, hits: &[&str]) -> Vec<Vec<String>> {
        for hit in hits {
            line.on_value(hit.as_bytes(), 0, None, hit.to_uppercase().as_bytes()).expect("it is due");
        }
        let told = |value: Value| format!("{}={}", value.key.escape_ascii(), value.bytes.escape_ascii());
        line.finish().map(|values| values.into_iter().map(told).collect()).collect()
    }

    #[test]
    fn each_key_is_asked_once_and_given_to_all_who_asked() {
        let readers: &[&[&str]] = &[&["a"], &["b"], &["a"], &["c", "a", "c"]];
        assert_eq!(asked(&line(readers)), ["a", "b", "c"]);
        assert_eq!(given(line(readers), &["a", "c"]), [&["a=A"][..], &[], &["a=A"], &["c=C", "a=A", "c=C"]]);
        assert_eq!(given(line(readers), &[]), [&[][..] as &[&str]; 4]);
    }

    #[test]
    fn a_value_that_is_not_due_is_noticed() {
        for hits in [&["x"][..], &["a", "a"], &["b", "a"], &["c", "b"]] {
            let mut line = line(&[&["a"], &["b", "c"]]);
            let all = hits.iter().try_for_each(|hit| line.on_value(hit.as_bytes(), 0, None, b""));
            assert_eq!(all, Err(NotDue), "{hits:?}");
        }
    }

    #[test]
    fn a_line_takes_a_hundred_keys_or_one_reader() {
        let mut full = Line::new(false);
        for number in 0..LINE_KEYS_MAX {
            assert!(full.has_room(false, 1) && !full.has_room(true, 1));
            full.add_reader([Bytes::from(format!("key-{number}"))]);
        }
        assert!(!full.has_room(false, 1));
        let mut large = Line::new(false);
        assert!(large.has_room(false, 1000));
        large.add_reader((0..1000).map(|number| Bytes::from(format!("key-{}", number % 500))));
        assert!(large.keys().count() >= 500);
        let hits: Vec<String> = large.keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
        let hits: Vec<&str> = hits.iter().map(String::as_str).collect();
        assert_eq!(given(large, &hits)[0].len(), 1000);
    }

    #[test]
    fn many_keys_are_told_apart() {
        let mut all = Line::new(true);
        for number in 0..LINE_KEYS_MAX {
            all.add_reader([Bytes::from(format!("{}", number / 2))]);
        }
        assert_eq!(asked(&all), (0..LINE_KEYS_MAX / 2).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}

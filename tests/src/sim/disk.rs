//! A node's disk in the simulator: segments of hints that outlive the node, sometimes not whole.
//!
//! Must not know what hints mean.

use std::collections::BTreeMap;

use bytes::Bytes;
use memring_engine::cluster::hints::{DiskAnswer, DiskCall, SegmentId, scan};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How long a call takes, in microseconds.
const TAKES_US: std::ops::Range<u64> = 20..8_000;

/// A disk.
pub struct Disk {
    random: StdRng,
    files: BTreeMap<SegmentId, Vec<u8>>,
    /// The segment that was written last, and how much: a crash may find a part of it missing.
    last: Option<(SegmentId, usize)>,
    /// Whether nothing can be written.
    pub fails: bool,
}

impl Disk {
    /// An empty one.
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), files: BTreeMap::new(), last: None, fails: false }
    }

    /// What comes of a call, and how many microseconds that takes.
    pub(super) fn perform(&mut self, call: DiskCall) -> (u64, DiskAnswer) {
        let answer = match call {
            DiskCall::List => {
                DiskAnswer::Listed(self.files.iter().map(|(id, file)| (*id, file.len() as u64)).collect())
            }
            DiskCall::Scan(id) => DiskAnswer::Scanned(id, scan(self.files.get(&id).map_or(&[][..], Vec::as_slice))),
            DiskCall::Append(id, _) if self.fails => DiskAnswer::Appended(id, false),
            DiskCall::Append(id, bytes) => {
                self.files.entry(id).or_default().extend_from_slice(&bytes);
                self.last = Some((id, bytes.len()));
                DiskAnswer::Appended(id, true)
            }
            DiskCall::Read(id, from, length) => {
                let rest = self.files.get(&id).and_then(|file| file.get(from as usize..));
                DiskAnswer::Read(id, rest.map(|rest| Bytes::copy_from_slice(&rest[..length.min(rest.len())])))
            }
            DiskCall::Remove(id) => {
                self.files.remove(&id);
                DiskAnswer::Removed(id, true)
            }
        };
        (self.random.random_range(TAKES_US), answer)
    }

    /// The machine is gone at once: of what was written last a part may be missing, and now and then a bit is another.
    pub(super) fn crash(&mut self) {
        if let Some((id, length)) = self.last.take()
            && let Some(file) = self.files.get_mut(&id)
            && self.random.random_bool(0.5)
        {
            file.truncate(file.len() - self.random.random_range(0..=length.min(file.len())));
        }
        if self.random.random_bool(0.1) {
            self.flip();
        }
    }

    /// Changes a bit of some segment; false if there is none.
    pub fn flip(&mut self) -> bool {
        let count = self.files.values().filter(|file| !file.is_empty()).count();
        if count == 0 {
            return false;
        }
        let chosen = self.random.random_range(0..count);
        let Some(file) = self.files.values_mut().filter(|file| !file.is_empty()).nth(chosen) else { return false };
        let at = self.random.random_range(0..file.len());
        file[at] ^= 1 << self.random.random_range(0..8);
        true
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }
}

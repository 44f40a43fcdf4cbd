//! What came of a pair's questions.
//!
//! Must not know what is asked next: see `pair`.

use std::time::Duration;

use memring_protocol::key::Partition;
use memring_protocol::limits::BUCKETS;
use memring_protocol::message::{CopyDigest, Difference, Refusal};
use memring_protocol::version::Stamp;

use super::pair::{Memory, Owed, Pair, Pass, Stage};
use crate::now::Mono;

/// How long to wait before asking a home again that did not answer.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// How long to wait before asking a home again that does not know the question.
const UNKNOWN_AFTER: Duration = Duration::from_secs(10);

/// How often it is asked whether the other home has delivered what it had to send.
const DELIVERY_POLL: Duration = Duration::from_millis(300);

/// What was left to the home that has made it should be there by then, or it is sent by any that holds it.
const AGAIN_AFTER: Duration = Duration::from_secs(15);

/// Bytes of lists that a pair exchanges in a second, about.
const LIST_BYTES_A_SECOND: u64 = 8 << 20;

/// Bytes of a listed entry on the wire.
const LISTED_ENTRY_BYTES: usize = 27;

impl Pair {
    /// The other home has answered, and neither of the two makes a stamp up to `latest` from now on.
    pub fn on_answer(&mut self, now: Mono, latest: Stamp) {
        self.ask_at = now.max(self.rests_until);
        if self.waiting.is_empty() && !self.marked.is_empty() {
            std::mem::swap(&mut self.waiting, &mut self.marked);
            self.waits_for = latest;
            self.mark = Some((latest, now));
        }
        self.mark.get_or_insert((latest, now));
    }

    /// The other home does not know such questions: an older release.
    pub fn on_refused(&mut self, now: Mono) {
        self.ask_at = now.after(UNKNOWN_AFTER);
    }

    /// The question was lost.
    pub fn on_lost(&mut self, now: Mono) {
        self.ask_at = now.after(RETRY_AFTER);
    }

    /// What the other home holds of a partition, beside the digest of what this one does.
    pub fn on_digest(&mut self, now: Mono, partition: Partition, mine: u64, theirs: Result<CopyDigest, Refusal>) {
        let Some(memory) = self.memory.get_mut(&partition) else { return };
        let theirs = match (theirs, self.passes.get_mut(&partition)) {
            (Ok(theirs), _) => theirs,
            (Err(Refusal::Busy), Some(pass)) => {
                pass.stage = Stage::Delivering(now.after(DELIVERY_POLL));
                return;
            }
            (Err(Refusal::Busy), None) => {
                self.marked.insert(partition);
                return;
            }
            (Err(_), _) => {
                self.passes.remove(&partition);
                return;
            }
        };
        let pass = self.passes.remove(&partition);
        if memory.copy != theirs.copy {
            *memory = Memory { copy: theirs.copy, ..Memory::default() };
        } else if let Some(pass) = pass {
            memory.conclude(now, &pass);
            if !pass.whole {
                self.marked.insert(partition);
            }
        }
        let digests = (mine, theirs.digest);
        if mine == theirs.digest {
            (memory.agreed, memory.settled) = (memory.agreed.max(self.upto), Some(digests));
            memory.again_at = None;
        } else if memory.settled != Some(digests) && memory.again_at.is_none_or(|at| now >= at) {
            self.passes.insert(partition, Pass::new(self.upto, digests));
        }
    }

    /// The digests of a partition's buckets, here and there. False when no bucket differs, and the pass is over.
    pub fn on_buckets(
        &mut self,
        partition: Partition,
        mine: &[u64; BUCKETS],
        theirs: Result<[u64; BUCKETS], Refusal>,
    ) -> bool {
        let Some(pass) = self.passes.get_mut(&partition).filter(|pass| pass.stage == Stage::Buckets) else {
            return false;
        };
        let differs = |theirs: [u64; BUCKETS]| {
            let pairs = mine.iter().zip(theirs).enumerate();
            pairs.filter(|(_, (mine, theirs))| *mine != theirs).fold(0, |bits, (bucket, _)| bits | 1 << bucket)
        };
        match theirs.map(differs) {
            Ok(buckets) if buckets != 0 => {
                (pass.buckets, pass.stage) = (buckets, Stage::Lists(0));
                true
            }
            answer => {
                let pass = self.passes.remove(&partition);
                if let (Ok(_), Some(pass), Some(memory)) = (answer, pass, self.memory.get_mut(&partition)) {
                    memory.agreed = memory.agreed.max(pass.upto);
                }
                false
            }
        }
    }

    /// So many entries are listed in the question: the next one waits for its turn.
    pub fn listed(&mut self, now: Mono, entries: usize) {
        let micros = (entries * LISTED_ENTRY_BYTES) as u64 * 1_000_000 / LIST_BYTES_A_SECOND;
        self.rests_until = now.after(Duration::from_micros(micros));
    }

    /// What a list of a partition, up to the token before `next`, came to, and what was made of what the other home lacks.
    pub fn on_difference(
        &mut self,
        now: Mono,
        partition: Partition,
        next: Option<u64>,
        found: Result<Difference, Refusal>,
        owed: Owed,
    ) {
        let Some(pass) = self.passes.get_mut(&partition) else { return };
        let Ok(found) = found else {
            self.passes.remove(&partition);
            self.marked.insert(partition);
            return;
        };
        pass.gave |= found.gives > 0 || owed.count > 0;
        pass.young |= found.young > 0;
        pass.left |= found.left > 0 || owed.left > 0;
        pass.whole &= found.whole && owed.whole;
        if let Some(next) = next {
            pass.stage = Stage::Lists(next);
            return;
        }
        if pass.gave || !pass.whole {
            pass.stage = Stage::Delivering(now.after(DELIVERY_POLL));
            return;
        }
        let pass = self.passes.remove(&partition);
        if let (Some(pass), Some(memory)) = (pass, self.memory.get_mut(&partition)) {
            memory.conclude(now, &pass);
            memory.settled = (!pass.young && !pass.left).then_some(pass.digests);
        }
    }
}

impl Memory {
    /// A pass is over, and what it gave has been delivered.
    fn conclude(&mut self, now: Mono, pass: &Pass) {
        if pass.left {
            self.again_at = Some(now.after(AGAIN_AFTER));
            return;
        }
        self.again_at = None;
        if pass.whole {
            self.agreed = self.agreed.max(pass.upto);
        }
    }
}

impl Pass {
    fn new(upto: Stamp, digests: (u64, u64)) -> Self {
        let stage = Stage::Buckets;
        Self { stage, buckets: 0, upto, digests, gave: false, young: false, left: false, whole: true }
    }
}

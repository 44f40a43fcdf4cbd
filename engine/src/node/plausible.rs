//! What a peer's message may claim about time: stamps and ballots far ahead of this node's clock are refused.
//!
//! Clocks only rise. One broken or hostile peer that named the last stamp there is would leave every clock it reaches
//! nothing above it; so what lies more than [`AHEAD_MAX_MS`] ahead is treated as if it had not been understood.

use memring_protocol::entry::UnixMillis;
use memring_protocol::flush::FlushState;
use memring_protocol::message::{
    Acknowledgement, ControlReply, ControlRequest, PromiseReply, ReadResult, Refusal, ReplicateRef, Reply, Request,
    Survey, Want, WriteReply,
};
use memring_protocol::version::{Ballot, STAMP_EPOCH_UNIX_MS, Stamp, Version};

/// How far ahead of this node's clock a stamp or a ballot's round may be: well above any skew that a cluster lives with.
pub(crate) const AHEAD_MAX_MS: u64 = 24 * 60 * 60 * 1000;

/// A moment to judge by.
#[derive(Clone, Copy)]
struct Horizon {
    latest_ms: u64,
}

impl Horizon {
    fn stamp(self, stamp: Stamp) -> bool {
        stamp.unix_ms() <= self.latest_ms
    }

    /// Rounds follow the clock's milliseconds.
    fn ballot(self, ballot: Ballot) -> bool {
        ballot.round() <= self.latest_ms.saturating_sub(STAMP_EPOCH_UNIX_MS)
    }

    fn version(self, version: Version) -> bool {
        self.stamp(version.stamp) && self.ballot(version.ballot)
    }

    /// A flush to come may lie as far ahead as a client asked; its identity, the floor and what a paced flush goes up to may
    /// not.
    fn flush(self, flush: FlushState) -> bool {
        self.stamp(flush.latest())
    }

    fn promise(self, promise: &PromiseReply) -> bool {
        match promise {
            PromiseReply::Promised { stamp, .. } => self.stamp(*stamp),
            PromiseReply::Outbid(ballot) => self.ballot(*ballot),
            PromiseReply::Refused(refusal) => self.refusal(*refusal),
        }
    }

    fn refusal(self, refusal: Refusal) -> bool {
        match refusal {
            Refusal::Fenced(ballot) => self.ballot(ballot),
            Refusal::Recovering | Refusal::Epoch(_) | Refusal::NotHome | Refusal::Busy => true,
        }
    }
}

fn horizon(now: UnixMillis) -> Horizon {
    Horizon { latest_ms: now.0.saturating_add(AHEAD_MAX_MS) }
}

/// Whether a request may be taken at its word.
pub(crate) fn is_plausible_request(now: UnixMillis, request: &Request) -> bool {
    let horizon = horizon(now);
    match request {
        Request::Read(read) => match read.want {
            Want::Look(ballot) => horizon.ballot(ballot),
            Want::Value | Want::Digest => true,
        },
        Request::Replicate(replicate) => is_plausible_replicate(now, &replicate.into()),
        Request::Control(ControlRequest::Prepare { proposals, .. }) => {
            proposals.iter().all(|(_, ballot)| horizon.ballot(*ballot))
        }
        Request::Write(write) => horizon.ballot(write.above),
        Request::Control(ControlRequest::FlushCommit(flush)) => horizon.flush(*flush),
        Request::Control(ControlRequest::Ping(status)) => horizon.flush(status.flush),
        Request::Survey(survey) => {
            let is_plausible = match &survey.what {
                Survey::Lists(lists) => {
                    lists.iter().flat_map(|list| &list.entries).all(|(_, version)| horizon.version(*version))
                }
                // What is agreed upon may be forgotten.
                Survey::Digests(agreed) => agreed.iter().all(|agreed| horizon.stamp(agreed.upto)),
                Survey::Buckets(_) | Survey::Start(_) => true,
            };
            horizon.stamp(survey.latest) && is_plausible
        }
        Request::Control(ControlRequest::FlushProbe | ControlRequest::Ring { .. } | ControlRequest::Stats)
        // Versions to compare with are not taken in.
        | Request::Compare(_)
        | Request::Fetch(_) => true,
    }
}

/// Whether a replicate may be taken at its word.
pub(crate) fn is_plausible_replicate(now: UnixMillis, replicate: &ReplicateRef<'_>) -> bool {
    let horizon = horizon(now);
    replicate.fence.is_none_or(|fence| horizon.ballot(fence))
        && replicate.entry.as_ref().is_none_or(|entry| horizon.version(entry.version))
}

/// Whether an acknowledgement may be taken at its word; one that may not counts as lost.
pub(crate) fn is_plausible_acknowledgement(now: UnixMillis, acknowledgement: Acknowledgement) -> bool {
    match acknowledgement {
        Acknowledgement::Fenced(ballot) => horizon(now).ballot(ballot),
        Acknowledgement::Held { .. } | Acknowledgement::Refused(_) => true,
    }
}

/// Whether a reply may be taken at its word; one that may not counts as lost.
pub(crate) fn is_plausible_reply(now: UnixMillis, reply: &Reply) -> bool {
    let horizon = horizon(now);
    match reply {
        Reply::Read(results) => results.iter().all(|result| match result {
            ReadResult::Absent | ReadResult::Later => true,
            ReadResult::Digest(version) => horizon.version(*version),
            ReadResult::Found(entry, _) => horizon.version(entry.version),
            ReadResult::Refused(refusal) => horizon.refusal(*refusal),
        }),
        Reply::Replicate(acknowledgement) => is_plausible_acknowledgement(now, *acknowledgement),
        Reply::Fetch(page) => {
            let promised = page.partitions.iter().filter_map(|fetched| fetched.state.ok());
            horizon.flush(page.flush)
                && page.entries.iter().all(|(_, entry)| horizon.version(entry.version))
                && promised.map(|state| state.promised).all(|ballot| horizon.ballot(ballot))
        }
        Reply::Control(ControlReply::Promises(promises)) => promises.iter().all(|promise| horizon.promise(promise)),
        Reply::Control(ControlReply::FlushStamp(stamp)) => horizon.stamp(*stamp),
        Reply::Control(ControlReply::Pong(status)) => horizon.flush(status.flush),
        Reply::Survey(surveyed) => horizon.stamp(surveyed.latest),
        Reply::Write(WriteReply::Refused(refusal)) => horizon.refusal(*refusal),
        Reply::Control(
            ControlReply::Done | ControlReply::Refused(_) | ControlReply::Stats(_) | ControlReply::Working,
        )
        | Reply::Compare(_)
        | Reply::Write(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use memring_protocol::key::Partition;
    use memring_protocol::message::{Agreed, SurveyRequest};
    use memring_protocol::ring::Epoch;
    use memring_protocol::version::Slot;

    use super::*;

    #[test]
    fn what_lies_days_ahead_is_not_believed() {
        let now = UnixMillis(1_800_000_000_000);
        let slot = Slot::new(1).unwrap();
        let prepare = |ballot| {
            let proposals = vec![(Partition::new(1).unwrap(), ballot)];
            Request::Control(ControlRequest::Prepare { epoch: Epoch(1), proposals })
        };
        let round = now.0 - STAMP_EPOCH_UNIX_MS;
        for (ballot, plausible) in [
            (Ballot::new(round, slot), true),
            (Ballot::new(round + 1000, slot), true),
            (Ballot::new(round + 2 * AHEAD_MAX_MS, slot), false),
            (Ballot(u64::MAX), false),
        ] {
            assert_eq!(is_plausible_request(now, &prepare(ballot)), plausible, "{ballot:?}");
        }
        for (stamp, plausible) in [(Stamp::at(now.0, slot), true), (Stamp(u64::MAX), false)] {
            let flush = FlushState { floor: stamp, ..FlushState::default() };
            let commit = Request::Control(ControlRequest::FlushCommit(flush));
            assert_eq!(is_plausible_request(now, &commit), plausible);
            assert_eq!(is_plausible_reply(now, &Reply::Control(ControlReply::FlushStamp(stamp))), plausible);
            let agreed = vec![Agreed { partition: Partition::new(1).unwrap(), upto: stamp }];
            let what = Survey::Digests(agreed);
            let survey = SurveyRequest { epoch: Epoch(1), sender: slot, latest: Stamp::ZERO, what };
            assert_eq!(is_plausible_request(now, &Request::Survey(survey)), plausible);
        }
    }
}

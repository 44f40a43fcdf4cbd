//! What a home does with an entry that a peer sends, and a serializer with what homes say.

use memring_protocol::entry::{Body, Entry, EntryRef, Expiry, Item, Marks, UnixMillis};
use memring_protocol::key::Key;
use memring_protocol::message::{Acknowledgement, Refusal, ReplicateRef, RequestId};
use memring_protocol::version::{Ballot, Slot, Stamp, Version};

use super::super::plausible::{AHEAD_MAX_MS, is_plausible_acknowledgement};
use super::{Alone, Effect, START};
use crate::node::LinkId;

#[test]
fn a_replicate_is_kept_if_its_fence_holds_and_its_stamp_can_be_true() {
    let mut alone = Alone::founded();
    let key = Key::copy_from(b"key").expect("legal");
    let slot = Slot::new(0).expect("legal");
    let promised = alone.shared.store.promised(key.partition());
    let held = Acknowledgement::Held { synced: true };
    let refused = Acknowledgement::Refused(Refusal::Busy);
    let term = promised.above(0, slot);
    let far = START.0 + 2 * AHEAD_MAX_MS;
    let cases = [
        (Some(term), Stamp::at(START.0, slot), held, true),
        // Clocks only rise: what names a day after tomorrow is not even looked at.
        (Some(term), Stamp::at(far, slot), refused, false),
        (Some(Ballot(u64::MAX)), Stamp::at(START.0, slot), refused, false),
        (Some(Ballot::NONE), Stamp::at(START.0 + 1, slot), Acknowledgement::Fenced(term), false),
    ];
    for (number, (fence, stamp, expected, is_kept)) in cases.into_iter().enumerate() {
        let value = bytes::Bytes::from(format!("value {number}"));
        let item = Item { value, flags: 7, cas: 9, expiry: Expiry::NEVER, marks: Marks::NONE };
        let entry = Entry { version: Version { ballot: term, stamp }, body: Body::Item(item) };
        let epoch = alone.shared.topology().epoch();
        let replicate = ReplicateRef { epoch, fence, key: (&key).into(), entry: Some(EntryRef::from(&entry)) };
        let mut effects = Vec::new();
        alone.node.on_peer_replicate(alone.now, LinkId(3), RequestId(5), &replicate, &mut effects);
        assert_eq!(effects, [Effect::Acknowledge(LinkId(3), RequestId(5), expected)], "case {number}");
        let is_held = alone.shared.store.peek(alone.now.cluster, &key).is_some_and(|held| held == entry);
        assert_eq!(is_held, is_kept, "case {number}");
        assert!(alone.shared.clock.latest().unix_ms() < far, "case {number}");
    }
}

#[test]
fn a_fence_far_ahead_is_not_believed() {
    for (ballot, plausible) in [(Ballot::NONE, true), (Ballot(u64::MAX), false)] {
        let said = Acknowledgement::Fenced(ballot);
        assert_eq!(is_plausible_acknowledgement(UnixMillis(START.0), said), plausible);
    }
}

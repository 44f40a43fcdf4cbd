//! A pair's story, answer by answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use memring_protocol::key::Partition;
use memring_protocol::limits::BUCKETS;
use memring_protocol::message::{CopyDigest, Difference, Refusal};
use memring_protocol::version::{Slot, Stamp};

use super::{Owed, Pair, Question, Repair, SETTLED_AFTER};
use crate::now::Mono;

const NOTHING: Owed = Owed { count: 0, left: 0, whole: true };

fn partition(number: u16) -> Partition {
    Partition::new(number).unwrap()
}

fn theirs(digest: u64) -> Result<CopyDigest, Refusal> {
    Ok(CopyDigest { digest, copy: 1 })
}

/// A pair that shares these partitions, and the moment.
struct Story {
    pair: Pair,
    now: Mono,
    /// What the other home says its latest stamp is: it rises with time.
    latest: u64,
}

impl Story {
    fn new(partitions: u16) -> Self {
        let mut pair = Pair::default();
        pair.share(Mono(0), &(0..partitions).map(partition).collect());
        Self { pair, now: Mono(0), latest: 0 }
    }

    /// A pair that was equal once, and is to compare everything.
    fn marked(partitions: u16) -> Self {
        let mut story = Self::new(partitions);
        let all: Vec<u16> = story.digests().into_iter().map(|(number, _)| number).collect();
        story.differ(&all, (1, 1));
        story.pair.mark_all();
        story
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    fn ask(&mut self) -> Option<Question> {
        self.pair.question(self.now, true, |_| true)
    }

    fn answered(&mut self) {
        self.latest += 1;
        self.pair.on_answer(self.now, Stamp(self.latest));
    }

    /// Asks until digests are asked for, and says of which partitions, and up to what they are agreed upon.
    fn digests(&mut self) -> Vec<(u16, u64)> {
        for _ in 0..100 {
            match self.ask() {
                Some(Question::Digests(asked)) if !asked.is_empty() => {
                    return asked.iter().map(|asked| (asked.partition.number(), asked.upto.0)).collect();
                }
                Some(Question::Digests(_)) => self.answered(),
                Some(other) => panic!("{other:?}"),
                None => self.wait(Duration::from_millis(500)),
            }
        }
        panic!("no digests are compared")
    }

    /// All digests are answered, and differ.
    fn differ(&mut self, partitions: &[u16], (mine, other): (u64, u64)) {
        self.answered();
        for number in partitions {
            self.pair.on_digest(self.now, partition(*number), mine, theirs(other));
        }
    }

    /// A partition's first bucket differs, and its entries are asked for.
    fn reach_lists(&mut self, number: u16) -> (u64, u64, bool) {
        assert_eq!(self.ask(), Some(Question::Buckets(vec![partition(number)])));
        self.answered();
        let mut buckets = [0; BUCKETS];
        let mine = buckets;
        buckets[5] = 1;
        assert!(self.pair.on_buckets(partition(number), &mine, Ok(buckets)));
        let Some(Question::Lists(wanted)) = self.ask() else { panic!("no lists") };
        assert_eq!((wanted.len(), wanted[0].partition, wanted[0].buckets), (1, partition(number), 1 << 5));
        self.answered();
        (wanted[0].agreed.0, wanted[0].upto.0, wanted[0].all)
    }

    fn found(&mut self, number: u16, found: Difference, owed: Owed) {
        self.pair.on_difference(self.now, partition(number), None, Ok(found), owed);
    }
}

fn whole() -> Difference {
    Difference { whole: true, ..Difference::default() }
}

#[test]
fn a_stamp_settles_before_anything_is_judged_by_it() {
    let mut story = Story::new(1);
    assert_eq!(story.digests(), [(0, 0)]);
    story.differ(&[0], (7, 8));
    assert_eq!(story.reach_lists(0), (0, 0, false), "nothing is old enough yet");
    story.found(0, Difference { young: 3, ..whole() }, NOTHING);
    story.wait(SETTLED_AFTER);
    assert_eq!(story.digests(), [(0, 0)]);
    story.differ(&[0], (7, 8));
    let (agreed, upto, _) = story.reach_lists(0);
    assert!(agreed == 0 && upto > 0);
}

#[test]
fn what_was_offered_is_agreed_upon_when_it_is_delivered_and_not_before() {
    let mut story = Story::marked(1);
    assert_eq!(story.digests(), [(0, 0)]);
    story.differ(&[0], (7, 8));
    story.reach_lists(0);
    story.found(0, Difference { gives: 2, ..whole() }, Owed { count: 1, ..NOTHING });
    for _ in 0..3 {
        assert_eq!(story.digests(), [(0, 0)]);
        story.answered();
        story.pair.on_digest(story.now, partition(0), 7, Err(Refusal::Busy));
    }
    story.digests();
    story.differ(&[0], (9, 9));
    let agreed = story.pair.agreed(partition(0)).unwrap();
    assert!(agreed > Stamp::ZERO && story.pair.pending() == 0);
    assert_eq!(story.digests(), [(0, agreed.0)]);
}

#[test]
fn copies_that_differ_by_evictions_alone_are_listed_once() {
    let mut story = Story::marked(1);
    story.digests();
    story.differ(&[0], (7, 8));
    story.reach_lists(0);
    story.found(0, whole(), NOTHING);
    for _ in 0..3 {
        story.digests();
        story.differ(&[0], (7, 8));
        assert_eq!(story.pair.pending(), 0);
    }
    story.digests();
    story.differ(&[0], (7, 9));
    let (agreed, upto, _) = story.reach_lists(0);
    assert!(agreed > 0 && upto >= agreed, "only what is new can be missing");
}

#[test]
fn what_another_home_has_made_is_left_to_it_and_looked_at_again_later() {
    let mut story = Story::marked(1);
    story.digests();
    story.differ(&[0], (7, 8));
    story.reach_lists(0);
    story.found(0, Difference { left: 1, ..whole() }, NOTHING);
    assert_eq!(story.pair.agreed(partition(0)), Some(Stamp::ZERO));
    story.pair.mark(partition(0));
    story.digests();
    story.differ(&[0], (7, 8));
    let (_, _, all) = story.reach_lists(0);
    assert!(!all, "there is a new reason");
    story.found(0, Difference { left: 1, ..whole() }, NOTHING);
    let since = story.now;
    loop {
        story.digests();
        story.differ(&[0], (7, 8));
        if story.pair.pending() > 0 {
            break;
        }
    }
    assert!(story.now.since(since) >= Duration::from_secs(15));
    let (_, _, all) = story.reach_lists(0);
    assert!(all, "whoever holds it sends it");
    story.found(0, whole(), Owed { count: 1, ..NOTHING });
    story.digests();
    story.differ(&[0], (8, 8));
    assert!(story.pair.agreed(partition(0)) > Some(Stamp::ZERO));
}

#[test]
fn what_found_no_room_is_not_agreed_upon_and_compared_again_soon() {
    let mut story = Story::marked(1);
    story.digests();
    story.differ(&[0], (7, 8));
    story.reach_lists(0);
    story.found(0, Difference { gives: 1, whole: false, ..Difference::default() }, NOTHING);
    story.digests();
    story.answered();
    story.pair.on_digest(story.now, partition(0), 8, theirs(8));
    assert!(story.pair.pending() > 0);
    let since = story.now;
    story.digests();
    assert!(story.now.since(since) < Duration::from_secs(5));
}

#[test]
fn a_copy_made_anew_has_nothing_agreed_upon() {
    let mut story = Story::marked(2);
    assert_eq!(story.digests().len(), 2);
    story.differ(&[0, 1], (7, 7));
    assert!([0, 1].map(|number| story.pair.agreed(partition(number))).iter().all(|agreed| *agreed > Some(Stamp::ZERO)));
    story.pair.forget_agreed(partition(0));
    assert_eq!(story.pair.agreed(partition(0)), Some(Stamp::ZERO));
    story.pair.mark_all();
    story.digests();
    story.answered();
    story.pair.on_digest(story.now, partition(0), 7, theirs(7));
    story.pair.on_digest(story.now, partition(1), 7, Ok(CopyDigest { digest: 8, copy: 2 }));
    assert_eq!(story.pair.agreed(partition(1)), Some(Stamp::ZERO));
    assert_eq!(story.reach_lists(1).0, 0);
}

#[test]
fn a_home_that_does_not_answer_is_asked_again_and_one_that_does_not_know_the_question_seldom() {
    let lost: fn(&mut Pair, Mono) = Pair::on_lost;
    for (silent, again_ms) in [(lost, 500), (Pair::on_refused, 10_000)] {
        let mut story = Story::new(1);
        story.wait(Duration::from_secs(5));
        assert!(story.ask().is_some());
        story.pair.mark(partition(0));
        silent(&mut story.pair, story.now);
        story.wait(Duration::from_millis(again_ms - 1));
        assert_eq!(story.ask(), None);
        story.wait(Duration::from_millis(1));
        assert!(story.ask().is_some());
    }
}

#[test]
fn all_partitions_are_gone_through_in_slices() {
    let mut story = Story::new(1200);
    let mut seen = BTreeSet::new();
    let mut slices = Vec::new();
    while seen.len() < 1200 {
        let slice: Vec<u16> = story.digests().into_iter().map(|(number, _)| number).collect();
        slices.push(slice.len());
        seen.extend(slice.iter().copied());
        story.differ(&slice, (7, 7));
    }
    assert_eq!(slices, [512, 512, 176]);
    let before = story.now;
    story.digests();
    assert!(story.now.since(before) > Duration::from_secs(20), "then it rests");
}

#[test]
fn pairs_come_and_go_with_the_placement() {
    let (mut repair, peers) = (Repair::default(), [2, 3].map(|number| Slot::new(number).unwrap()));
    let shared = |partitions: &[u16]| partitions.iter().copied().map(partition).collect::<BTreeSet<_>>();
    repair.share(Mono(0), BTreeMap::from([(peers[0], shared(&[1, 2])), (peers[1], shared(&[1]))]));
    assert_eq!(repair.peers(), peers);
    repair.pair(peers[0]).unwrap().mark_all();
    assert_eq!(repair.pending(), 2);
    repair.share(Mono(0), BTreeMap::from([(peers[0], shared(&[2, 5]))]));
    assert_eq!((repair.peers(), repair.pending()), (vec![peers[0]], 1));
    assert!(repair.pair(peers[1]).is_none());
    assert_eq!(repair.pair(peers[0]).unwrap().agreed(partition(1)), None);
}

//! Hints in memory, and with a disk that a test plays.

use bytes::Bytes;
use memring_protocol::entry::UnixMillis;
use memring_protocol::ring::{Epoch, NodeName, RingConfig, RingId, RingMember, Share, Standing as MemberStanding};
use memring_protocol::version::{Ballot, Stamp};
use proptest::prelude::*;

use super::*;

fn key(name: &str) -> Key {
    Key::copy_from(name.as_bytes()).unwrap()
}

fn version(stamp: u64) -> Version {
    Version { ballot: Ballot(1), stamp: Stamp(stamp) }
}

#[test]
fn the_newest_version_per_key_is_kept_until_it_is_settled() {
    let (mut hints, target) = (Hints::new(10_000), Slot::new(1).unwrap());
    for stamp in [5, 7, 6] {
        assert!(hints.keep(target, &key("a"), version(stamp)));
    }
    let hint = Hint { key: key("a"), version: version(7), inherited: false };
    assert_eq!(hints.batch(target, None, 10), [hint]);
    hints.settle(target, &key("a"), version(6));
    assert_eq!(hints.len(), 1, "a replay of an older version settles nothing");
    hints.settle(target, &key("a"), version(7));
    assert!(hints.is_empty() && hints.bytes() == 0);
}

#[test]
fn over_the_limit_hints_are_dropped_and_counted() {
    let (mut hints, target) = (Hints::new(2 * (HINT_OVERHEAD_BYTES + 2)), Slot::new(1).unwrap());
    let kept = (0..5).filter(|number| hints.keep(target, &key(&format!("k{number}")), version(1))).count();
    assert_eq!((kept, hints.len(), hints.dropped()), (2, 2, 3));
    hints.forget(target);
    assert_eq!((hints.len(), hints.bytes()), (0, 0));
}

#[test]
fn hints_are_as_old_as_the_oldest_write_since_their_target_had_none() {
    let at = |unix_ms| Version { ballot: Ballot(1), stamp: Stamp::at(unix_ms, Slot::new(0).unwrap()) };
    let ms = |offset: u64| memring_protocol::version::STAMP_EPOCH_UNIX_MS + offset;
    let (mut hints, one, other) = (Hints::new(10_000), Slot::new(1).unwrap(), Slot::new(2).unwrap());
    assert_eq!(hints.oldest(), None);
    for (target, name, offset, oldest) in
        [(one, "a", 500, 500), (one, "b", 400, 400), (other, "a", 700, 400), (one, "c", 900, 400)]
    {
        hints.keep(target, &key(name), at(ms(offset)));
        assert_eq!(hints.oldest(), Some(UnixMillis(ms(oldest))), "{name} {offset}");
    }
    for name in ["b", "a", "c"] {
        assert_eq!(hints.oldest(), Some(UnixMillis(ms(400))), "until all of them are given");
        hints.settle(one, &key(name), at(ms(900)));
    }
    assert_eq!(hints.oldest(), Some(UnixMillis(ms(700))));
    hints.keep(one, &key("a"), at(ms(1000)));
    hints.forget(other);
    assert_eq!(hints.oldest(), Some(UnixMillis(ms(1000))), "what was given is forgotten");
}

#[test]
fn a_partition_has_hints_until_its_last_is_settled() {
    let (mut hints, target) = (Hints::new(10_000), Slot::new(1).unwrap());
    let keys: Vec<Key> = (0..20).map(|number| key(&format!("k{number}"))).collect();
    for key in &keys {
        hints.keep(target, key, version(1));
    }
    for key in &keys {
        assert!(hints.has_any(target, key.partition()) && !hints.has_any(Slot::new(2).unwrap(), key.partition()));
        hints.settle(target, key, version(1));
        assert!(!hints.has_any(target, key.partition()));
    }
}

#[test]
fn batches_go_on_behind_a_key() {
    let (mut hints, target) = (Hints::new(10_000), Slot::new(1).unwrap());
    for number in 0..5 {
        hints.keep(target, &key(&format!("k{number}")), version(1));
    }
    let first = hints.batch(target, None, 3);
    let rest = hints.batch(target, Some(&first[2].key), 3);
    assert_eq!((first.len(), rest.len()), (3, 2));
}

/// A limit of memory that three of the hints here fill.
const FEW_BYTES: usize = 3 * (HINT_OVERHEAD_BYTES + 4);

fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

/// A ring of `n0` and so on, each in the slot of its number.
fn ring(id: u64, members: u16) -> RingConfig {
    let member = |number| RingMember {
        name: NodeName::new(&format!("n{number}")).unwrap(),
        slot: slot(number),
        share: Share { zone: String::new(), weight: 100 },
        standing: MemberStanding::Active,
    };
    let members = (0..members).map(member).collect();
    RingConfig { ring_id: RingId(id), epoch: Epoch(1), cluster: "test".to_owned(), replicas: 3, vnodes: 64, members }
}

/// A node's hints, and its files.
struct World {
    hints: Hints,
    files: BTreeMap<SegmentId, Vec<u8>>,
    disk_bytes: u64,
    memory_bytes: usize,
    ring: RingConfig,
    wanted: BTreeSet<Slot>,
    now: UnixMillis,
    fails: bool,
    trouble: Vec<(SegmentId, SegmentError)>,
}

impl World {
    fn new(memory_bytes: usize, disk_bytes: u64) -> Self {
        Self {
            hints: Hints::with_disk(memory_bytes, disk_bytes),
            files: BTreeMap::new(),
            disk_bytes,
            memory_bytes,
            ring: ring(1, 3),
            wanted: BTreeSet::new(),
            now: UnixMillis(1_800_000_000_000),
            fails: false,
            trouble: Vec::new(),
        }
    }

    fn restart(&mut self) {
        self.hints = Hints::with_disk(self.memory_bytes, self.disk_bytes);
    }

    fn calls(&mut self) -> Vec<DiskCall> {
        self.hints.poll_disk(&Standing {
            config: Some(&self.ring),
            me: Some(slot(0)),
            now: self.now,
            age_max: Some(std::time::Duration::from_secs(900)),
            wanted: &self.wanted,
        })
    }

    fn perform(&mut self, call: DiskCall) -> DiskAnswer {
        match call {
            DiskCall::List => {
                DiskAnswer::Listed(self.files.iter().map(|(id, file)| (*id, file.len() as u64)).collect())
            }
            DiskCall::Scan(id) => DiskAnswer::Scanned(id, scan(&self.files[&id])),
            DiskCall::Append(id, _) if self.fails => DiskAnswer::Appended(id, false),
            DiskCall::Append(id, bytes) => {
                self.files.entry(id).or_default().extend_from_slice(&bytes);
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
        }
    }

    /// Until nothing is to be done on disk.
    fn settle_disk(&mut self) {
        loop {
            let calls = self.calls();
            if calls.is_empty() {
                return;
            }
            for call in calls {
                let answer = self.perform(call);
                self.trouble.extend(self.hints.on_disk(answer));
                let written: usize = self.files.values().map(Vec::len).sum();
                assert!(written as u64 <= self.hints.disk_bytes() && self.hints.disk_bytes() <= self.disk_bytes);
            }
        }
    }

    fn keep(&mut self, target: u16, number: u32, stamp: u64) -> bool {
        let kept = self.hints.keep(slot(target), &key(&format!("{number:04}")), version(stamp));
        assert!(self.hints.bytes() <= self.memory_bytes);
        kept
    }

    /// Gives a target everything, in batches: what it was given, in order.
    fn deliver(&mut self, target: u16) -> Vec<Hint> {
        self.wanted.insert(slot(target));
        let mut given = Vec::new();
        loop {
            self.settle_disk();
            let batch = self.hints.batch(slot(target), None, 7);
            if batch.is_empty() {
                self.wanted.remove(&slot(target));
                return given;
            }
            for hint in batch {
                self.hints.settle(slot(target), &hint.key, hint.version);
                given.push(hint);
            }
        }
    }

    fn assert_empty(&self) {
        let hints = &self.hints;
        let left = (hints.len(), hints.bytes(), hints.on_disk_len(), hints.disk_bytes(), self.files.len());
        assert_eq!(left, (0, 0, 0, 0, 0));
    }
}

#[test]
fn what_memory_has_no_room_for_goes_to_disk_and_comes_back_as_the_newest_of_each_key() {
    let mut world = World::new(FEW_BYTES, 1 << 20);
    for round in 1..=3 {
        for number in 0..50 {
            assert!(world.keep(1, number, u64::from(number) + 100 * round));
        }
        world.settle_disk();
    }
    assert!(world.hints.on_disk_len() >= 47 && world.hints.dropped() == 0);
    let partition = key("0007").partition();
    assert!(world.hints.has_any(slot(1), partition) && !world.hints.has_any(slot(2), partition));
    let mut newest = BTreeMap::new();
    for hint in world.deliver(1) {
        assert!(!hint.inherited);
        newest.insert(hint.key, hint.version);
    }
    assert_eq!(newest.len(), 50);
    for number in 0..50_u32 {
        assert_eq!(newest[&key(&format!("{number:04}"))], version(u64::from(number) + 300));
    }
    assert!(!world.hints.has_any(slot(1), partition));
    world.assert_empty();
}

#[test]
fn a_restart_loses_no_hint_on_disk_and_a_planned_one_none() {
    let mut world = World::new(1 << 20, 1 << 20);
    (0..200).for_each(|number| assert!(world.keep(1 + number as u16 % 2, number, 5)));
    assert!(world.hints.is_unsaved());
    while !world.hints.save() {
        world.settle_disk();
    }
    assert!(!world.hints.is_unsaved());
    world.restart();
    world.settle_disk();
    assert_eq!((world.hints.on_disk_len(), world.hints.len()), (200, 0));
    for target in [1, 2] {
        let given = world.deliver(target);
        assert_eq!(given.len(), 100);
        assert!(given.iter().all(|hint| hint.inherited));
    }
    world.assert_empty();
}

#[test]
fn a_restart_in_another_ring_or_without_the_target_drops_its_segments() {
    for (other, left) in [(ring(2, 3), 0), (ring(1, 2), 1), (ring(1, 3), 2)] {
        let mut world = World::new(0, 1 << 20);
        assert!(world.keep(1, 1, 5) && world.keep(2, 2, 5));
        world.settle_disk();
        world.restart();
        world.ring = other;
        world.settle_disk();
        assert_eq!((world.hints.on_disk_len(), world.files.len()), (left, left as usize));
    }
}

#[test]
fn a_member_that_leaves_takes_its_segments_along() {
    let mut world = World::new(0, 1 << 20);
    assert!(world.keep(1, 1, 5) && world.keep(2, 2, 5));
    world.settle_disk();
    assert!(world.keep(2, 3, 5));
    world.hints.forget(slot(2));
    world.settle_disk();
    assert_eq!((world.hints.on_disk_len(), world.files.len()), (1, 1));
    world.ring = ring(1, 1);
    world.settle_disk();
    world.assert_empty();
}

#[test]
fn a_full_disk_drops_hints_and_never_grows_over_its_limit() {
    let mut world = World::new(FEW_BYTES, 2_000);
    let kept = (0..300).filter(|number| {
        let kept = world.keep(1, *number, 5);
        world.settle_disk();
        kept
    });
    let kept = kept.count();
    assert!(kept > 20 && world.hints.dropped() == 300 - kept as u64, "{kept}");
    assert_eq!(world.deliver(1).len(), kept);
    world.assert_empty();
}

#[test]
fn a_disk_that_answers_nothing_costs_hints_and_no_memory() {
    let mut world = World::new(0, 1 << 30);
    let kept = (0..300_000).filter(|number| world.keep(1, *number, 5)).count();
    let most = UNWRITTEN_BYTES_MAX / (RECORD_BYTES_MAX - 246);
    assert!(kept <= most && kept > most / 2, "{kept}");
    assert_eq!(world.hints.dropped(), 300_000 - kept as u64);
    world.settle_disk();
    assert!(world.keep(1, 300_000, 5), "it goes on when the disk does");
}

#[test]
fn what_could_not_be_written_is_named_and_the_next_goes_to_a_segment_of_its_own() {
    let mut world = World::new(0, 1 << 20);
    assert!(world.keep(1, 1, 5));
    world.settle_disk();
    world.fails = true;
    assert!(world.keep(1, 2, 5));
    world.settle_disk();
    assert_eq!(world.hints.take_lost().into_iter().collect::<Vec<_>>(), [(slot(1), key("0002").partition())]);
    assert_eq!(world.hints.dropped(), 1);
    world.fails = false;
    assert!(world.keep(1, 3, 5));
    world.settle_disk();
    assert_eq!(world.files.len(), 2);
    assert_eq!(world.deliver(1).len(), 2);
    world.assert_empty();
}

#[test]
fn of_a_changed_segment_what_is_before_the_change_is_given_and_the_rest_named() {
    for in_this_life in [true, false] {
        let mut world = World::new(0, 1 << 20);
        (0..20).for_each(|number| assert!(world.keep(1, number, 5)));
        world.settle_disk();
        let (id, file) = world.files.iter_mut().next().unwrap();
        let (id, middle) = (*id, file.len() / 2);
        file[middle] ^= 0x40;
        if !in_this_life {
            world.restart();
        }
        let given = world.deliver(1).len();
        assert!((5..15).contains(&given), "{given}");
        assert!(
            matches!(world.trouble[..], [(bad, SegmentError::ChangedAt(at))] if bad == id && at as usize <= middle)
        );
        assert_eq!((world.hints.bad_segments(), !world.hints.take_lost().is_empty()), (1, in_this_life));
        world.assert_empty();
    }
}

#[test]
fn files_that_are_no_segments_are_named_once_and_removed() {
    let mut world = World::new(0, 1 << 20);
    let mut later = Header { ring: RingId(1), target: NodeName::new("n1").unwrap(), made: world.now }.to_bytes();
    later[8] = 2;
    world.files.insert(SegmentId(3), later);
    world.files.insert(SegmentId(4), b"something else".to_vec());
    world.files.insert(SegmentId(5), b"mrhin".to_vec());
    world.settle_disk();
    let named = [(SegmentId(3), SegmentError::Format(2)), (SegmentId(4), SegmentError::Foreign)];
    assert_eq!((world.trouble.as_slice(), world.hints.bad_segments()), (&named[..], 2));
    assert!(world.keep(1, 1, 5));
    world.settle_disk();
    assert_eq!(world.files.keys().copied().collect::<Vec<_>>(), [SegmentId(6)]);
}

#[test]
fn old_segments_go_and_their_partitions_are_named() {
    let mut world = World::new(0, 1 << 20);
    assert!(world.keep(1, 1, 5));
    world.settle_disk();
    world.now.0 += 600_000;
    assert!(world.keep(1, 2, 5));
    world.settle_disk();
    world.now.0 += 400_000;
    world.settle_disk();
    assert_eq!(world.hints.take_lost().into_iter().collect::<Vec<_>>(), [(slot(1), key("0001").partition())]);
    assert_eq!(world.deliver(1).len(), 1);
    world.assert_empty();
}

proptest! {
    /// Writes, deliveries, failures and restarts in any order: what was kept is delivered in its newest version, or its
    /// partition is named, or it was in memory when the node was killed.
    #[test]
    fn nothing_kept_is_lost_silently(
        steps in proptest::collection::vec((0..20_u8, 1..3_u16, 0..40_u32, any::<bool>()), 1..200),
    ) {
        let mut world = World::new(FEW_BYTES, 3_000);
        let mut owed: BTreeMap<(u16, u32), u64> = BTreeMap::new();
        let mut stamp = 0;
        for (step, target, number, flag) in steps {
            stamp += 1;
            world.fails = false;
            match step {
                0..=13 => {
                    owed.remove(&(target, number));
                    if world.keep(target, number, stamp) {
                        owed.insert((target, number), stamp);
                    }
                    if flag {
                        world.settle_disk();
                    }
                }
                14 | 15 => {
                    for hint in world.deliver(target) {
                        owed.retain(|(slot, number), stamp| {
                            *slot != target || key(&format!("{number:04}")) != hint.key || version(*stamp) > hint.version
                        });
                    }
                }
                16 => {
                    world.fails = true;
                    world.settle_disk();
                }
                17 => {
                    // Killed: only what is in files is left.
                    world.restart();
                    owed.clear();
                }
                _ => {
                    while !world.hints.save() {
                        let before = world.hints.bytes();
                        world.settle_disk();
                        if before == world.hints.bytes() && !world.hints.save() {
                            break;
                        }
                    }
                    let full = world.hints.is_unsaved();
                    world.restart();
                    if full {
                        owed.clear();
                    }
                }
            }
            let lost = world.hints.take_lost();
            owed.retain(|(target, number), _| {
                !lost.contains(&(slot(*target), key(&format!("{number:04}")).partition()))
            });
        }
        world.fails = false;
        for target in [1, 2] {
            for hint in world.deliver(target) {
                owed.retain(|(slot, number), stamp| {
                    *slot != target || key(&format!("{number:04}")) != hint.key || version(*stamp) > hint.version
                });
            }
        }
        prop_assert!(owed.is_empty(), "{:?}", owed);
        world.assert_empty();
    }
}

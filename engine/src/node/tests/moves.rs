//! A ring config that is adopted in the middle of a worker's turn: what the turn writes by the view it began with must not be
//! lost to a home to come, which may have copied the partition already.

use std::sync::Arc;

use bytes::BytesMut;
use memring_protocol::entry::{Body, Entry, EntryRef};
use memring_protocol::key::Key;
use memring_protocol::message::{Acknowledgement, Refusal, ReplicateRef};
use memring_protocol::ring::{Epoch, NodeName, RingConfig, RingMember, Share, Standing};
use memring_protocol::text::{Step, parse};
use memring_protocol::version::{Slot, Stamp, Version};

use super::super::replica::keep;
use super::super::topology::{Layout, Liveness, Peer};
use super::{Alone, Duration, Effect, LIMITS, START, Shared, Ticket};

/// A node alone, and the config in which another one is about to take a part of its ring.
fn with_joiner() -> (Alone, RingConfig) {
    let alone = Alone::founded();
    let topology = alone.shared.topology();
    let config = &topology.layout().expect("it has founded").config;
    let joiner = RingMember {
        name: NodeName::new("n2").expect("legal"),
        slot: Slot::new(1).expect("legal"),
        share: Share { zone: String::new(), weight: 100 },
        standing: Standing::Joining,
    };
    let members = config.members.iter().cloned().chain([joiner]).collect();
    let next = RingConfig { epoch: Epoch(config.epoch.0 + 1), members, ..(**config).clone() };
    drop(topology);
    (alone, next)
}

fn adopt(shared: &Shared, config: RingConfig) {
    let slot = Slot::new(1).expect("legal");
    let (name, address) = (NodeName::new("n2").expect("legal"), ([127, 0, 0, 1], 1).into());
    let topology = shared.topology().with_layout(Arc::new(Layout::of(Arc::new(config))), &shared.settings().name);
    shared.set_topology(topology.with_peers(&[(slot, Peer { name, address, liveness: Liveness::Alive })]));
}

/// A key that moves to the joiner.
fn moving(config: &RingConfig) -> String {
    let layout = Layout::of(Arc::new(config.clone()));
    let moves = |key: &String| layout.next_homes(Key::copy_from(key.as_bytes()).expect("legal").partition()).is_some();
    (0..).map(|number| format!("key-{number}")).find(moves).expect("half of them do")
}

#[test]
fn a_set_that_is_ordered_by_an_old_view_is_answered_when_the_home_to_come_has_it() {
    let (Alone { shared, mut node, mut now, .. }, config) = with_joiner();
    let line = format!("set {} 0 0 1\r\nx\r\n", moving(&config));
    let Step::Command { command, .. } = parse(line.as_bytes(), &LIMITS) else { panic!("not a command") };
    let mut effects = Vec::new();
    node.turn(now, &mut effects, |node, turn| {
        adopt(&shared, config);
        node.start_command(turn, Ticket { connection: 1, sequence: 1 }, &command);
    });
    assert_eq!(effects, [], "one home by the old view, and that is not enough");
    now.mono = now.mono.after(Duration::from_millis(50));
    node.on_timer(now, &mut effects);
    let is_sent =
        effects.iter().any(|effect| matches!(effect, Effect::Replicate(receivers, _) if receivers.len() == 1));
    assert!(is_sent && !effects.iter().any(|effect| matches!(effect, Effect::Respond(..))), "{effects:?}");
}

#[test]
fn a_set_by_an_old_view_is_not_answered_alone() {
    let (Alone { shared, mut node, now, .. }, config) = with_joiner();
    let line = format!("set {} 0 0 1\r\nx\r\n", moving(&config));
    let Step::Command { command, .. } = parse(line.as_bytes(), &LIMITS) else { panic!("not a command") };
    let (mut out, old) = (BytesMut::new(), Arc::clone(&shared.topology()));
    assert_eq!(
        node.answer_together(now, std::slice::from_ref(&command), 1 << 20, &mut out, |_, _| {}),
        1,
        "at first it is"
    );
    out.clear();
    adopt(&shared, config);
    assert!(!node.answers_by(&old, now, &command, &mut out) && out.is_empty());
}

#[test]
fn an_entry_that_is_kept_by_an_old_view_is_not_acknowledged() {
    let (alone, config) = with_joiner();
    let key = Key::copy_from(moving(&config).as_bytes()).expect("legal");
    let old = Arc::clone(&alone.shared.topology());
    let slot = Slot::new(0).expect("legal");
    let version = Version { stamp: Stamp::at(START.0, slot), ..Version::default() };
    let entry = Entry { version, body: Body::Tombstone };
    let replicate =
        ReplicateRef { epoch: old.epoch(), fence: None, key: (&key).into(), entry: Some(EntryRef::from(&entry)) };
    let kept = |shared| keep(shared, &old, START, &replicate);
    assert_eq!(kept(&alone.shared), Acknowledgement::Held { synced: true });
    adopt(&alone.shared, config);
    assert_eq!(kept(&alone.shared), Acknowledgement::Refused(Refusal::Epoch(Epoch(old.epoch().0 + 1))));
}

//! One scenario for each rule that a random run may miss: it fails when the rule is switched off.

use std::collections::BTreeMap;

use memring_protocol::ring::{Epoch, NodeName, RingConfig, RingId, Standing};
use memring_protocol::ring_message::{RingBallot, RingMessage, VoteStep};
use memring_protocol::version::Slot;

use super::super::acceptor::{Acceptor, Memory, Recovery};
use super::super::change::{self, Move};
use super::super::proposal::Proposal;
use super::super::{KeeperConfig, RingEffect, RingKeeper, VisibleNode};
use super::{SECOND, config, name, ring_of, share};
use crate::now::Mono;

fn ballot(round: u64) -> RingBallot {
    RingBallot { round, slot: 0, life: 1 }
}

fn visible(names: &[&str]) -> Vec<VisibleNode> {
    let peer = "127.0.0.1:1".parse().expect("an address");
    names.iter().map(|node| VisibleNode { name: name(node), peer, generation: 1, alive: true }).collect()
}

/// A joiner that sees these nodes, at one second.
fn joiner(own: &str, sees: &[&str]) -> RingKeeper {
    let mut keeper = RingKeeper::new(config(own, true), Mono(0), 1);
    keeper.on_members(Mono(SECOND), &visible(sees), &mut Vec::new());
    keeper
}

/// What it answers.
fn answers(keeper: &mut RingKeeper, at: u64, from: &str, message: RingMessage) -> Vec<RingMessage> {
    let mut out = Vec::new();
    keeper.on_message(Mono(at), &name(from), message, &mut out);
    let sent = out.into_iter().filter_map(|effect| match effect {
        RingEffect::Send { to, message } => (to == name(from)).then_some(message),
        _ => None,
    });
    sent.collect()
}

/// The first config of a ring of three, and the lives of its founders.
fn three() -> (RingConfig, Vec<(Slot, u64)>) {
    let config = (**ring_of(1, &["n1", "n2", "n3"]).keeper("n1").config().expect("a ring")).clone();
    let lives = config.members.iter().map(|member| (member.slot, 1)).collect();
    (config, lives)
}

#[test]
fn a_vote_of_a_life_that_is_over_does_not_count() {
    let voters = ["n1", "n2", "n3"].map(name);
    let mut proposal = Proposal::new(ballot(1), Mono(0), Mono(0));
    proposal.promise(name("n1"), 1, None);
    proposal.promise(name("n2"), 1, None);
    let mut lives: BTreeMap<NodeName, u64> = voters.iter().map(|voter| (voter.clone(), 1)).collect();
    assert!(proposal.is_carried(&voters, &lives));
    lives.insert(name("n2"), 2);
    assert!(!proposal.is_carried(&voters, &lives), "n2 has restarted: somebody else's promise is needed");
    proposal.promise(name("n2"), 2, None);
    assert!(proposal.is_carried(&voters, &lives));
}

#[test]
fn a_forgetful_voter_asks_all_but_a_minority_of_one_less() {
    let others = ["n2", "n3", "n4", "n5"].map(name);
    let remembers = |round| {
        let acceptor = Acceptor { promised: ballot(round), accepted: None };
        Memory { life: 1, acceptor: Some(acceptor) }
    };
    let mut lives: BTreeMap<NodeName, u64> = others.iter().map(|voter| (voter.clone(), 1)).collect();
    let mut recovery = Recovery::default();
    recovery.note(name("n2"), remembers(3));
    recovery.note(name("n3"), remembers(7));
    assert_eq!(recovery.verdict(&others, &lives), None, "two of five others may all have missed a decision");
    recovery.note(name("n4"), Memory { life: 1, acceptor: None });
    assert_eq!(recovery.verdict(&others, &lives), None, "n4 has forgotten itself");
    let mut all = recovery.clone();
    all.note(name("n5"), Memory { life: 1, acceptor: None });
    let rest = all.verdict(&others, &lives).expect("nobody else can be asked: what is left is the truth");
    assert_eq!(rest.promised, ballot(7));
    recovery.note(name("n5"), remembers(5));
    assert_eq!(recovery.verdict(&others, &lives).map(|acceptor| acceptor.promised), Some(ballot(7)));
    lives.insert(name("n3"), 2);
    assert_eq!(recovery.verdict(&others, &lives), None, "the n3 that answered has forgotten since");
}

/// If something was accepted, it may be decided, and an earlier life may have voted on what follows it.
#[test]
fn a_voter_recovers_again_when_it_may_have_voted_further_on() {
    let (first, mut lives) = three();
    let second = change::after(&first, &Move::Leave(name("n2")), &[]).expect("possible");
    let mut again = joiner("n3", &["n1", "n2"]);
    let mut fresh = joiner("n3", &["n1", "n2"]);
    for (keeper, accepted) in [(&mut again, Some((ballot(1), second.clone()))), (&mut fresh, None)] {
        answers(keeper, SECOND, "n1", RingMessage::Config(first.clone()));
        keeper.on_timer(Mono(SECOND), &mut Vec::new());
        lives.iter_mut().for_each(|(_, life)| *life = 1);
        for other in ["n1", "n2"] {
            assert!(!votes(keeper, &first));
            let (accepted, lives) = (accepted.clone(), lives.clone());
            let step = VoteStep::Memory { asked: 1, may_vote: true, promised: ballot(1), accepted, lives };
            answers(keeper, SECOND, other, RingMessage::Vote { ring: first.ring_id, epoch: Epoch(1), step });
        }
        assert!(votes(keeper, &first));
        answers(keeper, SECOND, "n1", RingMessage::Config(second.clone()));
    }
    assert!(!votes(&mut again, &second));
    assert!(votes(&mut fresh, &second));
}

/// Whether it answers a proposal.
fn votes(keeper: &mut RingKeeper, config: &RingConfig) -> bool {
    let (ring, epoch) = (config.ring_id, config.epoch);
    let vote = RingMessage::Vote { ring, epoch, step: VoteStep::Prepare(ballot(99)) };
    !answers(keeper, SECOND, "n1", vote).is_empty()
}

#[test]
fn a_joiner_consents_to_one_founder_at_a_time_and_only_to_the_smallest_it_sees() {
    let cluster = || "memring".to_owned();
    let proposal = |ring| RingMessage::FoundProposal { cluster: cluster(), ring: RingId(ring) };
    let mut keeper = joiner("n5", &["n3"]);
    assert!(answers(&mut keeper, SECOND, "n7", proposal(1)).is_empty(), "n5 is smaller than n7");
    assert!(answers(&mut keeper, SECOND, "n4", proposal(2)).is_empty(), "n3 is smaller than n4");
    assert_eq!(answers(&mut keeper, SECOND, "n3", proposal(3)).len(), 1);
    assert_eq!(answers(&mut keeper, 2 * SECOND, "n3", proposal(4)).len(), 1, "another attempt of the same");
    assert!(answers(&mut keeper, 7 * SECOND, "n1", proposal(5)).is_empty(), "n3 may still found with its consent");
    assert_eq!(answers(&mut keeper, 9 * SECOND, "n1", proposal(6)).len(), 1);
}

#[test]
fn only_the_smallest_name_in_sight_tries_to_found() {
    for (sees, tries) in [("n6", true), ("n3", false)] {
        let mut keeper = RingKeeper::new(KeeperConfig { expect: Some(2), ..config("n5", true) }, Mono(0), 1);
        let mut out = Vec::new();
        keeper.on_members(Mono(SECOND), &visible(&[sees]), &mut out);
        keeper.on_timer(Mono(SECOND), &mut out);
        let asks =
            |effect: &RingEffect| matches!(effect, RingEffect::Send { message: RingMessage::FoundProposal { .. }, .. });
        assert_eq!(out.iter().any(asks), tries, "sees {sees}");
    }
}

#[test]
fn a_founder_drops_its_attempt_when_it_consents_to_another() {
    let mut keeper = RingKeeper::new(KeeperConfig { expect: Some(2), ..config("n5", true) }, Mono(0), 1);
    let mut out = Vec::new();
    keeper.on_members(Mono(SECOND), &visible(&["n6"]), &mut out);
    keeper.on_timer(Mono(SECOND), &mut out);
    let asked = out.iter().find_map(|effect| match effect {
        RingEffect::Send { message: RingMessage::FoundProposal { ring, .. }, .. } => Some(*ring),
        _ => None,
    });
    let (ring, share) = (asked.expect("n5 asks n6"), share(100));
    let proposal = RingMessage::FoundProposal { cluster: "memring".to_owned(), ring: RingId(1) };
    assert_eq!(answers(&mut keeper, SECOND, "n3", proposal).len(), 1);
    answers(&mut keeper, SECOND, "n6", RingMessage::FoundConsent { ring, life: 1, share });
    assert_eq!(keeper.config(), None);
}

#[test]
fn a_founder_votes_at_once_only_in_the_life_that_consented() {
    let (config, lives) = three();
    for (life, may_vote) in [(1, true), (2, false)] {
        let mut keeper = joiner("n3", &["n1", "n2"]);
        let slot = config.member_named(&name("n3")).expect("a member").slot;
        let lives = lives.iter().map(|&(of, one)| (of, if of == slot { life } else { one })).collect();
        answers(&mut keeper, SECOND, "n1", RingMessage::Founded { config: config.clone(), lives });
        assert_eq!(votes(&mut keeper, &config), may_vote);
    }
}

#[test]
fn a_config_makes_exactly_one_move() {
    let (first, _) = three();
    let join = |node: &str| Move::Join(name(node), share(100));
    let coming = change::after(&first, &join("n0"), &[]).expect("possible");
    assert_eq!(coming.members[0].slot, Slot::new(3).expect("small"));
    let rested = change::after(&first, &join("n0"), &[Slot::new(3).expect("small")]).expect("possible");
    assert_eq!(rested.members[0].slot.number(), 4);
    assert!(change::is_step(&first, &coming) && change::is_step(&first, &rested));
    assert_eq!(change::after(&coming, &join("n9"), &[]), None, "one move at a time");
    assert_eq!(change::after(&coming, &Move::Leave(name("n1")), &[]), None);
    assert_eq!(change::after(&first, &Move::Complete, &[]), None);
    let done = change::after(&coming, &Move::Complete, &[]).expect("possible");
    let undone = change::after(&coming, &Move::Abort, &[]).expect("possible");
    assert!(change::is_step(&coming, &done) && change::is_step(&coming, &undone));
    assert_eq!(undone.members, first.members);
    assert!(!change::is_step(&first, &done), "an epoch was left out");

    let changing = change::after(&first, &Move::Change(name("n2"), share(40)), &[]).expect("possible");
    let changed = change::after(&changing, &Move::Complete, &[]).expect("possible");
    let kept = change::after(&changing, &Move::Abort, &[]).expect("possible");
    assert!(change::is_step(&first, &changing));
    assert!(change::is_step(&changing, &changed) && change::is_step(&changing, &kept));
    assert_eq!((kept.members, changed.members[1].share.weight), (first.members.clone(), 40));
    assert_eq!(change::after(&changing, &Move::Change(name("n1"), share(40)), &[]), None, "one move at a time");
    assert_eq!(change::after(&first, &Move::Change(name("n2"), share(0)), &[]), None, "no such weight");
    assert_eq!(change::after(&first, &Move::Change(name("n9"), share(40)), &[]), None, "not a member");
    let mut at_once = first.clone();
    (at_once.epoch, at_once.members[1].share) = (Epoch(2), share(40));
    assert!(!change::is_step(&first, &at_once), "nothing would have been copied");

    let mut two = coming.clone();
    two.members[1].standing = Standing::Leaving;
    assert!(!change::is_step(&first, &two));
    let mut other = first.clone();
    (other.epoch, other.replicas) = (Epoch(2), 9);
    assert!(!change::is_step(&first, &other));
    assert!(!change::is_step(&first, &RingConfig { ring_id: RingId(1), ..coming.clone() }));
}

/// Nothing a peer can send makes a keeper panic or adopt a config that does not hold together.
#[test]
fn malformed_configs_are_ignored() {
    let (first, lives) = three();
    let mut keeper = joiner("n3", &["n1", "n2"]);
    let mut unsorted = first.clone();
    unsorted.members.swap(0, 1);
    let empty = RingConfig { members: Vec::new(), ..first.clone() };
    let zero = RingConfig { epoch: Epoch(0), ..first.clone() };
    for bad in [unsorted, empty, zero] {
        answers(&mut keeper, SECOND, "n1", RingMessage::Config(bad.clone()));
        answers(&mut keeper, SECOND, "n1", RingMessage::Founded { config: bad, lives: lives.clone() });
        assert_eq!(keeper.config(), None);
    }
}

//! Changes of a ring config: the config after one move, and whether one config may follow another.
//!
//! Pure functions of configs. Must not know who wishes for a move or how it is agreed.

use memring_protocol::ring::{Epoch, NodeName, RingConfig, RingMember, Share, Standing};
use memring_protocol::version::{SLOTS_MAX, Slot};

/// One move.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Move {
    /// A newcomer begins to copy what it will own.
    Join(NodeName, Share),
    /// A member goes over to another share: what that adds is copied to it, what it takes away to the others.
    Change(NodeName, Share),
    /// A member's share begins to go to the others.
    Leave(NodeName),
    /// The member that was coming is in, the one that was going is out, the one that was changing has its new share.
    Complete,
    /// The member that was coming is out again, the one that was changing keeps its old share.
    Abort,
}

/// The member that is coming, changing or going.
pub(super) fn mover(config: &RingConfig) -> Option<&RingMember> {
    config.members.iter().find(|member| member.standing != Standing::Active)
}

/// The config after a move; `None` if the move is not possible now. A newcomer's slot is the lowest that is free and
/// was not `freed` just now: stamps of the member that had it may still be under way.
pub(super) fn after(config: &RingConfig, change: &Move, freed: &[Slot]) -> Option<RingConfig> {
    let mut next = RingConfig { epoch: Epoch(config.epoch.0 + 1), ..config.clone() };
    let moving = mover(config);
    match (change, moving.map(|member| &member.standing)) {
        (Move::Join(name, share), None) => {
            let place = config.members.binary_search_by(|member| member.name.cmp(name)).err()?;
            let slot = free_slot(config, freed)?;
            let (name, share) = (name.clone(), share.clone());
            next.members.insert(place, RingMember { name, slot, share, standing: Standing::Joining });
        }
        (Move::Change(name, share), None) => {
            let member = next.members.iter_mut().find(|member| member.name == *name && member.share != *share)?;
            member.standing = Standing::Changing(share.clone());
        }
        (Move::Leave(name), None) if config.members.len() > 1 => {
            next.members.iter_mut().find(|member| member.name == *name)?.standing = Standing::Leaving;
        }
        (Move::Complete, Some(Standing::Leaving)) | (Move::Abort, Some(Standing::Joining)) => {
            next.members.retain(|member| Some(&member.name) != moving.map(|moving| &moving.name));
        }
        (Move::Complete | Move::Abort, Some(standing)) if *standing != Standing::Leaving => {
            let member = next.members.iter_mut().find(|member| member.standing != Standing::Active)?;
            let was = std::mem::replace(&mut member.standing, Standing::Active);
            if let (Standing::Changing(share), Move::Complete) = (was, change) {
                member.share = share;
            }
        }
        _ => return None,
    }
    next.check().is_ok().then_some(next)
}

/// Whether `next` is `config` after exactly one move: what a voter demands of a proposal.
pub(super) fn is_step(config: &RingConfig, next: &RingConfig) -> bool {
    let newcomer = next.members.iter().find(|member| config.member_named(&member.name).is_none());
    let mut moves = vec![Move::Complete, Move::Abort];
    moves.extend(mover(next).and_then(|RingMember { name, share, standing, .. }| match standing {
        Standing::Joining => Some(Move::Join(name.clone(), share.clone())),
        Standing::Changing(share) => Some(Move::Change(name.clone(), share.clone())),
        Standing::Leaving => Some(Move::Leave(name.clone())),
        Standing::Active => None,
    }));
    let same_but_for_slot = |mut made: RingConfig| {
        if let Some((made, proposed)) = newcomer.and_then(|newcomer| {
            let made = made.members.iter_mut().find(|member| member.name == newcomer.name)?;
            Some((made, newcomer))
        }) {
            made.slot = proposed.slot;
        }
        made == *next
    };
    next.check().is_ok() && moves.iter().filter_map(|change| after(config, change, &[])).any(same_but_for_slot)
}

fn free_slot(config: &RingConfig, freed: &[Slot]) -> Option<Slot> {
    (0..SLOTS_MAX).filter_map(Slot::new).find(|slot| config.member(*slot).is_none() && !freed.contains(slot))
}

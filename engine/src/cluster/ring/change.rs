//! Changes of a ring config: the config after one move, and whether one config may follow another.
//!
//! Pure functions of configs. Must not know who wishes for a move or how it is agreed.

use memring_protocol::ring::{Epoch, NodeName, RingConfig, RingMember, Standing};
use memring_protocol::version::{SLOTS_MAX, Slot};

/// One move.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Move {
    /// A newcomer begins to copy what it will own.
    Join { name: NodeName, zone: String, weight: u32 },
    /// A member's share begins to go to the others.
    Leave(NodeName),
    /// The member that was coming is in, the one that was going is out.
    Complete,
    /// The member that was coming is out again.
    Abort,
}

/// The member that is coming or going.
pub(super) fn mover(config: &RingConfig) -> Option<&RingMember> {
    config.members.iter().find(|member| member.standing != Standing::Active)
}

/// The config after a move; `None` if the move is not possible now. A newcomer's slot is the lowest that is free and
/// was not `freed` just now: stamps of the member that had it may still be under way.
pub(super) fn after(config: &RingConfig, change: &Move, freed: &[Slot]) -> Option<RingConfig> {
    let mut next = RingConfig { epoch: Epoch(config.epoch.0 + 1), ..config.clone() };
    let moving = mover(config).map(|member| (member.name.clone(), member.standing));
    match (change, moving) {
        (Move::Join { name, zone, weight }, None) => {
            let place = config.members.binary_search_by(|member| member.name.cmp(name)).err()?;
            let slot = free_slot(config, freed)?;
            let standing = Standing::Joining;
            let newcomer = RingMember { name: name.clone(), slot, zone: zone.clone(), weight: *weight, standing };
            next.members.insert(place, newcomer);
        }
        (Move::Leave(name), None) if config.members.len() > 1 => {
            next.members.iter_mut().find(|member| member.name == *name)?.standing = Standing::Leaving;
        }
        (Move::Complete, Some((name, Standing::Joining))) => {
            next.members.iter_mut().find(|member| member.name == name)?.standing = Standing::Active;
        }
        (Move::Complete, Some((name, Standing::Leaving))) | (Move::Abort, Some((name, Standing::Joining))) => {
            next.members.retain(|member| member.name != name);
        }
        _ => return None,
    }
    next.check().is_ok().then_some(next)
}

/// Whether `next` is `config` after exactly one move: what a voter demands of a proposal.
pub(super) fn is_step(config: &RingConfig, next: &RingConfig) -> bool {
    let newcomer = next.members.iter().find(|member| config.member_named(&member.name).is_none());
    let leaver = next.members.iter().find(|member| member.standing == Standing::Leaving);
    let mut moves = vec![Move::Complete, Move::Abort];
    moves.extend(leaver.map(|member| Move::Leave(member.name.clone())));
    moves.extend(newcomer.map(|member| {
        let RingMember { name, zone, weight, .. } = member.clone();
        Move::Join { name, zone, weight }
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

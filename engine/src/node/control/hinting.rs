//! Hints on disk: what is to be written and read, and what came of it.
//!
//! The control thread alone asks the disk, at each tick and when it has answered. Who sends hints (`replay`) finds those that
//! were read among those in memory. Must not touch files.

use std::collections::BTreeSet;
use std::sync::Arc;

use memring_protocol::version::Slot;

use super::super::effect::Effect;
use super::Control;
use crate::cluster::hints::{DiskAnswer, Standing};
use crate::now::Now;

impl Control {
    /// What came of an [`Effect::HintDisk`].
    pub fn on_hint_disk(&mut self, now: Now, answer: DiskAnswer, effects: &mut Vec<Effect>) {
        let trouble = self.shared.hints.lock().on_disk(answer);
        if let Some((segment, error)) = trouble {
            tracing::warn!("{}: {error}; what it held is looked for by comparing", segment.file_name());
        }
        self.tend_hints(now, effects);
    }

    /// From now on all hints go to the disk, if there is one: to be called when this node stops and its workers have ended.
    /// [`Shared::has_unsaved_hints`](super::super::Shared::has_unsaved_hints) says when they are there.
    pub fn save_hints(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.saves_hints = true;
        self.tend_hints(now, effects);
    }

    pub(super) fn tend_hints(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.shared.settings().hint_disk_bytes == 0 {
            return;
        }
        let topology = Arc::clone(&self.shared.topology());
        let config = topology.layout().map(|layout| &*layout.config);
        let wanted: BTreeSet<Slot> = match config {
            // A node that is copying holds too little to replay yet; one that stops has no use for what it reads.
            Some(config) if self.shared.is_synced() && !self.saves_hints => {
                let slots = config.members.iter().map(|member| member.slot);
                slots.filter(|slot| Some(*slot) != topology.me() && self.shared.is_usable(&topology, *slot)).collect()
            }
            _ => BTreeSet::new(),
        };
        let age_max = self.shared.settings().remove_after;
        let standing = Standing { config, me: topology.me(), now: now.cluster, age_max, wanted: &wanted };
        let mut hints = self.shared.hints.lock();
        if self.saves_hints {
            hints.save();
        }
        let (calls, lost) = (hints.poll_disk(&standing), hints.take_lost());
        drop(hints);
        self.shared.suspects.lock().extend(lost);
        effects.extend(calls.into_iter().map(Effect::HintDisk));
    }
}

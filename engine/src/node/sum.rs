//! `stats cluster`: the counts of all members that are up, added up.
//!
//! Must not wait for long: who has not answered in time is left out, and the answer says how many did.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use memring_protocol::message::{ControlReply, ControlRequest, Reply, Request};
use memring_protocol::text::Response;
use memring_protocol::version::Slot;

use super::calls::Purpose;
use super::effect::{Effect, Ticket};
use super::stats;
use super::turn::Turn;
use super::{Node, Op, OpId};
use crate::cluster::quorum::Slots;

/// After this the answer is given without those who have not answered.
const SUM_PATIENCE: Duration = Duration::from_millis(1000);

/// A sum on its way.
#[derive(Debug)]
pub(crate) struct Sum {
    ticket: Ticket,
    /// In the order of the answering node's own `stats`.
    names: Vec<String>,
    counts: BTreeMap<String, u64>,
    /// Members of the ring, and this node if it is none.
    nodes: usize,
    answered: usize,
    waiting: Slots,
}

impl Node {
    pub(crate) fn start_sum(&mut self, turn: &mut Turn<'_>, ticket: Ticket) {
        let mine = stats::summable(&self.shared, turn.cluster());
        let me = turn.topology.me();
        let members: Slots = turn
            .topology
            .layout()
            .map_or_else(Slots::new, |layout| layout.config.members.iter().map(|member| member.slot).collect());
        let others = members.iter().copied().filter(|slot| Some(*slot) != me && turn.topology.is_up(*slot));
        let waiting: Slots = others.collect();
        let sum = Sum {
            ticket,
            names: mine.iter().map(|(name, _)| name.clone()).collect(),
            counts: mine.into_iter().collect(),
            nodes: members.len() + usize::from(me.is_none()),
            answered: 1,
            waiting: waiting.clone(),
        };
        let id = self.open(Op::Sum(sum));
        self.set_timer(turn.mono().after(SUM_PATIENCE), id);
        for slot in waiting {
            if !self.call(turn, slot, Purpose::Stats(id), Request::Control(ControlRequest::Stats)) {
                self.on_stats_reply(turn, id, slot, None);
            }
        }
        self.judge_sum(turn, id);
    }

    /// A member's counts; `None` when it is lost. Names that this node does not add up are left out.
    pub(crate) fn on_stats_reply(&mut self, turn: &mut Turn<'_>, id: OpId, from: Slot, reply: Option<Reply>) {
        let Some(Op::Sum(sum)) = self.ops.get_mut(&id) else { return };
        if !sum.waiting.contains(&from) {
            return;
        }
        sum.waiting.retain(|slot| *slot != from);
        if let Some(Reply::Control(ControlReply::Stats(counts))) = reply {
            sum.answered += 1;
            for (name, count) in counts {
                if let Some(total) = sum.counts.get_mut(&name) {
                    *total = total.saturating_add(count);
                }
            }
        }
        self.judge_sum(turn, id);
    }

    fn judge_sum(&mut self, turn: &mut Turn<'_>, id: OpId) {
        if let Some(Op::Sum(sum)) = self.ops.get(&id)
            && sum.waiting.is_empty()
        {
            self.finish_sum(turn, id);
        }
    }

    /// Answers with what there is.
    pub(crate) fn finish_sum(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Sum(sum)) = self.close(id) else { return };
        let mut lines = vec![
            (Cow::Borrowed("nodes"), sum.nodes.to_string()),
            (Cow::Borrowed("nodes_answered"), sum.answered.to_string()),
        ];
        for name in sum.names {
            let count = sum.counts.get(&name).copied().unwrap_or_default();
            lines.push((Cow::Owned(name), count.to_string()));
        }
        turn.effects.push(Effect::Respond(sum.ticket, Response::Stats(lines)));
    }
}

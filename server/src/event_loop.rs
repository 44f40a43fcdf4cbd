//! One thread's turn of the wheel: inputs go into its machine, the effects that come out are performed.
//!
//! Workers and the control thread share this: peers' links and timers. What only one of them has (clients; gossip)
//! is its [`Surroundings`]. A machine is called and done before its effects are performed, and nothing that performs an
//! effect calls a machine: what follows from an effect at once, such as a lost peer, is told in the next turn. So no
//! effect can recurse, and no `RefCell` here is borrowed across an await. Must not know what requests mean.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use memring_engine::node::{Answered, Control, Effect, LinkId, Node};
use memring_engine::now::{Mono, Now};
use memring_protocol::frame::{Acknowledgements, Comparison};
use memring_protocol::message::{ReplicateRef, Reply, Request, RequestId};
use memring_protocol::text::Command;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::link::{Links, Outbox};

/// How often a loop turns at least: what `/livez` looks at.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// The half of a node or a control that peers and timers drive.
pub(crate) trait Machine: 'static {
    fn on_peer_request(&mut self, now: Now, link: LinkId, id: RequestId, request: Request, fx: &mut Vec<Effect>);
    fn on_peer_reply(&mut self, now: Now, from: SocketAddr, id: RequestId, reply: Reply, fx: &mut Vec<Effect>);
    fn on_peer_moved(&mut self, now: Now, from: SocketAddr, id: RequestId, fx: &mut Vec<Effect>);

    /// A replicate that lies where the link has it. For a machine that gets few, the same as any other request.
    fn on_peer_replicate(
        &mut self,
        now: Now,
        link: LinkId,
        id: RequestId,
        replicate: &ReplicateRef<'_>,
        fx: &mut Vec<Effect>,
    ) {
        self.on_peer_request(now, link, id, Request::Replicate(replicate.to_replicate()), fx);
    }

    /// The same of a comparison.
    fn on_peer_compare(
        &mut self,
        now: Now,
        link: LinkId,
        id: RequestId,
        compare: &Comparison<'_>,
        fx: &mut Vec<Effect>,
    ) {
        self.on_peer_request(now, link, id, Request::Compare(compare.to_request()), fx);
    }

    /// Acknowledgements that came together.
    fn on_peer_acknowledgements(
        &mut self,
        now: Now,
        from: SocketAddr,
        acknowledgements: Acknowledgements<'_>,
        fx: &mut Vec<Effect>,
    ) {
        for (id, said) in acknowledgements {
            self.on_peer_reply(now, from, id, Reply::Replicate(said), fx);
        }
    }

    fn on_peer_lost(&mut self, now: Now, peer: SocketAddr, fx: &mut Vec<Effect>);
    fn on_timer(&mut self, now: Now, fx: &mut Vec<Effect>);
    fn next_deadline(&self) -> Option<Mono>;
}

/// Performs the effects that only this kind of thread has.
pub(crate) trait Surroundings: 'static {
    fn perform(&self, now: Now, effect: Effect);
}

/// A machine with what performs its effects.
pub(crate) struct EventLoop<M, S> {
    machine: RefCell<M>,
    pub(crate) surroundings: S,
    pub(crate) links: Links,
    pub(crate) clock: Clock,
    /// An empty list of effects, kept for its memory.
    spare: Cell<Vec<Effect>>,
    lost: RefCell<BTreeSet<SocketAddr>>,
    armed: Cell<Option<Mono>>,
    /// Something for [`Self::run_timers`] to look at: an earlier deadline, a lost peer.
    rearm: Notify,
    heartbeat: Arc<AtomicU64>,
}

/// What a loop needs from the process.
pub(crate) struct Wiring {
    pub(crate) clock: Clock,
    pub(crate) links: Links,
    pub(crate) heartbeat: Arc<AtomicU64>,
}

impl<M: Machine, S: Surroundings> EventLoop<M, S> {
    pub(crate) fn new(machine: M, surroundings: S, wiring: Wiring) -> Rc<Self> {
        let Wiring { clock, links, heartbeat } = wiring;
        Rc::new(Self {
            machine: RefCell::new(machine),
            surroundings,
            links,
            clock,
            spare: Cell::default(),
            lost: RefCell::default(),
            armed: Cell::new(None),
            rearm: Notify::new(),
            heartbeat,
        })
    }

    /// Calls the machine, then performs what it wants done.
    pub(crate) fn call(self: &Rc<Self>, input: impl FnOnce(&mut M, Now, &mut Vec<Effect>)) {
        self.call_at(self.clock.now(), input, |_effects| {});
    }

    /// The same, for a caller that has read the clock, and that takes some of the effects before the others are performed.
    pub(crate) fn call_at(
        self: &Rc<Self>,
        now: Now,
        input: impl FnOnce(&mut M, Now, &mut Vec<Effect>),
        take: impl FnOnce(&mut Vec<Effect>),
    ) {
        let mut effects = self.spare.take();
        {
            let mut machine = self.machine.borrow_mut();
            input(&mut machine, now, &mut effects);
            let deadline = machine.next_deadline();
            if deadline.is_some_and(|deadline| self.armed.get().is_none_or(|armed| deadline < armed)) {
                self.armed.set(deadline);
                self.rearm.notify_one();
            }
        }
        take(&mut effects);
        self.perform(now, &mut effects);
        self.spare.set(effects);
    }

    /// Performs effects in their order.
    fn perform(self: &Rc<Self>, now: Now, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Send(peer, message) => self.send(peer, |outbox| outbox.push(&message)),
                Effect::Answer(link, message) => self.links.answer(link, &message),
                Effect::Replicate(receivers, replicate) => {
                    let replicate = ReplicateRef::from(&replicate);
                    for (peer, id) in receivers {
                        self.send(peer, |outbox| outbox.push_replicate(id, &replicate));
                    }
                }
                Effect::Time(time) => self.clock.set_time(time),
                Effect::Acknowledge(link, id, said) => self.links.acknowledge(link, id, said),
                other => self.surroundings.perform(now, other),
            }
        }
    }

    fn send(self: &Rc<Self>, peer: SocketAddr, push: impl FnOnce(&Outbox)) {
        // A loss that is about to be told covers this message too. On a new link it would survive, and be taken for lost.
        if !self.lost.borrow().contains(&peer) && !crate::link::send(self, peer, push) {
            self.peer_lost(peer);
        }
    }

    /// Tells the machine, in the next turn, that the link to a peer is gone.
    pub(crate) fn peer_lost(&self, peer: SocketAddr) {
        self.lost.borrow_mut().insert(peer);
        self.rearm.notify_one();
    }

    /// Turns the timers for ever.
    pub(crate) async fn run_timers(self: Rc<Self>) {
        loop {
            let now = self.clock.mono();
            self.heartbeat.store(now.0, Ordering::Relaxed);
            self.links.tell_queues(now);
            // In a statement of its own, so that the borrow is over before the machine is called.
            let lost = std::mem::take(&mut *self.lost.borrow_mut());
            for peer in lost {
                self.call(|machine, now, fx| machine.on_peer_lost(now, peer, fx));
            }
            let deadline = self.machine.borrow().next_deadline();
            self.armed.set(deadline);
            let wait = deadline.map_or(HEARTBEAT, |deadline| self.clock.until(deadline).min(HEARTBEAT));
            let due = tokio::select! {
                () = tokio::time::sleep(wait) => true,
                () = self.rearm.notified() => false,
            };
            if due {
                self.call(Machine::on_timer);
            } else {
                // A machine that sends to a lost peer as soon as it hears of the loss must not starve the others.
                tokio::task::yield_now().await;
            }
        }
    }
}

impl<S: Surroundings> EventLoop<Node, S> {
    /// [`Node::answer_together`]: has no effects and sets no timers.
    pub(crate) fn answer_together<'c>(
        &self,
        now: Now,
        commands: &[Command<'c>],
        reply_bytes_max: usize,
        out: &mut BytesMut,
        told: impl FnMut(&Command<'c>, Answered),
    ) -> usize {
        self.machine.borrow_mut().answer_together(now, commands, reply_bytes_max, out, told)
    }

    /// What commands ask of peers until [`Self::release_asks`] goes out together: to be called in one stretch of work.
    pub(crate) fn hold_asks(&self) {
        self.machine.borrow_mut().hold_asks();
    }

    /// See [`Self::hold_asks`].
    pub(crate) fn release_asks(self: &Rc<Self>, now: Now) {
        self.call_at(now, |node, now, fx| node.release_asks(now, fx), |_effects| {});
    }

    /// [`Node::answers_alone`].
    pub(crate) fn answers_alone(&self) -> bool {
        self.machine.borrow_mut().answers_alone()
    }
}

impl Machine for Node {
    fn on_peer_request(&mut self, now: Now, link: LinkId, id: RequestId, request: Request, fx: &mut Vec<Effect>) {
        Self::on_peer_request(self, now, link, id, request, fx);
    }

    fn on_peer_reply(&mut self, now: Now, from: SocketAddr, id: RequestId, reply: Reply, fx: &mut Vec<Effect>) {
        Self::on_peer_reply(self, now, from, id, reply, fx);
    }

    fn on_peer_moved(&mut self, now: Now, from: SocketAddr, id: RequestId, fx: &mut Vec<Effect>) {
        Self::on_peer_moved(self, now, from, id, fx);
    }

    fn on_peer_replicate(
        &mut self,
        now: Now,
        link: LinkId,
        id: RequestId,
        replicate: &ReplicateRef<'_>,
        fx: &mut Vec<Effect>,
    ) {
        Self::on_peer_replicate(self, now, link, id, replicate, fx);
    }

    fn on_peer_compare(
        &mut self,
        now: Now,
        link: LinkId,
        id: RequestId,
        compare: &Comparison<'_>,
        fx: &mut Vec<Effect>,
    ) {
        Self::on_peer_compare(self, now, link, id, (compare.epoch, compare.noticed), compare.holdings(), fx);
    }

    fn on_peer_acknowledgements(
        &mut self,
        now: Now,
        from: SocketAddr,
        acknowledgements: Acknowledgements<'_>,
        fx: &mut Vec<Effect>,
    ) {
        Self::on_peer_acknowledgements(self, now, from, acknowledgements, fx);
    }

    fn on_peer_lost(&mut self, now: Now, peer: SocketAddr, fx: &mut Vec<Effect>) {
        Self::on_peer_lost(self, now, peer, fx);
    }

    fn on_timer(&mut self, now: Now, fx: &mut Vec<Effect>) {
        Self::on_timer(self, now, fx);
    }

    fn next_deadline(&self) -> Option<Mono> {
        Self::next_deadline(self)
    }
}

impl Machine for Control {
    fn on_peer_request(&mut self, now: Now, link: LinkId, id: RequestId, request: Request, fx: &mut Vec<Effect>) {
        Self::on_peer_request(self, now, link, id, request, fx);
    }

    fn on_peer_reply(&mut self, now: Now, from: SocketAddr, id: RequestId, reply: Reply, fx: &mut Vec<Effect>) {
        Self::on_peer_reply(self, now, from, id, reply, fx);
    }

    fn on_peer_moved(&mut self, now: Now, from: SocketAddr, id: RequestId, fx: &mut Vec<Effect>) {
        Self::on_peer_moved(self, now, from, id, fx);
    }

    fn on_peer_lost(&mut self, now: Now, peer: SocketAddr, fx: &mut Vec<Effect>) {
        Self::on_peer_lost(self, now, peer, fx);
    }

    fn on_timer(&mut self, now: Now, fx: &mut Vec<Effect>) {
        Self::on_timer(self, now, fx);
    }

    fn next_deadline(&self) -> Option<Mono> {
        Self::next_deadline(self)
    }
}

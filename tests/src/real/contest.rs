//! Clients of keys that everyone changes at once through every node, by every command that changes or reads one; the same
//! commands as in the simulator. A key gives way to a new one soon, so that a search for an order of its history ends.

use bytes::Bytes;
use memring_protocol::text::{MetaLine, Response};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::clock::{now_us, pause};
use super::scene::{Scene, Unmet};
use super::wire::{Ends, Reply, Wire};
use crate::check::key_order::{Action, Operation, Outcome};
use crate::sim::contest::{classic, meta, meta_outcome, mixed};
use crate::sim::meta::MetaAnswer;

/// Clients.
pub const RIVALS: usize = 5;

/// Keys in use at a time.
const KEYS: usize = 2;

/// A key gives way to a new one after so many operations …
const OPERATIONS_A_KEY: usize = 60;

/// … or so many in doubt: each may take effect at any later time, so that explaining a history gets harder.
const DOUBTS_A_KEY: usize = 2;

/// So many tokens of a key are remembered, to be compared with.
const TOKENS_A_KEY: usize = 3;

/// How long a client waits before it tries a node again that did not take its connection.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_millis(20);

#[derive(Debug, Default)]
struct Key {
    number: usize,
    operations: usize,
    doubts: usize,
    tokens: Vec<u64>,
}

#[derive(Debug)]
struct Ring {
    keys: Vec<Key>,
    made: usize,
    /// Values that were stored have numbers up to this.
    numbers: u64,
}

/// The keys, shared by all rivals.
#[derive(Debug)]
pub struct Contest(Mutex<Ring>);

impl Default for Contest {
    fn default() -> Self {
        let keys = (0..KEYS).map(|number| Key { number, ..Key::default() }).collect();
        Self(Mutex::new(Ring { keys, made: KEYS, numbers: 0 }))
    }
}

impl Contest {
    /// How many keys there have been; they are numbered from 0.
    pub fn keys(&self) -> usize {
        self.0.lock().made
    }

    /// The history of one rival, who works until the scene is over.
    pub fn work(&self, scene: &Scene, rival: usize) -> Vec<Operation> {
        let mut random = StdRng::seed_from_u64(scene.seed ^ 0x7269_7600 ^ rival as u64);
        let mut wires: Vec<Option<Wire>> = scene.clients.iter().map(|_| None).collect();
        let mut history = Vec::new();
        while !scene.is_over() {
            let node = random.random_range(0..wires.len());
            let Ok(mut wire) = wires[node].take().map_or_else(|| Wire::connect(scene.clients[node]), Ok) else {
                pause(RETRY_AFTER);
                continue;
            };
            let (slot, key, action) = self.choose(&mut random);
            let begun_us = now_us();
            let reply = ask(&mut wire, &format!("contest-{key}"), action, random.random_bool(0.5));
            let mut outcome = reply.as_ref().map_or(Outcome::InDoubt, |reply| outcome_of(action, reply));
            if reply.is_ok() {
                wires[node] = Some(wire);
            }
            // `mg` touches, too.
            let may_miss = matches!(action, Action::Read | Action::ReadAndTouch | Action::Touch);
            if may_miss && outcome == Outcome::Missing && scene.unmet == Unmet::Miss {
                outcome = Outcome::InDoubt;
            }
            let ended_us = if outcome == Outcome::InDoubt { u64::MAX } else { now_us() };
            let operation = Operation { key, action, node, begun_us, ended_us, outcome };
            self.note(slot, &operation);
            history.push(operation);
        }
        history
    }

    fn choose(&self, random: &mut StdRng) -> (usize, usize, Action) {
        let mut ring = self.0.lock();
        ring.numbers += 1;
        let (slot, number) = (random.random_range(0..KEYS), ring.numbers);
        let key = &mut ring.keys[slot];
        key.operations += 1;
        let token = key.tokens.get(random.random_range(0..TOKENS_A_KEY)).or(key.tokens.last()).copied();
        (slot, key.number, mixed(random, number, token))
    }

    fn note(&self, slot: usize, operation: &Operation) {
        let ring = &mut *self.0.lock();
        let key = &mut ring.keys[slot];
        if key.number != operation.key {
            return;
        }
        key.doubts += usize::from(operation.outcome == Outcome::InDoubt && operation.action != Action::Read);
        if let Some(token) = operation.outcome.token().filter(|token| !key.tokens.contains(token)) {
            key.tokens.push(token);
            let surplus = key.tokens.len().saturating_sub(TOKENS_A_KEY);
            key.tokens.drain(..surplus);
        }
        if key.operations >= OPERATIONS_A_KEY || key.doubts >= DOUBTS_A_KEY {
            *key = Key { number: ring.made, ..Key::default() };
            ring.made += 1;
        }
    }
}

/// Readers use meta commands alone: `gets` does not say whether an item ends.
fn ask(wire: &mut Wire, key: &str, action: Action, is_meta: bool) -> std::io::Result<Reply> {
    let reads = matches!(action, Action::Read | Action::ReadAndTouch);
    let request = if is_meta || reads { meta(key, action) } else { classic(key, action) };
    wire.ask(&request, Ends::AtOnce)
}

fn outcome_of(action: Action, reply: &Reply) -> Outcome {
    let number = reply.line.parse::<u64>();
    match (reply.line.as_str(), number) {
        (line, _) if line.starts_with("SERVER_ERROR") => Outcome::InDoubt,
        (line, _) if line.starts_with("CLIENT_ERROR cannot increment") => Outcome::NotNumeric,
        ("STORED" | "TOUCHED" | "DELETED", _) => Outcome::Done(None),
        ("NOT_STORED", _) => Outcome::NotStored,
        ("EXISTS", _) => Outcome::Exists,
        ("NOT_FOUND", _) => Outcome::Missing,
        (_, Ok(number)) => Outcome::Counted(number, None),
        (line, _) => {
            let response = Response::Meta(MetaLine::from_slice(line.as_bytes()), reply.block.clone().map(Bytes::from));
            MetaAnswer::read(&response).map_or(Outcome::Odd, |answer| meta_outcome(action, &answer))
        }
    }
}

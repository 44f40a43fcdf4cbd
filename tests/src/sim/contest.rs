//! Clients of keys that everyone changes at once, by every command that changes or reads one, each through a node of its own
//! choice and as a classic or a meta command. Says what they were told: see `key_order`.
//!
//! No item of theirs lives to its end: a simulation is over sooner.

use std::collections::BTreeMap;
use std::time::Duration;

use memring_protocol::text::{ErrorReply, Response};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::cluster::Cluster;
use super::meta::MetaAnswer;
use crate::check::key_order::{Action, Operation, Outcome, Saw, expires, flags_of, piece};

/// How long a client waits before it counts its operation as in doubt; longer than any node tries.
const PATIENCE_US: u64 = 6_000_000;

/// Keys in use at a time.
const KEYS: usize = 3;

/// A key gives way to a new one after so many operations …
const OPERATIONS_A_KEY: usize = 60;

/// … or so many in doubt: each may take effect at any later time, so that explaining a history gets harder.
const DOUBTS_A_KEY: usize = 2;

/// So many tokens of a key are remembered, to be compared with.
const TOKENS_A_KEY: usize = 3;

/// Operations are numbered from here on, apart from those of other clients.
const NUMBERED_FROM: u64 = 1 << 40;

/// No item is stored to end earlier.
const TTL: &str = "8000";

#[derive(Default)]
struct Key {
    number: usize,
    operations: usize,
    doubts: usize,
    tokens: Vec<u64>,
}

/// Clients at work.
pub struct Contest {
    random: StdRng,
    next: u64,
    keys: Vec<Key>,
    keys_made: usize,
    open: BTreeMap<u64, Operation>,
    /// All ended operations.
    pub history: Vec<Operation>,
}

impl Contest {
    /// Clients whose choices follow from `seed`.
    pub fn new(seed: u64) -> Self {
        let keys = (0..KEYS).map(|number| Key { number, ..Key::default() }).collect();
        let random = StdRng::seed_from_u64(seed);
        Self { random, next: 0, keys, keys_made: KEYS, open: BTreeMap::new(), history: Vec::new() }
    }

    /// How many keys there have been; they are numbered from 0.
    pub fn keys(&self) -> usize {
        self.keys_made
    }

    /// Several clients at once ask for one key.
    pub fn issue(&mut self, cluster: &mut Cluster) {
        let all: Vec<usize> = (0..cluster.size()).collect();
        self.issue_through(cluster, &all);
    }

    /// The same, each through one of these nodes.
    pub fn issue_through(&mut self, cluster: &mut Cluster, nodes: &[usize]) {
        let key = self.random.random_range(0..self.keys.len());
        for _ in 0..self.random.random_range(1..5) {
            let node = nodes[self.random.random_range(0..nodes.len())];
            let action = self.choose(key);
            self.start(cluster, self.keys[key].number, action, node);
            self.keys[key].operations += 1;
        }
    }

    /// Lets open operations end.
    pub fn finish(&mut self, cluster: &mut Cluster) {
        let until = cluster.now_us() + PATIENCE_US + 1_000_000;
        while !self.open.is_empty() && cluster.now_us() < until {
            cluster.run_for(Duration::from_millis(50));
            self.collect(cluster);
        }
    }

    /// Reads every key there has been through every node, and waits for the answers.
    pub fn read_everything(&mut self, cluster: &mut Cluster) {
        for key in 0..self.keys_made {
            for node in 0..cluster.size() {
                self.start(cluster, key, Action::Read, node);
            }
            cluster.run_for(Duration::from_millis(2));
            self.collect(cluster);
        }
        self.finish(cluster);
    }

    fn choose(&mut self, key: usize) -> Action {
        let number = self.next + 1;
        let tokens = &self.keys[key].tokens;
        let token = tokens.get(self.random.random_range(0..TOKENS_A_KEY)).or(tokens.last()).copied();
        mixed(&mut self.random, number, token)
    }

    fn start(&mut self, cluster: &mut Cluster, key: usize, action: Action, node: usize) {
        self.next += 1;
        let begun_us = cluster.now_us();
        let operation = Operation { key, action, node, begun_us, ended_us: u64::MAX, outcome: Outcome::InDoubt };
        let name = format!("contest-{key}");
        let line = if self.random.random_bool(0.5) { meta(&name, action) } else { classic(&name, action) };
        if cluster.request_line(node, NUMBERED_FROM + self.next, &line) {
            self.open.insert(self.next, operation);
        }
    }

    /// Takes what was answered.
    pub fn collect(&mut self, cluster: &mut Cluster) {
        for answer in cluster.take_answers_to(NUMBERED_FROM..2 * NUMBERED_FROM) {
            let Some(mut operation) = self.open.remove(&(answer.operation - NUMBERED_FROM)) else { continue };
            operation.outcome = outcome_of(operation.action, &answer.response);
            if operation.outcome != Outcome::InDoubt {
                operation.ended_us = cluster.now_us();
            }
            self.end(operation);
        }
        let now = cluster.now_us();
        let is_lost =
            |operation: &Operation| now - operation.begun_us > PATIENCE_US || !cluster.is_running(operation.node);
        let lost: Vec<u64> =
            self.open.iter().filter(|(_, operation)| is_lost(operation)).map(|(number, _)| *number).collect();
        for number in lost {
            let operation = self.open.remove(&number).expect("just listed");
            self.end(operation);
        }
    }

    fn end(&mut self, operation: Operation) {
        if let Some(key) = self.keys.iter_mut().find(|key| key.number == operation.key) {
            key.doubts += usize::from(operation.outcome == Outcome::InDoubt && operation.action != Action::Read);
            if let Some(token) = operation.outcome.token().filter(|token| !key.tokens.contains(token)) {
                key.tokens.push(token);
                let surplus = key.tokens.len().saturating_sub(TOKENS_A_KEY);
                key.tokens.drain(..surplus);
            }
            if key.operations >= OPERATIONS_A_KEY || key.doubts >= DOUBTS_A_KEY {
                *key = Key { number: self.keys_made, ..Key::default() };
                self.keys_made += 1;
            }
        }
        self.history.push(operation);
    }
}

/// What a client asks next: it would write this number, and may know a token.
pub(crate) fn mixed(random: &mut StdRng, number: u64, token: Option<u64>) -> Action {
    match (random.random_range(0..100), token) {
        (0..30, _) => Action::Read,
        (30..44, Some(token)) => Action::Swap { to: number, token },
        (30..52, _) => Action::Add(number),
        (52..57, _) => Action::Replace(number),
        (57..61, _) => Action::Set(number),
        (61..65, _) => Action::Append(number),
        (65..69, _) => Action::Prepend(number),
        (69..78, _) => Action::Increment(1 + number % 9),
        (78..84, _) => Action::Decrement(1 + number % 9),
        (84..88, _) => Action::Touch,
        (88..91, _) => Action::ReadAndTouch,
        _ => Action::Delete,
    }
}

fn ttl(number: u64) -> &'static str {
    if expires(number) { TTL } else { "0" }
}

pub(crate) fn classic(key: &str, action: Action) -> String {
    let store = |verb: &str, number: u64, value: String, token: &str| {
        format!("{verb} {key} {} {} {}{token}\r\n{value}", flags_of(number), ttl(number), value.len())
    };
    match action {
        Action::Read => format!("gets {key}"),
        Action::ReadAndTouch => format!("gats {TTL} {key}"),
        Action::Set(number) => store("set", number, number.to_string(), ""),
        Action::Add(number) => store("add", number, number.to_string(), ""),
        Action::Replace(number) => store("replace", number, number.to_string(), ""),
        Action::Swap { to, token } => store("cas", to, to.to_string(), &format!(" {token}")),
        Action::Append(number) => store("append", number, piece(number), ""),
        Action::Prepend(number) => store("prepend", number, piece(number), ""),
        Action::Increment(by) => format!("incr {key} {by}"),
        Action::Decrement(by) => format!("decr {key} {by}"),
        Action::Touch => format!("touch {key} {TTL}"),
        Action::Delete => format!("delete {key}"),
    }
}

pub(crate) fn meta(key: &str, action: Action) -> String {
    let store = |mode: &str, number: u64, value: String, token: &str| {
        let (flags, ttl) = (flags_of(number), ttl(number));
        format!("ms {key} {} c F{flags} T{ttl} M{mode}{token}\r\n{value}", value.len())
    };
    match action {
        Action::Read => format!("mg {key} v c f t"),
        Action::ReadAndTouch => format!("mg {key} v c f t T{TTL}"),
        Action::Set(number) => store("S", number, number.to_string(), ""),
        Action::Add(number) => store("E", number, number.to_string(), ""),
        Action::Replace(number) => store("R", number, number.to_string(), ""),
        Action::Swap { to, token } => store("S", to, to.to_string(), &format!(" C{token}")),
        Action::Append(number) => store("A", number, piece(number), ""),
        Action::Prepend(number) => store("P", number, piece(number), ""),
        Action::Increment(by) => format!("ma {key} v c D{by}"),
        Action::Decrement(by) => format!("ma {key} v c MD D{by}"),
        Action::Touch => format!("mg {key} T{TTL}"),
        Action::Delete => format!("md {key}"),
    }
}

fn outcome_of(action: Action, response: &Response) -> Outcome {
    match (action, response) {
        (_, Response::ServerError(_)) => Outcome::InDoubt,
        (_, Response::Failed(ErrorReply::NonNumeric)) => Outcome::NotNumeric,
        (_, Response::Values { values, .. }) => values.first().map_or(Outcome::Missing, |(_, item)| {
            let value = String::from_utf8_lossy(&item.value).into_owned();
            let expires = item.expiry.unix_seconds().is_some();
            Outcome::Saw(Saw { value, flags: item.flags, token: item.cas, expires })
        }),
        (_, Response::Stored | Response::Touched | Response::Deleted) => Outcome::Done(None),
        (_, Response::NotStored) => Outcome::NotStored,
        (_, Response::Exists) => Outcome::Exists,
        (_, Response::NotFound) => Outcome::Missing,
        (_, Response::Number(number)) => Outcome::Counted(*number, None),
        _ => MetaAnswer::read(response).map_or(Outcome::Odd, |answer| meta_outcome(action, &answer)),
    }
}

pub(crate) fn meta_outcome(action: Action, answer: &MetaAnswer) -> Outcome {
    match (action, answer.code.as_str(), &answer.value) {
        (Action::Increment(_) | Action::Decrement(_), "VA", Some(value)) => {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.trim_end().parse().ok());
            number.map_or(Outcome::Odd, |number| Outcome::Counted(number, answer.token))
        }
        (Action::Read | Action::ReadAndTouch, "VA", Some(value)) => match (answer.token, answer.flags, answer.ttl_s) {
            (Some(token), Some(flags), Some(ttl_s)) => {
                let value = String::from_utf8_lossy(value).into_owned();
                Outcome::Saw(Saw { value, flags, token, expires: ttl_s >= 0 })
            }
            _ => Outcome::Odd,
        },
        (_, "EN" | "NF", _) => Outcome::Missing,
        (_, "NS", _) => Outcome::NotStored,
        (_, "EX", _) => Outcome::Exists,
        (Action::Read | Action::ReadAndTouch, ..) => Outcome::Odd,
        (_, "HD", _) => Outcome::Done(answer.token),
        _ => Outcome::Odd,
    }
}

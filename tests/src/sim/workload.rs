//! Clients of a simulated cluster, and the history of what they did and saw.
//!
//! Each register has one writer, which writes rising numbers and sometimes deletes; anyone reads it through any node. Each
//! counter is incremented by everyone. A race is a key that everyone adds, swaps, replaces and deletes, several at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use memring_protocol::text::Response;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::cluster::Cluster;
use super::meta::MetaAnswer;

/// How long a client waits before it counts its operation as in doubt; longer than any node tries.
const CLIENT_PATIENCE_US: u64 = 6_000_000;

/// What was asked of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Store this number.
    Write(u64),
    /// Delete, as write number so and so.
    Delete(u64),
    /// Read.
    Read,
    /// Add one.
    Increment,
    /// Store this number if there is none.
    Add(u64),
    /// Store this number if there is one.
    Replace(u64),
    /// Store a number in the place of the one that was read, by its cas token.
    Swap {
        /// What was read.
        from: u64,
        /// What is to be.
        to: u64,
    },
    /// Delete, whatever there is.
    Erase,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Not known: no answer, or one that says so.
    InDoubt,
    /// Done.
    Acknowledged,
    /// Not done: something else is there.
    Differs,
    /// Not done: nothing is there.
    Missing,
    /// A read's answer.
    Saw(Option<u64>),
    /// A read that was not answered, or not by enough replicas.
    Unread,
}

/// One operation of one client.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The key.
    pub key: usize,
    /// What was asked.
    pub action: Action,
    /// The node asked.
    pub node: usize,
    /// When it began.
    pub begun_us: u64,
    /// When it ended; `u64::MAX` if its end is not known.
    pub ended_us: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// Clients at work.
pub struct Workload {
    random: StdRng,
    registers: usize,
    counters: usize,
    races: usize,
    next: u64,
    /// The last number seen of each race, and its cas token.
    tokens: Vec<Option<(u64, u64)>>,
    open: BTreeMap<u64, Operation>,
    /// The register's writer is waiting for an answer.
    writing: Vec<bool>,
    written: Vec<u64>,
    /// All ended operations.
    pub history: Vec<Operation>,
    /// Operations on nodes that were up and heard by a majority that were not done.
    pub failures: Vec<Operation>,
}

impl Workload {
    /// Clients of so many registers, counters and races.
    pub fn new(registers: usize, counters: usize, races: usize, seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            registers,
            counters,
            races,
            next: 0,
            tokens: vec![None; races],
            open: BTreeMap::new(),
            writing: vec![false; registers],
            written: vec![0; registers],
            history: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// How many registers there are; counters are numbered behind them.
    pub fn registers(&self) -> usize {
        self.registers
    }

    /// The numbers of the keys that are races; counters are between them and the registers.
    pub fn races(&self) -> std::ops::Range<usize> {
        let first = self.registers + self.counters;
        first..first + self.races
    }

    /// Lets clients work for so long.
    pub fn run(&mut self, cluster: &mut Cluster, time: Duration) {
        let until = cluster.now_us() + time.as_micros() as u64;
        while cluster.now_us() < until {
            self.issue(cluster);
            let pause = self.random.random_range(500..6_000);
            cluster.run_for(Duration::from_micros(pause));
            self.collect(cluster);
        }
    }

    /// Lets open operations end.
    pub fn finish(&mut self, cluster: &mut Cluster) {
        let until = cluster.now_us() + CLIENT_PATIENCE_US + 1_000_000;
        while !self.open.is_empty() && cluster.now_us() < until {
            cluster.run_for(Duration::from_millis(50));
            self.collect(cluster);
        }
    }

    /// Reads every key through every node that is up, and waits for the answers.
    pub fn read_everything(&mut self, cluster: &mut Cluster) {
        for key in 0..self.registers + self.counters + self.races {
            for node in 0..cluster.size() {
                self.start(cluster, key, Action::Read, node);
            }
            cluster.run_for(Duration::from_millis(5));
            self.collect(cluster);
        }
        self.finish(cluster);
    }

    fn issue(&mut self, cluster: &mut Cluster) {
        let node = self.random.random_range(0..cluster.size());
        let key = self.random.random_range(0..self.registers + self.counters + self.races);
        if self.races().contains(&key) {
            return self.race(cluster, key);
        }
        let action = if self.random.random_bool(0.45) {
            Action::Read
        } else if key >= self.registers {
            Action::Increment
        } else if self.writing[key] {
            return;
        } else {
            self.written[key] += 1;
            let number = self.written[key];
            if self.random.random_bool(0.1) { Action::Delete(number) } else { Action::Write(number) }
        };
        self.start(cluster, key, action, node);
    }

    /// Several clients at once, each through a node of its own choice.
    fn race(&mut self, cluster: &mut Cluster, key: usize) {
        for _ in 0..self.random.random_range(1..4) {
            let node = self.random.random_range(0..cluster.size());
            let to = self.next + 1;
            let token = self.tokens[key - self.registers - self.counters];
            let action = match (self.random.random_range(0..10), token) {
                (0..4, Some((from, _))) => Action::Swap { from, to },
                (4..6, _) => Action::Add(to),
                (6, _) => Action::Replace(to),
                (7, _) => Action::Erase,
                _ => Action::Read,
            };
            self.start(cluster, key, action, node);
        }
    }

    /// As a classic command or as a meta command: they are the same changes.
    fn start(&mut self, cluster: &mut Cluster, key: usize, action: Action, node: usize) {
        let name = key_name(key, self.registers);
        let token = match action {
            Action::Swap { .. } => self.tokens[key - self.registers - self.counters].map_or(0, |(_, token)| token),
            _ => 0,
        };
        let line =
            if self.random.random_bool(0.5) { meta(&name, action, token) } else { classic(&name, action, token) };
        self.send(cluster, key, action, node, &line);
    }

    fn send(&mut self, cluster: &mut Cluster, key: usize, action: Action, node: usize, line: &str) {
        self.next += 1;
        let begun_us = cluster.now_us();
        let outcome = if action == Action::Read { Outcome::Unread } else { Outcome::InDoubt };
        let operation = Operation { key, action, node, begun_us, ended_us: u64::MAX, outcome };
        if matches!(action, Action::Write(_) | Action::Delete(_)) {
            self.writing[key] = true;
        }
        self.open.insert(self.next, operation);
        if !cluster.request_line(node, self.next, line) {
            // Refused: nothing was sent.
            let operation = self.open.remove(&self.next).expect("just inserted");
            self.release(&operation);
        }
    }

    fn release(&mut self, operation: &Operation) {
        if matches!(operation.action, Action::Write(_) | Action::Delete(_)) {
            self.writing[operation.key] = false;
        }
    }

    fn collect(&mut self, cluster: &mut Cluster) {
        for answer in cluster.take_answers() {
            let Some(mut operation) = self.open.remove(&answer.operation) else { continue };
            operation.ended_us = cluster.now_us();
            operation.outcome = outcome_of(operation.action, &answer.response);
            self.note_token(&operation, &answer.response);
            if matches!(operation.outcome, Outcome::InDoubt | Outcome::Unread) {
                operation.ended_us = u64::MAX;
                self.failures.push(Operation { ended_us: cluster.now_us(), ..operation.clone() });
            }
            self.release(&operation);
            self.history.push(operation);
        }
        let now = cluster.now_us();
        let overdue: Vec<u64> = self
            .open
            .iter()
            .filter(|(_, operation)| {
                now - operation.begun_us > CLIENT_PATIENCE_US || !cluster.is_running(operation.node)
            })
            .map(|(number, _)| *number)
            .collect();
        for number in overdue {
            let operation = self.open.remove(&number).expect("just listed");
            self.release(&operation);
            self.history.push(operation);
        }
    }

    fn note_token(&mut self, operation: &Operation, response: &Response) {
        if operation.action != Action::Read || !self.races().contains(&operation.key) {
            return;
        }
        let token = match (response, MetaAnswer::read(response)) {
            (Response::Values { values, .. }, _) => values.first().map(|(_, item)| (number_of(&item.value), item.cas)),
            (_, Some(answer)) => answer.value.as_deref().map(number_of).zip(answer.token),
            _ => return,
        };
        self.tokens[operation.key - self.registers - self.counters] = token;
    }

    /// Creates the counters; the cluster must be whole.
    pub fn create_counters(&mut self, cluster: &mut Cluster) {
        for counter in 0..self.counters {
            let name = key_name(self.registers + counter, self.registers);
            cluster.request_line(0, u64::MAX, &format!("set {name} 0 0 1\r\n0"));
            cluster.run_for(Duration::from_millis(20));
            let answers = cluster.take_answers();
            assert!(answers.iter().any(|answer| answer.response == Response::Stored), "{answers:?}");
        }
    }
}

/// The name of a key by number.
pub fn key_name(key: usize, registers: usize) -> String {
    if key < registers { format!("register-{key}") } else { format!("counter-{}", key - registers) }
}

fn classic(name: &str, action: Action, token: u64) -> String {
    let store = |verb: &str, number: u64, token: &str| {
        let value = number.to_string();
        format!("{verb} {name} 0 0 {}{token}\r\n{value}", value.len())
    };
    match action {
        Action::Read => format!("gets {name}"),
        Action::Write(number) => store("set", number, ""),
        Action::Add(number) => store("add", number, ""),
        Action::Replace(number) => store("replace", number, ""),
        Action::Swap { to, .. } => store("cas", to, &format!(" {token}")),
        Action::Delete(_) | Action::Erase => format!("delete {name}"),
        Action::Increment => format!("incr {name} 1"),
    }
}

fn meta(name: &str, action: Action, token: u64) -> String {
    let store = |number: u64, flags: &str| {
        let value = number.to_string();
        format!("ms {name} {}{flags}\r\n{value}", value.len())
    };
    match action {
        Action::Read => format!("mg {name} v c"),
        Action::Write(number) => store(number, ""),
        Action::Add(number) => store(number, " ME"),
        Action::Replace(number) => store(number, " MR"),
        Action::Swap { to, .. } => store(to, &format!(" C{token}")),
        Action::Delete(_) | Action::Erase => format!("md {name}"),
        Action::Increment => format!("ma {name} v"),
    }
}

fn outcome_of(action: Action, response: &Response) -> Outcome {
    if let Some(answer) = MetaAnswer::read(response) {
        return meta_outcome(action, &answer);
    }
    match (action, response) {
        (Action::Read, Response::Values { values, .. }) => {
            Outcome::Saw(values.first().map(|(_, item)| number_of(&item.value)))
        }
        (Action::Read, _) => Outcome::Unread,
        (Action::Write(_), Response::Stored)
        | (Action::Delete(_), Response::Deleted | Response::NotFound)
        | (Action::Add(_) | Action::Replace(_) | Action::Swap { .. }, Response::Stored)
        | (Action::Erase, Response::Deleted)
        | (Action::Increment, Response::Number(_)) => Outcome::Acknowledged,
        (Action::Add(_), Response::NotStored) | (Action::Swap { .. }, Response::Exists) => Outcome::Differs,
        (Action::Replace(_), Response::NotStored) | (Action::Swap { .. } | Action::Erase, Response::NotFound) => {
            Outcome::Missing
        }
        (Action::Increment, Response::NotFound) => panic!("a counter was lost"),
        _ => Outcome::InDoubt,
    }
}

fn meta_outcome(action: Action, answer: &MetaAnswer) -> Outcome {
    match (action, answer.code.as_str()) {
        (Action::Read, _) => Outcome::Saw(answer.value.as_deref().map(number_of)),
        (_, "HD" | "VA") | (Action::Delete(_), "NF") => Outcome::Acknowledged,
        (Action::Add(_), "NS") | (Action::Swap { .. }, "EX") => Outcome::Differs,
        (Action::Replace(_), "NS") | (Action::Swap { .. } | Action::Erase, "NF") => Outcome::Missing,
        (_, code) => panic!("{action:?} was answered {code}"),
    }
}

fn number_of(value: &[u8]) -> u64 {
    let text = std::str::from_utf8(value).expect("clients write decimal numbers");
    text.trim_end().parse().expect("clients write decimal numbers")
}

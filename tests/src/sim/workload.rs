//! Clients of a simulated cluster, and the history of what they did and saw.
//!
//! Each register has one writer, which writes rising numbers and sometimes deletes; anyone reads it through any node. Each
//! counter is incremented by everyone. A race is a key that everyone adds, swaps, replaces and deletes, several at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use memring_protocol::entry::Item;
use memring_protocol::text::{Command, Direction, Response, StoreVerb};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::cluster::Cluster;

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

    fn start(&mut self, cluster: &mut Cluster, key: usize, action: Action, node: usize) {
        let name = key_name(key, self.registers);
        let name = name.as_bytes();
        let line = format!("gets {}", name.escape_ascii());
        let value = match action {
            Action::Write(number) | Action::Add(number) | Action::Replace(number) => number.to_string(),
            Action::Swap { to, .. } => to.to_string(),
            _ => String::new(),
        };
        let (value, exptime, quiet) = (value.as_bytes(), 0, false);
        let store = |verb| Command::Store { verb, key: name, flags: 0, exptime, value, quiet };
        let command = match action {
            Action::Read => return self.start_read(cluster, key, node, &line),
            Action::Write(_) => store(StoreVerb::Set),
            Action::Add(_) => store(StoreVerb::Add),
            Action::Replace(_) => store(StoreVerb::Replace),
            Action::Swap { .. } => {
                let token = self.tokens[key - self.registers - self.counters].map_or(0, |(_, token)| token);
                store(StoreVerb::Cas(token))
            }
            Action::Delete(_) | Action::Erase => Command::Delete { key: name, quiet },
            Action::Increment => Command::Arithmetic { direction: Direction::Increase, key: name, delta: 1, quiet },
        };
        self.send(cluster, key, action, node, &command);
    }

    fn start_read(&mut self, cluster: &mut Cluster, key: usize, node: usize, line: &str) {
        let line = format!("{line}\r\n");
        let limits = memring_protocol::text::TextLimits { item_bytes_max: 10_240, get_line_bytes_max: 8 << 20 };
        match memring_protocol::text::parse(line.as_bytes(), &limits) {
            memring_protocol::text::Step::Command { command, .. } => {
                self.send(cluster, key, Action::Read, node, &command)
            }
            step => panic!("a get that does not parse: {step:?}"),
        }
    }

    fn send(&mut self, cluster: &mut Cluster, key: usize, action: Action, node: usize, command: &Command<'_>) {
        self.next += 1;
        let begun_us = cluster.now_us();
        let outcome = if action == Action::Read { Outcome::Unread } else { Outcome::InDoubt };
        let operation = Operation { key, action, node, begun_us, ended_us: u64::MAX, outcome };
        if matches!(action, Action::Write(_) | Action::Delete(_)) {
            self.writing[key] = true;
        }
        self.open.insert(self.next, operation);
        if !cluster.request(node, self.next, command) {
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
        if let (Response::Values { values, .. }, true) = (response, self.races().contains(&operation.key)) {
            let token = values.first().map(|(_, item)| (number_of(item), item.cas));
            self.tokens[operation.key - self.registers - self.counters] = token;
        }
    }

    /// Creates the counters; the cluster must be whole.
    pub fn create_counters(&mut self, cluster: &mut Cluster) {
        for counter in 0..self.counters {
            let name = key_name(self.registers + counter, self.registers);
            let command = Command::Store {
                verb: StoreVerb::Set,
                key: name.as_bytes(),
                flags: 0,
                exptime: 0,
                value: b"0",
                quiet: false,
            };
            cluster.request(0, u64::MAX, &command);
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

fn outcome_of(action: Action, response: &Response) -> Outcome {
    match (action, response) {
        (Action::Read, Response::Values { values, .. }) => {
            Outcome::Saw(values.first().map(|(_, item)| number_of(item)))
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

fn number_of(item: &Item) -> u64 {
    let text = std::str::from_utf8(&item.value).expect("clients write decimal numbers");
    text.trim_end().parse().expect("clients write decimal numbers")
}

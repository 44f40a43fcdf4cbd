//! Clients of a simulated cluster, and the history of what they did and saw.
//!
//! Each register has one writer, which writes rising numbers and sometimes deletes; anyone reads it through any node. Each
//! counter is incremented by everyone.

use std::collections::BTreeMap;
use std::time::Duration;

use memring_protocol::text::Response;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::cluster::Cluster;
use super::meta::MetaAnswer;
use crate::check::checks::{Action, Operation, Outcome};

/// Operations are numbered below this, apart from those of other clients.
const NUMBERED_BELOW: u64 = 1 << 40;

/// How long a client waits before it counts its operation as in doubt; longer than any node tries.
const CLIENT_PATIENCE_US: u64 = 6_000_000;

/// Clients at work.
pub struct Workload {
    random: StdRng,
    registers: usize,
    counters: usize,
    next: u64,
    open: BTreeMap<u64, Operation>,
    /// The register's writer is waiting for an answer.
    writing: Vec<bool>,
    written: Vec<u64>,
    /// All ended operations.
    pub history: Vec<Operation>,
}

impl Workload {
    /// Clients of so many registers and counters.
    pub fn new(registers: usize, counters: usize, seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            registers,
            counters,
            next: 0,
            open: BTreeMap::new(),
            writing: vec![false; registers],
            written: vec![0; registers],
            history: Vec::new(),
        }
    }

    /// How many registers there are; counters are numbered behind them.
    pub fn registers(&self) -> usize {
        self.registers
    }

    /// How many of them, from the first on, are read by a quorum: the last is written to all copies and read from one.
    pub fn read_by_quorum(&self) -> usize {
        self.registers - 1
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
        for key in 0..self.registers + self.counters {
            for node in 0..cluster.size() {
                self.start(cluster, key, Action::Read, node);
            }
            cluster.run_for(Duration::from_millis(5));
            self.collect(cluster);
        }
        self.finish(cluster);
    }

    /// Some client asks for something.
    pub fn issue(&mut self, cluster: &mut Cluster) {
        let node = self.random.random_range(0..cluster.size());
        let key = self.random.random_range(0..self.registers + self.counters);
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

    /// As a classic command or as a meta command: they are the same changes.
    fn start(&mut self, cluster: &mut Cluster, key: usize, action: Action, node: usize) {
        let name = key_name(key, self.registers);
        let line = if self.random.random_bool(0.5) { meta(&name, action) } else { classic(&name, action) };
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

    /// Takes what was answered.
    pub fn collect(&mut self, cluster: &mut Cluster) {
        for answer in cluster.take_answers_to(0..NUMBERED_BELOW) {
            let Some(mut operation) = self.open.remove(&answer.operation) else { continue };
            operation.ended_us = cluster.now_us();
            operation.outcome = outcome_of(operation.action, &answer.response);
            if matches!(operation.outcome, Outcome::InDoubt | Outcome::Unread) {
                operation.ended_us = u64::MAX;
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

    /// Creates the counters; the cluster must be whole.
    pub fn create_counters(&mut self, cluster: &mut Cluster) {
        for counter in 0..self.counters {
            let name = key_name(self.registers + counter, self.registers);
            let answer = cluster.ask(0, &format!("set {name} 0 0 1\r\n0"));
            assert_eq!(answer, Some(Response::Stored), "a whole cluster does not take a counter");
        }
    }
}

/// The name of a key by number.
pub fn key_name(key: usize, registers: usize) -> String {
    if key + 1 == registers {
        format!("all:register-{key}")
    } else if key < registers {
        format!("register-{key}")
    } else {
        format!("counter-{}", key - registers)
    }
}

fn classic(name: &str, action: Action) -> String {
    match action {
        Action::Read => format!("gets {name}"),
        Action::Write(number) => format!("set {name} 0 0 {}\r\n{number}", number.to_string().len()),
        Action::Delete(_) => format!("delete {name}"),
        Action::Increment => format!("incr {name} 1"),
    }
}

fn meta(name: &str, action: Action) -> String {
    match action {
        Action::Read => format!("mg {name} v c"),
        Action::Write(number) => format!("ms {name} {}\r\n{number}", number.to_string().len()),
        Action::Delete(_) => format!("md {name}"),
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
        | (Action::Increment, Response::Number(_)) => Outcome::Acknowledged,
        (Action::Increment, Response::NotFound) => panic!("a counter was lost"),
        _ => Outcome::InDoubt,
    }
}

fn meta_outcome(action: Action, answer: &MetaAnswer) -> Outcome {
    match (action, answer.code.as_str()) {
        (Action::Read, _) => Outcome::Saw(answer.value.as_deref().map(number_of)),
        (_, "HD" | "VA") | (Action::Delete(_), "NF") => Outcome::Acknowledged,
        (_, code) => panic!("{action:?} was answered {code}"),
    }
}

fn number_of(value: &[u8]) -> u64 {
    let text = std::str::from_utf8(value).expect("clients write decimal numbers");
    text.trim_end().parse().expect("clients write decimal numbers")
}

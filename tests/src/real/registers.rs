//! Clients of registers and counters: each register has one writer, everyone reads it through any node.
//!
//! A value says its key, its number and its writer and ends with a checksum; its flags follow from its number. So a value
//! made of two is seen. Requests go out in pipelines with at most one write of a key in each, so that a register's writes
//! follow one another.

use std::io;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::clock::{now_us, pause};
use super::scene::Scene;
use super::wire::{Ends, Reply, Wire};
use crate::check::checks::{Action, Operation, Outcome};
use crate::check::key_order::flags_of;

/// Registers: with their values far less than the memory of a node, so that none is evicted.
pub const REGISTERS: usize = 24_000;

/// Some of them, the first, are written and read far more often.
const HOT: usize = 240;

/// Counters, numbered behind the registers.
pub const COUNTERS: usize = 6;

/// Requests that one client has under way at a time.
const PIPELINE: usize = 64;

/// Clients.
pub const CLIENTS: usize = 9;

/// A client moves to another node after so many pipelines.
const PIPELINES_A_NODE: usize = 300;

/// How long a client waits before it tries a node again that did not take its connection.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_millis(20);

/// How long a client waits that is ahead of its pace.
const AHEAD_FOR: std::time::Duration = std::time::Duration::from_millis(1);

/// The name of a key.
pub fn key_name(key: usize) -> String {
    if key < REGISTERS { format!("register-{key}") } else { format!("counter-{}", key - REGISTERS) }
}

/// What a client did and saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Of registers and counters.
    pub history: Vec<Operation>,
    /// Values that no write has stored.
    pub torn: Vec<String>,
    /// Answers that cannot be true, or that the command does not have.
    pub odd: Vec<String>,
}

#[derive(Clone, Copy)]
struct Asked {
    key: usize,
    action: Action,
    is_meta: bool,
}

/// One client.
pub struct Client<'a> {
    scene: &'a Scene,
    number: usize,
    random: StdRng,
    node: usize,
    wire: Option<Wire>,
    /// By register of this client: the number of its last write, and whether something must be there.
    written: Vec<(u64, bool)>,
    seen: Seen,
}

impl<'a> Client<'a> {
    /// Client number so and so of [`CLIENTS`].
    pub fn new(scene: &'a Scene, number: usize) -> Self {
        let random = StdRng::seed_from_u64(scene.seed ^ 0x7265_6700 ^ number as u64);
        let (node, written) = (number, vec![(0, false); REGISTERS.div_ceil(CLIENTS)]);
        Self { scene, number, random, node, wire: None, written, seen: Seen::default() }
    }

    /// Works until the scene is over.
    pub fn work(mut self) -> Seen {
        let (mut pipelines, mut writes) = (0, 0);
        while !self.scene.is_over() {
            if self.scene.is_ahead(writes, CLIENTS as u64) {
                pause(AHEAD_FOR);
                continue;
            }
            pipelines += 1;
            if pipelines % PIPELINES_A_NODE == 0 {
                self.move_on();
            }
            let node = self.node % self.scene.clients.len();
            let mut wire = match self.wire.take().map_or_else(|| Wire::connect(self.scene.clients[node]), Ok) {
                Ok(wire) => wire,
                Err(_) => {
                    pause(RETRY_AFTER);
                    self.move_on();
                    continue;
                }
            };
            let asked = self.choose();
            writes +=
                asked.iter().filter(|one| matches!(one.action, Action::Write(_) | Action::Delete(_))).count() as u64;
            if self.run(&mut wire, node, &asked).is_ok() {
                self.wire = Some(wire);
            }
        }
        self.seen
    }

    fn move_on(&mut self) {
        self.node += 1;
        self.wire = None;
    }

    fn choose(&mut self) -> Vec<Asked> {
        let mut asked: Vec<Asked> = Vec::with_capacity(PIPELINE);
        for _ in 0..PIPELINE {
            let is_meta = self.random.random_bool(0.5);
            let (key, action) = match self.random.random_range(0..100) {
                0..64 => {
                    let key = self.own_key();
                    if asked.iter().any(|other| other.key == key && other.action != Action::Read) {
                        continue;
                    }
                    let (number, _) = &mut self.written[key / CLIENTS];
                    *number += 1;
                    let number = *number;
                    (key, if self.random.random_bool(0.1) { Action::Delete(number) } else { Action::Write(number) })
                }
                64..98 => (self.any_key(), Action::Read),
                _ => (REGISTERS + self.random.random_range(0..COUNTERS), Action::Increment),
            };
            asked.push(Asked { key, action, is_meta });
        }
        asked
    }

    fn own_key(&mut self) -> usize {
        let keys = if self.random.random_bool(0.25) { HOT } else { REGISTERS };
        let mine = (keys - self.number).div_ceil(CLIENTS);
        self.random.random_range(0..mine) * CLIENTS + self.number
    }

    fn any_key(&mut self) -> usize {
        match self.random.random_range(0..10) {
            0..5 => self.scene.written_lately(self.random.random_range(0..usize::MAX)),
            5..8 => self.random.random_range(0..HOT),
            _ => self.random.random_range(0..REGISTERS),
        }
    }

    fn run(&mut self, wire: &mut Wire, node: usize, asked: &[Asked]) -> io::Result<()> {
        let mut requests = Vec::with_capacity(PIPELINE * 200);
        for one in asked {
            put_request(&mut requests, one, self.number);
        }
        let begun_us = now_us();
        let mut state = wire.send(&requests);
        for &one in asked {
            let reply = match state {
                Ok(()) => {
                    let ends = if one.action == Action::Read && !one.is_meta { Ends::WithEnd } else { Ends::AtOnce };
                    wire.read(ends)
                }
                Err(error) => Err(error),
            };
            let outcome = match &reply {
                Ok(reply) => self.outcome_of(one, reply),
                Err(_) if one.action == Action::Read => Outcome::Unread,
                Err(_) => Outcome::InDoubt,
            };
            state = reply.map(|_| ());
            self.note(one, node, begun_us, outcome);
        }
        state
    }

    fn note(&mut self, one: Asked, node: usize, begun_us: u64, outcome: Outcome) {
        let is_known = !matches!(outcome, Outcome::InDoubt | Outcome::Unread);
        if matches!(one.action, Action::Write(_) | Action::Delete(_)) {
            let count = if is_known { &self.scene.acknowledged } else { &self.scene.in_doubt };
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.written[one.key / CLIENTS].1 = is_known && matches!(one.action, Action::Write(_));
            if is_known {
                self.scene.note_written(one.key);
            }
        }
        let ended_us = if is_known { now_us() } else { u64::MAX };
        let Asked { key, action, .. } = one;
        self.seen.history.push(Operation { key, action, node, begun_us, ended_us, outcome });
    }

    fn outcome_of(&mut self, one: Asked, reply: &Reply) -> Outcome {
        if reply.is_doubtful() {
            return if one.action == Action::Read { Outcome::Unread } else { Outcome::InDoubt };
        }
        let word = reply.words().next().unwrap_or_default();
        match (one.action, word, &reply.block) {
            (Action::Read, ..) => read_outcome(one.key, reply).unwrap_or_else(|torn| {
                self.seen.torn.push(torn);
                Outcome::Unread
            }),
            (Action::Write(_), "STORED" | "HD", _) | (Action::Delete(_), "DELETED" | "HD", _) => Outcome::Acknowledged,
            (Action::Delete(number), "NOT_FOUND" | "NF", _) => {
                if self.written[one.key / CLIENTS].1 {
                    let name = key_name(one.key);
                    self.seen.odd.push(format!("{name}: delete {number} was told {word} of what was stored before"));
                }
                Outcome::Acknowledged
            }
            (Action::Increment, number, _) if number == "HD" || number.parse::<u64>().is_ok() => Outcome::Acknowledged,
            _ => {
                self.seen.odd.push(format!("{}: {:?} was answered {:?}", key_name(one.key), one.action, reply.line));
                Outcome::InDoubt
            }
        }
    }
}

fn put_request(requests: &mut Vec<u8>, asked: &Asked, writer: usize) {
    let name = key_name(asked.key);
    let line = match (asked.action, asked.is_meta) {
        (Action::Write(number), is_meta) => {
            let (value, flags) = (value_of(asked.key, number, writer), flags_of(number));
            let line = if is_meta {
                format!("ms {name} {} F{flags}\r\n", value.len())
            } else {
                format!("set {name} {flags} 0 {}\r\n", value.len())
            };
            requests.extend_from_slice(line.as_bytes());
            requests.extend_from_slice(value.as_bytes());
            "\r\n".to_owned()
        }
        (Action::Delete(_), true) => format!("md {name}\r\n"),
        (Action::Delete(_), false) => format!("delete {name}\r\n"),
        (Action::Read, true) => format!("mg {name} v f\r\n"),
        (Action::Read, false) => format!("gets {name}\r\n"),
        (Action::Increment, true) => format!("ma {name}\r\n"),
        (Action::Increment, false) => format!("incr {name} 1\r\n"),
    };
    requests.extend_from_slice(line.as_bytes());
}

/// What write number `number` of a register stores.
pub fn value_of(key: usize, number: u64, writer: usize) -> String {
    let length = if number % 211 == 210 { 6_000 } else { 20 + (number as usize * 37 + key) % 160 };
    let mut value = format!("{key}.{number}.{writer}.");
    value.extend((0..length).map(|at| char::from(b'a' + ((number as usize + at) % 26) as u8)));
    let sum = checksum(value.as_bytes());
    value + &format!(".{sum:016x}")
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What a reader of a register saw; or how the value is torn.
fn read_outcome(key: usize, reply: &Reply) -> Result<Outcome, String> {
    let Some(block) = &reply.block else {
        let is_miss = matches!(reply.line.as_str(), "END" | "EN");
        return if is_miss { Ok(Outcome::Saw(None)) } else { Err(format!("{}: {}", key_name(key), reply.line)) };
    };
    let flags = reply.words().find_map(|word| word.strip_prefix('f')).or(reply.words().nth(2));
    let number = if key < REGISTERS { number_of(key, block) } else { count_of(block) };
    match number {
        Some(number) if key >= REGISTERS || flags == Some(&flags_of(number).to_string()) => {
            Ok(Outcome::Saw(Some(number)))
        }
        _ => Err(format!("{}: {} {}", key_name(key), reply.line, String::from_utf8_lossy(block))),
    }
}

/// What a reader of a register or counter saw.
pub fn outcome_of_read(key: usize, reply: &Reply) -> Result<Outcome, String> {
    if reply.is_doubtful() { Ok(Outcome::Unread) } else { read_outcome(key, reply) }
}

fn number_of(key: usize, block: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(block).ok()?;
    let (value, sum) = text.rsplit_once('.')?;
    let mut parts = value.split('.');
    let (named, number) = (parts.next()?.parse::<usize>().ok()?, parts.next()?.parse().ok()?);
    let is_whole = u64::from_str_radix(sum, 16).ok()? == checksum(value.as_bytes());
    (is_whole && named == key).then_some(number)
}

fn count_of(block: &[u8]) -> Option<u64> {
    std::str::from_utf8(block).ok()?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(key: usize, number: u64, value: &str) -> Reply {
        let line = format!("VALUE {} {} {} 9", key_name(key), flags_of(number), value.len());
        Reply { line, block: Some(value.as_bytes().to_vec()) }
    }

    #[test]
    fn a_value_made_of_two_writes_is_torn() {
        let (one, two) = (value_of(5, 8, 2), value_of(5, 9, 2));
        assert_eq!(read_outcome(5, &shown(5, 8, &one)), Ok(Outcome::Saw(Some(8))));
        assert!(read_outcome(6, &shown(6, 8, &one)).is_err(), "another key's value");
        assert!(read_outcome(5, &shown(5, 9, &one)).is_err(), "flags of another write");
        let mixed = format!("{}{}", &one[..20], &two[20..]);
        assert!(read_outcome(5, &shown(5, 8, &mixed)).is_err());
        assert!(read_outcome(5, &shown(5, 8, &one[..one.len() - 1])).is_err());
    }
}

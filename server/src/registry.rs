//! Who is connected: one entry for each client and each listener of the process, for `stats conns`.
//!
//! Must not know what clients say. The table's lock is taken when a connection opens or closes and when somebody asks;
//! what changes with every command is an atomic of the entry, written by its connection alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use memring_engine::now::Mono;
use parking_lot::Mutex;

use crate::client_socket::Endpoint;

/// The most entries that one `stats conns` lists, those of the oldest connections: about 6 MB of reply.
const LISTED_MAX: usize = 32 * 1024;

/// All entries, bounded by the connections that are admitted.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: Mutex<BTreeMap<u64, Arc<Entry>>>,
    last: AtomicU64,
}

/// One connection or listener.
#[derive(Debug)]
pub(crate) struct Entry {
    number: u64,
    from: Endpoint,
    to: Option<Endpoint>,
    state: AtomicU8,
    last_command_s: AtomicU64,
}

/// What a connection is doing, in memcached's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum State {
    /// A listener.
    Listening,
    /// Waits for a command.
    Read,
    /// Runs a command.
    Command,
    /// Waits for the rest of a data block.
    DataBlock,
    /// Throws the data of a refused command away.
    Swallow,
    /// Waits for the client to read.
    Write,
    /// Waits for answers of other nodes.
    InFlight,
    /// Sends events, and takes no commands.
    Watch,
}

const STATES: [(State, &str); 8] = [
    (State::Listening, "conn_listening"),
    (State::Read, "conn_read"),
    (State::Command, "conn_parse_cmd"),
    (State::DataBlock, "conn_nread"),
    (State::Swallow, "conn_swallow"),
    (State::Write, "conn_mwrite"),
    (State::InFlight, "conn_io_pending"),
    (State::Watch, "conn_watch"),
];

impl Registry {
    /// Adds a client, with the end it came from and the end it came to.
    pub(crate) fn enter_client(&self, from: Endpoint, to: Endpoint, now: Mono) -> Arc<Entry> {
        self.enter(from, Some(to), State::Read, now)
    }

    /// Adds a listener; it stays.
    pub(crate) fn enter_listener(&self, at: Endpoint, now: Mono) {
        self.enter(at, None, State::Listening, now);
    }

    fn enter(&self, from: Endpoint, to: Option<Endpoint>, state: State, now: Mono) -> Arc<Entry> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (state, last_command_s) = (AtomicU8::new(state as u8), AtomicU64::new(seconds(now)));
        let entry = Arc::new(Entry { number, from, to, state, last_command_s });
        self.entries.lock().insert(number, Arc::clone(&entry));
        entry
    }

    /// Removes an entry.
    pub(crate) fn leave(&self, entry: &Entry) {
        self.entries.lock().remove(&entry.number);
    }

    /// What `stats conns` answers: names and values, by number.
    pub(crate) fn lines(&self, now: Mono) -> Vec<(String, String)> {
        let entries: Vec<_> = self.entries.lock().values().take(LISTED_MAX).cloned().collect();
        entries.iter().flat_map(|entry| entry.lines(now)).collect()
    }
}

impl Entry {
    /// The connection's number in the process: never used twice, and so no other connection's in any log.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Where it comes from, or where it listens.
    pub(crate) fn from(&self) -> &Endpoint {
        &self.from
    }

    pub(crate) fn is_now(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// Notes that it has sent a command.
    pub(crate) fn commanded(&self, now: Mono) {
        self.last_command_s.store(seconds(now), Ordering::Relaxed);
    }

    fn lines(&self, now: Mono) -> impl Iterator<Item = (String, String)> {
        let state = STATES.get(usize::from(self.state.load(Ordering::Relaxed))).map_or("", |&(_, name)| name);
        let silent_s = seconds(now).saturating_sub(self.last_command_s.load(Ordering::Relaxed));
        let listen = self.to.as_ref().map(|to| ("listen_addr", to.to_string()));
        let facts = [
            Some(("addr", self.from.to_string())),
            listen,
            Some(("state", state.to_owned())),
            Some(("secs_since_last_cmd", silent_s.to_string())),
        ];
        facts.into_iter().flatten().map(|(name, value)| (format!("{}:{name}", self.number), value))
    }
}

fn seconds(moment: Mono) -> u64 {
    moment.0 / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_named_in_their_order() {
        for (index, (state, _)) in STATES.into_iter().enumerate() {
            assert_eq!(state as usize, index);
        }
    }

    #[test]
    fn connections_are_listed_as_memcached_lists_them() {
        let at = |s: u64| Mono(s * 1_000_000);
        let tcp = |text: &str| Endpoint::Tcp(text.parse().expect("an address"));
        let registry = Registry::default();
        registry.enter_listener(tcp("[::1]:11211"), at(0));
        let gone = registry.enter_client(tcp("[::1]:1"), tcp("[::1]:11211"), at(1));
        let stays = registry.enter_client(tcp("[::1]:2"), tcp("[::1]:11211"), at(1));
        registry.leave(&gone);
        stays.commanded(at(3));
        stays.is_now(State::Command);
        let lines: Vec<String> = registry.lines(at(5)).iter().map(|(name, value)| format!("{name} {value}")).collect();
        assert_eq!(
            lines,
            [
                "1:addr tcp6:[::1]:11211",
                "1:state conn_listening",
                "1:secs_since_last_cmd 5",
                "3:addr tcp6:[::1]:2",
                "3:listen_addr tcp6:[::1]:11211",
                "3:state conn_parse_cmd",
                "3:secs_since_last_cmd 2",
            ]
        );
        assert_eq!(stays.number(), 3);
        assert_eq!(stays.from(), &tcp("[::1]:2"));
    }
}

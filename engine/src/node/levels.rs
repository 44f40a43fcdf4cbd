//! Which level a key is read and written at: its namespace's, else the node's, else the default; and how that is told.
//!
//! Must not know requests: a level that a request itself asks for comes before all of these, and is its own business.

use memring_protocol::key::Key;
use memring_protocol::level::{Level, majority};
use memring_protocol::message::Mutation;
use memring_protocol::text::Command;
use serde::Serialize;

use super::Node;
use super::apply::is_unordered_at_one;
use super::settings::{Namespace, Unmet};
use super::shared::Shared;
use super::topology::Topology;

/// The levels of a node, as `/api/cluster` shows them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LevelsView {
    /// How many copies a read asks.
    pub read: String,
    /// How many copies a write waits for.
    pub write: String,
    /// What a read answers when too few copies can: miss or error.
    pub unmet: &'static str,
    /// Whether hints count as copies of sets and deletes.
    pub sloppy: bool,
    /// What goes for the keys that begin with a prefix instead.
    pub namespaces: Vec<NamespaceView>,
}

/// The levels of one namespace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NamespaceView {
    /// The beginning of its keys; bytes that are no visible ASCII are escaped.
    pub prefix: String,
    /// As [`LevelsView::read`].
    pub read: String,
    /// As [`LevelsView::write`].
    pub write: String,
}

impl Node {
    /// The level that a command's answer waits for: its own if it asks for one, else that of its first key. `None` where
    /// levels mean nothing.
    pub fn level_of(&mut self, command: &Command<'_>) -> Option<Level> {
        let mut view = self.view.take().unwrap_or_else(|| self.shared.follow_topology());
        let topology = view.load();
        let read = |key: &[u8]| self.shared.read_level(topology, key);
        let write = |key: &[u8]| self.shared.write_level(topology, key);
        let level = match command {
            Command::Get { keys, .. } => keys.iter().next().map(read),
            Command::GetAndTouch { keys, .. } => keys.iter().next().map(write),
            Command::Store { key, .. }
            | Command::Arithmetic { key, .. }
            | Command::Touch { key, .. }
            | Command::Delete { key, .. } => Some(write(key)),
            Command::MetaGet(request) => request.level().or_else(|| Some(read(request.key().to_key().as_bytes()))),
            Command::MetaSet { request, .. }
            | Command::MetaDelete(request)
            | Command::MetaArithmetic { request, .. } => {
                request.level().or_else(|| Some(write(request.key().to_key().as_bytes())))
            }
            _ => None,
        };
        self.view = Some(view);
        level
    }
}

impl Shared {
    /// The read level for a key.
    pub(crate) fn read_level(&self, topology: &Topology, key: &[u8]) -> Level {
        let namespaced = self.namespace(key).and_then(|namespace| namespace.read);
        namespaced.or(self.settings().read).unwrap_or_else(|| default_level(topology))
    }

    /// The write level for a key.
    pub(crate) fn write_level(&self, topology: &Topology, key: &[u8]) -> Level {
        let namespaced = self.namespace(key).and_then(|namespace| namespace.write);
        namespaced.or(self.settings().write).unwrap_or_else(|| default_level(topology))
    }

    /// How many copies a write waits for, more than there are homes if it can never be met. If hints count as copies, one is
    /// enough for what needs no order, where too few homes can be asked: the others are kept a hint for.
    pub(crate) fn copies_wanted(&self, topology: &Topology, key: &Key, level: Level, mutation: &Mutation) -> usize {
        let homes = topology.layout().map_or(&[][..], |layout| layout.homes(key.partition()));
        let needed = if *mutation == Mutation::Confirm { 1 } else { level.needed(homes.len()) };
        let can_be_sloppy = self.settings().sloppy && needed > 1 && needed <= homes.len();
        if can_be_sloppy && is_unordered_at_one(mutation) {
            let there = homes.iter().filter(|slot| self.is_usable(topology, **slot)).count();
            if there < needed.max(majority(homes.len())) {
                return 1;
            }
        }
        needed
    }

    fn namespace(&self, key: &[u8]) -> Option<&Namespace> {
        self.namespace_index(key).map(|index| &self.settings().namespaces[index])
    }

    /// Which of the namespaces a key is in.
    pub(crate) fn namespace_index(&self, key: &[u8]) -> Option<usize> {
        let namespaces = self.settings().namespaces.iter().enumerate();
        let matching = namespaces.filter(|(_, namespace)| key.starts_with(&namespace.prefix));
        matching.max_by_key(|(_, namespace)| namespace.prefix.len()).map(|(index, _)| index)
    }

    /// The levels in force.
    pub(crate) fn levels_view(&self, topology: &Topology) -> LevelsView {
        let namespaces = self.settings().namespaces.iter().map(|namespace| NamespaceView {
            prefix: namespace.prefix.escape_ascii().to_string(),
            read: self.read_level(topology, &namespace.prefix).to_string(),
            write: self.write_level(topology, &namespace.prefix).to_string(),
        });
        LevelsView {
            read: self.read_level(topology, b"").to_string(),
            write: self.write_level(topology, b"").to_string(),
            unmet: match self.settings().unmet {
                Unmet::Miss => "miss",
                Unmet::Error => "error",
            },
            sloppy: self.settings().sloppy,
            namespaces: namespaces.collect(),
        }
    }

    /// The levels this node was told that a ring of so many copies can never meet, each in words. At the start they were
    /// held against the node's own `--replicas`; the ring that it joined may have been founded with fewer.
    pub(crate) fn levels_above(&self, replicas: u8) -> Vec<String> {
        let settings = self.settings();
        let own = [("--read".to_owned(), settings.read), ("--write".to_owned(), settings.write)];
        let namespaced = settings.namespaces.iter().flat_map(|namespace| {
            let of = |what: &str| format!("namespace \"{}\": {what}", namespace.prefix.escape_ascii());
            [(of("read ="), namespace.read), (of("write ="), namespace.write)]
        });
        let given = own.into_iter().chain(namespaced).filter_map(|(name, level)| Some((name, level?)));
        let above = given.filter(|(_, level)| level.needed(replicas.into()) > replicas.into());
        above.map(|(name, level)| format!("{name} {level}")).collect()
    }
}

/// Quorum; but one where N is 2, because a quorum of two is two and one crash would stop writes.
fn default_level(topology: &Topology) -> Level {
    match topology.layout() {
        Some(layout) if layout.config.replicas == 2 => Level::One,
        _ => Level::Quorum,
    }
}

#[cfg(test)]
mod tests {
    use memring_protocol::ring::NodeName;

    use super::super::settings::Settings;
    use super::*;

    fn level(word: &str) -> Option<Level> {
        Some(word.parse().expect("a level"))
    }

    fn shared() -> std::sync::Arc<Shared> {
        let namespace = |prefix: &[u8], read, write| Namespace { prefix: prefix.to_vec(), read, write };
        Shared::new(Settings {
            read: level("2"),
            write: level("5"),
            namespaces: vec![
                namespace(b"a", level("one"), level("4")),
                namespace(b"a:b", None, level("all")),
                namespace(b"\xff\t", None, None),
            ],
            ..Settings::alone(NodeName::new("n1").expect("a legal name"))
        })
    }

    #[test]
    fn the_longest_prefix_decides_and_what_it_leaves_open_is_the_nodes() {
        let (shared, topology) = (shared(), Topology::default());
        for (key, read, write) in [
            (&b"b"[..], "2", "5"),
            (b"a", "one", "4"),
            (b"a:", "one", "4"),
            (b"a:b", "2", "all"),
            (b"a:bc", "2", "all"),
            (b"\xff\tx", "2", "5"),
        ] {
            let levels = (shared.read_level(&topology, key), shared.write_level(&topology, key));
            assert_eq!((levels.0.to_string(), levels.1.to_string()), (read.to_owned(), write.to_owned()), "{key:?}");
        }
    }

    #[test]
    fn what_a_ring_can_never_meet_is_named() {
        let shared = shared();
        assert_eq!(shared.levels_above(5), [""; 0]);
        assert_eq!(shared.levels_above(4), ["--write 5"]);
        assert_eq!(shared.levels_above(1), ["--read 2", "--write 5", "namespace \"a\": write = 4"]);
    }
}

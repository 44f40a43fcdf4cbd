//! What a command touches: the keys that decide whether it may overtake another.
//!
//! Must not know the order of replies (`pipeline`).

use std::hash::{DefaultHasher, Hasher};

use memring_protocol::key::KEY_BYTES_MAX;
use memring_protocol::text::{Command, MetaKey};

use super::pipeline::{Footprint, KeyMark};

/// The footprint of a command.
pub(super) fn of(command: &Command<'_>) -> Footprint {
    let one = |key: &[u8], writes| Footprint::Keys { marks: [mark(key)].into_iter().collect(), writes };
    match command {
        Command::Get { keys, .. } => Footprint::Keys { marks: keys.iter().map(mark).collect(), writes: false },
        Command::GetAndTouch { keys, .. } => Footprint::Keys { marks: keys.iter().map(mark).collect(), writes: true },
        Command::Store { key, .. }
        | Command::Arithmetic { key, .. }
        | Command::Touch { key, .. }
        | Command::Delete { key, .. } => one(key, true),
        // It may meet a lease, which changes the item.
        Command::MetaGet(request) => of_meta(&request.key(), true),
        Command::MetaSet { request, .. } | Command::MetaDelete(request) | Command::MetaArithmetic { request, .. } => {
            of_meta(&request.key(), true)
        }
        Command::MetaDebug { key } => of_meta(key, false),
        Command::Version
        | Command::MetaNoop
        | Command::Accepted { .. }
        | Command::ConfigGetCluster
        | Command::ConfigGetRing => Footprint::Nothing,
        // A statistic counts all that came before it, and a flush ends it.
        Command::FlushAll { .. }
        | Command::FlushOver { .. }
        | Command::MemoryLimit { .. }
        | Command::Crawler(_)
        | Command::Watch(_)
        | Command::Shutdown { .. }
        | Command::Stats { .. }
        | Command::Quit => Footprint::Barrier,
    }
}

/// The footprint of a meta command.
pub(super) fn of_meta(key: &MetaKey<'_>, writes: bool) -> Footprint {
    let mut scratch = [0; KEY_BYTES_MAX];
    Footprint::Keys { marks: [mark(key.bytes(&mut scratch))].into_iter().collect(), writes }
}

/// Not the ring's token, whose SHA-1 costs more: only this connection's commands are compared. The hash has no secret,
/// so whoever makes two keys collide makes their own commands wait for each other.
fn mark(key: &[u8]) -> KeyMark {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    KeyMark(hasher.finish())
}

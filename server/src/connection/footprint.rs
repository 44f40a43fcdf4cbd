//! What a command touches: the keys that decide whether it may overtake another.
//!
//! Must not know the order of replies (`pipeline`).

use std::hash::{DefaultHasher, Hasher};

use memring_protocol::text::Command;

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
        Command::Version => Footprint::Nothing,
        // A statistic counts all that came before it, and a flush ends it.
        Command::FlushAll { .. } | Command::Verbosity { .. } | Command::Stats { .. } | Command::Quit => {
            Footprint::Barrier
        }
    }
}

/// The footprint of a command that changes this key.
pub(super) fn of_write(key: &[u8]) -> Footprint {
    Footprint::Keys { marks: [mark(key)].into_iter().collect(), writes: true }
}

/// Not the ring's token, whose SHA-1 costs more: only this connection's commands are compared. The hash has no secret,
/// so whoever makes two keys collide makes their own commands wait for each other.
fn mark(key: &[u8]) -> KeyMark {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    KeyMark(hasher.finish())
}

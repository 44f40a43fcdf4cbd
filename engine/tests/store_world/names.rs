//! The keys of these stories: a few that share four partitions, of all lengths, and many that scans write.
//!
//! Must not know what is written under them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use memring_protocol::key::{KEY_BYTES_MAX, Key, Partition};

use super::op::{HOT_KEYS, KEYS};

/// Two of even and two of odd number, so that two shards have two each.
const PARTITIONS: [u16; 4] = [7, 8, 4095, 16_382];

static NAMES: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let mut found: [Vec<Key>; 4] = Default::default();
    let wanted = usize::from(HOT_KEYS) / PARTITIONS.len();
    for number in 0u32.. {
        // One in four is as long as a key may be, or nearly.
        let width = if number % 4 == 0 { KEY_BYTES_MAX - number as usize % 3 } else { 0 };
        let name = Key::copy_from(format!("{number:0width$}").as_bytes()).expect("a key");
        let at = PARTITIONS.iter().position(|partition| *partition == name.partition().number());
        if let Some(at) = at.filter(|at| found[*at].len() < wanted) {
            found[at].push(name);
            if found.iter().all(|names| names.len() == wanted) {
                break;
            }
        }
    }
    let scanned = (HOT_KEYS..KEYS).map(|number| Key::copy_from(format!("scan-{number}").as_bytes()).expect("a key"));
    found.into_iter().flatten().chain(scanned).collect()
});

static NUMBERS: LazyLock<BTreeMap<&'static [u8], u16>> =
    LazyLock::new(|| NAMES.iter().zip(0..).map(|(name, number)| (name.as_bytes(), number)).collect());

pub(crate) fn name(number: u16) -> &'static Key {
    &NAMES[usize::from(number)]
}

pub(crate) fn partition_of(number: u16) -> Partition {
    name(number).partition()
}

/// The number of a key that the store told of.
pub(crate) fn number_of(name: &[u8]) -> u16 {
    *NUMBERS.get(name).expect("the store tells of a key that it was never given")
}

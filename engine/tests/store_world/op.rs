//! Calls of a store as short rows of bytes tell them, so that a fuzzer and a property test tell the same stories.
//!
//! Must not know a store: what is right is the world's to say.

use std::fmt;

/// Bytes that one call is read from.
pub(crate) const OP_BYTES: usize = 8;

/// Calls of one story: longer ones find no more, and are slow.
pub(crate) const OPS_MAX: usize = 400;

/// Key and value of an item in these stories: far above what is always taken, a third of the smallest store.
pub(crate) const ITEM_BYTES_MAX: usize = 300 << 10;

/// Keys that are told of again and again; the numbers above are those of scans.
pub(crate) const HOT_KEYS: u16 = 32;

/// All keys there are.
pub(crate) const KEYS: u16 = HOT_KEYS + 96 * 8 + SCAN_MAX;

/// Items that one scan writes.
const SCAN_MAX: u16 = 64;

/// What a store may cut its memory into: items about so long are told of often.
const BOUNDARIES: [usize; 4] = [4 << 10, 8 << 10, 16 << 10, 64 << 10];

/// What is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Tombstone,
    Item { len: usize, flags: u32, seconds: Option<i64> },
}

/// One call. Keys are numbers; times are told from now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Op {
    Get {
        key: u16,
        noticed: bool,
    },
    Read {
        key: u16,
        noticed: bool,
    },
    Version {
        key: u16,
        noticed: bool,
    },
    Listing {
        key: u16,
    },
    Apply {
        key: u16,
        fence: Option<u64>,
        round: u64,
        age_ms: u64,
        what: What,
    },
    /// The last entry that was taken for this key, once more: a message that came twice.
    ApplyAgain {
        key: u16,
    },
    /// The last entry that was taken for this key, its value unchanged.
    ApplyTouch {
        key: u16,
        seconds: Option<i64>,
    },
    Put {
        key: u16,
        what: What,
    },
    /// Another value, so many bytes longer or shorter.
    Resize {
        key: u16,
        by: i32,
    },
    Amend {
        key: u16,
        seconds: Option<i64>,
        marks: u8,
        noticed: bool,
    },
    Decide {
        key: u16,
        notice: bool,
    },
    Promise {
        key: u16,
        round: u64,
        raise: bool,
    },
    Clear {
        key: u16,
    },
    Floor {
        age_ms: u64,
    },
    Pending {
        identity: u64,
        in_ms: u64,
    },
    Sweep {
        places: usize,
    },
    Limit {
        kib: usize,
    },
    Fit {
        records: usize,
    },
    Page {
        key: u16,
        limit_bytes: usize,
    },
    List {
        key: u16,
        items_max: usize,
    },
    Newest {
        size: usize,
        items_max: usize,
    },
    Scan {
        first: u16,
        count: u16,
        what: What,
    },
    /// A reader keeps what it was given: the bytes must stay as they were.
    Hold {
        key: u16,
    },
    Reset,
    Advance {
        ms: u64,
    },
}

impl Op {
    /// Any bytes tell a call.
    pub(crate) fn decode(bytes: [u8; OP_BYTES]) -> Self {
        let [kind, name, a, b, c, d, e, f] = bytes;
        let key = if name < 160 { u16::from(name) % HOT_KEYS } else { HOT_KEYS + u16::from(name - 160) * 8 };
        let (small, wide) = (usize::from(a), usize::from(u16::from_le_bytes([b, c])));
        let (what, seconds, odd) = (what(a, wide, d, e), seconds(d), f % 2 == 1);
        match kind % 64 {
            0..=11 => Self::Get { key, noticed: f % 4 != 0 },
            12..=14 => Self::Read { key, noticed: odd },
            15 | 16 => Self::Version { key, noticed: odd },
            17 => Self::Listing { key },
            18..=26 => {
                let fence = (e % 4 == 3).then_some(1 + u64::from(e / 4 % 5));
                Self::Apply { key, fence, round: 1 + u64::from(f % 8 / 6), age_ms: u64::from(f / 8) * 40, what }
            }
            27 => Self::ApplyAgain { key },
            28..=36 => Self::Put { key, what },
            37..=39 => Self::Resize { key, by: resize(a, wide) },
            40 | 41 => Self::Amend { key, seconds, marks: a % 4, noticed: odd },
            42 => Self::ApplyTouch { key, seconds },
            43 => Self::Decide { key, notice: odd },
            44 => Self::Promise { key, round: 1 + u64::from(a % 6), raise: odd },
            45 if e < 128 => Self::Clear { key },
            46 if e < 64 => Self::Floor { age_ms: wide as u64 % 4000 },
            47 if e < 128 => Self::Pending { identity: u64::from(a % 8), in_ms: wide as u64 % 3000 },
            48 | 49 => Self::Sweep { places: if odd { usize::MAX } else { small } },
            // Mostly down: a store that has room proves little.
            50 => Self::Limit { kib: if e < 128 { 1024 } else { 1024 + wide % 1024 } },
            51 | 52 => Self::Fit { records: if odd { usize::MAX } else { small % 32 } },
            53 => Self::Page { key, limit_bytes: if odd { wide } else { small } },
            54 => Self::List { key, items_max: small % 8 },
            55 => Self::Newest { size: wide, items_max: small },
            56..=58 => Self::Scan { first: key, count: 1 + u16::from(f) % SCAN_MAX, what },
            59 => Self::Hold { key },
            60 => Self::Reset,
            61..=63 => Self::Advance { ms: if a < 4 { wide as u64 * 20 } else { wide as u64 % 1500 } },
            _ => Self::Get { key, noticed: true },
        }
    }
}

fn what(class: u8, wide: usize, life: u8, rare: u8) -> What {
    if class % 16 == 15 && rare >= 128 {
        return What::Tombstone;
    }
    let len = match class % 16 {
        0..=2 => wide % 300,
        5..=8 => BOUNDARIES[usize::from(class / 16) % 4] - 90 + wide % 130,
        9 | 10 => wide,
        11..=13 => 300 + wide % 4000,
        14 if rare < 64 => (200 << 10) + wide,
        15 if rare < 32 => ITEM_BYTES_MAX - 260 + wide % 270,
        _ => 2000 + wide % 20_000,
    };
    What::Item { len, flags: [0, 1, u32::MAX][usize::from(life / 8) % 3], seconds: seconds(life) }
}

/// Mostly for ever, sometimes a few seconds, now and then over at once.
fn seconds(life: u8) -> Option<i64> {
    match life % 8 {
        0 => Some(-1),
        1 | 2 => Some(1),
        3 => Some(4),
        _ => None,
    }
}

fn resize(class: u8, wide: usize) -> i32 {
    let by = match class % 4 {
        0 => wide % 8,
        1 => wide % 80,
        2 => wide % 5000,
        _ => wide,
    };
    if class & 64 == 0 { by as i32 } else { -(by as i32) }
}

/// Calls in order, one a line when printed.
#[derive(Clone, Default)]
pub(crate) struct Story {
    /// What kind of store it is told of.
    pub setting: u8,
    /// The calls.
    pub ops: Vec<Op>,
}

impl Story {
    /// The first byte is the setting; what is left over at the end is not read.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let (setting, rest) = bytes.split_first().map_or((0, bytes), |(first, rest)| (*first, rest));
        let rows = rest.as_chunks::<OP_BYTES>().0.iter().take(OPS_MAX);
        Self { setting, ops: rows.map(|row| Op::decode(*row)).collect() }
    }
}

impl fmt::Debug for Story {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "setting {}", self.setting)?;
        for (at, op) in self.ops.iter().enumerate() {
            writeln!(formatter, "{at:4}: {op:?}")?;
        }
        Ok(())
    }
}

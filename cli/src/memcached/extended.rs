//! `-o`: memcached's sub-options, `NAME[=VALUE],…`.
//!
//! All of them are known, and their values are checked as memcached checks them, so that a wrong one is found here too;
//! only two have a meaning. Must not know the other options: what they mean together is `limits`' business.

use super::UsageError;
use super::numbers::{leading_decimal, leading_integer, signed, unsigned};

/// A sub-option.
struct Suboption {
    name: &'static str,
    check: Check,
}

/// What its value must be.
#[derive(Clone, Copy)]
enum Check {
    /// It may have one, which means nothing.
    Nothing,
    /// The number at its beginning, 0 if there is none.
    Integer {
        least: i64,
        most: i64,
    },
    /// The same, or no value at all.
    MaybeInteger {
        least: i64,
        most: i64,
    },
    /// The decimal at its beginning, above 0.
    Factor {
        most: f64,
    },
    /// A number and nothing else.
    Unsigned,
    /// A number above 0 and nothing else.
    Kilobytes {
        most: i64,
    },
    /// A decimal and nothing else.
    Decimal,
    OneOf(&'static [&'static str]),
    /// Anything.
    Text,
    /// `FILE:SIZE[:BUCKET]`
    Storage,
    Refused(&'static str),
}

use Check::{Decimal, Factor, Integer, Kilobytes, MaybeInteger, Nothing, OneOf, Refused, Storage, Text, Unsigned};

const ANY: Check = Integer { least: i64::MIN, most: i64::MAX };
const PERCENT: Check = Integer { least: 1, most: 79 };
const POSITIVE: Check = Factor { most: f64::INFINITY };
const TLS: Check = Refused("there is no TLS yet, and plain text where it was asked for would be unsafe");
const PROXY: Check = Refused("there is no proxy: any node answers for any key");

#[rustfmt::skip]
const SUBOPTIONS: &[Suboption] = &[
    suboption("maxconns_fast", Nothing), suboption("no_maxconns_fast", Nothing),
    suboption("idle_timeout", ANY),
    suboption("modern", Nothing), suboption("no_modern", Nothing),
    suboption("track_sizes", Nothing),
    suboption("hashpower", Integer { least: 12, most: 32 }), suboption("no_hashexpand", Nothing),
    suboption("hash_algorithm", OneOf(&["jenkins", "murmur3", "xxh3"])),
    suboption("slab_reassign", Nothing), suboption("no_slab_reassign", Nothing),
    suboption("slab_automove", MaybeInteger { least: 0, most: 2 }), suboption("no_slab_automove", Nothing),
    suboption("slab_automove_ratio", Factor { most: 1.0 }),
    suboption("slab_automove_window", Integer { least: 3, most: 1800 }),
    suboption("slab_automove_freeratio", Decimal),
    suboption("slab_sizes", Text), suboption("slab_chunk_max", Kilobytes { most: 1024 }),
    suboption("no_chunked_items", Nothing),
    suboption("tail_repair_time", Integer { least: 10, most: i64::MAX }),
    suboption("lru_crawler", Nothing), suboption("no_lru_crawler", Nothing),
    suboption("lru_crawler_sleep", Integer { least: 0, most: 1_000_000 }),
    suboption("lru_crawler_tocrawl", Unsigned),
    suboption("lru_maintainer", Nothing), suboption("no_lru_maintainer", Nothing),
    suboption("hot_lru_pct", PERCENT), suboption("warm_lru_pct", PERCENT),
    suboption("hot_max_factor", POSITIVE), suboption("warm_max_factor", POSITIVE),
    suboption("temporary_ttl", ANY),
    suboption("watcher_logbuf_size", Unsigned), suboption("worker_logbuf_size", Unsigned),
    suboption("inline_ascii_resp", Nothing), suboption("no_inline_ascii_resp", Nothing),
    suboption("drop_privileges", Nothing), suboption("no_drop_privileges", Nothing),
    suboption("resp_obj_mem_limit", Nothing), suboption("read_buf_mem_limit", Unsigned),
    suboption("sock_cookie_id", Text),
    suboption("ext_path", Storage),
    suboption("ext_page_size", Unsigned), suboption("ext_wbuf_size", Unsigned), suboption("ext_threads", Unsigned),
    suboption("ext_io_depth", Unsigned), suboption("ext_item_size", Unsigned), suboption("ext_item_age", Unsigned),
    suboption("ext_low_ttl", Unsigned), suboption("ext_recache_rate", Unsigned),
    suboption("ext_compact_under", Unsigned), suboption("ext_drop_under", Unsigned),
    suboption("ext_max_sleep", Unsigned), suboption("ext_max_frag", Decimal), suboption("ext_drop_unread", Nothing),
    suboption("ssl_chain_cert", TLS), suboption("ssl_key", TLS), suboption("ssl_verify_mode", TLS),
    suboption("ssl_keyformat", TLS), suboption("ssl_ciphers", TLS), suboption("ssl_ca_cert", TLS),
    suboption("ssl_wbuf_size", TLS), suboption("ssl_session_cache", TLS), suboption("ssl_kernel_tls", TLS),
    suboption("ssl_min_version", TLS),
    suboption("proxy_config", PROXY), suboption("proxy_arg", PROXY), suboption("proxy_uring", PROXY),
    suboption("proxy_memprofile", PROXY),
];

const fn suboption(name: &'static str, check: Check) -> Suboption {
    Suboption { name, check }
}

/// Names of the help: those that are taken without a meaning, and those that are refused.
pub(super) fn names() -> (Vec<&'static str>, Vec<&'static str>) {
    let names = SUBOPTIONS.iter().filter(|suboption| !HONOURED.contains(&suboption.name));
    let (refused, ignored): (Vec<_>, Vec<_>) = names.partition(|suboption| matches!(suboption.check, Refused(_)));
    let name = |suboption: &Suboption| suboption.name;
    (ignored.into_iter().map(name).collect(), refused.into_iter().map(name).collect())
}

/// The second one because memring does so anyway.
const HONOURED: [&str; 2] = ["idle_timeout", "maxconns_fast"];

/// What all sub-options together say.
#[derive(Debug)]
pub(super) struct Extended {
    pub(super) idle_timeout_s: Option<i64>,
    /// Those without a meaning, in the order given.
    pub(super) ignored: Vec<&'static str>,
    /// Bytes of a slab's largest chunk, and whether it was given as such.
    pub(super) chunk_bytes_max: i64,
    chunk_was_given: bool,
    pub(super) slab_sizes: Option<String>,
    pub(super) hot_lru_percent: i64,
    pub(super) warm_lru_percent: i64,
    pub(super) temporary_ttl: bool,
    pub(super) lru_maintainer: bool,
    /// Bytes of each storage file.
    pub(super) storage_bytes: Vec<u128>,
    pub(super) storage_page_mb: u64,
    pub(super) storage_buffer_mb: u64,
}

impl Default for Extended {
    fn default() -> Self {
        Self {
            idle_timeout_s: None,
            ignored: Vec::new(),
            chunk_bytes_max: SLAB_PAGE_BYTES / 2,
            chunk_was_given: false,
            slab_sizes: None,
            hot_lru_percent: 20,
            warm_lru_percent: 40,
            temporary_ttl: false,
            lru_maintainer: true,
            storage_bytes: Vec::new(),
            storage_page_mb: 64,
            storage_buffer_mb: 4,
        }
    }
}

/// memcached's unit of memory.
pub(super) const SLAB_PAGE_BYTES: i64 = 1024 * 1024;

impl Extended {
    /// Reads one `-o`. A comma ends a sub-option whatever stands before it: there is no way to escape one.
    pub(super) fn read(&mut self, flag: &str, value: &str) -> Result<(), UsageError> {
        let mut rest = value;
        while !rest.is_empty() {
            let (part, behind) = rest.split_once(',').unwrap_or((rest, ""));
            rest = behind;
            let (name, value) = part.split_once('=').map_or((part, None), |(name, value)| (name, Some(value)));
            let known = SUBOPTIONS.iter().find(|suboption| suboption.name == name);
            let known =
                known.ok_or_else(|| UsageError::unknown(format!("{flag} {part}: illegal suboption {part:?}")))?;
            check(known, value).map_err(|why| UsageError::value(format!("{flag} {part}: {why}")))?;
            self.note(known.name, value.unwrap_or_default());
        }
        Ok(())
    }

    fn note(&mut self, name: &'static str, value: &str) {
        let number = leading_integer(value, 10).number;
        match name {
            "idle_timeout" => self.idle_timeout_s = Some(number),
            "slab_chunk_max" => {
                self.chunk_bytes_max = number * 1024;
                self.chunk_was_given = true;
            }
            "no_chunked_items" => self.chunk_bytes_max = SLAB_PAGE_BYTES,
            "no_modern" => {
                if !self.chunk_was_given {
                    self.chunk_bytes_max = SLAB_PAGE_BYTES;
                }
                self.lru_maintainer = false;
            }
            "slab_sizes" => self.slab_sizes = Some(value.to_owned()),
            "hot_lru_pct" => self.hot_lru_percent = number,
            "warm_lru_pct" => self.warm_lru_percent = number,
            "temporary_ttl" => self.temporary_ttl = true,
            "lru_maintainer" => self.lru_maintainer = true,
            "no_lru_maintainer" => self.lru_maintainer = false,
            "ext_path" => self.storage_bytes.extend(storage_bytes(value)),
            "ext_page_size" => self.storage_page_mb = unsigned(value).unwrap_or_default(),
            "ext_wbuf_size" => self.storage_buffer_mb = unsigned(value).unwrap_or_default(),
            _ => {}
        }
        if !HONOURED.contains(&name) && !self.ignored.contains(&name) {
            self.ignored.push(name);
        }
    }

    /// The largest chunk, once the largest item is known: above a megabyte items are in chunks whatever was said.
    pub(super) fn chunk_bytes_for(&self, item_bytes_max: i64) -> i64 {
        let in_chunks = item_bytes_max > SLAB_PAGE_BYTES && !self.chunk_was_given;
        if in_chunks { SLAB_PAGE_BYTES / 2 } else { self.chunk_bytes_max }
    }
}

fn check(suboption: &Suboption, value: Option<&str>) -> Result<(), String> {
    let name = suboption.name;
    let value = match (suboption.check, value) {
        (Refused(why), _) => return Err(why.to_owned()),
        (Nothing, _) | (MaybeInteger { .. }, None) => return Ok(()),
        (_, Some(value)) => value,
        (_, None) => return Err(format!("a value is missing: {name}=VALUE")),
    };
    let integer = leading_integer(value, 10).number;
    let expected = match suboption.check {
        Integer { least, most } | MaybeInteger { least, most } if !(least..=most).contains(&integer) => match most {
            i64::MAX => format!("expected a number from {least}"),
            _ => format!("expected a number from {least} to {most}"),
        },
        Factor { most } if !(f64::MIN_POSITIVE..=most).contains(&leading_decimal(value).number) => match most {
            f64::INFINITY => "expected a number above 0".to_owned(),
            _ => format!("expected a number above 0 and up to {most}"),
        },
        Unsigned if unsigned(value).is_none() => "expected a number".to_owned(),
        Kilobytes { most } if !signed(value).is_some_and(|number| (1..=most).contains(&number)) => {
            format!("expected kilobytes from 1 to {most}")
        }
        Decimal if !leading_decimal(value).whole => "expected a number".to_owned(),
        OneOf(names) if !names.contains(&value) => format!("expected one of {}", names.join(", ")),
        Storage if storage_bytes(value).is_none() => {
            format!("expected FILE:SIZE[:BUCKET], such as {name}=/data/file:64m (m, g, t or p)")
        }
        _ => return Ok(()),
    };
    Err(expected)
}

/// The size in `FILE:SIZE[:BUCKET]`.
fn storage_bytes(value: &str) -> Option<u128> {
    const BUCKETS: [&str; 6] = ["compact", "lowttl", "chunked", "default", "coldcompact", "old"];
    let mut parts = value.split(':').filter(|part| !part.is_empty());
    let (_file, size) = (parts.next()?, parts.next()?);
    if parts.next().is_some_and(|bucket| !BUCKETS.contains(&bucket)) {
        return None;
    }
    let shift = match size.bytes().last()?.to_ascii_lowercase() {
        b'm' => 20,
        b'g' => 30,
        b't' => 40,
        b'p' => 50,
        _ => return None,
    };
    let number = leading_integer(&size[..size.len() - 1], 10).number;
    u128::try_from(number).ok().or(Some(0)).map(|number| number << shift)
}

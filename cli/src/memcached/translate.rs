//! What memcached's arguments mean, as options of `memring serve`.
//!
//! Values that memcached refuses are refused, and what it takes is taken. Must not touch anything outside: no file, no
//! environment, no process; so everything here can be tested by tables.

use memring_server::config::{self, Meant};

use super::UsageError;
use super::extended::Extended;
use super::getopt::{Found, Options};
use super::limits::{self, Sizes};
use super::listen;
use super::numbers::{Read, leading_decimal, leading_integer};
use super::table::Fate;

/// What the arguments ask for.
#[derive(Debug)]
pub(super) enum Asked {
    Help,
    License,
    Version,
    Serve(Translation),
}

/// A server, as it was asked for.
#[derive(Debug, Default)]
pub(super) struct Translation {
    /// Options of `memring serve`, each once.
    pub(super) meant: Vec<Meant>,
    /// What the user should know, one line each.
    pub(super) warnings: Vec<String>,
    /// `-u`
    pub(super) user: Option<String>,
    /// `-P`
    pub(super) pid_file: Option<String>,
}

/// Above this memcached warns, and so do we.
const THREADS_USUAL_MAX: i64 = 64;

/// The most workers of `memring serve`.
const THREADS_MAX: i64 = config::THREADS_MAX as i64;

pub(super) fn translate(arguments: &[String]) -> Result<Asked, UsageError> {
    let mut reading = Reading::default();
    for found in Options::new(arguments) {
        let found = found?;
        match found.row.letter {
            'h' => return Ok(Asked::Help),
            'i' => return Ok(Asked::License),
            'V' => return Ok(Asked::Version),
            _ => reading.read(&found)?,
        }
    }
    reading.finish().map(Asked::Serve)
}

/// What was read so far.
#[derive(Debug)]
struct Reading {
    translation: Translation,
    listeners: Vec<String>,
    /// The last `-l`, as it was written.
    listen: Option<String>,
    port: Option<Number>,
    udp_port: Option<Number>,
    memory_mb: i64,
    item_bytes_max: i64,
    item_written: String,
    chunk_bytes_min: i64,
    threads: i64,
    napi_ids: i64,
    verbosity: u8,
    /// `-B` says that clients may choose.
    negotiating: bool,
    extended: Extended,
    ignored: Vec<String>,
    /// Values of which only the beginning was a number.
    partial: Vec<String>,
}

/// A number, and how its option was written.
#[derive(Clone, Debug)]
struct Number {
    number: i64,
    written: String,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            translation: Translation::default(),
            listeners: Vec::new(),
            listen: None,
            port: None,
            udp_port: None,
            memory_mb: 64,
            item_bytes_max: 1024 * 1024,
            item_written: "-I 1m".to_owned(),
            chunk_bytes_min: 48,
            threads: 4,
            napi_ids: 0,
            verbosity: 0,
            negotiating: false,
            extended: Extended::default(),
            ignored: Vec::new(),
            partial: Vec::new(),
        }
    }
}

impl Reading {
    fn read(&mut self, found: &Found<'_>) -> Result<(), UsageError> {
        match found.row.fate {
            Fate::Refused => return Err(refused(found, found.row.help)),
            Fate::Ignored => return self.read_ignored(found),
            Fate::Honoured => {}
        }
        match found.row.letter {
            'p' => self.port = Some(self.numbered(found)),
            'l' => {
                listen::add(&mut self.listeners, found.value).map_err(|why| refused(found, &why))?;
                self.listen = Some(found.written());
            }
            's' => self.mean(found, "socket", found.value.to_owned()),
            'a' => {
                let Read { number, whole } = leading_integer(found.value, 8);
                self.note_partial(found, whole);
                self.mean(found, "socket-mode", format!("{:o}", number & 0o777));
            }
            'm' => self.read_memory(found)?,
            'I' => self.read_item_size(found),
            'c' => {
                let number = self.positive(found)?;
                self.mean(found, "conn-limit", number.to_string());
            }
            't' => self.read_threads(found)?,
            'v' => self.verbosity = self.verbosity.saturating_add(1),
            'o' => self.extended.read(&found.flag, found.value)?,
            'P' => self.translation.pid_file = Some(found.value.to_owned()),
            'Y' => self.mean(found, "auth-file", found.value.to_owned()),
            'M' => self.mean(found, "disable-evictions", "true".to_owned()),
            'A' => self.mean(found, "enable-shutdown", "true".to_owned()),
            'F' => self.mean(found, "disable-flush-all", "true".to_owned()),
            'X' => self.mean(found, "disable-dumping", "true".to_owned()),
            'W' => self.mean(found, "disable-watch", "true".to_owned()),
            // The table and this match are one list; the rest ends the reading before it comes here.
            letter => unreachable!("-{letter} is honoured"),
        }
        Ok(())
    }

    fn read_memory(&mut self, found: &Found<'_>) -> Result<(), UsageError> {
        self.memory_mb = self.integer(found);
        // What memcached makes of a negative number is no limit at all.
        if !(0..=MEMORY_MB_MAX).contains(&self.memory_mb) {
            return Err(refused(found, &format!("expected megabytes up to {MEMORY_MB_MAX}")));
        }
        self.mean(found, "memory-limit", self.memory_mb.to_string());
        Ok(())
    }

    fn read_item_size(&mut self, found: &Found<'_>) {
        let (digits, unit) = match found.value.bytes().last() {
            Some(b'k' | b'K') => (&found.value[..found.value.len() - 1], 1024),
            Some(b'm' | b'M') => (&found.value[..found.value.len() - 1], 1024 * 1024),
            _ => (found.value, 1),
        };
        let Read { number, whole } = leading_integer(digits, 10);
        self.note_partial(found, whole);
        self.item_bytes_max = number.saturating_mul(unit);
        self.item_written = found.written();
        self.mean(found, "max-item-size", self.item_bytes_max.to_string());
    }

    fn read_threads(&mut self, found: &Found<'_>) -> Result<(), UsageError> {
        self.threads = self.positive(found)?;
        self.mean(found, "threads", self.threads.min(THREADS_MAX).to_string());
        Ok(())
    }

    /// Options without an effect are checked all the same: a wrong value is a mistake that the user wants to know of.
    fn read_ignored(&mut self, found: &Found<'_>) -> Result<(), UsageError> {
        match found.row.letter {
            'u' => {
                self.translation.user = Some(found.value.to_owned());
                return Ok(());
            }
            'U' => {
                self.udp_port = Some(self.numbered(found));
                return Ok(());
            }
            'B' => {
                self.negotiating = match found.value {
                    "auto" => true,
                    "ascii" => false,
                    "binary" => return Err(refused(found, "the binary protocol is not spoken")),
                    _ => return Err(refused(found, "expected auto or ascii")),
                };
                return Ok(());
            }
            'd' => {
                self.warn(format!("{}: stays in the foreground", found.flag));
                return Ok(());
            }
            'R' => drop(self.positive(found)?),
            'n' => self.chunk_bytes_min = self.positive(found)?,
            'N' => self.napi_ids = self.positive(found)?,
            'f' if leading_decimal(found.value).number <= 1.0 => return Err(refused(found, "expected more than 1")),
            'D' if found.value.is_empty() => return Err(refused(found, "expected a character")),
            _ => {}
        }
        if !self.ignored.contains(&found.flag) {
            self.ignored.push(found.flag.clone());
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Translation, UsageError> {
        let udp = self.udp_port.clone().filter(|port| port.number != 0);
        limits::check(&Sizes {
            memory_mb: self.memory_mb,
            item_bytes_max: self.item_bytes_max,
            item_written: &self.item_written,
            chunk_bytes_min: self.chunk_bytes_min,
            threads: self.threads,
            napi_ids: self.napi_ids,
            udp: udp.is_some(),
            extended: &self.extended,
        })?;
        self.check_auth(udp.as_ref())?;
        self.place(udp.as_ref())?;
        if self.verbosity > 0 {
            self.put("verbose", self.verbosity.to_string(), format!("-v given {} times", self.verbosity));
        }
        if let Some(seconds) = self.extended.idle_timeout_s {
            self.put("idle-timeout", seconds.max(0).to_string(), format!("-o idle_timeout={seconds}"));
        }
        self.tell(udp.as_ref());
        Ok(self.translation)
    }

    fn check_auth(&self, udp: Option<&Number>) -> Result<(), UsageError> {
        let Some(auth) = self.translation.meant.iter().find(|meant| meant.option == "auth-file") else { return Ok(()) };
        if self.negotiating {
            return Err(UsageError::value(format!("{}: not with -B auto", auth.written)));
        }
        match udp {
            Some(udp) => Err(UsageError::value(format!("{}: not with {}", auth.written, udp.written))),
            None => Ok(()),
        }
    }

    /// Where to listen. A Unix socket takes the place of everything else.
    fn place(&mut self, udp: Option<&Number>) -> Result<(), UsageError> {
        // Without -p memcached gives its UDP port to TCP too.
        let port = self.port.take().or_else(|| udp.cloned());
        if let Some(Number { number, written }) = &port
            && *number > i64::from(u16::MAX)
        {
            return Err(UsageError::value(format!("{written}: {number} is no port")));
        }
        if self.translation.meant.iter().any(|meant| meant.option == "socket") {
            return Ok(());
        }
        if let Some(Number { number, written }) = port {
            match number {
                // memcached would run and wait for nobody.
                0 => {
                    return Err(UsageError::value(format!("{written}: nothing to listen on without TCP (or give -s)")));
                }
                -1 => self.put("port", "0".to_owned(), written),
                1.. => self.put("port", number.to_string(), written),
                _ => return Err(UsageError::value(format!("{written}: {number} is no port"))),
            }
        }
        if let Some(written) = self.listen.take() {
            if self.listeners.is_empty() {
                return Err(UsageError::value(format!("{written}: expected ADDRESS[:PORT],…")));
            }
            self.put("listen", self.listeners.join(","), written);
        }
        Ok(())
    }

    fn tell(&mut self, udp: Option<&Number>) {
        if let Some(udp) = udp {
            self.warn(format!("{}: UDP is not spoken", udp.written));
        }
        if self.threads > THREADS_MAX {
            self.warn(format!("-t {}: counts as {THREADS_MAX}, the most", self.threads));
        } else if self.threads > THREADS_USUAL_MAX {
            self.warn(format!("-t {}: more threads than cores make it slower", self.threads));
        }
        if !self.partial.is_empty() {
            self.warn(format!("only the number at the beginning counts: {}", self.partial.join(", ")));
        }
        let mut ignored = std::mem::take(&mut self.ignored);
        if !self.extended.ignored.is_empty() {
            ignored.push(format!("-o {}", self.extended.ignored.join(", ")));
        }
        if !ignored.is_empty() {
            self.warn(format!("no meaning here, ignored: {}", ignored.join(", ")));
        }
    }

    fn warn(&mut self, line: String) {
        if !self.translation.warnings.contains(&line) {
            self.translation.warnings.push(line);
        }
    }

    /// Sets an option of `memring serve`; the last one wins.
    fn put(&mut self, option: &'static str, value: String, written: String) {
        let meant = &mut self.translation.meant;
        meant.retain(|earlier| earlier.option != option);
        meant.push(Meant { option, value, written });
    }

    fn mean(&mut self, found: &Found<'_>, option: &'static str, value: String) {
        self.put(option, value, found.written());
    }

    fn integer(&mut self, found: &Found<'_>) -> i64 {
        let Read { number, whole } = leading_integer(found.value, 10);
        self.note_partial(found, whole);
        number
    }

    fn numbered(&mut self, found: &Found<'_>) -> Number {
        Number { number: self.integer(found), written: found.written() }
    }

    fn positive(&mut self, found: &Found<'_>) -> Result<i64, UsageError> {
        let number = self.integer(found);
        if number > 0 { Ok(number) } else { Err(refused(found, "expected a number above 0")) }
    }

    fn note_partial(&mut self, found: &Found<'_>, whole: bool) {
        let written = found.written();
        if !whole && !self.partial.contains(&written) {
            self.partial.push(written);
        }
    }
}

/// Megabytes as memcached counts them, in 32 bits.
const MEMORY_MB_MAX: i64 = i32::MAX as i64;

fn refused(found: &Found<'_>, why: &str) -> UsageError {
    UsageError::value(format!("{}: {why}", found.written()))
}

//! A connection's read loop without the connection: feeds bytes in pieces and writes down what the parser saw.
//!
//! Holds what every use of the parser may rely on (see `Feed::take_step`), so that tables and random streams check it
//! alike. It must not know what any particular stream should give.

use std::fmt::Write;

use memring_protocol::key::KEY_BYTES_MAX;
use memring_protocol::text::{
    Command, Crawler, Direction, ErrorReply, LineScanner, MetaCode, MetaFacts, MetaKey, MetaRequest, ShutdownMode,
    Step, StoreVerb, TextLimits, WatchKinds, meta_line, parse,
};

/// The bytes received so far, and what they said.
pub(crate) struct Feed {
    limits: TextLimits,
    scanner: LineScanner,
    buffer: Vec<u8>,
    swallow: usize,
    closed: bool,
    /// One line for each step but Incomplete.
    pub(crate) seen: String,
}

impl Feed {
    pub(crate) fn new(limits: TextLimits) -> Self {
        let (scanner, buffer) = (LineScanner::default(), Vec::new());
        Self { limits, scanner, buffer, swallow: 0, closed: false, seen: String::new() }
    }

    /// Everything `pieces` say together.
    pub(crate) fn of<'a>(limits: TextLimits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut feed = Self::new(limits);
        for piece in pieces {
            feed.receive(piece);
        }
        feed
    }

    /// Bytes that wait for more.
    pub(crate) fn waiting(&self) -> &[u8] {
        &self.buffer
    }

    pub(crate) fn receive(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
        let mut start = 0;
        while !self.closed {
            let swallowed = self.swallow.min(self.buffer.len() - start);
            self.swallow -= swallowed;
            start += swallowed;
            match self.take_step(start) {
                0 => break,
                consumed => start += consumed,
            }
        }
        self.buffer.drain(..start);
    }

    /// One step from `buffer[start..]`; how much it consumed, 0 when it needs more.
    fn take_step(&mut self, start: usize) -> usize {
        let front = &self.buffer[start..];
        let step = self.scanner.parse(front, &self.limits);
        assert_eq!(step, parse(front, &self.limits), "the scanner changes the cost, never the answer");
        write_step(&step, &mut self.seen);
        let (consumed, swallow) = match step {
            Step::Incomplete { needed } => {
                assert!(needed > front.len(), "{needed} is no more than the {} there are", front.len());
                let bound = front.len() + self.limits.item_bytes_max + 2;
                assert!(needed <= bound, "{needed} bytes are too much to ask for");
                return 0;
            }
            Step::Command { consumed, command } => {
                check_keys(&command);
                (consumed, 0)
            }
            Step::Reject { consumed, swallow, .. } | Step::TooLarge { consumed, swallow, .. } => (consumed, swallow),
            Step::Close => {
                self.closed = true;
                return 0;
            }
        };
        assert!((1..=front.len()).contains(&consumed), "consumed {consumed} of {}", front.len());
        self.swallow = swallow;
        consumed
    }
}

/// No key that leaves the parser is empty, long, or more than one word.
fn check_keys(command: &Command<'_>) {
    let check = |key: &[u8]| {
        assert!((1..=250).contains(&key.len()) && !key.contains(&b' ') && !key.contains(&b'\n'), "{command:?}");
    };
    match command {
        Command::Get { keys, .. } | Command::GetAndTouch { keys, .. } => {
            assert_eq!(keys.iter().inspect(|key| check(key)).count(), keys.count());
            assert!(keys.count() > 0);
        }
        Command::Store { key, .. }
        | Command::Arithmetic { key, .. }
        | Command::Touch { key, .. }
        | Command::Delete { key, .. } => check(key),
        Command::MetaGet(request) | Command::MetaDelete(request) => check_meta_key(request.key()),
        Command::MetaSet { request, .. } | Command::MetaArithmetic { request, .. } => check_meta_key(request.key()),
        Command::MetaDebug { key } => check_meta_key(*key),
        _ => {}
    }
}

/// What base64 decodes to may hold any byte.
fn check_meta_key(key: MetaKey<'_>) {
    let mut scratch = [0; KEY_BYTES_MAX];
    let stored = key.bytes(&mut scratch);
    assert!((1..=KEY_BYTES_MAX).contains(&stored.len()), "{key:?}");
    assert!(key.is_base64() || !stored.contains(&b' ') && !stored.contains(&b'\n'), "{key:?}");
    assert_eq!(key.to_key().as_bytes(), stored);
}

fn verb_name(verb: StoreVerb) -> &'static str {
    match verb {
        StoreVerb::Set => "set",
        StoreVerb::Add => "add",
        StoreVerb::Replace => "replace",
        StoreVerb::Append => "append",
        StoreVerb::Prepend => "prepend",
        StoreVerb::Cas(_) => "cas",
    }
}

/// A step as a line of text; nothing for Incomplete.
fn write_step(step: &Step<'_>, out: &mut String) {
    let result = match step {
        Step::Incomplete { .. } => return,
        Step::Command { command, .. } => write_command(command, out),
        Step::Reject { error, quiet, .. } => writeln!(out, "{}{}", error.as_str(), silence(*quiet)),
        Step::TooLarge { key, removes, quiet, .. } => {
            let fate = if *removes { "removed" } else { "kept" };
            writeln!(out, "too large: {key:?} {fate}{}", silence(*quiet))
        }
        Step::Close => writeln!(out, "close"),
    };
    result.expect("a String takes all");
}

fn silence(quiet: bool) -> &'static str {
    if quiet { " (quiet)" } else { "" }
}

fn write_command(command: &Command<'_>, out: &mut String) -> std::fmt::Result {
    match command {
        Command::Get { keys, with_cas } => {
            write!(out, "{}", if *with_cas { "gets" } else { "get" })?;
            write_keys(keys.iter(), out)?;
        }
        Command::GetAndTouch { exptime, keys, with_cas } => {
            write!(out, "{} {exptime}", if *with_cas { "gats" } else { "gat" })?;
            write_keys(keys.iter(), out)?;
        }
        Command::Store { verb, key, flags, exptime, value, .. } => {
            let (name, key, value) = (verb_name(*verb), key.escape_ascii(), value.escape_ascii());
            write!(out, "{name} {key} {flags} {exptime} '{value}'")?;
            if let StoreVerb::Cas(cas) = verb {
                write!(out, " if {cas}")?;
            }
        }
        Command::Arithmetic { direction, key, delta, .. } => {
            let name = if *direction == Direction::Increase { "incr" } else { "decr" };
            write!(out, "{name} {} {delta}", key.escape_ascii())?;
        }
        Command::Touch { key, exptime, .. } => write!(out, "touch {} {exptime}", key.escape_ascii())?,
        Command::Delete { key, .. } => write!(out, "delete {}", key.escape_ascii())?,
        Command::FlushAll { exptime: None, .. } => write!(out, "flush_all")?,
        Command::FlushAll { exptime: Some(exptime), .. } => write!(out, "flush_all {exptime}")?,
        Command::FlushOver { seconds, .. } => write!(out, "flush_over {seconds}")?,
        Command::Version => write!(out, "version")?,
        Command::MetaGet(request) => write_meta("mg", request, out)?,
        Command::MetaSet { request, mode, value } => {
            write_meta("ms", request, out)?;
            write!(out, " {mode:?} '{}'", value.escape_ascii())?;
        }
        Command::MetaDelete(request) => write_meta("md", request, out)?,
        Command::MetaArithmetic { request, direction } => {
            write_meta("ma", request, out)?;
            write!(out, " {direction:?}")?;
        }
        Command::MetaDebug { key } => write!(out, "me {key:?}")?,
        Command::MetaNoop => write!(out, "mn")?,
        Command::Accepted { .. } => write!(out, "accepted")?,
        Command::MemoryLimit { megabytes, .. } => write!(out, "cache_memlimit {megabytes}")?,
        // Told by the server, after all else that can be wrong with a dump.
        Command::Crawler(Crawler::Metadump(None) | Crawler::Mgdump(None)) => {
            write!(out, "{}", ErrorReply::BadClass.as_str())?
        }
        Command::Crawler(Crawler::Metadump(Some(_))) => write!(out, "crawler Metadump")?,
        Command::Crawler(Crawler::Mgdump(Some(_))) => write!(out, "crawler Mgdump")?,
        Command::Crawler(part) => write!(out, "crawler {part:?}")?,
        Command::Watch(kinds) => write_watch(*kinds, out)?,
        Command::Shutdown { mode: None, .. } => write!(out, "shutdown of no mode")?,
        Command::Shutdown { mode: Some(ShutdownMode::Immediate), .. } => write!(out, "shutdown")?,
        Command::Shutdown { mode: Some(ShutdownMode::Graceful), .. } => write!(out, "shutdown graceful")?,
        Command::ConfigGetCluster => write!(out, "config get cluster")?,
        Command::ConfigGetRing => write!(out, "config get ring")?,
        Command::Stats { arguments } => write!(out, "stats '{}'", arguments.escape_ascii())?,
        Command::Quit => write!(out, "quit")?,
    }
    writeln!(out, "{}", silence(command.is_quiet()))
}

fn write_keys<'a>(keys: impl Iterator<Item = &'a [u8]>, out: &mut String) -> std::fmt::Result {
    keys.into_iter().try_for_each(|key| write!(out, " {}", key.escape_ascii()))
}

/// The flags that say something, in one order whatever the one sent, then `|` and what comes back in a hit's answer.
fn write_meta(name: &str, request: &MetaRequest<'_>, out: &mut String) -> std::fmt::Result {
    write!(out, "{name} {:?}", request.key())?;
    for (letter, is_there) in [
        ('q', request.is_quiet()),
        ('v', request.wants_value()),
        ('u', request.is_unnoticed()),
        ('I', request.invalidates()),
        ('x', request.empties()),
    ] {
        if is_there {
            write!(out, " {letter}")?;
        }
    }
    let signed = [('T', request.exptime()), ('N', request.vivify()), ('R', request.recache())];
    for (letter, number) in signed {
        number.map_or(Ok(()), |number| write!(out, " {letter}{number}"))?;
    }
    for (letter, number) in [('C', request.compare()), ('E', request.token())] {
        number.map_or(Ok(()), |number| write!(out, " {letter}{number}"))?;
    }
    let given = [('F', u64::from(request.flags()), 0), ('J', request.initial(), 0), ('D', request.delta(), 1)];
    for (letter, number, usual) in given {
        if number != usual {
            write!(out, " {letter}{number}")?;
        }
    }
    if let Some(level) = request.level() {
        write!(out, " L{level}")?;
    }
    let facts = MetaFacts {
        key: b"key",
        binary_key: None,
        size: Some(1),
        ttl: Some(2),
        ttl_touched: Some(3),
        token: Some(4),
        flags: Some(5),
        idle: Some(6),
        fetched: Some(true),
        ..MetaFacts::default()
    };
    let answer = meta_line(MetaCode::Done, &request.echo(), &facts);
    let echoed = answer.strip_prefix(b"HD").and_then(|line| line.strip_suffix(b"\r\n")).expect("one line");
    if echoed.is_empty() { Ok(()) } else { write!(out, " |{}", echoed.escape_ascii()) }
}

fn write_watch(kinds: WatchKinds, out: &mut String) -> std::fmt::Result {
    write!(out, "watch")?;
    for (kind, name) in [
        (WatchKinds::FETCHERS, "fetchers"),
        (WatchKinds::MUTATIONS, "mutations"),
        (WatchKinds::EVICTIONS, "evictions"),
        (WatchKinds::CONNEVENTS, "connevents"),
        (WatchKinds::DELETIONS, "deletions"),
    ] {
        if kinds.has(kind) {
            write!(out, " {name}")?;
        }
    }
    Ok(())
}

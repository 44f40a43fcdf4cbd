//! memcached's options, one row each: how they are written and what becomes of them.
//!
//! Must not know what their values mean: that is `translate`'s business.

/// One of memcached's options.
#[derive(Debug)]
pub(super) struct Row {
    /// Its short flag, which is also what the code knows it by: every option of memcached's has one.
    pub(super) letter: char,
    /// Its long flag without the dashes; empty if it has none.
    pub(super) long: &'static str,
    pub(super) takes: Takes,
    pub(super) fate: Fate,
    /// One line of help.
    pub(super) help: &'static str,
}

/// What follows a flag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Takes {
    Nothing,
    /// Nothing after the short flag; the long one may have a value behind `=`, which means nothing.
    Perhaps,
    /// A value of this name.
    Value(&'static str),
}

/// What memring does with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Honoured,
    Ignored,
    Refused,
}

use Fate::{Honoured, Ignored, Refused};
use Takes::{Nothing, Perhaps, Value};

/// All of them, in the order of the help.
#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row('p', "port", Value("NUMBER"), Honoured, "TCP port; -1 for any free one [11211]"),
    row('l', "listen", Value("ADDRESS[:PORT],…"), Honoured, "addresses to listen on; may be given again [all of this host's]"),
    row('s', "unix-socket", Value("FILE"), Honoured, "Unix socket, instead of TCP"),
    row('a', "unix-mask", Value("MODE"), Honoured, "its access mode, octal [700]"),
    row('m', "memory-limit", Value("NUMBER"), Honoured, "megabytes for items [64]"),
    row('I', "max-item-size", Value("SIZE"), Honoured, "largest item, bytes or with k or m, up to 1024m and half of -m [1m]"),
    row('M', "disable-evictions", Nothing, Honoured, "answer an error when memory is full, instead of evicting"),
    row('c', "conn-limit", Value("NUMBER"), Honoured, "most client connections at once [1024]"),
    row('t', "threads", Value("NUMBER"), Honoured, "worker threads [4]"),
    row('Y', "auth-file", Value("FILE"), Honoured, "ask clients for one of the file's user:password lines"),
    row('A', "enable-shutdown", Nothing, Honoured, "let clients stop the server with shutdown"),
    row('F', "disable-flush-all", Nothing, Honoured, "refuse flush_all"),
    row('X', "disable-dumping", Nothing, Honoured, "refuse commands that list keys"),
    row('W', "disable-watch", Nothing, Honoured, "refuse watch"),
    row('o', "extended", Value("NAME[=VALUE],…"), Honoured, "idle_timeout=SECONDS and maxconns_fast count; the others are below"),
    row('P', "pidfile", Value("FILE"), Honoured, "keep the process id in a file while it runs, also without -d"),
    row('v', "verbose", Perhaps, Honoured, "log more; -vv: much more"),
    row('h', "help", Nothing, Honoured, "this help"),
    row('i', "license", Nothing, Honoured, "the licence"),
    row('V', "version", Nothing, Honoured, "the version"),
    row('u', "user", Value("NAME"), Ignored, "users are not changed: containers and systemd do that outside"),
    row('d', "daemon", Nothing, Ignored, "it stays in the foreground, as containers and systemd want it"),
    row('U', "udp-port", Value("NUMBER"), Ignored, "UDP is not spoken (it amplifies attacks); without -p it gives the TCP port too"),
    row('B', "protocol", Value("NAME"), Ignored, "auto or ascii, which come to the same; binary is refused"),
    row('b', "listen-backlog", Value("NUMBER"), Ignored, "connections that wait to be accepted"),
    row('R', "max-reqs-per-event", Value("NUMBER"), Ignored, "requests of one client before the next one's turn"),
    row('f', "slab-growth-factor", Value("FACTOR"), Ignored, "there are no slabs"),
    row('n', "slab-min-size", Value("BYTES"), Ignored, "there are no slabs"),
    row('k', "lock-memory", Nothing, Ignored, "memory is not locked"),
    row('L', "enable-largepages", Nothing, Ignored, "large pages are left to the system"),
    row('r', "enable-coredumps", Nothing, Ignored, "core files are left to ulimit -c"),
    row('C', "disable-cas", Nothing, Ignored, "every item has a cas value: the copies need it"),
    row('D', "", Value("CHARACTER"), Ignored, "no statistics by key prefix"),
    row('e', "memory-file", Value("FILE"), Ignored, "items are not kept in a file over a restart"),
    row('N', "napi-ids", Value("NUMBER"), Ignored, "workers take connections in turn"),
    row('S', "enable-sasl", Nothing, Refused, "SASL belongs to the binary protocol; -Y protects the text protocol"),
    row('Z', "enable-ssl", Nothing, Refused, "no TLS yet, and plain text where TLS was asked for would be unsafe"),
];

const fn row(letter: char, long: &'static str, takes: Takes, fate: Fate, help: &'static str) -> Row {
    Row { letter, long, takes, fate, help }
}

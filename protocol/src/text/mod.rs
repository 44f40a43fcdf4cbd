//! The memcached text protocol, once, for server and client: classic commands and their replies.
//!
//! Must not know sockets, clocks, who owns a key or how it is kept: bytes in, values out, and back. Whatever a peer
//! sends is answered with a value of [`Step`] or [`ReplyStep`], never with a panic.
//!
//! ```text
//! server   bytes ── parse (framing) ── grammar (one line) ──> Step<Command>      Response ── encode ──> bytes
//! client   bytes <── encode_* ── Command's parts                      ReplyStep <── parse_reply ── bytes
//! ```
//!
//! The yardstick is protocol.txt and what memcached 1.6.45 answers. Meta commands (mg, ms, md, ma, me, mn) are unknown
//! here and answer `ERROR`; they join in `grammar`, where a command's name is looked up.

mod command;
mod encode;
mod error_reply;
mod grammar;
mod names;
mod number;
mod parse;
mod reply;
mod response;

pub use command::{Command, Direction, Keys, StoreVerb};
pub use encode::{
    encode_arithmetic, encode_delete, encode_flush_all, encode_get, encode_get_and_touch, encode_quit, encode_stats,
    encode_store, encode_touch, encode_verbosity, encode_version, is_sendable_key, is_sendable_line,
};
pub use error_reply::ErrorReply;
pub use parse::{LineScanner, Step, TextLimits, parse};
pub use reply::{REPLY_LINE_BYTES_MAX, ReplyLine, ReplyStep, parse_reply};
pub use response::Response;

//! The memcached text protocol, once, for server and client: classic and meta commands, and their replies.
//!
//! Must not know sockets, clocks, who owns a key or how it is kept: bytes in, values out, and back. Whatever a peer
//! sends is answered with a value of [`Step`] or [`ReplyStep`], never with a panic.
//!
//! ```text
//! server   bytes ── parse (framing) ── grammar (one line) ──> Step<Command>      Response ── encode ──> bytes
//!            └───── plain (what is sent most) ────────────────────┘
//! client   bytes <── encode_* ── Command's parts                      ReplyStep <── parse_reply ── bytes
//! ```
//!
//! The yardstick is protocol.txt and what memcached 1.6.45 answers.

mod admin;
mod base64;
mod command;
mod encode;
mod encode_meta;
mod error_reply;
mod flags;
mod grammar;
mod login;
mod meta;
mod meta_reply;
mod names;
mod number;
mod parse;
mod plain;
mod reply;
mod response;
mod ring_text;
mod uri;

pub use base64::put_key_as_sent;
pub use command::{Classes, Command, Crawler, Direction, Keys, ShutdownMode, StoreVerb, WatchKinds};
pub use encode::{
    encode_arithmetic, encode_delete, encode_flush_all, encode_flush_over, encode_get, encode_get_and_touch,
    encode_quit, encode_stats, encode_store, encode_touch, encode_verbosity, encode_version, is_sendable_key,
    is_sendable_line,
};
pub use encode_meta::{
    MetaRead, encode_meta_arithmetic, encode_meta_delete, encode_meta_get, encode_meta_store, encode_meta_touch,
};
pub use error_reply::ErrorReply;
pub use login::{LoginStep, parse_login};
pub use meta::{Echo, MetaKey, MetaRequest};
pub use meta_reply::{MetaCode, MetaFacts, MetaLine, meta_line, miss_line, put_meta_line};
pub use parse::{AwaitedBlock, LineScanner, Step, TextLimits, awaited_block, parse};
pub use reply::{REPLY_LINE_BYTES_MAX, ReplyLine, ReplyStep, meta_fact, parse_reply};
pub use response::{Response, VALUE_OVERHEAD, put_end, put_value_line};
pub use ring_text::{
    MemberState, RING_TEXT_BYTES_MAX, RingTextError, ToldMember, ToldRing, encode_config_get, read_ring_text, ring_text,
};
pub use uri::{put_uri_encoded, uri_decoded};

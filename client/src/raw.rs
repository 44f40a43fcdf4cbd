//! Requests and replies as bytes, for a program with sockets of its own: a load generator writes without waiting.
//!
//! Must not know connections. Nothing here checks what is encoded: use [`is_sendable_key`] first, or [`Pipeline`](crate::Pipeline),
//! which does.

pub use memring_protocol::text::{ReplyLine, ReplyStep, encode_get, encode_store, is_sendable_key, parse_reply};

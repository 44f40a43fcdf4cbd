//! What memring says and who owns a key.
//!
//! Plain types (key, version, entry, level, ring), the memcached text grammar, and the frames that nodes exchange.
//! It must not know sockets, clocks, randomness, async, or how anything is stored or decided: everything here is a
//! function of its arguments. Server, client and engine share it, so that there is one grammar and one ring.
//!
//! ```text
//! key ── Token ── Partition ── ring (who owns it)
//! version, entry (what is kept)          level (how many must agree)
//! text/ (what clients say)               message, frame, codec, gossip (what nodes say)
//! ```

pub mod codec;
pub mod entry;
pub mod flush;
pub mod frame;
pub mod gossip;
pub mod key;
pub mod level;
pub mod limits;
pub mod message;
pub mod ring;
pub mod ring_message;
pub mod text;
pub mod version;

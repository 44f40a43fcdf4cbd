//! An async memcached client, for memring and for memcached.
//!
//! [`Connection`] is one server: one call at a time, or a [`Pipeline`] of them, each with a deadline and bounded
//! buffers. It must not know what a server does with a key, nor the bytes of the protocol, which are
//! `memring_protocol::text`'s; it owns only the socket and the order of replies.
//!
//! ```text
//! Pipeline ── requests as bytes, and what each one expects
//! Connection ── one method a command; run: sends requests, reads as many Answers in the same order
//! Error ── what went wrong, and whether the operation may have been applied all the same
//! ```
//!
//! ```no_run
//! # async fn example() -> Result<(), memring_client::Error> {
//! let mut connection = memring_client::Connection::connect("127.0.0.1:11211").await?;
//! connection.set(b"greeting", b"hello", 0, 60).await?;
//! let value = connection.get(b"greeting").await?;
//! assert_eq!(value.map(|value| value.bytes), Some("hello".into()));
//! # Ok(())
//! # }
//! ```

mod answer;
mod calls;
mod connection;
mod error;
mod pipeline;

pub use answer::{Answer, Value};
pub use calls::CasOutcome;
pub use connection::{Connection, Limits};
pub use error::Error;
pub use pipeline::Pipeline;

pub use memring_protocol::text::{Direction, StoreVerb};

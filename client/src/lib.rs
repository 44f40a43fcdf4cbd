//! An async memcached client, for memring and for memcached.
//!
//! [`Client`] is a cache: a cluster, or some servers. It learns the ring from any node, sends each key straight to a node that
//! has it, by the server's own placement, and to the next when that one fails; many tasks share its few connections, and their
//! gets travel together. [`Connection`] is one server: one call at a time, or a [`Pipeline`] of them.
//!
//! Both have deadlines and bounded buffers, and errors that say whether the operation may have been applied. Must not know what
//! a server does with a key, nor the bytes of the protocol, which are `memring_protocol::text`'s.
//!
//! ```text
//! Client ── client/    commands, attempts, the retry budget, the view of the cluster
//!           routing    which server, and which one next        topology/  who is there, and where keys belong
//!           link/      a server: queues, drivers, coalescing, the breaker
//! Connection ── one method a command; run: sends requests, reads as many Answers in the same order
//! Pipeline ── requests as bytes, and what each one expects
//! Error ── what went wrong, and whether the operation may have been applied all the same
//! ```
//!
//! ```no_run
//! # async fn example() -> Result<(), memring_client::Error> {
//! let cache = memring_client::Client::connect(["127.0.0.1:11211"]).await?;
//! cache.set("greeting", "hello", 0, 60).await?;
//! let value = cache.get("greeting").await?;
//! assert_eq!(value.map(|value| value.bytes), Some("hello".into()));
//! # Ok(())
//! # }
//! ```

pub mod raw;

mod answer;
mod calls;
mod chance;
mod client;
mod connection;
mod error;
mod link;
mod pipeline;
mod routing;
mod topology;

/// The examples of the page that readers see first compile too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use answer::{Answer, Value};
pub use calls::CasOutcome;
pub use client::Client;
pub use client::budget::RetryBudget;
pub use client::many::ManyError;
pub use client::options::Options;
pub use connection::{Connection, Limits};
pub use error::Error;
pub use pipeline::Pipeline;
pub use topology::{Hash, Ring, Server, Topology};

pub use memring_protocol::key::{Partition, Token};
pub use memring_protocol::level::Level;
pub use memring_protocol::ring::{RingMember, Standing};
pub use memring_protocol::text::{Direction, MemberState, StoreVerb, ToldMember, ToldRing, read_ring_text};

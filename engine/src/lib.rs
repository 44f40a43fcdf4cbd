//! What memring decides and remembers: the deterministic half of a node.
//!
//! Three rooms: `store` remembers, `cluster` decides, `node` arranges. No socket, clock, thread, tokio or randomness of
//! its own lives here: every input carries `now`, every output is a value, so one seed replays a whole cluster.
//!
//! ```text
//!            requests, frames, packets, timers           effects: responses, frames, packets
//!                     │                                           ▲
//!                     ▼                                           │
//!     node/    one Node a worker, one Control a process ──────────┘
//!              │                         │
//!     cluster/ quorum, read, serialize,  store/ shards, eviction, expiry, fences
//!              membership, ring, hints
//! ```

pub mod clock;
pub mod cluster;
pub mod node;
pub mod now;
pub mod store;

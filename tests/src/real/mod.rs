//! Real clusters: three `memring serve` processes, what is done to them, clients at work meanwhile, and what these saw.
//!
//! The checkers are those of the simulator. Clocks are real: an operation lasts from before its request was sent until its
//! answer was read, on one monotonic clock of one process. `scripts/faults.sh` runs it all.
//!
//! ```text
//! node        one process                       cluster   three of them, on loopback or each on an address of its own
//! namespaces  addresses of their own, nft       relay     delay, reorder, duplication between peers
//! wire        one connection of a client        clock     time
//! scene       what the clients share            registers keys with one writer, read by all; counters
//! contest     keys that everyone changes        history   is what they saw what was promised?
//! copies      are the copies equal?             minority  what a node that is cut off answers
//! gauges      what nodes show of themselves     kills     the loop of kills
//! upgrade     one release after the other       stories   the other runs
//! restarts    planned ones, of an only copy         straight  the client library: homes, a kill, memcached
//! ```

pub mod clock;
pub mod cluster;
pub mod contest;
pub mod copies;
pub mod gauges;
pub mod history;
pub mod kills;
pub mod minority;
pub mod namespaces;
pub mod node;
pub mod registers;
pub mod relay;
pub mod restarts;
pub mod scene;
pub mod stories;
pub mod straight;
pub mod upgrade;
pub mod wire;

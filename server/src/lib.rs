//! What memring performs: sockets, clocks, threads, signals, configuration, admin HTTP.
//!
//! The engine decides and returns effects; everything here carries bytes to it and effects out of it. Nothing here knows
//! what a request means or who owns a key.
//!
//! ```text
//! run            puts a node together: one control thread, W workers
//!   acceptor     takes connections, deals them to workers in turn
//!   worker       one thread: node, clients, links          connection/  one client
//!   control      one thread: gossip, joining               link/        peers, both directions
//!   event_loop   what both threads share: call the machine, perform its effects, turn its timers
//!   front_door   what connections share: logins, shutdown  registry     who is connected
//!   backlog      replies that wait for all clients         large        room for large values
//!   watch        who is told what happens
//!   hint_disk    one thread: files of hints               data_dir     the folder they are in
//!   snapshot     the file of a lone node's items
//!   admin        HTTP                                      metrics/     what a scrape is told
//!   health       what the probes say
//!   stopwatch    how long clients wait                     signals, sockets, client_socket, arrival, threads, clock,
//!                                                          process, gauges, facts, log, pid_file
//! config/        what the node is told, checked once
//! ```

mod acceptor;
mod admin;
mod arrival;
mod backlog;
mod bell;
mod cgroup;
mod client_socket;
mod clock;
pub mod config;
mod connection;
mod control;
mod data_dir;
mod event_loop;
mod facts;
mod front_door;
mod gauges;
mod health;
mod hint_disk;
mod large;
mod link;
mod log;
mod metrics;
mod pid_file;
mod process;
mod registry;
mod run;
mod signals;
mod snapshot;
mod sockets;
mod stopwatch;
mod threads;
mod watch;
mod worker;

pub use memring_engine::node::VERSION as MEMCACHED_VERSION;
pub use run::serve;

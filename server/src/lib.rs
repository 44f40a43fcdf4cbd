//! What memring performs: sockets, clocks, threads, signals, configuration, admin HTTP.
//!
//! The engine decides and returns effects; everything here carries bytes to it and effects out of it. Nothing here knows
//! what a request means or who owns a key.
//!
//! ```text
//! run            puts a node together: one control thread, W workers
//!   acceptor     takes connections, deals them to workers in turn
//!   worker       one thread: node, clients, links          connection/  one client
//!   control      one thread: gossip, joining, facts        link/        peers, both directions
//!   event_loop   what both threads share: call the machine, perform its effects, turn its timers
//!   admin        HTTP                                      signals, sockets, arrival, threads, clock, process, gauges,
//!                                                          log
//! config/        what the node is told, checked once
//! ```

mod acceptor;
mod admin;
mod arrival;
mod clock;
pub mod config;
mod connection;
mod control;
mod event_loop;
mod gauges;
mod link;
mod log;
mod process;
mod run;
mod signals;
mod sockets;
mod threads;
mod worker;

pub use run::serve;

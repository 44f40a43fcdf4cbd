//! What memring performs: sockets, clocks, threads, signals, configuration, admin HTTP.

pub mod config;

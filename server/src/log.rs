//! Log lines on stderr, for people or for machines.
//!
//! Must not know what is logged. Keys and values appear at debug at most.

use std::io;

use tracing::level_filters::LevelFilter;

use crate::config::{Config, LogFormat};

/// Starts logging for the whole process. A second call changes nothing: tests run several nodes in one process.
pub(crate) fn start(config: &Config) {
    let level = match config.verbosity {
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let lines =
        tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).with_target(config.verbosity > 0);
    let started = match config.log_format {
        LogFormat::Text => {
            let colours = io::IsTerminal::is_terminal(&io::stderr());
            tracing::subscriber::set_global_default(lines.with_ansi(colours).finish())
        }
        LogFormat::Json => tracing::subscriber::set_global_default(lines.json().flatten_event(true).finish()),
    };
    drop(started);
}

//! Log lines on stderr, for people or for machines.
//!
//! A storm of one message is bounded: in each [`WINDOW`] every place in the code logs [`LINES_A_WINDOW`] lines at most, and at
//! its end one line tells how many were left out, and of which place. Lines that only `-v` shows are asked for, and all come.
//! Must not know what is logged. Keys and values appear at debug at most.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::config::{Config, LogFormat};

/// How many lines one place in the code may log in a window.
const LINES_A_WINDOW: u64 = 20;

/// How long a window is.
const WINDOW: Duration = Duration::from_secs(10);

/// What has been logged in this window. As many places as the code has.
static PLACES: Places = Places(Mutex::new(BTreeMap::new()));

/// Lines left out since the start.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Starts logging for the whole process. A second call changes nothing: tests run several nodes in one process.
pub(crate) fn start(config: &Config) {
    let level = match config.verbosity {
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(config.verbosity > 0);
    let bounded = tracing_subscriber::registry().with(level).with(Bounded(&PLACES));
    let started = match config.log_format {
        LogFormat::Text => {
            let colours = io::IsTerminal::is_terminal(&io::stderr());
            tracing::subscriber::set_global_default(bounded.with(lines.with_ansi(colours)))
        }
        LogFormat::Json => tracing::subscriber::set_global_default(bounded.with(lines.json().flatten_event(true))),
    };
    drop(started);
}

/// Begins new windows, for ever.
pub(crate) async fn keep_telling() {
    loop {
        tokio::time::sleep(WINDOW).await;
        for (place, lines) in PLACES.begin_window() {
            tracing::warn!(place, lines, "log lines were left out: too many were alike");
        }
    }
}

/// How many lines were left out since the start.
pub(crate) fn left_out() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}

/// Lines of this window, by the place in the code where they come from.
#[derive(Debug)]
struct Places(Mutex<BTreeMap<(&'static str, u32), u64>>);

impl Places {
    /// Whether one more line of a place is logged.
    fn admit(&self, place: (&'static str, u32)) -> bool {
        let mut places = self.0.lock();
        let lines = places.entry(place).or_default();
        *lines += 1;
        *lines <= LINES_A_WINDOW
    }

    /// Which places had lines left out in the window that ends, and how many.
    fn begin_window(&self) -> Vec<(String, u64)> {
        let places = std::mem::take(&mut *self.0.lock());
        let over = places.into_iter().filter(|(_, lines)| *lines > LINES_A_WINDOW);
        over.map(|((file, line), lines)| (format!("{file}:{line}"), lines - LINES_A_WINDOW)).collect()
    }
}

/// Lets lines pass while there are few of them.
struct Bounded(&'static Places);

impl<S: Subscriber> Layer<S> for Bounded {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        let passes = is_asked_for(event.metadata()) || self.0.admit(place_of(event.metadata()));
        if !passes {
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
        }
        passes
    }
}

fn is_asked_for(metadata: &Metadata<'_>) -> bool {
    *metadata.level() > Level::INFO
}

fn place_of(metadata: &Metadata<'static>) -> (&'static str, u32) {
    (metadata.file().unwrap_or(metadata.target()), metadata.line().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_storm_of_one_message_is_bounded_and_told() {
        static PLACES: Places = Places(Mutex::new(BTreeMap::new()));
        let written = Written::default();
        let writer = written.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).with_ansi(false);
        let subscriber = tracing_subscriber::registry().with(LevelFilter::DEBUG).with(Bounded(&PLACES)).with(lines);
        let count = |word: &str| String::from_utf8_lossy(&written.0.lock()).matches(word).count() as u64;
        let before = left_out();
        tracing::subscriber::with_default(subscriber, || {
            let storm = |lines: u64| {
                for _ in 0..lines {
                    tracing::warn!("storm");
                    tracing::debug!("asked for");
                }
            };
            storm(LINES_A_WINDOW + 7);
            tracing::warn!("other");
            assert_eq!((count("storm"), count("asked for"), count("other")), (LINES_A_WINDOW, LINES_A_WINDOW + 7, 1));
            assert!(left_out() >= before + 7);
            let told = PLACES.begin_window();
            assert_eq!(told.len(), 1);
            assert!(told[0].0.contains("log.rs:") && told[0].1 == 7, "{told:?}");
            storm(1);
            assert_eq!(count("storm"), LINES_A_WINDOW + 1, "a new window");
            assert!(PLACES.begin_window().is_empty());
        });
    }
}

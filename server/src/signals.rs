//! Why and how a process is told to stop.
//!
//! Must not know what stopping takes.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::threads;

/// What told the process to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    Terminate,
    Interrupt,
    StdinClosed,
}

impl Stop {
    /// Whether there is time to finish what is in flight.
    pub(crate) fn is_gentle(self) -> bool {
        self == Self::Terminate
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM: stopping once requests in flight are done",
            Self::Interrupt => "SIGINT: stopping at once",
            Self::StdinClosed => "stdin has closed: stopping at once",
        })
    }
}

/// Waits for reasons to stop.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    stdin_closed: Arc<Notify>,
}

impl Signals {
    /// Watches from now on; stdin too if asked.
    pub(crate) fn new(watch_stdin: bool) -> io::Result<Self> {
        let stdin_closed = Arc::new(Notify::new());
        if watch_stdin {
            let closed = Arc::clone(&stdin_closed);
            // Never joined: a read of stdin cannot be called off, and ends with the process.
            threads::spawn("stdin".to_owned(), move || {
                let mut dropped = [0; 64];
                while matches!(io::stdin().read(&mut dropped), Ok(1..)) {}
                closed.notify_one();
            })?;
        }
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            stdin_closed,
        })
    }

    /// The next reason to stop.
    pub(crate) async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.terminate.recv() => Stop::Terminate,
            _ = self.interrupt.recv() => Stop::Interrupt,
            () = self.stdin_closed.notified() => Stop::StdinClosed,
        }
    }
}

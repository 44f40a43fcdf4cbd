//! Why and how a process is told to stop.
//!
//! Must not know what stopping takes.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};

use crate::threads;

/// What told the process to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    Terminate,
    Interrupt,
    StdinClosed,
    /// A client's `shutdown`, or `shutdown graceful`.
    Shutdown {
        graceful: bool,
    },
}

impl Stop {
    /// Whether there is time to finish what is in flight.
    pub(crate) fn is_gentle(self) -> bool {
        matches!(self, Self::Terminate | Self::Shutdown { graceful: true })
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM: stopping once requests in flight are done",
            Self::Interrupt => "SIGINT: stopping at once",
            Self::StdinClosed => "stdin has closed: stopping at once",
            Self::Shutdown { graceful: true } => "a client says shutdown graceful: stopping once requests are done",
            Self::Shutdown { graceful: false } => "a client says shutdown: stopping at once",
        })
    }
}

/// Waits for reasons to stop.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    stdin_closed: Arc<Notify>,
    told: mpsc::Receiver<Stop>,
}

impl Signals {
    /// Watches from now on; stdin too if asked. Reasons that come from inside come through `told`, whose senders the
    /// caller keeps.
    pub(crate) fn new(watch_stdin: bool, told: mpsc::Receiver<Stop>) -> io::Result<Self> {
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
            told,
        })
    }

    /// The next reason to stop.
    pub(crate) async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.terminate.recv() => Stop::Terminate,
            _ = self.interrupt.recv() => Stop::Interrupt,
            () = self.stdin_closed.notified() => Stop::StdinClosed,
            Some(stop) = self.told.recv() => stop,
        }
    }
}

/// Calls this at every SIGHUP, for ever. The signal's own action, to end the process, is off from then on.
pub(crate) async fn at_hangup(reload: impl Fn()) {
    match signal(SignalKind::hangup()) {
        Ok(mut hangups) => {
            while hangups.recv().await.is_some() {
                reload();
            }
        }
        Err(error) => tracing::warn!(%error, "cannot watch for SIGHUP"),
    }
}

//! The one place that starts threads: named, and joined by whoever holds the handle.
//!
//! Must not know what they do.

use std::io;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Runtime};

/// Threads for tokio's blocking calls, a runtime: only name lookups use them, one at a time.
const BLOCKING_THREADS_MAX: usize = 2;

/// Starts a thread.
pub(crate) fn spawn<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name).spawn(work)
}

/// The runtime of one thread: everything on it runs on that thread.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).build()
}

/// Hardware threads that this process may use; one if the system does not say.
pub(crate) fn cores() -> u16 {
    std::thread::available_parallelism().map_or(1, |cores| u16::try_from(cores.get()).unwrap_or(u16::MAX))
}

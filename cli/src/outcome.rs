//! How commands end: an exit code, and an error as one line on standard error.
//!
//! Must not know what the commands do.

use std::process::ExitCode;

/// Exit code when a key is not there or a server failed.
pub(crate) const FAILED: u8 = 1;

/// Exit code of a wrong command line, as clap's own.
pub(crate) const USAGE: u8 = 2;

/// What a shell expects of a command that Ctrl-C has ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why a command did not do what it was told, in one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// It was told what cannot be: nothing was done.
    Usage(String),
    /// It could not.
    Failed(String),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// Does the work on this thread; says why, if it fails.
pub(crate) fn of(work: impl Future<Output = Result<ExitCode, Failure>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(work);
            // A name that is being looked up must not hold the process.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(Failure::Failed(error.to_string())),
    };
    told(ended)
}

/// The exit code of what has ended so.
pub(crate) fn told(ended: Result<ExitCode, Failure>) -> ExitCode {
    let (why, code) = match ended {
        Ok(code) => return code,
        Err(Failure::Usage(why)) => (why, USAGE),
        Err(Failure::Failed(why)) => (why, FAILED),
    };
    eprintln!("memring: {why}");
    ExitCode::from(code)
}

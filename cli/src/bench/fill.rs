//! Setting every key of a load once, on every server, before it begins.
//!
//! Must not know how the load goes on.

use std::io::IsTerminal;
use std::time::Duration;

use memring_client::{Answer, Connection, Limits, Pipeline, StoreVerb};

use super::workload::Mix;
use crate::servers;

/// Sets on their way at once …
const SETS_MAX: u64 = 1000;

/// … and about the most bytes of them.
const BYTES_MAX: usize = 1024 * 1024;

/// How long a server may take for so many.
const PATIENCE: Duration = Duration::from_secs(30);

/// The error names the server.
pub(super) async fn fill(servers: &[String], keys: u64, mix: &Mix) -> Result<(), String> {
    for server in servers {
        fill_one(server, keys, mix).await.map_err(|error| format!("{server}: filling: {error}"))?;
    }
    Ok(())
}

async fn fill_one(server: &str, keys: u64, mix: &Mix) -> Result<(), String> {
    let limits = Limits { deadline: PATIENCE, request_bytes_max: usize::MAX, ..Limits::default() };
    let mut connection = Connection::connect_with(server, limits).await.map_err(servers::told)?;
    let (mut requests, mut key, mut bytes) = (Pipeline::new(), Vec::new(), 0);
    let mut progress = Progress::new(server);
    for number in 0..keys {
        let value = mix.value(number);
        key.clear();
        mix.names.put(number, &mut key);
        requests.store(StoreVerb::Set, &key, value, 0, mix.ttl_s as i32).map_err(servers::told)?;
        bytes += value.len();
        if requests.len() as u64 == SETS_MAX || bytes >= BYTES_MAX || number + 1 == keys {
            for answer in connection.run(&requests).await.map_err(servers::told)? {
                match answer {
                    Answer::Stored => {}
                    Answer::Refused(words) | Answer::Failed(words) => return Err(words),
                    other => return Err(format!("answered {other:?} to a set")),
                }
            }
            requests.clear();
            bytes = 0;
            progress.show((number + 1) * 100 / keys);
        }
    }
    progress.end();
    Ok(())
}

/// A line that changes, where there is a terminal.
struct Progress<'a> {
    server: &'a str,
    on_terminal: bool,
    shown: Option<u64>,
}

impl<'a> Progress<'a> {
    fn new(server: &'a str) -> Self {
        Self { server, on_terminal: std::io::stderr().is_terminal(), shown: None }
    }

    fn show(&mut self, percent: u64) {
        if self.on_terminal && self.shown.replace(percent) != Some(percent) {
            eprint!("\rfilling {}: {percent} %", self.server);
        }
    }

    fn end(&self) {
        if self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

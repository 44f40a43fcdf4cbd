//! The servers that a command may ask: the first that answers is enough.
//!
//! Must not know what is asked.

use std::time::Duration;

use clap::{Arg, ArgMatches};
use memring_client::{Connection, Error, Limits};

use crate::outcome::Failure;

/// How long one server may take for one request: as long as it may wait for nodes that are silent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request, and of an answer: the largest value that a server can be told to take, and its line.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024 * 1024 + 4096;

/// How long one server may take to answer on its client port.
const STATS_TIMEOUT: Duration = Duration::from_secs(3);

/// The `--server` flag.
pub(crate) fn argument() -> Arg {
    Arg::new("server")
        .long("server")
        .value_name("HOST:PORT,…")
        .default_value("127.0.0.1:11211")
        .help("Client ports of nodes; the first that answers is asked")
}

/// What the first server says to `ask`; if none does, why each did not.
pub(crate) async fn first<T>(servers: &str, ask: impl AsyncFn(&str) -> Result<T, String>) -> Result<T, String> {
    let mut failures = Vec::new();
    for server in servers.split(',').map(str::trim).filter(|server| !server.is_empty()) {
        let server = with_port(server);
        match ask(&server).await {
            Ok(answer) => return Ok(answer),
            Err(error) => failures.push(format!("{server}: {error}")),
        }
    }
    if failures.is_empty() {
        return Err("--server: no server is named".to_owned());
    }
    Err(failures.join("; "))
}

/// What the first of the servers that answers says to `ask`. A request that is refused, or that failed, is answered.
pub(crate) async fn first_of<T>(
    matches: &ArgMatches,
    ask: impl AsyncFn(&mut Connection) -> Result<T, Error>,
) -> Result<T, Failure> {
    let servers = matches.get_one::<String>("server").map_or("", String::as_str);
    let answer = first(servers, async |server| match ask(&mut connect(server).await?).await {
        Err(error @ (Error::Refused(_) | Error::Failed(_) | Error::InvalidRequest(_))) => {
            Ok(Err(format!("{server}: {}", told(error))))
        }
        Err(error) => Err(told(error)),
        Ok(answer) => Ok(Ok(answer)),
    });
    answer.await.flatten().map_err(Failure::Failed)
}

/// A connection for people's requests: patient, and with room for the largest value.
pub(crate) async fn connect(server: &str) -> Result<Connection, String> {
    let limits =
        Limits { deadline: ANSWER_TIMEOUT, request_bytes_max: MESSAGE_BYTES_MAX, answer_bytes_max: MESSAGE_BYTES_MAX };
    Connection::connect_with(server, limits).await.map_err(told)
}

/// Where a server's admin HTTP is. Nodes tell the port to anyone on the client port, so that people need to know one port
/// only.
pub(crate) async fn admin_address(server: &str) -> Result<String, String> {
    let port = tokio::time::timeout(STATS_TIMEOUT, admin_port(server))
        .await
        .map_err(|_elapsed| "no answer in time".to_owned())??;
    let host = server.rsplit_once(':').map_or(server, |(host, _port)| host);
    Ok(format!("{host}:{port}"))
}

async fn admin_port(server: &str) -> Result<u16, String> {
    let mut connection = Connection::connect(server).await.map_err(told)?;
    let settings = connection.stats("settings").await.map_err(told)?;
    let port = settings.iter().find(|(name, _)| name == "admin_port").map(|(_, value)| value.as_str());
    port.and_then(|port| port.parse().ok()).ok_or_else(|| "it does not say its admin port: not memring?".to_owned())
}

/// An error with what caused it.
pub(crate) fn told(error: impl std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// A server with its client port, which may be left out.
pub(crate) fn with_port(server: &str) -> String {
    let has_port =
        server.rsplit_once(':').is_some_and(|(host, port)| !host.ends_with(':') && port.parse::<u16>().is_ok());
    if has_port { server.to_owned() } else { format!("{server}:11211") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_port_may_be_left_out() {
        for (server, expected) in [
            ("a", "a:11211"),
            ("a:1", "a:1"),
            ("10.0.0.1", "10.0.0.1:11211"),
            ("[::1]:7", "[::1]:7"),
            ("[::1]", "[::1]:11211"),
        ] {
            assert_eq!(with_port(server), expected);
        }
    }
}

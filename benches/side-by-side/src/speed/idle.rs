//! What a connection costs that says nothing: resident memory, before and after ten thousand of them.
//!
//! Must not know how a table is laid out elsewhere.

use std::io::{Error, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::memory::settled_bytes;
use crate::report::{Table, verdict};
use crate::servers::{Contestant, Settings};
use crate::speed::targets::Target;

/// Connections that ask once.
const CONNECTIONS: usize = 10_000;

/// Of a server: those, and some.
const CONNECTIONS_MAX: u32 = 12_000;

/// MiB for items, of which there are none.
const CAP_MIB: u64 = 64;

/// Resident bytes that a connection may cost.
const BYTES_EACH_MAX: f64 = 4096.0;

/// Each connection asks for something that is not there.
const REQUEST: &[u8] = b"get idle\r\n";
const REPLY: [u8; 5] = *b"END\r\n";

/// The first contestant is ours, the second the yardstick.
pub(crate) fn table(contestants: &[Contestant], only: &str) -> Result<Option<String>> {
    let name = format!("resident bytes of each of {CONNECTIONS} idle connections");
    if !name.contains(only) {
        return Ok(None);
    }
    let mut header = vec!["load".to_owned()];
    header.extend(contestants.iter().take(2).map(|contestant| contestant.name.clone()));
    header.extend(["bar", "bar reached"].map(str::to_owned));
    let (mut cells, mut first) = (vec![name], None);
    for contestant in contestants.iter().take(2) {
        let each = bytes_each(contestant).map_err(|error| Error::other(format!("{}: {error}", contestant.name)))?;
        first.get_or_insert(each);
        cells.push(format!("{each:.0}"));
    }
    cells
        .extend([format!("{BYTES_EACH_MAX:.0}"), verdict(first.is_some_and(|each| each <= BYTES_EACH_MAX)).to_owned()]);
    eprintln!("side-by-side: {}", cells.join("  "));
    let mut table = Table::new(header);
    table.row(cells);
    Ok(Some(table.to_string()))
}

fn bytes_each(contestant: &Contestant) -> Result<f64> {
    let settings = Settings { cap_mib: CAP_MIB, threads: 1, connections_max: CONNECTIONS_MAX, cores: None };
    let target = Target::alone(contestant, &settings)?;
    let server = &target.servers()[0];
    let before = settled_bytes(server)?;
    let connections: Vec<TcpStream> = (0..CONNECTIONS).map(|_| asked(server.connect()?)).collect::<Result<_>>()?;
    let after = settled_bytes(server)?;
    Ok((after as f64 - before as f64) / connections.len() as f64)
}

fn asked(mut stream: TcpStream) -> Result<TcpStream> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(REQUEST)?;
    let mut reply = [0; REPLY.len()];
    stream.read_exact(&mut reply)?;
    if reply == REPLY { Ok(stream) } else { Err(Error::other(format!("unexpected reply: {}", reply.escape_ascii()))) }
}

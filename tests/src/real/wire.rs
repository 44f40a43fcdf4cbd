//! One connection of a client: requests out, replies in order, each as its lines and blocks. Must not know what they mean.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a client waits for an answer before it gives up: longer than any node tries, and than any pause of a node.
pub const PATIENCE: Duration = Duration::from_secs(7);

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// No line of these tests is longer.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// How a reply ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ends {
    /// After one line, and its block if it has one.
    AtOnce,
    /// With the line END, or an error.
    WithEnd,
}

/// A reply: its first line, and the block behind it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reply {
    /// Without CR LF.
    pub line: String,
    /// The block, if the line announced one.
    pub block: Option<Vec<u8>>,
}

impl Reply {
    /// The words of the line.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.line.split(' ')
    }

    /// Whether it is an error of the server: nobody knows what became of the command.
    pub fn is_doubtful(&self) -> bool {
        self.line.starts_with("SERVER_ERROR")
    }
}

/// A connection.
#[derive(Debug)]
pub struct Wire(BufReader<TcpStream>);

impl Wire {
    /// Connects.
    pub fn connect(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, CONNECT_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::with_capacity(64 * 1024, stream)))
    }

    /// Sends requests.
    pub fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(requests)
    }

    /// Sends one request and reads its reply.
    pub fn ask(&mut self, request: &str, ends: Ends) -> io::Result<Reply> {
        self.send(format!("{request}\r\n").as_bytes())?;
        self.read(ends)
    }

    /// The next reply. Of several values the first.
    pub fn read(&mut self, ends: Ends) -> io::Result<Reply> {
        let first = self.read_one()?;
        if ends == Ends::WithEnd && is_followed(&first) {
            while is_followed(&self.read_one()?) {}
        }
        Ok(first)
    }

    /// All lines of a reply up to END, which is left out.
    pub fn lines(&mut self, request: &str) -> io::Result<Vec<String>> {
        self.send(format!("{request}\r\n").as_bytes())?;
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if !is_followed(&Reply { line: line.clone(), block: None }) {
                return if line == "END" { Ok(lines) } else { Err(io::Error::other(format!("{request}: {line}"))) };
            }
            lines.push(line);
        }
    }

    fn read_one(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let mut words = line.split(' ');
        let size = match words.next() {
            Some("VA") => words.next(),
            Some("VALUE") => words.nth(2),
            _ => return Ok(Reply { line, block: None }),
        };
        let size: usize = size.and_then(|size| size.parse().ok()).ok_or_else(|| io::Error::other(line.clone()))?;
        let mut block = vec![0; size + 2];
        self.0.read_exact(&mut block)?;
        if !block.ends_with(b"\r\n") {
            return Err(io::Error::other(format!("{line}: its block does not end where it should")));
        }
        block.truncate(size);
        Ok(Reply { line, block: Some(block) })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        (&mut self.0).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// Whether more lines of the same reply follow.
fn is_followed(reply: &Reply) -> bool {
    let errors = ["SERVER_ERROR", "CLIENT_ERROR", "ERROR", "BUSY"];
    reply.line != "END" && !errors.iter().any(|error| reply.line.starts_with(error))
}

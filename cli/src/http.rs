//! The smallest HTTP client that can ask a node's admin port, and the API server of Kubernetes.
//!
//! Must not know what is asked, nor whether the stream is encrypted. Speaks HTTP/1.0, so that the answer is what comes until
//! the connection ends.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// The largest answer: the state of a thousand nodes fits ten times over.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The body of `path` at `address`, if the answer is 200.
pub(crate) async fn get(address: &str, path: &str) -> io::Result<Vec<u8>> {
    match ask(address, "GET", path).await? {
        (200, body) => Ok(body),
        (status, _) => Err(io::Error::other(format!("HTTP status {status}"))),
    }
}

/// Posts nothing to `path`: status and body of the answer.
pub(crate) async fn post(address: &str, path: &str) -> io::Result<(u16, Vec<u8>)> {
    ask(address, "POST", path).await
}

async fn ask(address: &str, method: &str, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let head = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
    let exchange = async { over(TcpStream::connect(address).await?, &head).await };
    tokio::time::timeout(ANSWER_TIMEOUT, exchange).await.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Sends `head`, a whole request of HTTP/1.0 without a body, over a stream: status and body of the answer. How long that may
/// take is the caller's to say.
pub(crate) async fn over(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str) -> io::Result<(u16, Vec<u8>)> {
    stream.write_all(head.as_bytes()).await?;
    // An encrypted stream may keep what is written until it is told not to.
    stream.flush().await?;
    let mut answer = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await {
        // Some servers end an encrypted connection without a word: by the length they told, nothing was cut off.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && is_whole(&answer) => status_and_body(answer),
        Err(error) => Err(error),
        Ok(_) => status_and_body(answer),
    }
}

/// Whether the body is there to its end, by what its head says of it.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = end_of_head(answer) else { return false };
    let head = String::from_utf8_lossy(&answer[..end]);
    let told = head.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        if name.eq_ignore_ascii_case("content-length") { value.trim().parse::<usize>().ok() } else { None }
    });
    told.is_some_and(|bytes| answer.len() - end - END_OF_HEAD.len() >= bytes)
}

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

fn end_of_head(answer: &[u8]) -> Option<usize> {
    answer.windows(END_OF_HEAD.len()).position(|bytes| bytes == END_OF_HEAD)
}

fn status_and_body(mut answer: Vec<u8>) -> io::Result<(u16, Vec<u8>)> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer");
    let end = end_of_head(&answer).ok_or_else(malformed)?;
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| malformed())?;
    let line = head.lines().next().and_then(|line| line.strip_prefix("HTTP/")).ok_or_else(malformed)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(malformed)?;
    Ok((status, answer.split_off(end + END_OF_HEAD.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_whole_by_the_length_that_its_head_tells() {
        for (answer, expected) in [
            ("HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody", true),
            ("HTTP/1.0 200 OK\r\ncontent-length:4\r\nA: b\r\n\r\nbody", true),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nbody", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 4\r\n", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: four\r\n\r\nbody", false),
            ("HTTP/1.0 200 OK\r\n\r\nbody", false),
            ("", false),
        ] {
            assert_eq!(is_whole(answer.as_bytes()), expected, "{answer:?}");
        }
    }

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        for (answer, expected) in [
            ("HTTP/1.0 200 OK\r\nA: b\r\n\r\nbody", Some((200, "body"))),
            ("HTTP/1.1 200 OK\r\n\r\n", Some((200, ""))),
            ("HTTP/1.0 503 No\r\n\r\nbody", Some((503, "body"))),
            ("HTTP/1.0 no\r\n\r\nbody", None),
            ("HTTP/1.0 200 OK\r\n", None),
            ("VERSION 1\r\n\r\n", None),
            ("", None),
        ] {
            let read = status_and_body(answer.as_bytes().to_vec()).ok();
            assert_eq!(read, expected.map(|(status, body)| (status, body.as_bytes().to_vec())), "{answer:?}");
        }
    }
}

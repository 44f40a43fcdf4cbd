//! The first bytes of a link that a peer dialled: is it one of ours, and for which thread?
//!
//! Must not know messages. A stranger costs a socket, [`PREAMBLE_BYTES_MAX`] bytes and [`PREAMBLE_TIMEOUT`].

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use memring_protocol::frame::{FrameError, PREAMBLE_BYTES_MAX, Preamble, PreambleError, decode_preamble};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// How long a dialler may take to say who it is.
const PREAMBLE_TIMEOUT: Duration = Duration::from_secs(3);

/// Links and strangers at once: far above what a thousand nodes with many threads need, far below the kernel's limits.
pub(crate) const PEER_LINKS_MAX: usize = 32 * 1024;

/// Why a link is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Refused(#[from] PreambleError),
    #[error("it says nothing")]
    Silent,
}

/// Reads and checks the preamble. Returns it with the bytes that came behind it.
pub(crate) async fn handshake(stream: &mut TcpStream, cluster: &str) -> Result<(Preamble, BytesMut), HandshakeError> {
    let reading = read_preamble(stream);
    let (preamble, rest) =
        tokio::time::timeout(PREAMBLE_TIMEOUT, reading).await.map_err(|_elapsed| HandshakeError::Silent)??;
    preamble.check(cluster)?;
    Ok((preamble, rest))
}

async fn read_preamble(stream: &mut TcpStream) -> Result<(Preamble, BytesMut), HandshakeError> {
    let mut input = BytesMut::with_capacity(PREAMBLE_BYTES_MAX);
    loop {
        if let Some(preamble) = decode_preamble(&mut input)? {
            return Ok((preamble, input));
        }
        // A whole preamble fits, or `decode_preamble` has refused it.
        if stream.read_buf(&mut input).await? == 0 {
            return Err(HandshakeError::Silent);
        }
    }
}

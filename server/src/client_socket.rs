//! What clients come through: TCP and Unix sockets behind one face.
//!
//! Must not know what is said on them, or who may come (`acceptor`).

use std::fmt;
use std::fs;
use std::io::{self, IoSlice, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net as unix;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, Interest, ReadBuf, Ready};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// One end of a connection, or where a listener listens; shown as memcached shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Endpoint {
    Tcp(SocketAddr),
    /// The path of the socket; clients have none of their own and are shown with it too.
    Unix(Arc<str>),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address @ SocketAddr::V4(_)) => write!(f, "tcp:{address}"),
            Self::Tcp(address @ SocketAddr::V6(_)) => write!(f, "tcp6:{address}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// Listens for clients.
pub(crate) enum ClientListener {
    Tcp(TcpListener, SocketAddr),
    /// The file goes first, so that nobody finds one that is about to be nobody's.
    Unix(SocketFile, UnixListener),
}

/// A client that has come, with both its ends.
pub(crate) struct Arrival {
    pub(crate) stream: DetachedClient,
    pub(crate) from: Endpoint,
    pub(crate) to: Endpoint,
}

impl ClientListener {
    /// Where it listens.
    pub(crate) fn endpoint(&self) -> Endpoint {
        match self {
            Self::Tcp(_, address) => Endpoint::Tcp(*address),
            Self::Unix(file, _) => Endpoint::Unix(Arc::clone(&file.path)),
        }
    }

    /// The next client.
    pub(crate) async fn accept(&self) -> io::Result<Arrival> {
        match self {
            Self::Tcp(listener, address) => {
                let (stream, from) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                let _ = SockRef::from(&stream).set_keepalive(true);
                // Which of the host's addresses it came to, where all of them are listened on.
                let to = stream.local_addr().unwrap_or(*address);
                let stream = DetachedClient::Tcp(stream.into_std()?);
                Ok(Arrival { stream, from: Endpoint::Tcp(from), to: Endpoint::Tcp(to) })
            }
            Self::Unix(file, listener) => {
                let (stream, _unnamed) = listener.accept().await?;
                let endpoint = Endpoint::Unix(Arc::clone(&file.path));
                let stream = DetachedClient::Unix(stream.into_std()?);
                Ok(Arrival { stream, from: endpoint.clone(), to: endpoint })
            }
        }
    }
}

/// A client's socket between runtimes.
pub(crate) enum DetachedClient {
    Tcp(std::net::TcpStream),
    Unix(unix::UnixStream),
}

impl DetachedClient {
    /// Sends as much of this as the socket takes at once.
    pub(crate) fn say(&mut self, last_words: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(last_words),
            Self::Unix(stream) => stream.write(last_words),
        }
    }

    /// Makes it a socket of the calling thread's runtime.
    pub(crate) fn attach(self) -> io::Result<ClientStream> {
        match self {
            Self::Tcp(stream) => TcpStream::from_std(stream).map(ClientStream::Tcp),
            Self::Unix(stream) => UnixStream::from_std(stream).map(ClientStream::Unix),
        }
    }
}

/// A client's socket.
pub(crate) enum ClientStream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl ClientStream {
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tcp(stream) => stream.ready(interest).await,
            Self::Unix(stream) => stream.ready(interest).await,
        }
    }

    /// Ready when there is something to read, or the other side has gone; else wakes the task when that changes.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Ready when the socket takes bytes; else as [`ClientStream::poll_readable`].
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
        }
    }

    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }

    pub(crate) fn try_write_vectored(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(parts),
            Self::Unix(stream) => stream.try_write_vectored(parts),
        }
    }

    /// Writes although the socket has not been said to be writable.
    pub(crate) fn write_unasked(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream).send(bytes),
            Self::Unix(stream) => SockRef::from(stream).send(bytes),
        }
    }

    /// Tells the client that no more will be sent.
    pub(crate) fn end_writing(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream).shutdown(Shutdown::Write),
            Self::Unix(stream) => SockRef::from(stream).shutdown(Shutdown::Write),
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

/// The file of a Unix socket of ours; removed when dropped, unless another has taken its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: Arc<str>,
    device: u64,
    inode: u64,
}

impl SocketFile {
    pub(crate) fn of(path: Arc<str>) -> io::Result<Self> {
        let file = fs::symlink_metadata(&*path)?;
        Ok(Self { path, device: file.dev(), inode: file.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = |file: fs::Metadata| (file.dev(), file.ino()) == (self.device, self.inode);
        if fs::symlink_metadata(&*self.path).is_ok_and(is_ours)
            && let Err(error) = fs::remove_file(&*self.path)
        {
            tracing::warn!(path = %self.path, %error, "the socket's file stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_shown_as_memcached_shows_them() {
        let tcp = |text: &str| Endpoint::Tcp(text.parse().expect("an address"));
        for (endpoint, shown) in [
            (tcp("127.0.0.1:11211"), "tcp:127.0.0.1:11211"),
            (tcp("[::1]:5"), "tcp6:[::1]:5"),
            (Endpoint::Unix("/run/m.sock".into()), "unix:/run/m.sock"),
        ] {
            assert_eq!(endpoint.to_string(), shown);
        }
    }
}

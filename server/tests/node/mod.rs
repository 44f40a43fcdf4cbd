//! One node in this process, on free ports, and clients that check what it answers byte by byte.
//!
//! Must not know what is tested with it. A node ends when it is told to, or with the process.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use memring_server::config::Config;

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks in a row, a pause apart, after which something is taken not to happen.
const LOOKS_MAX: usize = 3000;

/// Free ports are looked for here; other tests with real nodes take those from 12,000 on.
const PORTS: Range<u16> = 10_000..12_000;

/// More than the tests of one process take.
const PORTS_APART: u32 = 67;

pub(crate) struct OneNode {
    pub(crate) config: Config,
    thread: JoinHandle<ExitCode>,
}

impl OneNode {
    #[allow(dead_code, reason = "each file of tests needs some of this one")]
    pub(crate) fn start(config: Config) -> Self {
        let node = Self::start_unready(config);
        until(|| node.http("GET", "/readyz").starts_with("HTTP/1.1 200"));
        node
    }

    /// One whose admin port answers, whatever it says.
    pub(crate) fn start_unready(config: Config) -> Self {
        let config = Config {
            port: free_port(),
            peer_port: free_port(),
            admin_port: free_port(),
            name: Some("n1".to_owned().try_into().expect("legal")),
            threads: config.threads.or(Some(2)),
            ..config
        };
        let told = config.clone();
        let thread = std::thread::Builder::new().spawn(move || memring_server::serve(&told)).expect("a thread");
        let node = Self { config, thread };
        while TcpStream::connect(node.admin()).is_err() {
            assert!(!node.thread.is_finished(), "the node has ended");
            pause();
        }
        node
    }

    #[allow(dead_code, reason = "each file of tests needs some of this one")]
    pub(crate) fn connect(&self) -> Client<TcpStream> {
        Client::over_tcp("127.0.0.1", self.config.port)
    }

    pub(crate) fn http(&self, method: &str, path: &str) -> String {
        self.http_with(method, path, "")
    }

    /// With more lines in its head.
    pub(crate) fn http_with(&self, method: &str, path: &str, more: &str) -> String {
        let mut stream = TcpStream::connect(self.admin()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = format!("{method} {path} HTTP/1.1\r\nHost: n1\r\nConnection: close\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// Waits for the node's end.
    #[allow(dead_code, reason = "each file of tests needs some of this one")]
    pub(crate) fn until_ended(self) {
        until(|| self.thread.is_finished());
        drop(self.thread.join());
    }

    fn admin(&self) -> (&str, u16) {
        (self.config.peer_host(), self.config.admin_port)
    }
}

pub(crate) struct Client<S>(pub(crate) S);

impl Client<TcpStream> {
    #[allow(dead_code, reason = "each file of tests needs some of this one")]
    pub(crate) fn over_tcp(host: &str, port: u16) -> Self {
        let stream = TcpStream::connect((host, port)).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("set");
        Self(stream)
    }
}

impl<S: Read + Write> Client<S> {
    /// Sends this and expects exactly that.
    #[allow(dead_code, reason = "each file of tests needs some of this one")]
    pub(crate) fn check(&mut self, request: impl AsRef<[u8]>, expected: impl AsRef<[u8]>) {
        self.0.write_all(request.as_ref()).expect("sent");
        let mut answer = vec![0; expected.as_ref().len()];
        self.0.read_exact(&mut answer).expect("an answer as long as expected");
        let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
        assert_eq!(shown(&answer), shown(expected.as_ref()), "to {}", shown(request.as_ref()));
    }

    /// Sends this.
    #[allow(dead_code, reason = "each file of tests needs some of this one")]
    pub(crate) fn send(&mut self, request: &[u8]) {
        self.0.write_all(request).expect("sent");
    }

    /// Reads up to this line.
    #[allow(dead_code, reason = "each file of tests needs some of this one")]
    pub(crate) fn until_line(&mut self, line: &str) {
        let end = format!("\r\n{line}\r\n");
        let (mut answer, mut piece) = (Vec::new(), [0; 65536]);
        while !answer.ends_with(end.as_bytes()) {
            let count = self.0.read(&mut piece).expect("more");
            assert!(count > 0, "the server has closed");
            answer.extend_from_slice(&piece[..count]);
        }
    }

    /// Sends this and returns what comes until the server closes.
    #[allow(dead_code, reason = "each file of tests needs some of this one")]
    pub(crate) fn until_closed(mut self, request: impl AsRef<[u8]>) -> String {
        self.0.write_all(request.as_ref()).expect("sent");
        let mut answer = Vec::new();
        self.0.read_to_end(&mut answer).expect("the end");
        String::from_utf8(answer).expect("text")
    }

    /// The figures that a stats command answers, as lines without `STAT`.
    #[allow(dead_code, reason = "each file of tests needs some of this one")]
    pub(crate) fn stats(&mut self, request: &str) -> Vec<String> {
        self.0.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"END\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("more");
            answer.extend(byte);
        }
        let text = String::from_utf8(answer).expect("text");
        text.lines().filter_map(|line| line.strip_prefix("STAT ").map(str::to_owned)).collect()
    }

    /// Whether nothing has come although there was time for it.
    #[allow(dead_code, reason = "each file of tests needs some of this one")]
    pub(crate) fn is_closed(&mut self) -> io::Result<bool> {
        self.0.read(&mut [0]).map(|count| count == 0)
    }
}

/// One that no other test of this process gets. It lies below those that the system gives to
/// connections, or a connection of a test beside this one could take it before the node does.
pub(crate) fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let is_free = |port: u16| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
    };
    for _ in PORTS {
        // Processes side by side begin at different ones.
        let number = TAKEN.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id().wrapping_mul(PORTS_APART));
        let port = PORTS.start + (number % u32::from(PORTS.end - PORTS.start)) as u16;
        if is_free(port) {
            return port;
        }
    }
    panic!("no free ports");
}

/// Waits for something that nobody tells of.
#[allow(dead_code, reason = "each file of tests needs some of this one")]
pub(crate) fn until(mut happened: impl FnMut() -> bool) {
    for _ in 0..LOOKS_MAX {
        if happened() {
            return;
        }
        pause();
    }
    panic!("it does not happen");
}

#[expect(clippy::disallowed_methods, reason = "waits for a real process's port")]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

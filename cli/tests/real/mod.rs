//! Real processes of the binary: a command, a node that ends with its test. Must not know what is tested.
#![allow(dead_code, reason = "every test file compiles all of it and uses a part")]

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A command of the binary, without what this process's environment would tell it.
pub(crate) fn memring(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memring"));
    command.args(arguments);
    let tells = |name: &str| ["MEMRING_", "POD_", "KUBERNETES_"].iter().any(|prefix| name.starts_with(prefix));
    for (name, _) in std::env::vars_os().filter(|(name, _)| tells(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
}

/// Exit code, standard output and standard error.
pub(crate) fn ended(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

/// How long a test waits for what takes moments.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer.
#[expect(clippy::disallowed_methods, reason = "a real process is polled, for so long and no longer")]
pub(crate) fn eventually<T>(what: &str, ask: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A process that ends with the test, however that ends.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("it starts"))
    }

    /// What Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        let sent = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status().expect("it runs");
        assert!(sent.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node that ends with the test.
pub(crate) struct Node {
    pub(crate) process: Process,
    /// Its client port.
    pub(crate) address: String,
    pub(crate) peers: String,
    pub(crate) admin: String,
    /// Open for as long as the node runs: it says a few lines more.
    _log: Lines<BufReader<ChildStderr>>,
}

impl Node {
    /// On free ports, with these arguments besides.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut serve = memring(&["serve", "--port", "0", "--peer-port", "0", "--admin-port", "0"]);
        let mut process = Process::start(serve.args(arguments).stderr(Stdio::piped()));
        let mut log = BufReader::new(process.0.stderr.take().expect("piped")).lines();
        let mut lines = log.by_ref().map(|line| line.expect("text"));
        let hello = lines.find(|line| line.contains("clients on tcp:")).expect("it listens");
        let after = |word: &str| {
            let rest = hello.split_once(word).expect("it says so").1;
            rest.split([',', ' ']).next().expect("an address").to_owned()
        };
        let (address, peers, admin) = (after("clients on tcp:"), after("peers on "), after("admin on http://"));
        Self { process, address, peers, admin, _log: log }
    }

    /// One that is alone.
    pub(crate) fn alone() -> Self {
        Self::start(&["--replicas", "1"])
    }

    /// Two that keep two copies, and both hold their share.
    pub(crate) fn pair(names: [&str; 2]) -> [Self; 2] {
        let first = Self::start(&["--replicas", "2", "--name", names[0]]);
        let second = Self::start(&["--replicas", "2", "--name", names[1], "--join", &first.peers]);
        eventually("both hold their share", || {
            (second.ask("/startupz").starts_with("HTTP/1.0 200") && first.members() == 2).then_some(())
        });
        [first, second]
    }

    /// What its admin port says.
    pub(crate) fn ask(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.admin).expect("it answers");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    }

    pub(crate) fn members(&self) -> usize {
        self.ask("/api/cluster").matches(r#""name":"#).count()
    }
}

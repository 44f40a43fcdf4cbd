//! Starts and stops the servers that are compared, and asks the kernel for their resident memory.
//!
//! Must not speak the protocol beyond asking for the version, nor know what is measured.

use std::io::{BufRead, BufReader, Error, Read, Result, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::clock::{Deadline, pause};

/// A server answers within this time of its start, or never.
const READY_TIME_MAX: Duration = Duration::from_secs(20);

/// Another program may take a port between its choice and its use: then the start is tried again, so often.
pub(crate) const STARTS_MAX: usize = 3;

/// Starts a server, tells its process id, and kills it when standard input ends: so when the driver ends, however it does.
/// Deaf to what comes to all of a terminal's processes, so that it is still there to do that.
const GUARD: &str = r#"exec 2>/dev/null; trap '' HUP INT TERM; "$@" >/dev/null 2>&1 </dev/null & echo $!; cat >/dev/null; kill -KILL $!; wait"#;

/// Which command line a binary has.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Kind {
    Memring,
    Memcached,
}

/// What a server is told beyond its ports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// MiB that it may keep.
    pub(crate) cap_mib: u64,
    pub(crate) threads: u32,
    pub(crate) connections_max: u32,
    /// The cores that it may run on, as taskset(1) takes them; nothing for wherever the kernel likes.
    pub(crate) cores: Option<&'static str>,
}

impl Settings {
    /// Two threads: as many as the cores that these comparisons are made for.
    pub(crate) fn of_cap(cap_mib: u64) -> Self {
        Self { cap_mib, threads: 2, connections_max: 1024, cores: None }
    }
}

/// A server that is compared: a column of the tables.
#[derive(Clone, Debug)]
pub(crate) struct Contestant {
    pub(crate) kind: Kind,
    /// With its version, which the binary has told.
    pub(crate) name: String,
    binary: PathBuf,
}

impl Contestant {
    /// Fails when the binary cannot be run.
    pub(crate) fn new(kind: Kind, binary: &Path) -> Result<Self> {
        let failed = |error| Error::other(format!("{}: {error}", binary.display()));
        let output = Command::new(binary).arg("--version").output().map_err(failed)?;
        let name = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned();
        if !output.status.success() || name.is_empty() {
            return Err(failed(Error::other("does not tell its version")));
        }
        Ok(Self { kind, name, binary: binary.to_owned() })
    }

    /// A fresh server, empty and ready.
    pub(crate) fn start(&self, settings: &Settings) -> Result<Server> {
        let mut last = Error::other("never started");
        for _ in 0..STARTS_MAX {
            match self.launch(settings, free_ports()?, "").and_then(Server::ready) {
                Ok(server) => return Ok(server),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// A process that may not be ready yet, with ports for clients, peers and administrators, and more options.
    pub(crate) fn launch(&self, settings: &Settings, ports: [u16; 3], more: &str) -> Result<Server> {
        let line = format!("{} {} {more}", self.binary.display(), self.command(settings, ports));
        launch(line.split_ascii_whitespace(), settings.cores, ports[0])
    }

    fn command(&self, settings: &Settings, ports: [u16; 3]) -> String {
        let Settings { cap_mib, threads, connections_max, .. } = settings;
        let [port, peers, administrators] = ports;
        match self.kind {
            Kind::Memring => format!(
                "serve -p {port} -l 127.0.0.1 -m {cap_mib} -I 1m -t {threads} -c {connections_max} \
                 --name side-{port} --peer-port {peers} --admin-port {administrators}"
            ),
            // `-u` counts only for root, whom memcached refuses without.
            Kind::Memcached => {
                format!("-p {port} -l 127.0.0.1 -m {cap_mib} -t {threads} -c {connections_max} -U 0 -u root")
            }
        }
    }
}

/// Starts a program that listens on a port.
pub(crate) fn launch<'a>(words: impl Iterator<Item = &'a str>, cores: Option<&'a str>, port: u16) -> Result<Server> {
    let words: Vec<&str> = cores.iter().flat_map(|cores| ["taskset", "-c", cores]).chain(words).collect();
    let mut guard = Command::new("sh");
    // A server's options may also come from the environment: none of ours do.
    guard.env_clear().arg("-c").arg(GUARD).arg("guard").args(&words);
    let mut guard = guard.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut pid = String::new();
    BufReader::new(guard.stdout.as_mut().expect("is piped")).read_line(&mut pid)?;
    let pid = pid.trim().parse().map_err(|_| Error::other("the server was not started"))?;
    Ok(Server { guard, pid, port, line: words.join(" ") })
}

/// A running server, killed when dropped.
pub(crate) struct Server {
    guard: Child,
    pid: u32,
    port: u16,
    /// The command that started it.
    line: String,
}

impl Server {
    /// Waits until it does what it is for.
    pub(crate) fn ready(self) -> Result<Self> {
        let deadline = Deadline::after(READY_TIME_MAX);
        while !self.is_ready() {
            if deadline.is_over() || self.resident_bytes().is_err() {
                return Err(Error::other(format!("did not start: {}", self.line)));
            }
            pause(Duration::from_millis(20));
        }
        Ok(self)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    pub(crate) fn connect(&self) -> Result<TcpStream> {
        TcpStream::connect(self.address())
    }

    /// What of it lies in memory, in bytes, as the kernel tells it (VmRSS).
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid);
        let status = std::fs::read_to_string(&path)?;
        resident_bytes_in(&status).ok_or_else(|| Error::other(format!("{path}: no VmRSS")))
    }

    /// Whether a set is done: a node that has no ring yet answers otherwise.
    fn is_ready(&self) -> bool {
        let ask = || -> Result<[u8; 8]> {
            let mut stream = self.connect()?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"set ready 0 0 1\r\n1\r\n")?;
            let mut answer = [0; 8];
            stream.read_exact(&mut answer)?;
            stream.write_all(b"delete ready noreply\r\n")?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer == *b"STORED\r\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        if let Err(error) = self.guard.wait() {
            eprintln!("side-by-side: process {} may still be running: {error}", self.pid);
        }
    }
}

fn resident_bytes_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

/// Three that nobody listens on at the moment, for clients, peers and administrators.
pub(crate) fn free_ports() -> Result<[u16; 3]> {
    Ok(free_ports_of(1)?[0])
}

/// The same for so many nodes, all of them different.
pub(crate) fn free_ports_of(nodes: usize) -> Result<Vec<[u16; 3]>> {
    let listen = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listeners: Vec<TcpListener> = (0..3 * nodes).map(listen).collect::<Result<_>>()?;
    let port = |listener: &TcpListener| Ok(listener.local_addr()?.port());
    let ports: Vec<u16> = listeners.iter().map(port).collect::<Result<_>>()?;
    Ok(ports.chunks_exact(3).map(|ports| [ports[0], ports[1], ports[2]]).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Contestant, Kind, Settings, free_ports_of, resident_bytes_in};

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(resident_bytes_in("Name:\tmemring\nVmRSS:\t    2048 kB\nThreads:\t3\n"), Some(2 << 20));
        assert_eq!(resident_bytes_in("Name:\tmemring\nState:\tZ (zombie)\n"), None);
    }

    #[test]
    fn free_ports_differ() {
        let mut ports = free_ports_of(6).expect("the machine has free ports").concat();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 18);
    }

    #[test]
    fn a_binary_that_is_not_there_is_named_in_the_error() {
        let error = Contestant::new(Kind::Memcached, Path::new("/nowhere/memcached")).expect_err("there is none");
        assert!(error.to_string().starts_with("/nowhere/memcached: "), "{error}");
    }

    #[test]
    fn a_program_that_is_no_server_is_not_taken_for_one_that_started() {
        let contestant =
            Contestant { kind: Kind::Memcached, name: "true".to_owned(), binary: Path::new("true").to_owned() };
        let error = contestant.start(&Settings::of_cap(1)).err().expect("it ended at once");
        assert!(error.to_string().contains("did not start: true -p"), "{error}");
    }
}

//! One memring process: started, killed, stopped for a while and started again, by its own process id.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::clock::wait_for;
use super::wire::Wire;

/// How long an HTTP request to a node may take.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a node that is told to stop may take.
const STOP_PATIENCE: Duration = Duration::from_secs(90);

/// A process and where it listens.
#[derive(Debug)]
pub struct Node {
    /// Its name on the ring.
    pub name: String,
    /// Where clients find it.
    pub client: SocketAddr,
    admin: SocketAddr,
    /// What it is started with, the program first.
    command: Vec<String>,
    log: PathBuf,
    process: Option<Child>,
}

impl Node {
    /// A node that is not running yet.
    pub fn new(name: String, client: SocketAddr, admin: SocketAddr, command: Vec<String>, logs: &Path) -> Self {
        let log = logs.join(format!("{name}.log"));
        Self { name, client, admin, command, log, process: None }
    }

    /// Starts it. It ends with the thread that calls this, at the latest.
    pub fn start(&mut self) -> Result<(), String> {
        let told = |error: std::io::Error| format!("{}: {error}", self.command.join(" "));
        let log = OpenOptions::new().create(true).append(true).open(&self.log).map_err(told)?;
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(told)?).stderr(log);
        self.process = Some(command.spawn().map_err(told)?);
        Ok(())
    }

    /// SIGKILL: no goodbye to anyone, and nothing kept.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // One that has ended already is what was wanted.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// SIGTERM, and waits until it has stopped: no longer than a node may wait for others, and some.
    pub fn stop(&mut self) -> Result<(), String> {
        self.signal("TERM")?;
        let stopped =
            wait_for(STOP_PATIENCE, || if self.has_died() { Ok(()) } else { Err("has not stopped".to_owned()) });
        stopped.map_err(|why| format!("{} {why}", self.name))?;
        self.process = None;
        Ok(())
    }

    /// From its next start on it runs another program.
    pub fn run_program(&mut self, from: &str, to: &str) {
        let program = self.command.iter_mut().find(|word| *word == from).expect("it runs the program that is replaced");
        to.clone_into(program);
    }

    /// SIGTERM: it stops when it may.
    pub fn tell_to_stop(&self) -> Result<(), String> {
        self.signal("TERM")
    }

    /// SIGSTOP: it does nothing until it is told to [`go on`](Self::go_on).
    pub fn freeze(&self) -> Result<(), String> {
        self.signal("STOP")
    }

    /// SIGCONT.
    pub fn go_on(&self) -> Result<(), String> {
        self.signal("CONT")
    }

    fn signal(&self, signal: &str) -> Result<(), String> {
        let id = self.process.as_ref().ok_or("is not running")?.id();
        let done = Command::new("sh").args(["-c", &format!("kill -{signal} {id}")]).status();
        if done.is_ok_and(|status| status.success()) { Ok(()) } else { Err(format!("kill -{signal} {id} failed")) }
    }

    /// Whether it runs; one that has ended by itself is an error of the run.
    pub fn has_died(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// Resident memory, in bytes; 0 if it is not running.
    pub fn resident_bytes(&self) -> u64 {
        let Some(process) = &self.process else { return 0 };
        let mut status = String::new();
        let read =
            File::open(format!("/proc/{}/status", process.id())).map(|mut file| file.read_to_string(&mut status));
        if read.is_err() {
            return 0;
        }
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    }

    /// What it answers to a GET: status and body.
    pub fn admin(&self, path: &str) -> Result<(u16, String), String> {
        let told = |error: std::io::Error| format!("{} {path}: {error}", self.name);
        let mut stream = TcpStream::connect_timeout(&self.admin, ADMIN_TIMEOUT).map_err(told)?;
        stream.set_read_timeout(Some(ADMIN_TIMEOUT)).map_err(told)?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin);
        stream.write_all(request.as_bytes()).map_err(told)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(told)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("{} {path}: no answer", self.name))?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or_else(|| format!("{} {path}: {head}", self.name))?, body.to_owned()))
    }

    /// The numbers of its `stats`.
    pub fn stats(&self) -> Result<BTreeMap<String, u64>, String> {
        let told = |error: std::io::Error| format!("{} stats: {error}", self.name);
        let lines = Wire::connect(self.client).and_then(|mut wire| wire.lines("stats")).map_err(told)?;
        let number = |line: &String| {
            let (name, value) = line.strip_prefix("STAT ")?.split_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(lines.iter().filter_map(number).collect())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

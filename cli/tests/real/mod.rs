//! Real processes of the binary: a command, a node that ends with its test. Must not know what is tested.
#![allow(dead_code, reason = "every test file compiles all of it and uses a part")]

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

/// A command of the binary, without what this process's environment would tell it.
pub(crate) fn memring(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memring"));
    command.args(arguments);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MEMRING_")) {
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

/// A node that ends with the test, however that ends.
pub(crate) struct Node {
    pub(crate) child: Child,
    /// Its client port.
    pub(crate) address: String,
    /// Open for as long as the node runs: it says a few lines more.
    _log: Lines<BufReader<ChildStderr>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    /// On free ports, with these arguments besides.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut serve = memring(&["serve", "--port", "0", "--admin-port", "0"]);
        let mut child = serve.args(arguments).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut lines = log.by_ref().map(|line| line.expect("text"));
        let hello = lines.find_map(|line| Some(line.split_once("clients on tcp:")?.1.to_owned())).expect("it listens");
        let address = hello.split(',').next().expect("one address").to_owned();
        Self { child, address, _log: log }
    }

    /// One that is alone.
    pub(crate) fn alone() -> Self {
        Self::start(&["--peer-port", "0", "--replicas", "1"])
    }
}

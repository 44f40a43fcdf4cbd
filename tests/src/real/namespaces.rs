//! Network namespaces: one for each node, and a hub with a bridge where this program and its clients are.
//!
//! Rules of nft in the nodes' own namespaces drop what nodes send each other; clients in the hub reach every node all the
//! time. Needs root, iproute2 and nftables. Names carry the number of the process that made them.

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::cluster::{ENDS_WITH_US, NODES};

/// Where the kernel's namespaces have their names.
const FOLDER: &str = "/run/netns";

/// The namespaces of one process.
#[derive(Clone, Debug)]
pub struct Namespaces {
    made_by: u32,
}

/// Removes them in the end.
#[derive(Debug)]
pub struct Owned(Namespaces);

impl Owned {
    /// Makes them, after removing those of processes that are gone.
    pub fn make() -> Result<Self, String> {
        remove_left_over();
        let made = Self(Namespaces::made_by(std::process::id()));
        made.0.build()?;
        Ok(made)
    }

    /// How a program is started in the hub, to end with this thread.
    pub fn in_hub(&self) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0.hub()]).args(ENDS_WITH_US);
        command
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.remove();
    }
}

impl Namespaces {
    /// Those that process `made_by` has made.
    pub fn made_by(made_by: u32) -> Self {
        Self { made_by }
    }

    /// The address of node number `node`.
    pub fn address(&self, node: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 78, 0, 1 + node as u8)
    }

    /// What stands before a command that is to run in a node's namespace.
    pub fn inside(&self, node: usize) -> Vec<String> {
        ["ip", "netns", "exec", &self.of(node)].map(str::to_owned).to_vec()
    }

    /// Nothing that `from` sends arrives at `to`.
    pub fn cut_one_way(&self, from: usize, to: usize) -> Result<(), String> {
        self.drop_arrivals(to, &[from], "")
    }

    /// Two nodes hear nothing of each other.
    pub fn cut(&self, one: usize, other: usize) -> Result<(), String> {
        self.cut_one_way(one, other)?;
        self.cut_one_way(other, one)
    }

    /// So many of a hundred packets between any two nodes are lost.
    pub fn lose(&self, percent: u8) -> Result<(), String> {
        for node in 0..NODES {
            let others: Vec<usize> = (0..NODES).filter(|other| *other != node).collect();
            self.drop_arrivals(node, &others, &format!("numgen random mod 100 < {percent} "))?;
        }
        Ok(())
    }

    /// Everything arrives again. Packets that were dropped since the last time.
    pub fn heal(&self) -> Result<u64, String> {
        let mut dropped = 0;
        for node in 0..NODES {
            let rules = self.nft(node, "list ruleset\n")?;
            self.nft(node, "flush ruleset\n")?;
            let counts =
                rules.split("counter packets ").skip(1).filter_map(|text| text.split(' ').next()?.parse::<u64>().ok());
            dropped += counts.sum::<u64>();
        }
        Ok(dropped)
    }

    fn drop_arrivals(&self, at: usize, from: &[usize], which: &str) -> Result<(), String> {
        let mut rules = "add table ip faults\n\
                         add chain ip faults arrivals { type filter hook input priority 0; policy accept; }\n"
            .to_owned();
        for &from in from {
            rules += &format!("add rule ip faults arrivals ip saddr {} {which}counter drop\n", self.address(from));
        }
        self.nft(at, &rules).map(|_| ())
    }

    /// What nft says to some commands.
    fn nft(&self, node: usize, commands: &str) -> Result<String, String> {
        let told = |error: std::io::Error| format!("nft: {error}");
        let words = self.inside(node);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["nft", "-f", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(told)?;
        // Dropped at once: nft waits for the end.
        process.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(commands.as_bytes())).map_err(told)?;
        let done = process.wait_with_output().map_err(told)?;
        if done.status.success() {
            return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
        }
        Err(format!("nft: {}", String::from_utf8_lossy(&done.stderr)))
    }

    fn hub(&self) -> String {
        format!("memring-{}-hub", self.made_by)
    }

    fn of(&self, node: usize) -> String {
        format!("memring-{}-n{}", self.made_by, node + 1)
    }

    fn build(&self) -> Result<(), String> {
        let hub = self.hub();
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &hub, "address", "add", "10.78.0.254/24", "dev", "bridge"])?;
        for link in ["lo", "bridge"] {
            ip(&["-n", &hub, "link", "set", link, "up"])?;
        }
        for node in 0..NODES {
            let (namespace, plug) = (self.of(node), format!("plug{node}"));
            ip(&["netns", "add", &namespace])?;
            ip(&["-n", &hub, "link", "add", &plug, "type", "veth", "peer", "name", "cable", "netns", &namespace])?;
            ip(&["-n", &hub, "link", "set", &plug, "master", "bridge", "up"])?;
            ip(&["-n", &namespace, "address", "add", &format!("{}/24", self.address(node)), "dev", "cable"])?;
            for link in ["lo", "cable"] {
                ip(&["-n", &namespace, "link", "set", link, "up"])?;
            }
        }
        Ok(())
    }

    fn remove(&self) {
        let names = (0..NODES).map(|node| self.of(node)).chain([self.hub()]);
        for name in names.filter(|name| Path::new(FOLDER).join(name).exists()) {
            if let Err(why) = ip(&["netns", "delete", &name]) {
                eprintln!("faults: {why}");
            }
        }
    }
}

/// What a killed run could not remove.
fn remove_left_over() {
    let Ok(names) = std::fs::read_dir(FOLDER) else { return };
    for name in names.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let parts: Vec<&str> = name.split('-').collect();
        let ["memring", process, "hub" | "n1" | "n2" | "n3"] = parts[..] else { continue };
        if process.parse::<u32>().is_ok() && !Path::new("/proc").join(process).exists() {
            // Another run may be removing it at the same time.
            let _ = ip(&["netns", "delete", &name]);
        }
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    let done = Command::new("ip").args(words).output().map_err(|error| format!("ip: {error}"))?;
    let why = String::from_utf8_lossy(&done.stderr);
    if done.status.success() { Ok(()) } else { Err(format!("ip {}: {}", words.join(" "), why.trim())) }
}

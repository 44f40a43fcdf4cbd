//! The same loads driven by mc-crusher, a generator of memcached's own people, to see that two generators tell the same.
//!
//! It reports nothing and checks no reply: operations are the bytes that it has read, over the length of a reply. Must not know
//! how a table is laid out, but for the one that compares the generators.

use std::fmt::Write as _;
use std::io::{Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::clock::{Stopwatch, pause};
use crate::report::Table;
use crate::speed::compared::{Row, Seen, tell};
use crate::speed::processes::{bytes_read, cpu_seconds};
use crate::speed::rounds::{Plan, Sample, Samples, median, ratio};
use crate::speed::targets::Target;
use crate::speed::workloads::{self, Batch, Dialect, Items, LARGE, Workload};

/// Before the warm-up: mc-crusher makes its keys first.
const STARTING: Duration = Duration::from_millis(200);

/// Sets sent at once when its keys are filled in.
const FILLING_PIPELINE: u32 = 100;

const STORED: &[u8] = b"STORED\r\n";

/// Measures those rows that mc-crusher can drive: one key a request, of values that fit into its buffers.
pub(crate) fn measured(plan: &Plan, binary: &Path, targets: &[Target], rows: &[Row]) -> Result<Vec<Seen>> {
    let mut filled: Vec<Items> = Vec::new();
    let mut all = Vec::new();
    for row in rows.iter().filter(|row| can_drive(&row.workload)) {
        if !filled.contains(&row.workload.items) {
            targets.iter().try_for_each(|target| fill(target.addresses[0], row.workload.items))?;
            filled.push(row.workload.items);
        }
        let mut columns = vec![Samples::new(); targets.len()];
        for _ in 0..plan.rounds {
            for (target, samples) in targets.iter().zip(&mut columns) {
                let failed = |error| Error::other(format!("{}, {}, mc-crusher: {error}", row.name, target.name));
                samples.push(measure(plan, binary, target, &row.workload).map_err(failed)?);
            }
        }
        let seen = Seen { name: row.name.clone(), generator: "mc-crusher", bar: row.bar, columns };
        tell(&seen);
        all.push(seen);
    }
    Ok(all)
}

/// Our ratios beside its ratios, for the rows that both have driven.
pub(crate) fn side_by_side(own: &[Seen], driven: &[Seen]) -> Option<String> {
    let header =
        ["load", "own: CPU ratio", "mc-crusher: CPU ratio", "own: yardstick kops/s", "mc-crusher: yardstick kops/s"];
    let mut table = Table::new(header.map(str::to_owned).to_vec());
    for theirs in driven {
        let Some(ours) = own.iter().find(|ours| ours.name == theirs.name) else { continue };
        let cpu = |seen: &Seen| format!("{:.2}", ratio(&seen.columns[0], &seen.columns[1], Sample::micros_each).median);
        let kops = |seen: &Seen| format!("{:.1}", median(seen.columns[1].iter().map(Sample::kops)));
        table.row(vec![theirs.name.clone(), cpu(ours), cpu(theirs), kops(ours), kops(theirs)]);
    }
    (!driven.is_empty()).then(|| table.to_string())
}

fn can_drive(workload: &Workload) -> bool {
    let is_single = matches!(workload.batch, Batch::Pipeline(_));
    is_single && workload.dialect == Dialect::Classic && workload.items != LARGE
}

/// Its keys end in a number without leading zeros, and it has room for 29 bytes of a key.
fn key_prefix(items: Items) -> String {
    format!("mc-crusher:{:012}:", items.value_bytes)
}

/// One connection's settings a line, as its README has them.
fn configuration(workload: &Workload, address: SocketAddr) -> String {
    let Items { count, value_bytes, .. } = workload.items;
    let (prefix, connections) = (key_prefix(workload.items), workload.connections);
    let pipeline = workload.batch.keys();
    let (sender, is_prepared) = if is_set(workload) { ("ascii_set", 0) } else { ("ascii_get", 1) };
    let mut line = format!("send={sender},recv=blind_read,conns={connections},host={},", address.ip());
    let _ = write!(line, "port={},key_prefix={prefix},key_count={count},", address.port());
    let _ = write!(line, "key_prealloc={is_prepared},key_randomize={is_prepared},pipelines={pipeline}");
    if is_set(workload) {
        let _ = write!(line, ",value_size={value_bytes}");
    }
    line + "\n"
}

fn is_set(workload: &Workload) -> bool {
    workload.command == workloads::Command::Set
}

/// Bytes of a reply, as the mean over all keys: each is asked for as often as the other.
fn reply_bytes(workload: &Workload) -> f64 {
    let Items { count, value_bytes, .. } = workload.items;
    if is_set(workload) {
        return STORED.len() as f64;
    }
    let digits: usize = (0..count).map(|key| key.to_string().len()).sum();
    let fixed = format!("VALUE {} 0 {value_bytes}\r\n\r\nEND\r\n", key_prefix(workload.items)).len() + value_bytes;
    fixed as f64 + digits as f64 / f64::from(count)
}

fn fill(address: SocketAddr, items: Items) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let value = vec![b'v'; items.value_bytes];
    let keys: Vec<u32> = (0..items.count).collect();
    for keys in keys.chunks(FILLING_PIPELINE as usize) {
        let mut request = Vec::new();
        for key in keys {
            let prefix = key_prefix(items);
            request.extend_from_slice(format!("set {prefix}{key} 0 0 {}\r\n", items.value_bytes).as_bytes());
            request.extend_from_slice(&value);
            request.extend_from_slice(b"\r\n");
        }
        stream.write_all(&request)?;
        let mut replies = vec![0; keys.len() * STORED.len()];
        stream.read_exact(&mut replies)?;
        if replies.chunks(STORED.len()).any(|reply| reply != STORED) {
            return Err(Error::other(format!("unexpected reply: {}", replies.escape_ascii())));
        }
    }
    Ok(())
}

/// mc-crusher at work, ended when dropped, with the file that tells it what to do.
struct Crusher {
    child: Child,
    file: PathBuf,
}

impl Drop for Crusher {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait()).map(|_| ());
        if let Err(error) = ended.and_then(|()| std::fs::remove_file(&self.file)) {
            eprintln!("side-by-side: mc-crusher, process {}: {error}", self.child.id());
        }
    }
}

fn measure(plan: &Plan, binary: &Path, target: &Target, workload: &Workload) -> Result<Sample> {
    let file = std::env::temp_dir().join(format!("side-by-side-{}.crusher", std::process::id()));
    std::fs::write(&file, configuration(workload, target.addresses[0]))?;
    let mut command = Command::new(binary);
    command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let crusher = Crusher { child: command.spawn()?, file };
    pause(STARTING + plan.warm_up);
    let (watch, pid) = (Stopwatch::start(), crusher.child.id());
    let used = || Ok::<_, Error>((cpu_seconds(&target.pids)?, cpu_seconds(&[pid])?));
    let ((before, generator_before), read_before) = (used()?, bytes_read(pid)?);
    pause(plan.measuring);
    let (after, generator_after) = used()?;
    let bytes = bytes_read(pid)? - read_before;
    let seconds = watch.seconds();
    let operations = (bytes as f64 / reply_bytes(workload)) as u64;
    if operations == 0 {
        return Err(Error::other("read nothing"));
    }
    let generator_seconds = generator_after - generator_before;
    Ok(Sample { operations, seconds, cpu_seconds: after - before, generator_seconds })
}

#[cfg(test)]
mod tests {
    use super::{configuration, reply_bytes};
    use crate::speed::workloads::{GET_1K, GET_PIPELINE, Items, SET_1K, Workload};

    #[test]
    fn a_configuration_names_connections_keys_and_pipeline() {
        let address = "127.0.0.1:7".parse().expect("an address");
        let gets = "send=ascii_get,recv=blind_read,conns=16,host=127.0.0.1,port=7,key_prefix=mc-crusher:000000000100:,\
            key_count=100000,key_prealloc=1,key_randomize=1,pipelines=32\n";
        assert_eq!(configuration(&GET_PIPELINE, address), gets);
        assert!(configuration(&SET_1K, address).ends_with("pipelines=1,value_size=1024\n"));
    }

    #[test]
    fn a_reply_is_as_long_as_its_keys_are_on_average() {
        let items = Items { first: 0, count: 20, value_bytes: 1024 };
        // Ten keys of one digit and ten of two: 25.5 bytes of a key.
        let line = "VALUE ".len() as f64 + 25.5 + " 0 1024\r\n".len() as f64;
        assert_eq!(reply_bytes(&Workload { items, ..GET_1K }), line + 1024.0 + "\r\nEND\r\n".len() as f64);
        assert_eq!(reply_bytes(&SET_1K), 8.0);
    }
}

//! What the kernel knows of processes: the processor time they have used. And where they may run.
//!
//! Must not know what they do.

use std::io::{Error, ErrorKind, Result};
use std::process::{Command, Stdio};

/// The unit of /proc/PID/stat: USER_HZ, 100 on every Linux of today.
const TICK_SECONDS: f64 = 0.01;

/// Processor time that all of these have used, user's and kernel's, in seconds. Of threads that ended it may lack some.
pub(crate) fn cpu_seconds(pids: &[u32]) -> Result<f64> {
    pids.iter().map(|pid| cpu_seconds_of(*pid)).sum()
}

/// By the scheduler's own count, to the nanosecond, where it keeps one; else in ticks.
fn cpu_seconds_of(pid: u32) -> Result<f64> {
    match nanoseconds_by_threads(pid) {
        Ok(nanoseconds) if nanoseconds > 0 => Ok(nanoseconds as f64 / 1e9),
        _ => {
            let path = format!("/proc/{pid}/stat");
            let ticks =
                ticks_in(&std::fs::read_to_string(&path)?).ok_or_else(|| Error::other(format!("{path}: odd")))?;
            Ok(ticks as f64 * TICK_SECONDS)
        }
    }
}

fn nanoseconds_by_threads(pid: u32) -> Result<u64> {
    let mut total = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        match std::fs::read_to_string(thread?.path().join("schedstat")) {
            Ok(line) => total += on_cpu_in(&line).ok_or_else(|| Error::other("an odd schedstat"))?,
            // A thread that has just ended.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}

/// The first of schedstat's three figures: nanoseconds on a processor.
fn on_cpu_in(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().next()?.parse().ok()
}

/// utime and stime, fields 14 and 15; the name, field 2, may hold anything.
fn ticks_in(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// Bytes that a process has read, from files and sockets alike.
pub(crate) fn bytes_read(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/io");
    read_in(&std::fs::read_to_string(&path)?).ok_or_else(|| Error::other(format!("{path}: no rchar")))
}

fn read_in(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("rchar:"))?.trim().parse().ok()
}

/// Keeps this thread, and what it starts, on these cores from now on.
pub(crate) fn stay_on(cores: &str) -> Result<()> {
    let pid = std::process::id().to_string();
    let failed = |error| Error::other(format!("taskset: {error}"));
    let status = Command::new("taskset").args(["-cp", cores, &pid]).stdout(Stdio::null()).status().map_err(failed)?;
    if status.success() { Ok(()) } else { Err(Error::other(format!("taskset: cannot stay on core {cores}"))) }
}

#[cfg(test)]
mod tests {
    use super::{cpu_seconds, on_cpu_in, read_in, ticks_in};

    #[test]
    fn processor_time_is_read_from_both_files() {
        assert_eq!(on_cpu_in("1234567 45187 12\n"), Some(1_234_567));
        assert_eq!(on_cpu_in(""), None);
        let stat = "71 (odd) name) S 1 71 71 0 -1 4194560 1 0 0 0 250 50 7 7 20 0 3 0 99";
        assert_eq!(ticks_in(stat), Some(300));
        assert_eq!(ticks_in("71 (x) S 1"), None);
    }

    #[test]
    fn bytes_read_are_found_among_the_figures_of_io() {
        assert_eq!(read_in("rchar: 4096\nwchar: 7\n"), Some(4096));
        assert_eq!(read_in("wchar: 7\n"), None);
    }

    #[test]
    fn this_process_has_used_some_time_and_one_that_is_not_there_is_an_error() {
        let before = cpu_seconds(&[std::process::id()]).expect("it runs");
        let mut sum = 0u64;
        while cpu_seconds(&[std::process::id()]).expect("it runs") < before + 0.02 {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(cpu_seconds(&[u32::MAX]).is_err());
    }
}

//! What the system says about this process.
//!
//! Read from /proc, since the calls for it need unsafe code; where there is no /proc the answers are zero or unknown.
//! Must not know who wants to know.

/// Processor time used so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct CpuTime {
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
}

/// Clock ticks of /proc/self/stat in a second: 100 on every Linux that Rust runs on (USER_HZ).
const TICKS_PER_S: u64 = 100;

/// Processor time of all threads.
pub(crate) fn cpu_time() -> CpuTime {
    std::fs::read_to_string("/proc/self/stat").ok().and_then(|stat| parse_cpu_time(&stat)).unwrap_or_default()
}

/// Bytes of memory that the process has in use; 0 where that is not told.
pub(crate) fn resident_bytes() -> u64 {
    std::fs::read_to_string("/proc/self/status").ok().and_then(|status| parse_resident(&status)).unwrap_or(0)
}

/// proc(5): in units of 1024 bytes, which it calls kB.
fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// How many files this process may have open.
pub(crate) fn open_files_max() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Open files that are not clients': peers' links, listeners, files of hints, and what the runtimes keep open. Of fewer files
/// than twice as many, half.
const OTHER_FILES: u64 = 256;

/// How many of `wanted` connections there may be, if so many files may be open: the other nodes need some too, and a node
/// that cannot reach them is worse than one that turns a client away.
pub(crate) fn connections_that_fit(wanted: usize, open_files_max: Option<u64>) -> usize {
    let room = open_files_max.map_or(u64::MAX, |files| files - OTHER_FILES.min(files / 2));
    usize::try_from(room).map_or(wanted, |room| wanted.min(room.max(1)))
}

/// The host's name.
pub(crate) fn host_name() -> Option<String> {
    let name =
        ["/proc/sys/kernel/hostname", "/etc/hostname"].iter().find_map(|path| std::fs::read_to_string(path).ok())?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// proc(5): utime and stime are fields 14 and 15; the command in field 2 may hold spaces and parentheses.
fn parse_cpu_time(stat: &str) -> Option<CpuTime> {
    let behind_command = stat.rsplit_once(')')?.1;
    let mut fields = behind_command.split_whitespace().skip(11);
    let mut next_us = || fields.next()?.parse::<u64>().ok()?.checked_mul(1_000_000 / TICKS_PER_S);
    Some(CpuTime { user_us: next_us()?, system_us: next_us()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_files_for_other_nodes() {
        for (wanted, files, fit) in [
            (16_384, None, 16_384),
            (16_384, Some(1 << 20), 16_384),
            (16_384, Some(16_640), 16_384),
            (16_384, Some(1024), 768),
            (100, Some(1024), 100),
            (16_384, Some(64), 32),
            (16_384, Some(0), 1),
        ] {
            assert_eq!(connections_that_fit(wanted, files), fit, "{wanted} with {files:?} files");
        }
    }

    #[test]
    fn memory_in_use_is_told_in_kilobytes() {
        assert_eq!(parse_resident("Name:\tx\nVmRSS:\t   1234 kB\nThreads:\t2\n"), Some(1_263_616));
        assert_eq!(parse_resident("Name:\tx\n"), None);
    }

    #[test]
    fn processor_time_stands_behind_any_command() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 100 1000 10";
        assert_eq!(parse_cpu_time(stat), Some(CpuTime { user_us: 2_500_000, system_us: 500_000 }));
        assert_eq!(parse_cpu_time("42 (memring) S"), None);
    }
}

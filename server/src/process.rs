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

/// How many files this process may have open.
pub(crate) fn open_files_max() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
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
    fn processor_time_stands_behind_any_command() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 100 1000 10";
        assert_eq!(parse_cpu_time(stat), Some(CpuTime { user_us: 2_500_000, system_us: 500_000 }));
        assert_eq!(parse_cpu_time("42 (memring) S"), None);
    }
}

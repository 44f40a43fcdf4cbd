//! How much memory the process's control group lets it have (Linux), and what of the memory limit fits into that.
//!
//! A process that takes more than its group's limit is killed, and loses all it holds; so a limit that cannot be kept is
//! made smaller, with a warning. Must not know what the memory is for. Version 2 of control groups as in the kernel's
//! `admin-guide/cgroup-v2.rst`, `memory.max`; version 1 as in `admin-guide/cgroup-v1/memory.rst`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Config;

const MIB: u64 = 1 << 20;

/// What a node takes besides items and hints: 15 MB when idle, and 4 KB for each of some thousand connections.
const BASE_BYTES: u64 = 32 * MIB;

/// Items of so many bytes take a twentieth more of resident memory.
const RESIDENT_PART: u64 = 20;

/// Hints take no more than this part of a limit that is too small for all.
const HINTS_PART: u64 = 8;

/// Version 1 tells no limit by a number near the largest there is.
const UNLIMITED_ABOVE: u64 = 1 << 60;

/// The configuration with a memory limit that fits into the control group's; `None` if it does.
pub(crate) fn fit(config: &Config) -> Option<Config> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let limit = least_limit(Path::new("/sys/fs/cgroup"), &own)?;
    let (memory, hints) = fitting(config.memory_limit_bytes as u64, config.hint_memory_bytes as u64, limit)?;
    tracing::warn!(
        "memory-limit {} MB and hint-memory {} MB do not fit into the {} MB of the control group: going on with {} and {} MB",
        config.memory_limit_bytes as u64 / MIB,
        config.hint_memory_bytes as u64 / MIB,
        limit / MIB,
        memory / MIB,
        hints / MIB,
    );
    let (memory, hints) = (memory as usize, hints as usize);
    let item_bytes_max = config.item_bytes_max.min(memory / 2);
    if item_bytes_max < config.item_bytes_max {
        tracing::warn!(
            "max-item-size {} is more than half of that: going on with {item_bytes_max}",
            config.item_bytes_max
        );
    }
    Some(Config { memory_limit_bytes: memory, hint_memory_bytes: hints, item_bytes_max, ..config.clone() })
}

/// Memory for items and for hints that a process under `limit` can keep; `None` if it can keep these.
fn fitting(memory: u64, hints: u64, limit: u64) -> Option<(u64, u64)> {
    if memory.saturating_add(memory / RESIDENT_PART).saturating_add(hints).saturating_add(BASE_BYTES) <= limit {
        return None;
    }
    let hints = hints.min(limit / HINTS_PART);
    let room = limit.saturating_sub(hints).saturating_sub(BASE_BYTES);
    let fits = room / (RESIDENT_PART + 1) * RESIDENT_PART / MIB * MIB;
    Some((memory.min(fits.max(MIB)), hints))
}

/// The least limit of the process's group and the groups around it; `own` is what /proc/self/cgroup says.
fn least_limit(root: &Path, own: &str) -> Option<u64> {
    own.lines().filter_map(|line| limit_of(root, line)).min()
}

/// A line is `number:controllers:path`; version 2's has number 0 and no controllers.
fn limit_of(root: &Path, line: &str) -> Option<u64> {
    let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
    let (root, file) = if controllers.is_empty() {
        (root.to_owned(), "memory.max")
    } else if controllers.split(',').any(|controller| controller == "memory") {
        (root.join("memory"), "memory.limit_in_bytes")
    } else {
        return None;
    };
    // Within a container the path may be that of the host, of which only the end, or nothing, is mounted here.
    let own: PathBuf = root.join(path.trim_start_matches('/'));
    let around = own.ancestors().take_while(|group| group.starts_with(&root));
    around.filter_map(|group| read_limit(&group.join(file))).min()
}

fn read_limit(file: &Path) -> Option<u64> {
    let limit: u64 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    (limit < UNLIMITED_ABOVE).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let file = root.join(file);
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        fs::write(file, text).expect("written");
    }

    #[test]
    fn the_least_limit_around_the_process_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let own = "4:cpu,memory:/pods/one\n3:pids:/\n0::/pods/one\n";
        assert_eq!(least_limit(root, own), None, "nothing is mounted");
        write(root, "pods/one/memory.max", "max\n");
        assert_eq!(least_limit(root, own), None, "no limit");
        write(root, "pods/memory.max", "1000\n");
        assert_eq!(least_limit(root, own), Some(1000));
        write(root, "pods/one/memory.max", "900\n");
        assert_eq!(least_limit(root, own), Some(900));
        write(root, "memory/pods/one/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(least_limit(root, own), Some(900), "version 1's way to say that there is none");
        write(root, "memory/memory.limit_in_bytes", "800\n");
        assert_eq!(least_limit(root, own), Some(800), "a container sees its own group at the top");
        write(root, "memory.max", "rubbish\n");
        assert_eq!(least_limit(root, "0::/elsewhere\nrubbish\n"), None);
    }

    #[test]
    fn what_does_not_fit_is_made_smaller() {
        assert_eq!(fitting(64 * MIB, 64 * MIB, 200 * MIB), None);
        assert_eq!(fitting(1024 * MIB, 64 * MIB, 1024 * MIB), Some((883 * MIB, 64 * MIB)));
        assert_eq!(fitting(64 * MIB, 64 * MIB, 128 * MIB), Some((64 * MIB, 16 * MIB)), "hints make way first");
        assert_eq!(fitting(u64::MAX, u64::MAX, 64 * MIB), Some((22 * MIB, 8 * MIB)));
        assert_eq!(fitting(8192 * MIB, 0, 0), Some((MIB, 0)));
    }
}

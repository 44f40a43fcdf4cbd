//! The file that holds the process id while the node serves.
//!
//! Must not know who reads it.

use std::io;
use std::path::{Path, PathBuf};

/// Removes the file when it is dropped.
pub(crate) struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes it whole or not at all: whoever waits for it may read it at any time.
    pub(crate) fn write(path: &Path) -> io::Result<Self> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".tmp");
        std::fs::write(&unfinished, format!("{}\n", std::process::id()))?;
        std::fs::rename(&unfinished, path)?;
        Ok(Self { path: path.to_owned() })
    }

    /// As in memcached, a node that cannot write it serves all the same.
    pub(crate) fn write_or_warn(path: &Path) -> Option<Self> {
        match Self::write(path) {
            Ok(written) => Some(written),
            Err(error) => {
                tracing::warn!("-P {}: {error}", path.display());
                None
            }
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!("-P {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_the_process_id_and_goes_with_the_node() {
        let folder = std::env::temp_dir().join(format!("memring-pid-file-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("memcached.pid");
        std::fs::write(&path, "left by another").expect("can be written");
        let written = PidFile::write(&path).expect("can be written");
        let text = std::fs::read_to_string(&path).expect("is there");
        assert_eq!(text, format!("{}\n", std::process::id()));
        drop(written);
        assert!(PidFile::write_or_warn(&folder.join("nowhere/memcached.pid")).is_none());
        // Fails unless it is empty.
        std::fs::remove_dir(&folder).expect("nothing was left behind");
    }
}

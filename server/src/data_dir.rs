//! The folder for what outlives a process, and that it is one process's only.
//!
//! Must not know what is kept there.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The file whose lock stands for the folder. It stays when the process ends; its lock does not.
const LOCK: &str = "lock";

/// A folder that this process alone uses, for as long as this lives.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Locked.
    _lock: File,
}

impl DataDir {
    /// Makes the folder if need be, and tries whether files can be made in it.
    pub(crate) fn check(path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)?;
        lock_file(path).map(drop)
    }

    /// Takes the folder, which another process must not have.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::check(path)?;
        let lock = lock_file(path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(io::Error::other("another process uses it")),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A folder of this name in it, made if need be.
    pub(crate) fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let folder = self.path.join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_and_is_one_process_s_until_it_ends() {
        let top = tempfile::tempdir().expect("a folder");
        let path = top.path().join("a/b");
        let first = DataDir::open(&path).expect("can be made");
        assert!(first.folder("hints").expect("can be made").is_dir());
        assert_eq!(DataDir::open(&path).expect_err("taken").to_string(), "another process uses it");
        DataDir::check(&path).expect("that it is taken does not make it a bad one");
        drop(first);
        DataDir::open(&path).expect("free again");
    }

    #[test]
    fn a_file_is_no_folder() {
        let top = tempfile::tempdir().expect("a folder");
        let path = top.path().join("file");
        std::fs::write(&path, "text").expect("can be written");
        assert!(DataDir::check(&path).is_err() && DataDir::open(&path.join("below")).is_err());
    }
}

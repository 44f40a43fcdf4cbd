//! The files of hints: performs what the engine asks of its disk, on a thread of its own, so that nothing else waits for one.
//!
//! What waits here is bounded by the engine: one write and one read a target, and as many removals as there are segments.
//! Nothing is forced out of the system's cache: what a process has written outlives it, and what a machine loses with its
//! power is looked for by comparing. Must not know what is in a segment, beyond that `scan` tells it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use memring_engine::cluster::hints::{DiskAnswer, DiskCall, SEGMENT_BYTES_MAX, SegmentError, SegmentId, scan};
use memring_engine::node::{Control, Shared};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::control::ControlLoop;
use crate::data_dir::DataDir;
use crate::threads;

/// What the folder of segments is called.
const FOLDER: &str = "hints";

/// The most that a planned stop waits for the disk to take the hints that are in memory.
const SAVE_WAIT: Duration = Duration::from_secs(10);

/// How often it is looked whether it has.
const SAVE_POLL: Duration = Duration::from_millis(5);

/// Where the control thread leaves its calls.
pub(crate) struct HintDisk {
    calls: mpsc::Sender<DiskCall>,
}

impl HintDisk {
    /// Starts the thread, which ends when this is dropped and everything asked for is done. Nobody waits for that: a disk may
    /// hang.
    pub(crate) fn start(dir: &DataDir) -> io::Result<(Self, UnboundedReceiver<DiskAnswer>)> {
        let (calls, asked) = mpsc::channel();
        let (answers, told) = unbounded_channel();
        let files = Files { folder: dir.folder(FOLDER)?, is_listed: false, is_failing: false };
        threads::spawn("hint-disk".to_owned(), move || serve(files, &asked, &answers))?;
        Ok((Self { calls }, told))
    }

    pub(crate) fn call(&self, call: DiskCall) {
        if self.calls.send(call).is_err() {
            tracing::error!("the thread of the disk for hints has ended");
        }
    }
}

fn serve(mut files: Files, asked: &mpsc::Receiver<DiskCall>, answers: &UnboundedSender<DiskAnswer>) {
    while let Ok(call) = asked.recv() {
        if answers.send(files.perform(call)).is_err() {
            return;
        }
    }
}

/// Hands answers to the engine for ever.
pub(crate) async fn receive_answers(thread: Rc<ControlLoop>, mut told: UnboundedReceiver<DiskAnswer>) {
    while let Some(answer) = told.recv().await {
        thread.call(|control, now, fx| control.on_hint_disk(now, answer, fx));
    }
}

/// Has the engine write all hints down, for the process ends.
pub(crate) async fn save(thread: &Rc<ControlLoop>, shared: &Shared) {
    thread.call(Control::save_hints);
    let saved = async {
        while shared.has_unsaved_hints() {
            tokio::time::sleep(SAVE_POLL).await;
        }
    };
    if tokio::time::timeout(SAVE_WAIT, saved).await.is_err() {
        tracing::warn!("not all hints could be written within {SAVE_WAIT:?}");
    }
}

struct Files {
    folder: PathBuf,
    /// Whether it is known which segments there are: what is written before might be appended to one of another life.
    is_listed: bool,
    /// Whether the last write failed: a disk that stays full is told of once.
    is_failing: bool,
}

impl Files {
    fn perform(&mut self, call: DiskCall) -> DiskAnswer {
        match call {
            DiskCall::List => {
                let segments = told(&self.folder, list(&self.folder));
                self.is_listed = segments.is_some();
                DiskAnswer::Listed(segments.unwrap_or_default())
            }
            DiskCall::Scan(id) => {
                let bytes = told(&self.path(id), read_all(&self.path(id)));
                DiskAnswer::Scanned(id, bytes.ok_or(SegmentError::Unreadable).and_then(|bytes| scan(&bytes)))
            }
            DiskCall::Append(id, bytes) => {
                let written = match self.is_listed {
                    true => append(&self.path(id), &bytes),
                    false => Err(io::Error::other("the folder could not be listed")),
                };
                match &written {
                    Err(error) if !self.is_failing => {
                        tracing::warn!(
                            "{}: {error}: hints are dropped until it can be written",
                            self.path(id).display()
                        );
                    }
                    Ok(()) if self.is_failing => tracing::info!("hints can be written again"),
                    _ => {}
                }
                self.is_failing = written.is_err();
                DiskAnswer::Appended(id, written.is_ok())
            }
            DiskCall::Read(id, from, length) => {
                DiskAnswer::Read(id, told(&self.path(id), read(&self.path(id), from, length)))
            }
            DiskCall::Remove(id) => DiskAnswer::Removed(id, told(&self.path(id), remove(&self.path(id))).is_some()),
        }
    }

    fn path(&self, id: SegmentId) -> PathBuf {
        self.folder.join(id.file_name())
    }
}

/// What is wrong with a file is said here; the engine is told only that something is.
fn told<T>(path: &Path, outcome: io::Result<T>) -> Option<T> {
    outcome.map_err(|error| tracing::warn!("{}: {error}", path.display())).ok()
}

fn list(folder: &Path) -> io::Result<Vec<(SegmentId, u64)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let id = entry.file_name().to_str().and_then(SegmentId::of_file_name);
        if let Some(id) = id {
            found.push((id, entry.metadata()?.len()));
        }
    }
    Ok(found)
}

/// At most as much as a segment has: a larger file is none, and is cut.
fn read_all(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SEGMENT_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// All of it, or, if the disk lets it, nothing.
fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let before = file.metadata()?.len();
    file.write_all(bytes).inspect_err(|_| {
        let _ = file.set_len(before);
    })
}

fn read(path: &Path, from: u64, length: usize) -> io::Result<Bytes> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::with_capacity(length);
    file.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use memring_engine::cluster::hints::Header;
    use memring_protocol::entry::UnixMillis;
    use memring_protocol::ring::{NodeName, RingId};

    use super::*;

    #[test]
    fn calls_are_performed_on_files() {
        let top = tempfile::tempdir().expect("a folder");
        let mut files = Files { folder: top.path().to_owned(), is_listed: false, is_failing: false };
        let (id, none) = (SegmentId(7), SegmentId(8));
        let target = NodeName::new("n2").expect("a legal name");
        let header = Header { ring: RingId(1), target, made: UnixMillis(5) }.to_bytes();
        std::fs::write(top.path().join("something else"), "text").expect("can be written");
        let early = files.perform(DiskCall::Append(id, Bytes::from_static(b"x")));
        assert_eq!(early, DiskAnswer::Appended(id, false), "nobody knows yet whether there is one of this number");
        let mut ask = |call| files.perform(call);
        assert_eq!(ask(DiskCall::List), DiskAnswer::Listed(Vec::new()));
        assert_eq!(ask(DiskCall::Append(id, header[..10].to_vec().into())), DiskAnswer::Appended(id, true));
        assert_eq!(ask(DiskCall::Scan(id)), DiskAnswer::Scanned(id, Err(SegmentError::Cut)));
        assert_eq!(ask(DiskCall::Append(id, header[10..].to_vec().into())), DiskAnswer::Appended(id, true));
        assert_eq!(ask(DiskCall::List), DiskAnswer::Listed(vec![(id, header.len() as u64)]));
        let DiskAnswer::Scanned(_, Ok(found)) = ask(DiskCall::Scan(id)) else { panic!("a whole one") };
        assert_eq!((found.hints, found.file_bytes), (0, header.len() as u64));
        let part = Bytes::copy_from_slice(&header[3..9]);
        assert_eq!(ask(DiskCall::Read(id, 3, 6)), DiskAnswer::Read(id, Some(part)));
        assert_eq!(ask(DiskCall::Read(none, 0, 6)), DiskAnswer::Read(none, None));
        assert_eq!(ask(DiskCall::Scan(none)), DiskAnswer::Scanned(none, Err(SegmentError::Unreadable)));
        for id in [id, none] {
            assert_eq!(ask(DiskCall::Remove(id)), DiskAnswer::Removed(id, true));
        }
        assert_eq!(ask(DiskCall::List), DiskAnswer::Listed(Vec::new()));
        std::fs::remove_dir_all(top.path()).expect("can be removed");
        assert_eq!(files.perform(DiskCall::Append(id, Bytes::from_static(b"x"))), DiskAnswer::Appended(id, false));
    }
}

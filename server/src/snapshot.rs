//! The file in which the only member of a ring keeps its items while its process does not run.
//!
//! Written when the node is told to stop, the most read items first, for as long as a stop may wait; read when it starts,
//! and gone before it serves: what a node that crashes has kept is never served later. Left aside, with a line that says so,
//! is a file that is older than a node is expected back (`--remove-after`), of another version, or of a node that joins
//! others: they have answered meanwhile. A chunk that is torn or changed, and all behind it, is left out.
//!
//! ```text
//! "memring snapshot" 16 bytes, version u32, cluster u64, written at u64 (unix milliseconds); all numbers little-endian
//! chunks: length u32, crc32 u32 of the frame, a frame: the reply to a fetch, as it goes between nodes
//! ```
//!
//! Must not know entries, nor when it is the time.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use memring_engine::node::{Shared, SnapshotCursor};
use memring_protocol::entry::UnixMillis;
use memring_protocol::frame::{self, HEADER_BYTES, cluster_hash};
use memring_protocol::limits::FRAME_BYTES_MAX;
use memring_protocol::message::{FetchReply, Message, Reply, RequestId};

use crate::clock::Clock;

const MAGIC: [u8; 16] = *b"memring snapshot";

/// Raised whenever what follows would be read otherwise.
const VERSION: u32 = 1;

const HEAD_BYTES: usize = 36;

/// The file's name in the data directory …
const NAME: &str = "items.snapshot";

/// … and while it is written.
const UNFINISHED: &str = "items.snapshot.tmp";

/// How often a long read or write says how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(2);

/// Why a file is left aside.
#[derive(Debug, thiserror::Error)]
enum Aside {
    #[error("{0}")]
    File(#[from] io::Error),
    #[error("it is no snapshot of items")]
    Stranger,
    #[error("it is of version {0}, this node reads {VERSION}")]
    Version(u32),
    #[error("it is of another cluster")]
    Cluster,
    #[error("it was written {} s ago, and this node was expected back after {} s", .0.as_secs(), .1.as_secs())]
    Old(Duration, Duration),
    #[error("it is from the future: one of the clocks was wrong")]
    Future,
    #[error("this node joins others, which have answered meanwhile")]
    Joins,
}

/// Writes what the node holds, for at most `time_max`; nothing if it is not the only member of its ring.
pub(crate) fn write(dir: &Path, shared: &Shared, clock: Clock, time_max: Duration) {
    if !shared.is_only_member() {
        return;
    }
    match write_file(dir, shared, clock, time_max) {
        Ok((items, bytes)) => tracing::info!("{items} items are kept in {} ({bytes} bytes)", dir.join(NAME).display()),
        Err(error) => {
            tracing::error!("items are not kept: {}: {error}", dir.join(UNFINISHED).display());
            // What is there of it is of no use.
            let _ = std::fs::remove_file(dir.join(UNFINISHED));
        }
    }
}

fn write_file(dir: &Path, shared: &Shared, clock: Clock, time_max: Duration) -> io::Result<(usize, u64)> {
    let path = dir.join(UNFINISHED);
    let mut file = BufWriter::new(File::create(&path)?);
    let (begun, now) = (clock.now().mono, clock.now().cluster);
    file.write_all(&MAGIC)?;
    file.write_all(&VERSION.to_le_bytes())?;
    file.write_all(&cluster_hash(&shared.settings().cluster).to_le_bytes())?;
    file.write_all(&now.0.to_le_bytes())?;
    let (mut items, mut bytes, mut told) = (0, HEAD_BYTES as u64, begun);
    let (mut cursor, mut frame) = (Some(SnapshotCursor::default()), BytesMut::new());
    while let Some(from) = cursor {
        let (page, next) = shared.snapshot_page(clock.now().cluster, from);
        cursor = next;
        if !page.entries.is_empty() {
            items += page.entries.len();
            frame.clear();
            let message = Message::Reply(RequestId(0), Reply::Fetch(page));
            frame::encode(&message, &mut frame).map_err(io::Error::other)?;
            file.write_all(&(frame.len() as u32).to_le_bytes())?;
            file.write_all(&crc32fast::hash(&frame).to_le_bytes())?;
            file.write_all(&frame)?;
            bytes += 8 + frame.len() as u64;
        }
        let mono = clock.now().mono;
        if mono.since(told) > TOLD_EVERY {
            told = mono;
            tracing::info!("keeping items: {items} so far");
        }
        if mono.since(begun) > time_max {
            tracing::warn!("not all items are kept: there is no more time ({time_max:?})");
            break;
        }
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    std::fs::rename(path, dir.join(NAME))?;
    Ok((items, bytes))
}

/// Takes back what a former life has kept, if it may; and removes the file in any case.
pub(crate) fn read(dir: &Path, shared: &Shared, clock: Clock) {
    let path = dir.join(NAME);
    // What a stop that was cut short has left, as large as a whole one; mostly there is none.
    let _ = std::fs::remove_file(dir.join(UNFINISHED));
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return tracing::error!("{}: {error}", path.display()),
    };
    if let Err(error) = std::fs::remove_file(&path) {
        // It would be read again after a crash, when it is older than what was served.
        return tracing::error!("{} is left aside: it cannot be removed: {error}", path.display());
    }
    if let Err(why) = read_file(&path, file, shared, clock) {
        tracing::warn!("{} is left aside: {why}", path.display());
    }
}

fn read_file(path: &Path, file: File, shared: &Shared, clock: Clock) -> Result<(), Aside> {
    let mut file = BufReader::new(file);
    let mut head = [0; HEAD_BYTES];
    file.read_exact(&mut head)?;
    let now = clock.now().cluster;
    check_head(&head, shared, now)?;
    let (begun, mut told) = (clock.now().mono, clock.now().mono);
    let mut items = 0;
    loop {
        match next_page(&mut file) {
            Ok(Some(page)) => items += shared.restore(now, page),
            Ok(None) => break,
            Err(why) => {
                tracing::warn!("{}: the rest is left out: {why}", path.display());
                break;
            }
        }
        let mono = clock.now().mono;
        if mono.since(told) > TOLD_EVERY {
            told = mono;
            tracing::info!("taking items back: {items} so far");
        }
    }
    let took = clock.now().mono.since(begun);
    tracing::info!("{items} items are back after {} ms", took.as_millis());
    Ok(())
}

fn check_head(head: &[u8; HEAD_BYTES], shared: &Shared, now: UnixMillis) -> Result<(), Aside> {
    let number = |from: usize| u64::from_le_bytes(std::array::from_fn(|at| head[from + at]));
    if head[..16] != MAGIC {
        return Err(Aside::Stranger);
    }
    let version = number(16) as u32;
    if version != VERSION {
        return Err(Aside::Version(version));
    }
    if number(20) != cluster_hash(&shared.settings().cluster) {
        return Err(Aside::Cluster);
    }
    if shared.settings().joining {
        return Err(Aside::Joins);
    }
    let age = now.0.checked_sub(number(28)).ok_or(Aside::Future)?;
    let age = Duration::from_millis(age);
    match shared.settings().remove_after {
        Some(remove_after) if age > remove_after => Err(Aside::Old(age, remove_after)),
        _ => Ok(()),
    }
}

/// The next chunk; `None` at the end of the file.
fn next_page(file: &mut impl Read) -> Result<Option<FetchReply>, String> {
    let told = |error: io::Error| format!("it ends too early: {error}");
    let mut first = [0; 1];
    if file.read(&mut first).map_err(told)? == 0 {
        return Ok(None);
    }
    let mut fields = [first[0], 0, 0, 0, 0, 0, 0, 0];
    file.read_exact(&mut fields[1..]).map_err(told)?;
    let number = |from: usize| u32::from_le_bytes(std::array::from_fn(|at| fields[from + at]));
    let (length, crc) = (number(0) as usize, number(4));
    if length > HEADER_BYTES + FRAME_BYTES_MAX {
        return Err(format!("a chunk of {length} bytes"));
    }
    let mut frame = BytesMut::zeroed(length);
    file.read_exact(&mut frame).map_err(told)?;
    if crc32fast::hash(&frame) != crc {
        return Err("a chunk is not as it was written".to_owned());
    }
    match frame::decode(&mut frame) {
        Ok(Some(Message::Reply(_, Reply::Fetch(page)))) if frame.is_empty() => Ok(Some(page)),
        Ok(_) => Err("a chunk holds something else".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

//! Segments of hints: whatever a file holds is looked through, and what is believed of it could have been written.
//!
//! Must not know what becomes of hints.
#![no_main]

use libfuzzer_sys::fuzz_target;
use memring_engine::cluster::hints::{Front, Header, read_record, scan, write_record};
use memring_protocol::entry::UnixMillis;
use memring_protocol::ring::{NodeName, RingId};

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // Once more behind a true header, so that most inputs reach the records.
    let target = NodeName::new("n1").expect("a legal name");
    let mut segment = Header { ring: RingId(1), target, made: UnixMillis(1) }.to_bytes();
    segment.extend_from_slice(bytes);
    check(&segment);
});

fn check(bytes: &[u8]) {
    let Ok(found) = scan(bytes) else { return };
    let mut written = found.header.to_bytes();
    assert_eq!(written.len() as u64, found.begins);
    let mut rest = &bytes[written.len()..];
    let mut hints = 0;
    while let Front::Hint(key, version, length) = read_record(rest) {
        assert!(found.partitions.contains(key.partition()), "a hint of a partition that was not told");
        write_record(&key, version, &mut written);
        rest = &rest[length..];
        hints += 1;
    }
    assert_eq!((hints, written.len() as u64), (found.hints, found.ends));
    assert_eq!(written, bytes[..written.len()], "what was read is not what is written");
    assert_eq!(found.file_bytes, bytes.len() as u64);
    assert_eq!(found.changed, matches!(read_record(rest), Front::Changed));
}

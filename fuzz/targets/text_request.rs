//! Requests from a client: every step keeps its promises, pieces change nothing, and a command comes back when it is
//! written again.
//!
//! Must not know what commands do.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use memring_protocol::key::KEY_BYTES_MAX;
use memring_protocol::text::{
    Command, Keys, LineScanner, LoginStep, MetaCode, MetaFacts, MetaKey, MetaRequest, Step, TextLimits,
    encode_arithmetic, encode_delete, encode_flush_all, encode_flush_over, encode_get, encode_get_and_touch,
    encode_quit, encode_stats, encode_store, encode_touch, encode_verbosity, encode_version, is_sendable_key,
    is_sendable_line, meta_line, parse, parse_login,
};

/// Small, so that short inputs reach them.
const LIMITS: TextLimits = TextLimits { item_bytes_max: 300, get_line_bytes_max: 20 * 1024 };

fuzz_target!(|bytes: &[u8]| {
    check_logins(bytes);
    let mut rest = bytes;
    loop {
        let step = parse(rest, &LIMITS);
        check_pieces(rest, &step);
        let taken = match &step {
            Step::Incomplete { needed } => {
                assert!(*needed > rest.len(), "enough, yet incomplete");
                assert!(*needed <= rest.len() + LIMITS.item_bytes_max + 2, "waits for more than an item");
                return;
            }
            Step::Close => return,
            Step::Command { consumed, command } => {
                assert_eq!(parse(&rest[..*consumed], &LIMITS), step, "later bytes changed a command");
                check_command(command);
                *consumed
            }
            Step::Reject { consumed, swallow, .. } => consumed.saturating_add(*swallow),
            Step::TooLarge { consumed, swallow, key, .. } => {
                check_meta_key(*key);
                // A key in base64 counts as it was sent: more than it is stored with.
                assert!(KEY_BYTES_MAX + *swallow - 2 > LIMITS.item_bytes_max, "refused below the limit");
                assert!(rest[*consumed - 1] == b'\n', "a value was buffered to be refused");
                consumed.saturating_add(*swallow)
            }
        };
        assert!(taken > 0, "no progress");
        let Some(next) = rest.get(taken..) else { return };
        rest = next;
    }
});

/// The same bytes from a client that has to log in first.
fn check_logins(bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        let step = parse_login(rest);
        let consumed = match step {
            LoginStep::Incomplete { needed } => {
                assert!(needed > rest.len(), "enough, yet incomplete");
                assert!(needed <= rest.len() + 16_384 + 2, "waits for more than a login");
                return;
            }
            LoginStep::Close => return,
            LoginStep::Refused { consumed, .. } | LoginStep::Attempt { consumed, .. } => consumed,
        };
        assert!(consumed > 0, "no progress");
        assert_eq!(parse_login(&rest[..consumed]), step, "later bytes changed a login");
        rest = &rest[consumed..];
    }
}

/// A scanner that saw a part first comes to the same end.
fn check_pieces(bytes: &[u8], step: &Step<'_>) {
    let split = bytes.first().map_or(0, |&byte| usize::from(byte) * bytes.len() / 256);
    let mut scanner = LineScanner::default();
    if matches!(scanner.parse(&bytes[..split], &LIMITS), Step::Incomplete { .. }) {
        assert_eq!(&scanner.parse(bytes, &LIMITS), step, "pieces changed a step");
    }
}

fn check_command(command: &Command<'_>) {
    check_keys(command);
    let mut bytes = BytesMut::new();
    if !put_command(command, &mut bytes) {
        return;
    }
    let again = parse(&bytes, &LIMITS);
    assert_eq!(again, Step::Command { consumed: bytes.len(), command: command.clone() });
}

fn check_keys(command: &Command<'_>) {
    let check = |key: &[u8]| {
        assert!((1..=KEY_BYTES_MAX).contains(&key.len()), "a key of {} bytes", key.len());
        assert!(!key.contains(&b' ') && !key.contains(&b'\n'), "a key of two words");
    };
    match command {
        Command::Get { keys, .. } | Command::GetAndTouch { keys, .. } => {
            assert!(keys.count() > 0 && keys.iter().count() == keys.count());
            keys.iter().for_each(check);
        }
        Command::Store { key, value, .. } => {
            check(key);
            assert!(key.len() + value.len() <= LIMITS.item_bytes_max, "an item over the limit");
        }
        Command::Arithmetic { key, .. } | Command::Touch { key, .. } | Command::Delete { key, .. } => check(key),
        Command::MetaGet(request) | Command::MetaDelete(request) | Command::MetaArithmetic { request, .. } => {
            check_meta(request);
        }
        Command::MetaSet { request, value, .. } => {
            check_meta(request);
            assert!(value.len() < LIMITS.item_bytes_max, "an item over the limit");
        }
        Command::MetaDebug { key } => check_meta_key(*key),
        Command::FlushAll { .. }
        | Command::FlushOver { .. }
        | Command::Version
        | Command::MetaNoop
        | Command::Accepted { .. }
        | Command::MemoryLimit { .. }
        | Command::Crawler(_)
        | Command::Watch(_)
        | Command::Shutdown { .. }
        | Command::ConfigGetCluster
        | Command::ConfigGetRing
        | Command::Stats { .. }
        | Command::Quit => {}
    }
}

/// The key is one, and the answer is one line, whatever the flags.
fn check_meta(request: &MetaRequest<'_>) {
    check_meta_key(request.key());
    let key = request.key().to_key();
    let facts = MetaFacts {
        key: key.as_bytes(),
        size: Some(1),
        ttl: Some(-1),
        ttl_touched: Some(1),
        token: request.token().or(Some(1)),
        flags: Some(request.flags()),
        idle: Some(1),
        fetched: Some(true),
        lost: true,
        ..MetaFacts::default()
    };
    let line = meta_line(MetaCode::Value(1), &request.echo(), &facts);
    assert!(line.ends_with(b" Z\r\n"), "{}", line.escape_ascii());
    // A key in base64 may hold any byte, and is shown in base64 for it.
    assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1, "{}", line.escape_ascii());
}

fn check_meta_key(key: MetaKey<'_>) {
    let mut scratch = [0; KEY_BYTES_MAX];
    let stored = key.bytes(&mut scratch);
    assert!((1..=KEY_BYTES_MAX).contains(&stored.len()), "a key of {} bytes", stored.len());
    assert!(key.is_base64() || !stored.contains(&b' ') && !stored.contains(&b'\n'), "a key of two words");
}

/// Writes the command as a client would; false if a client would refuse to.
fn put_command(command: &Command<'_>, out: &mut BytesMut) -> bool {
    let all = |keys: &Keys<'_>| keys.iter().all(is_sendable_key);
    match *command {
        Command::Get { ref keys, with_cas } if all(keys) => encode_get(keys.iter(), with_cas, out),
        Command::GetAndTouch { exptime, ref keys, with_cas } if all(keys) => {
            encode_get_and_touch(exptime, keys.iter(), with_cas, out);
        }
        Command::Store { verb, key, flags, exptime, value, quiet } if is_sendable_key(key) => {
            encode_store(verb, key, flags, exptime, value, quiet, out);
        }
        Command::Arithmetic { direction, key, delta, quiet } if is_sendable_key(key) => {
            encode_arithmetic(direction, key, delta, quiet, out);
        }
        Command::Touch { key, exptime, quiet } if is_sendable_key(key) => encode_touch(key, exptime, quiet, out),
        Command::Delete { key, quiet } if is_sendable_key(key) => encode_delete(key, quiet, out),
        Command::FlushAll { exptime, quiet } => encode_flush_all(exptime, quiet, out),
        Command::FlushOver { seconds, quiet } => encode_flush_over(seconds, quiet, out),
        Command::Version => encode_version(out),
        Command::Accepted { quiet } => encode_verbosity(1, quiet, out),
        Command::Stats { arguments } if is_sendable_line(arguments) => encode_stats(arguments, out),
        Command::Quit => encode_quit(out),
        _ => return false,
    }
    true
}

//! The grammar as tables: bytes a client sends, and what a server is told, section by section of the protocol.
//!
//! Each stream is given whole and byte by byte, except where memcached itself answers by how the bytes arrive. Must not
//! know what a command does: stores and replies are tested elsewhere.

mod text_stream;

use memring_protocol::text::{Command, Direction, ErrorReply, LineScanner, Step, TextLimits, awaited_block, parse};
use text_stream::Feed;

/// `-I 10k`, so that a value over the limit fits in a test.
const LIMITS: TextLimits = TextLimits { item_bytes_max: 10 * 1024, get_line_bytes_max: 8 * 1024 * 1024 };

const BAD_LINE: &str = "CLIENT_ERROR bad command line format";

/// What `sent` says, however it is cut.
#[track_caller]
fn check(sent: impl AsRef<[u8]>, expected: &[&str]) {
    let sent = sent.as_ref();
    check_together(sent, expected);
    let pieces = Feed::of(LIMITS, sent.chunks(1));
    assert_eq!(pieces.seen.lines().collect::<Vec<_>>(), expected, "byte by byte: {}", shown(sent));
}

/// What `sent` says when it arrives in one piece.
#[track_caller]
fn check_together(sent: impl AsRef<[u8]>, expected: &[&str]) {
    let whole = Feed::of(LIMITS, [sent.as_ref()]);
    assert_eq!(whole.seen.lines().collect::<Vec<_>>(), expected, "whole: {}", shown(sent.as_ref()));
}

fn shown(sent: &[u8]) -> String {
    sent[..sent.len().min(200)].escape_ascii().to_string()
}

fn key_of(len: usize) -> String {
    "k".repeat(len)
}

#[test]
fn a_line_ends_at_lf_and_its_words_are_parted_by_spaces_only() {
    check("get k\r\n", &["get k"]);
    check("get k\n", &["get k"]);
    check("get   a  b \r\n", &["get a b"]);
    check("get k\r\r\n", &["get k\\r"]);
    check("get a\tb \x0bc\x01\r\n", &["get a\\tb \\x0bc\\x01"]);
    check("get a\0b\r\n", &["get a\\x00b"]);
    check("get\tk\r\n", &["ERROR"]);
    check("GET k\r\n", &["ERROR"]);
    check("Get k\r\n", &["ERROR"]);
    check("version\0\r\n", &["ERROR"]);
    check(b"\x80\x00\x00\x01\n", &["ERROR"]);
    check("delete  k  \r\ntouch k  5\r\n", &["delete k", "touch k 5"]);
}

#[test]
fn leading_spaces_make_the_name_empty() {
    check(" get k\r\n", &["ERROR"]);
    check("  \r\n", &["ERROR"]);
    check("   \n", &["ERROR"]);
    check(" foo noreply\r\n", &["ERROR (quiet)"]);
    check(format!("{}get {}\r\n", " ".repeat(100), key_of(3000)), &["ERROR"]);
}

#[test]
fn a_line_of_fewer_than_four_bytes_is_refused_whatever_it_says() {
    for sent in ["\r\n", "\n", " \n", "a\r\n", "mn\n", "  \n", "a\n"] {
        check(sent, &[BAD_LINE]);
    }
    check("ab\r\n", &["ERROR"]);
    check("mn\r\n", &["mn"]);
    check("abc\n", &["ERROR"]);
}

#[test]
fn a_line_without_end_closes_after_2048_bytes_unless_it_is_a_get() {
    let long = key_of(2048);
    check(format!("x{long}"), &["close"]);
    check(&long, &[]);
    check(format!("incr {}", key_of(2043)), &[]);
    check(format!("incr {}", key_of(2044)), &["close"]);
    check(format!("gat 0 {long}"), &["close"]);
    check(format!("gats 0 {long}"), &["close"]);
    check(format!("mg {long}"), &["close"]);
    check(format!("getx{long}"), &["close"]);
    check(format!("get\t{long}"), &["close"]);
    check(format!("get {long}"), &[]);
    check(format!("gets {long}"), &[]);
    check(format!("{}get {long}", " ".repeat(100)), &[]);
    check(format!("{}get {long}", " ".repeat(101)), &["close"]);
    check(" ".repeat(2049), &["close"]);
}

#[test]
fn a_long_line_that_came_with_its_end_is_read() {
    check_together(format!("incr {} 1\r\nversion\r\n", key_of(3000)), &[BAD_LINE, "version"]);
    check_together(format!("foo {}\r\nversion\r\n", key_of(16_000)), &["ERROR", "version"]);
    check_together(format!("foo {}\r\nversion\r\n", key_of(20_000)), &["close"]);
    let line = format!("gat 0{}\r\n", " k".repeat(3000));
    check_together(&line, &[&format!("gat 0{}", " k".repeat(3000))]);
}

#[test]
fn a_get_line_grows_up_to_its_limit() {
    let words = " key_of_a_chunk".repeat(18_000);
    check_together(format!("get{words}\r\n"), &[&format!("get{words}")]);
    let feed = Feed::of(LIMITS, format!("gets{words}\r\n").as_bytes().chunks(1000));
    assert_eq!(feed.seen, format!("gets{words}\n"));

    let limits = TextLimits { get_line_bytes_max: 20_000, ..LIMITS };
    for (bytes, expected) in [(20_000, false), (20_001, true)] {
        let line = format!("get{}\n", " k".repeat(bytes))[..bytes - 1].to_owned() + "\n";
        for pieces in [line.len(), 4096] {
            let feed = Feed::of(limits, line.as_bytes().chunks(pieces));
            assert_eq!(feed.seen == "close\n", expected, "{bytes} in pieces of {pieces}");
        }
    }
    assert_eq!(Feed::of(limits, [format!("get {}", key_of(20_000)).as_bytes()]).seen, "close\n");
}

#[test]
fn a_long_line_in_small_pieces_is_scanned_once() {
    // 8 MiB in pieces of 4 KiB: scanned afresh for each piece this would be 8 GiB of looking for its end.
    let line = format!("get{}\r\n", " k".repeat(4 * 1024 * 1024 - 4));
    let mut scanner = LineScanner::default();
    for end in (4096..line.len()).step_by(4096) {
        let step = scanner.parse(&line.as_bytes()[..end], &LIMITS);
        assert_eq!(step, Step::Incomplete { needed: end + 1 });
    }
    let Step::Command { consumed, command: Command::Get { keys, .. } } = scanner.parse(line.as_bytes(), &LIMITS) else {
        panic!("a whole line is a command");
    };
    assert_eq!((consumed, keys.count()), (line.len(), 4 * 1024 * 1024 - 4));
}

#[test]
fn http_is_closed_without_a_word() {
    check("GET / HTTP/1.1\r\nHost: a\r\n", &["close"]);
    check("POST /x HTTP/1.0\n", &["close"]);
    check("foo HTTP/\r\n", &["close"]);
    check("HTTP/1.1\r\n", &["ERROR"]);
    check("GET / http/1.1\r\n", &["ERROR"]);
    check("get / HTTP/1.1\r\n", &["get / HTTP/1.1"]);
}

#[test]
fn unknown_commands_answer_error_and_keep_the_connection() {
    for name in ["foo", "mq k", "mgx k", "debugtime", "debugitem k", "misbehave", "refresh_certs"] {
        check(format!("{name}\r\nversion\r\n"), &["ERROR", "version"]);
    }
    check("foo noreply\r\nfoo noreply x\r\n", &["ERROR (quiet)", "ERROR"]);
    check("noreply\r\n noreply \r\n", &["ERROR (quiet)", "ERROR (quiet)"]);
}

#[test]
fn reads_take_any_number_of_keys_and_no_noreply() {
    check("get a b a\r\ngets a\r\n", &["get a b a", "gets a"]);
    check("get noreply\r\nget k noreply\r\n", &["get noreply", "get k noreply"]);
    check("gat 10 a b\r\ngats -1 a\r\n", &["gat 10 a b", "gats -1 a"]);
    check("gat 0 noreply\r\n", &["gat 0 noreply"]);
    for sent in ["get", "get ", "gets", "gat", "gat 0", "gats 0 ", "gat soon"] {
        check(format!("{sent}\r\nversion\r\n"), &[BAD_LINE, "version"]);
    }
    check("gat soon k\r\n", &["CLIENT_ERROR invalid exptime argument"]);
}

#[test]
fn a_key_has_250_bytes_at_most() {
    let (longest, too_long) = (key_of(250), key_of(251));
    check(format!("get {longest}\r\n"), &[&format!("get {longest}")]);
    check(format!("set {longest} 0 0 1\r\nx\r\n"), &[&format!("set {longest} 0 0 'x'")]);
    for sent in ["get {}", "gets a {} b", "gat 0 a {}", "delete {}", "incr {} 1", "decr {} x", "touch {} 0"] {
        check(format!("{}\r\nversion\r\n", sent.replace("{}", &too_long)), &[BAD_LINE, "version"]);
    }
    for verb in ["set", "add", "replace", "append", "prepend", "cas"] {
        check(format!("{verb} {too_long} 0 0 4 1\r\nquit\r\nversion\r\n"), &[BAD_LINE, "version"]);
    }
    check(format!("delete {too_long} noreply\r\n"), &["CLIENT_ERROR bad command line format (quiet)"]);
}

#[test]
fn storage_commands_carry_their_data() {
    check("set k 5 10 3\r\nabc\r\n", &["set k 5 10 'abc'"]);
    check("add k 5 10 0\r\n\r\n", &["add k 5 10 ''"]);
    check("replace k 0 -1 3 noreply\r\nabc\r\n", &["replace k 0 -1 'abc' (quiet)"]);
    check("append k 0 0 2\n\r\n\r\n", &["append k 0 0 '\\r\\n'"]);
    check("prepend k 0 0 5\r\nget a\r\n", &["prepend k 0 0 'get a'"]);
    check("cas k 1 2 1 3\r\nx\r\n", &["cas k 1 2 'x' if 3"]);
    check("cas k 1 2 1 0 noreply\r\nx\r\n", &["cas k 1 2 'x' if 0 (quiet)"]);
    check("cas k 0 0 1 18446744073709551615\r\nx\r\n", &["cas k 0 0 'x' if 18446744073709551615"]);
    check("set k 0 0 01 more words\r\nx\r\n", &["set k 0 0 'x'"]);
    check("set k 0 0 1 more noreply\r\nx\r\n", &["set k 0 0 'x' (quiet)"]);
    check("set noreply 0 0 1\r\nx\r\n", &["set noreply 0 0 'x'"]);
    check("set k 0 0 1 noreply more\r\nx\r\n", &["set k 0 0 'x'"]);
}

#[test]
fn numbers_of_a_storage_line_are_read_as_memcached_reads_them() {
    check("set k +5 +6 1\r\nx\r\n", &["set k 5 6 'x'"]);
    check("set k 4294967295 0 1\r\nx\r\n", &["set k 4294967295 0 'x'"]);
    check("set k 4294967301 0 1\r\nx\r\n", &["set k 5 0 'x'"]);
    check("set k 18446744073709551615 0 1\r\nx\r\n", &["set k 4294967295 0 'x'"]);
    check("set k 0 2147483647 1\r\nx\r\n", &["set k 0 2147483647 'x'"]);
    check("set k 0 2147483648 1\r\nx\r\n", &["set k 0 -2147483648 'x'"]);
    check("set k 0 -2147483649 1\r\nx\r\n", &["set k 0 2147483647 'x'"]);
    check("set k 0 4294967396 1\r\nx\r\n", &["set k 0 100 'x'"]);
    check("set k -18446744073709551615 -0 -\r\n\r\n", &["set k 1 0 ''"]);
}

#[test]
fn a_bad_storage_line_takes_its_data_along_when_the_length_is_readable() {
    for line in [
        "set k abc 0 4",
        "set k 0 abc 4",
        "set k 0x10 0 4",
        "set k 12abc 0 4",
        "set k -1 0 4",
        "set k 18446744073709551616 0 4",
        "set k 0 9223372036854775808 4",
        "append k x 0 4",
        "cas k 0 0 4",
        "cas k 0 0 4 x",
        "cas k 0 0 4 18446744073709551616",
    ] {
        check(format!("{line}\r\nquit\r\nversion\r\n"), &[BAD_LINE, "version"]);
    }
    let quiet = "CLIENT_ERROR bad command line format (quiet)";
    check("set k x 0 4 noreply\r\nquit\r\nversion\r\n", &[quiet, "version"]);
    check("cas k 0 0 4 noreply\r\nquit\r\nversion\r\n", &[quiet, "version"]);
}

#[test]
fn a_storage_line_without_a_readable_length_leaves_the_data_to_be_read_as_commands() {
    for line in [
        "set",
        "set k",
        "set k 0",
        "set k 0 0",
        "set k 0 0 -1",
        "set k 0 0 +4",
        "set k 0 0 4x",
        "set k 0 0 0x4",
        "set k 0 0 2147483646",
        "set k 0 0 4294967300",
        "cas k 0 0",
        "cas",
    ] {
        check(format!("{line}\r\nversion\r\n"), &[BAD_LINE, "version"]);
    }
    check("set k 0 0 noreply\r\nversion\r\n", &[BAD_LINE, "version"]);
    check("set k 0 0 4x noreply\r\nversion\r\n", &[BAD_LINE, "version"]);
}

#[test]
fn a_bad_data_chunk_takes_its_length_and_two_bytes() {
    let bad = "CLIENT_ERROR bad data chunk";
    check("set k 0 0 3\r\nabcde\r\nversion\r\n", &[bad, BAD_LINE, "version"]);
    check("set k 0 0 3\r\nabcdefgh\r\nversion\r\n", &[bad, "ERROR", "version"]);
    check("set k 0 0 5\r\nabc\r\nversion\r\n", &[bad, "ERROR"]);
    check("set k 0 0 3\nabc\nversion\r\n", &[bad, "ERROR"]);
    check("set k 0 0 3 noreply\r\nabcxxversion\r\n", &["CLIENT_ERROR bad data chunk (quiet)", "version"]);
    check("set k 0 0 0\r\nversion\r\n", &[bad, "ERROR"]);
}

#[test]
fn a_value_over_the_limit_is_refused_before_it_arrives() {
    let value = "x".repeat(10 * 1024);
    check(format!("set k 0 0 {}\r\n{value}\r\nversion\r\n", 10_240), &["too large: k removed", "version"]);
    check(format!("set k 0 0 {}\r\n{}\r\n", 10_239, &value[1..]), &[&format!("set k 0 0 '{}'", &value[1..])]);
    for verb in ["add", "replace", "append", "prepend"] {
        check(format!("{verb} k 0 0 10240\r\n{value}\r\nversion\r\n"), &["too large: k kept", "version"]);
    }
    check(format!("cas k 0 0 10240 7 noreply\r\n{value}\r\nversion\r\n"), &["too large: k kept (quiet)", "version"]);
    check(format!("set k x 0 10240\r\n{value}\r\nversion\r\n"), &[BAD_LINE, "version"]);
    check("set k 0 0 2147483645\r\n", &["too large: k removed"]);

    let line = b"cas key 0 0 2000000000 9\r\n";
    let step = parse(line, &LIMITS);
    let swallow = 2_000_000_002;
    let Step::TooLarge { consumed, swallow: announced, key, removes: false, quiet: false } = step else {
        panic!("{step:?}");
    };
    assert_eq!((consumed, announced, key.to_key().as_bytes()), (line.len(), swallow, &b"key"[..]));
}

#[test]
fn an_unfinished_data_block_says_how_much_is_missing() {
    let line = b"set k 0 0 1000\r\nabc";
    assert_eq!(parse(line, &LIMITS), Step::Incomplete { needed: 16 + 1000 + 2 });
    assert_eq!(parse(b"", &LIMITS), Step::Incomplete { needed: 1 });
    assert_eq!(parse(b"set k", &LIMITS), Step::Incomplete { needed: 6 });
}

#[test]
fn a_data_block_that_is_waited_for_says_whose_it_is() {
    for (buffer, expected) in [
        (&b"set k 0 0 1000\r\nabc"[..], Some((16, 1002, "k", true, false))),
        (b"add k 0 0 9 noreply\n", Some((20, 11, "k", false, true))),
        (b"ms Zm9v 9 b T9 ME q\r\n", Some((21, 11, "foo", true, false))),
        (b"set k 0 0 1000", None),
        (b"set k 0 0 x\r\n", None),
        (b"get k\r\n", None),
        (b"", None),
    ] {
        let block = awaited_block(buffer);
        let told = block.as_ref().map(|block| {
            assert_eq!(block.value_len() + 2, block.swallow);
            let key = String::from_utf8(block.key.to_key().as_bytes().to_vec()).expect("text");
            (block.consumed, block.swallow, key, block.removes, block.quiet)
        });
        let expected = expected.map(|(line, rest, key, removes, quiet)| (line, rest, key.to_owned(), removes, quiet));
        assert_eq!(told, expected, "{}", buffer.escape_ascii());
    }
}

#[test]
fn arithmetic_takes_a_64_bit_delta() {
    let bad = "CLIENT_ERROR invalid numeric delta argument";
    check("incr k 5\r\ndecr k 18446744073709551615 noreply\r\n", &["incr k 5", "decr k 18446744073709551615 (quiet)"]);
    check("incr noreply 1\r\n", &["incr noreply 1"]);
    for delta in ["-1", "abc", "18446744073709551616", "1.5", "0x1"] {
        check(format!("incr k {delta}\r\ndecr k {delta} noreply\r\n"), &[bad, &format!("{bad} (quiet)")]);
    }
    check("incr k noreply\r\n", &["CLIENT_ERROR invalid numeric delta argument (quiet)"]);
    check("incr\r\nincr k\r\ndecr k \r\n", &[BAD_LINE, BAD_LINE, BAD_LINE]);
    check("incr noreply\r\ntouch noreply\r\n", &[BAD_LINE, BAD_LINE]);
}

#[test]
fn touch_takes_an_exptime() {
    let bad = "CLIENT_ERROR invalid exptime argument";
    check("touch k 0\r\ntouch k -1 noreply\r\n", &["touch k 0", "touch k -1 (quiet)"]);
    check("touch k abc\r\ntouch k 1x noreply\r\n", &[bad, &format!("{bad} (quiet)")]);
    check("touch k 2147483648\r\ntouch k +5\r\ntouch k -\r\n", &[bad, bad, "touch k 0"]);
    check("touch\r\ntouch k\r\n", &[BAD_LINE, BAD_LINE]);
}

#[test]
fn delete_takes_a_zero_and_a_noreply_but_not_five_words() {
    let usage = "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]";
    check("delete k\r\ndelete k 0\r\n", &["delete k", "delete k"]);
    check("delete k noreply\r\ndelete k 0 noreply\r\n", &["delete k (quiet)", "delete k (quiet)"]);
    check("delete k 5\r\n", &["delete k"]);
    check("delete noreply\r\ndelete noreply 0\r\n", &["delete noreply (quiet)", "delete noreply"]);
    check("delete\r\n", &[BAD_LINE]);
    check("delete k 0 0 0\r\ndelete a b c d e\r\nversion\r\n", &[usage, usage, "version"]);
    check("delete k 0 0 noreply\r\n", &[&format!("{usage} (quiet)")]);
}

#[test]
fn flush_over_takes_seconds_up_to_a_week() {
    let bad = "CLIENT_ERROR bad command line format";
    check("flush_over 1\r\nflush_over 604800 noreply\r\n", &["flush_over 1", "flush_over 604800 (quiet)"]);
    check("flush_over\r\nflush_over 0\r\nflush_over 604801\r\nflush_over -1\r\n", &[bad; 4]);
    check("flush_over 10m\r\nflush_over noreply\r\n", &[bad, &format!("{bad} (quiet)")]);
}

#[test]
fn flush_all_takes_a_moment_and_ignores_the_rest() {
    let bad = "CLIENT_ERROR invalid exptime argument";
    check("flush_all\r\nflush_all noreply\r\n", &["flush_all", "flush_all (quiet)"]);
    check("flush_all 0\r\nflush_all 10 noreply\r\n", &["flush_all 0", "flush_all 10 (quiet)"]);
    check("flush_all -5\r\nflush_all 5 6 7\r\n", &["flush_all -5", "flush_all 5"]);
    check("flush_all abc\r\nflush_all abc noreply\r\n", &[bad, &format!("{bad} (quiet)")]);
}

#[test]
fn the_rest_of_the_commands() {
    check("version\r\nversion noreply\r\n", &["version", "version"]);
    check("verbosity 1\r\nverbosity 1 noreply\r\nverbosity 1 2\r\n", &["accepted", "accepted (quiet)", "accepted"]);
    check("verbosity\r\nverbosity abc\r\n", &[BAD_LINE, BAD_LINE]);
    check("verbosity noreply\r\n", &["CLIENT_ERROR bad command line format (quiet)"]);
    check("stats\r\nstats  detail on \r\nstats noreply\r\n", &["stats ''", "stats 'detail on'", "stats 'noreply'"]);
    check("quit\r\nquit now\r\nquit noreply\r\n", &["quit", "quit", "quit"]);
}

#[test]
fn meta_commands_say_their_key_and_flags() {
    check("mg k\r\nmg k v t\r\nmg k t v q\n", &["mg k", "mg k v | t2", "mg k q v | t2"]);
    check("mg k b\r\nmg a2V5 b s t T30 t \r\n", &["CLIENT_ERROR error decoding key", "CLIENT_ERROR duplicate flag"]);
    check("mg k s t T30 c f h l k Oab\r\n", &["mg k T30 | s1 t2 c4 f5 h1 l6 kkey Oab"]);
    check("mg k T30 t\r\nmg k N30 t R5 u\r\n", &["mg k T30 | t3", "mg k u N30 R5 | t2"]);
    check("mg a2V5 b k\r\n", &["mg base64:a2V5 | ka2V5 b"]);
    check("mg k Lquorum C5 E6 P1\r\n", &["mg k C5 E6 Lquorum"]);
    check("ms k 2\r\nhi\r\n", &["ms k Set 'hi'"]);
    check("ms k 2 T90 F5 k b\r\nhi\r\n", &["CLIENT_ERROR error decoding key"]);
    check("ms a2V5 0 b T90 F5 MEx q I C7 E8\r\n\r\n", &["ms base64:a2V5 q I T90 C7 E8 F5 Add ''"]);
    for (mode, name) in [("MS", "Set"), ("MA", "Append"), ("MP", "Prepend"), ("MR", "Replace")] {
        check(format!("ms k 2 {mode}\r\nhi\r\n"), &[&format!("ms k {name} 'hi'")]);
    }
    check("md k q I x T5 C6 Oxyz\r\n", &["md k q I x T5 C6 | Oxyz"]);
    check(
        "ma k\r\nma k MD J5 D7 N9 v\r\nma k M- T1\r\n",
        &["ma k Increase", "ma k v N9 J5 D7 Decrease", "ma k T1 Decrease"],
    );
    check("me k\r\nme a2V5 b\r\nmn\r\nmn so what\r\n", &["me k", "me base64:a2V5", "mn", "mn"]);
}

#[test]
fn a_value_of_ms_over_the_limit_takes_the_old_one_along_whatever_the_mode() {
    for mode in ["", " ME", " MA", " MR"] {
        let value = "x".repeat(10 * 1024);
        check(format!("ms k 10240 q{mode}\r\n{value}\r\nmn\r\n"), &["too large: k removed", "mn"]);
    }
    check("ms k 4 v v\r\nquit\r\nmn\r\n", &["CLIENT_ERROR duplicate flag", "mn"]);
    check("ms k 4x v\r\nquit\r\nmn\r\n", &[BAD_LINE, "quit", "mn"]);
}

#[test]
fn rare_commands_are_read_or_answered_as_with_the_feature_off() {
    check("lru tune 10 25 0.1 2.0\r\nlru tune 10 25 1 2 noreply\r\n", &["accepted", "accepted (quiet)"]);
    check("lru mode flat\r\nlru temp_ttl 5\r\nlru\r\n", &["ERROR", "ERROR", "ERROR"]);
    check("slabs reassign 1 2\r\n", &["CLIENT_ERROR slab reassignment disabled"]);
    check("slabs automove 1\r\nslabs automove window 3 noreply\r\n", &["accepted", "accepted (quiet)"]);
    check("lru_crawler enable\r\nlru_crawler disable\n", &["crawler Enable", "crawler Disable"]);
    check("lru_crawler enable noreply\r\n", &["ERROR (quiet)"]);
    check("lru_crawler crawl 1,2\r\nlru_crawler metadump all\r\n", &["crawler Crawl", "crawler Metadump"]);
    check("lru_crawler mgdump hash\r\nlru_crawler mgdump 64\r\n", &["crawler Mgdump", "BADCLASS invalid class id"]);
    check("lru_crawler sleep 1000\r\nlru_crawler tocrawl 5\r\n", &["accepted", "accepted"]);
    check("lru_crawler m all\r\n", &["ERROR"]);
    check("cache_memlimit 64\r\ncache_memlimit 65 noreply\r\n", &["cache_memlimit 64", "cache_memlimit 65 (quiet)"]);
    check("watch\r\nwatch evictions deletions\n", &["watch fetchers", "watch evictions deletions"]);
    check("watch rawcmds proxyreqs\r\nwatch connevents mutations\r\n", &["watch", "watch mutations connevents"]);
    check("config get cluster\r\nconfig get cluster\n", &["config get cluster", "config get cluster"]);
    check("config get ring\r\nconfig  get  ring \n", &["config get ring", "config get ring"]);
    check("config get cluster noreply\r\nconfig get\r\n", &["ERROR (quiet)", "ERROR"]);
    check("config get ring 2\r\nconfig set ring\r\n", &["ERROR", "ERROR"]);
    check(
        "shutdown\r\nshutdown graceful\r\nshutdown now\r\n",
        &["shutdown", "shutdown graceful", "shutdown of no mode"],
    );
    check("shutdown noreply\r\n", &["shutdown of no mode (quiet)"]);
}

#[test]
fn a_pipeline_is_read_in_order_and_its_tail_waits() {
    let sent = "set a 0 0 1\r\nx\r\nget a\r\nfoo\r\nset b 0 0 2 noreply\r\nyy\r\ndelete a\r\nget b";
    check(sent, &["set a 0 0 'x'", "get a", "ERROR", "set b 0 0 'yy' (quiet)", "delete a"]);
    assert_eq!(Feed::of(LIMITS, [sent.as_bytes()]).waiting(), b"get b");
}

#[test]
fn commands_say_whether_they_are_quiet() {
    for (sent, is_quiet) in [
        ("get k", false),
        ("gat 0 k", false),
        ("incr k 1", false),
        ("touch k 1 noreply", true),
        ("delete k noreply", true),
        ("flush_all", false),
        ("version", false),
        ("verbosity 1 noreply", true),
        ("shutdown noreply", true),
        ("mg k v q", false),
        ("stats", false),
        ("quit", false),
    ] {
        let line = format!("{sent}\r\n");
        let Step::Command { command, .. } = parse(line.as_bytes(), &LIMITS) else { panic!("{sent} is a command") };
        assert_eq!(command.is_quiet(), is_quiet, "{sent}");
    }
    let (direction, key, delta) = (Direction::Increase, &b"k"[..], 1);
    assert!(Command::Arithmetic { direction, key, delta, quiet: true }.is_quiet());
}

#[test]
fn every_error_line_is_one_line_of_its_own() {
    for (at, error) in ErrorReply::ALL.iter().enumerate() {
        let line = error.as_str();
        let word = line.split(' ').next().expect("a line has a word");
        let is_error = ["ERROR", "CLIENT_ERROR", "SERVER_ERROR", "SERVER_ERROR:"].contains(&word);
        // The rare commands have words of their own for what went wrong.
        let is_other = ["MEMLIMIT_TOO_SMALL", "MEMLIMIT_ADJUST_FAILED", "BADCLASS", "WATCHER_TOO_MANY"].contains(&word);
        assert!(is_error || is_other, "{line}");
        assert!(!line.contains(['\r', '\n']), "{line}");
        assert!(ErrorReply::ALL[..at].iter().all(|earlier| earlier.as_str() != line), "{line} is there twice");
    }
}

//! What must hold for any bytes: no panic, no lost or invented byte, the same answer however the stream is cut, and
//! every message read back as it was written.
//!
//! Must not know what a command does. The whole search:
//!
//! ```text
//! MEMRING_CASES=1000000 cargo test --release -p memring-protocol --test text_properties
//! ```
//!
//! A failure prints its seed; `MEMRING_SEED=<seed> MEMRING_CASES=1` runs that case alone.

mod seeded;
mod text_stream;

use bytes::{Bytes, BytesMut};
use memring_protocol::entry::{Expiry, Item, Marks};
use memring_protocol::text::{
    Command, Direction, ErrorReply, Keys, ReplyLine, ReplyStep, Response, Step, StoreVerb, TextLimits,
    encode_arithmetic, encode_delete, encode_flush_all, encode_get, encode_get_and_touch, encode_quit, encode_stats,
    encode_store, encode_touch, encode_verbosity, encode_version, parse, parse_reply, read_ring_text, ring_text,
};
use seeded::{Seeded, for_each_case};
use text_stream::Feed;

/// Small, so that values over the limit are as common as others.
const LIMITS: TextLimits = TextLimits { item_bytes_max: 64, get_line_bytes_max: 4096 };

/// Words from which streams are made: what commands are made of, and what is nearly that.
const REQUEST_WORDS: &[&[u8]] = &[
    b"get ",
    b"gets ",
    b"gat ",
    b"gats ",
    b"set ",
    b"add ",
    b"replace ",
    b"append ",
    b"prepend ",
    b"cas ",
    b"incr ",
    b"decr ",
    b"touch ",
    b"delete ",
    b"flush_all",
    b"flush_over ",
    b"version",
    b"verbosity ",
    b"stats ",
    b"quit",
    b"shutdown",
    b"mg ",
    b"ms ",
    b"md ",
    b"ma ",
    b"me ",
    b"mn\r\n",
    b"mg k v t\r\n",
    b"mg a2V5 b k Oabc q\r\n",
    b"ms k 3 T0 F5 ME\r\nabc\r\n",
    b"ms k 100 \r\n",
    b"ms k 3 v v\r\n",
    b"ma k N0 J5 D2 MD v\r\n",
    b"md k I T30 x\r\n",
    b" v",
    b" t",
    b" b",
    b" k",
    b" O1",
    b" T30",
    b" Cx",
    b" MX",
    b" Lquorum",
    b"slabs automove ",
    b"lru tune 10 25 0.5 2",
    b"lru_crawler metadump all",
    b"lru_crawler sleep ",
    b"cache_memlimit ",
    b"watch fetchers",
    b"config get cluster",
    b"config get ring",
    b"set k 0 0 3\r\nabc\r\n",
    b"set k 0 0 5 noreply\r\nab",
    b"cas k 1 1 2 9\r\nxy\r\n",
    b"add k 0 0 100\r\n",
    b"set k x 0 7\r\n",
    b"get a b c\r\n",
    b"incr k 1\r\n",
    b"delete k 0 noreply\r\n",
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b" ",
    b"  ",
    b" noreply",
    b"k",
    b"key",
    b"0",
    b"0 0 ",
    b"1",
    b"-1",
    b"+1",
    b"2147483648",
    b"18446744073709551616",
    b"HTTP/1.1",
    b"\0",
    b"\t",
    b"\xff",
    &[b'K'; 251],
];

/// As [`REQUEST_WORDS`], for what servers say.
const REPLY_WORDS: &[&[u8]] = &[
    b"STORED\r\n",
    b"NOT_STORED\r\n",
    b"EXISTS\r\n",
    b"NOT_FOUND\r\n",
    b"END\r\n",
    b"OK\r\n",
    b"VALUE ",
    b"VALUE k 0 3\r\n",
    b"VALUE k 0 3 7\r\nabc\r\n",
    b"VALUE k 0 99999999\r\n",
    b"CONFIG cluster 0 3\r\nabc\r\n",
    b"CONFIG ring 0 ",
    b"VA 3 f0 kk\r\nabc\r\n",
    b"VA ",
    b"HD\r\n",
    b"HD ",
    b"EN\r\n",
    b"NF",
    b"STAT ",
    b"STAT a b\r\n",
    b"VERSION ",
    b"ERROR\r\n",
    b"ERROR ",
    b"CLIENT_ERROR ",
    b"SERVER_ERROR",
    b": ",
    b"\r\n",
    b"\r\n",
    b"\n",
    b" ",
    b"0",
    b"12",
    b"abc",
    b"\xff",
    b"18446744073709551616",
    &[b'K'; 251],
];

#[test]
fn any_requests_are_read_alike_however_they_are_cut() {
    for_each_case(|seeded| {
        let stream = seeded.stream(REQUEST_WORDS);
        let whole = Feed::of(LIMITS, [&stream[..]]);
        let cut = seeded.below(stream.len() + 1);
        let halves = Feed::of(LIMITS, [&stream[..cut], &stream[cut..]]);
        assert_eq!(whole.seen, halves.seen, "{} cut at {cut}", stream.escape_ascii());
        assert_eq!(whole.waiting(), halves.waiting(), "{} cut at {cut}", stream.escape_ascii());
    });
}

#[test]
fn any_bytes_are_survived() {
    for_each_case(|seeded| {
        let stream = seeded.bytes(64);
        Feed::of(LIMITS, [&stream[..]]);
        read_replies(&stream);
    });
}

#[test]
fn any_replies_are_read_alike_however_they_are_cut() {
    for_each_case(|seeded| {
        let stream = seeded.stream(REPLY_WORDS);
        let (whole, rest) = read_replies(&stream);
        let cut = seeded.below(stream.len() + 1);
        let (mut halves, waiting) = read_replies(&stream[..cut]);
        let (second, rest_of_halves) = read_replies(&stream[cut - waiting.len()..]);
        halves.extend(second);
        assert_eq!((whole, rest), (halves, rest_of_halves), "{} cut at {cut}", stream.escape_ascii());
    });
}

/// Parts of the text of a ring, and what is nearly that.
const RING_WORDS: &[&[u8]] = &[
    b"1\n",
    b"ring id=00000000000000ab epoch=7 replicas=3 vnodes=256 cluster=c\n",
    b"member name=a slot=0 zone= weight=100 standing=active client=10.0.0.1:11211 state=alive synced=1000\n",
    b"member name=b slot=1 zone=z%20 weight=1 standing=changing next_zone=y next_weight=2 state=failed synced=0\n",
    b"member name=c slot=2 zone= weight=100 standing=joining state=unknown synced=7\n",
    b"member ",
    b"ring ",
    b"name=d",
    b" slot=3",
    b" zone=%",
    b" weight=10001",
    b"\n",
    b" ",
    b"=",
    b"\xff",
];

#[test]
fn any_text_of_a_ring_is_survived_and_what_is_read_is_told_alike() {
    for_each_case(|seeded| {
        let mut text = b"1\nring id=1 epoch=1 replicas=3 vnodes=8 cluster=\n".to_vec();
        if seeded.below(4) == 0 {
            text.clear();
        }
        text.extend(seeded.stream(RING_WORDS));
        if let Ok(told) = read_ring_text(&text) {
            assert_eq!(read_ring_text(ring_text(told.as_ref()).as_bytes()), Ok(told), "{}", text.escape_ascii());
        }
    });
}

/// The replies in a stream up to the first malformed one, and what is left of it.
fn read_replies(stream: &[u8]) -> (Vec<ReplyLine<'_>>, &[u8]) {
    let (mut replies, mut rest) = (Vec::new(), stream);
    loop {
        match parse_reply(rest) {
            ReplyStep::Reply { consumed, reply } => {
                assert!((1..=rest.len()).contains(&consumed));
                replies.push(reply);
                rest = &rest[consumed..];
            }
            ReplyStep::Incomplete { needed } => {
                assert!(needed > rest.len());
                return (replies, rest);
            }
            ReplyStep::Malformed => return (replies, rest),
        }
    }
}

#[test]
fn every_request_is_read_back_as_it_was_written() {
    let limits = TextLimits { item_bytes_max: 1024, ..LIMITS };
    for_each_case(|seeded| {
        let key = seeded.key();
        let keys: Vec<Vec<u8>> = (0..1 + seeded.below(3)).map(|_| seeded.key()).collect();
        let value = seeded.bytes(40);
        let mut out = BytesMut::new();
        let expected = encode_request(seeded, &key, &keys, &value, &mut out);
        let parsed = parse(&out, &limits);
        let Step::Command { consumed, command } = parsed else { panic!("{parsed:?} from {}", out.escape_ascii()) };
        assert_eq!(consumed, out.len());
        let same_keys = |read: &Keys<'_>| read.iter().eq(keys.iter().map(|key| &key[..]));
        match (expected, command) {
            (Expected::Same(expected), command) => assert_eq!(expected, command),
            (Expected::Keys { exptime: None, with_cas }, Command::Get { keys: read, with_cas: read_with_cas }) => {
                assert!(with_cas == read_with_cas && same_keys(&read), "{}", out.escape_ascii());
            }
            (
                Expected::Keys { exptime: Some(exptime), with_cas },
                Command::GetAndTouch { exptime: read_exptime, keys: read, with_cas: read_with_cas },
            ) => {
                assert!(with_cas == read_with_cas && same_keys(&read), "{}", out.escape_ascii());
                assert_eq!(exptime, read_exptime);
            }
            (Expected::Keys { .. }, other) => panic!("{other:?} from {}", out.escape_ascii()),
        }
    });
}

/// What a request should be read back as; only the parser itself can make `Keys`.
enum Expected<'a> {
    Same(Command<'a>),
    Keys { exptime: Option<i64>, with_cas: bool },
}

fn encode_request<'a>(
    seeded: &mut Seeded,
    key: &'a [u8],
    keys: &[Vec<u8>],
    value: &'a [u8],
    out: &mut BytesMut,
) -> Expected<'a> {
    let (quiet, with_cas) = (seeded.is_one_in(2), seeded.is_one_in(2));
    let exptime = i64::from(seeded.number() as i32);
    let several = keys.iter().map(|key| &key[..]);
    match seeded.below(11) {
        0 => {
            encode_get(several, with_cas, out);
            Expected::Keys { exptime: None, with_cas }
        }
        1 => {
            encode_get_and_touch(exptime, several, with_cas, out);
            Expected::Keys { exptime: Some(exptime), with_cas }
        }
        2..=4 => {
            let verb = store_verb(seeded);
            let flags = seeded.number() as u32;
            encode_store(verb, key, flags, exptime, value, quiet, out);
            Expected::Same(Command::Store { verb, key, flags, exptime, value, quiet })
        }
        5 => {
            let direction = if with_cas { Direction::Increase } else { Direction::Decrease };
            let delta = seeded.number();
            encode_arithmetic(direction, key, delta, quiet, out);
            Expected::Same(Command::Arithmetic { direction, key, delta, quiet })
        }
        6 => {
            encode_touch(key, exptime, quiet, out);
            Expected::Same(Command::Touch { key, exptime, quiet })
        }
        7 => {
            encode_delete(key, quiet, out);
            Expected::Same(Command::Delete { key, quiet })
        }
        8 => {
            let exptime = with_cas.then_some(exptime);
            encode_flush_all(exptime, quiet, out);
            Expected::Same(Command::FlushAll { exptime, quiet })
        }
        9 => {
            encode_verbosity(seeded.number() as u32, quiet, out);
            Expected::Same(Command::Accepted { quiet })
        }
        _ => match seeded.below(3) {
            0 => {
                encode_stats(b"detail on", out);
                Expected::Same(Command::Stats { arguments: b"detail on" })
            }
            1 => {
                encode_version(out);
                Expected::Same(Command::Version)
            }
            _ => {
                encode_quit(out);
                Expected::Same(Command::Quit)
            }
        },
    }
}

fn store_verb(seeded: &mut Seeded) -> StoreVerb {
    match seeded.below(6) {
        0 => StoreVerb::Set,
        1 => StoreVerb::Add,
        2 => StoreVerb::Replace,
        3 => StoreVerb::Append,
        4 => StoreVerb::Prepend,
        _ => StoreVerb::Cas(seeded.number()),
    }
}

#[test]
fn every_response_is_read_back_as_it_was_written() {
    for_each_case(|seeded| {
        let response = response(seeded);
        let mut out = BytesMut::new();
        response.encode(&mut out);
        let (lines, rest) = read_replies(&out);
        assert!(rest.is_empty(), "{response:?}");
        check_lines(&response, &lines);
    });
}

fn response(seeded: &mut Seeded) -> Response {
    match seeded.below(16) {
        0 => Response::Stored,
        1 => Response::NotStored,
        2 => Response::Exists,
        3 => Response::NotFound,
        4 => Response::Deleted,
        5 => Response::Touched,
        6 => Response::Ok,
        7 => Response::Reset,
        8 => Response::Number(seeded.number()),
        9 => Response::Version("1.6.45"),
        10 => Response::Failed(classic_errors()[seeded.below(classic_errors().len())]),
        11 => Response::ServerError("quorum not reached (1 of 2)".into()),
        12 => {
            let count = seeded.below(4);
            Response::Stats((0..count).map(|at| (format!("name{at}").into(), format!("v {}", seeded.next()))).collect())
        }
        _ => {
            let values = (0..seeded.below(4)).map(|_| {
                let (flags, cas) = (seeded.number() as u32, seeded.number());
                let value = Bytes::from(seeded.bytes(40));
                let item = Item { value, flags, cas, expiry: Expiry::NEVER, marks: Marks::NONE };
                (Bytes::from(seeded.key()), item)
            });
            Response::Values { values: values.collect(), with_cas: seeded.is_one_in(2) }
        }
    }
}

/// The errors that a client's classic commands can meet; the words of the rare ones are none it reads.
fn classic_errors() -> Vec<ErrorReply> {
    let is_classic = |error: &&ErrorReply| {
        let word = error.as_str().split([' ', ':']).next().expect("a line has a word");
        ["ERROR", "CLIENT_ERROR", "SERVER_ERROR"].contains(&word)
    };
    ErrorReply::ALL.iter().filter(is_classic).copied().collect()
}

fn check_lines(response: &Response, lines: &[ReplyLine<'_>]) {
    let single = match response {
        Response::Values { with_cas, values } => {
            let expected = values.iter().map(|(key, item)| ReplyLine::Value {
                key,
                flags: item.flags,
                cas: with_cas.then_some(item.cas),
                value: &item.value,
            });
            assert!(expected.chain([ReplyLine::End]).eq(lines.iter().copied()), "{response:?}");
            return;
        }
        Response::Stats(stats) => {
            let expected =
                stats.iter().map(|(name, value)| ReplyLine::Stat { name: name.as_bytes(), value: value.as_bytes() });
            assert!(expected.chain([ReplyLine::End]).eq(lines.iter().copied()), "{response:?}");
            return;
        }
        Response::Stored => ReplyLine::Stored,
        Response::NotStored => ReplyLine::NotStored,
        Response::Exists => ReplyLine::Exists,
        Response::NotFound => ReplyLine::NotFound,
        Response::Deleted => ReplyLine::Deleted,
        Response::Touched => ReplyLine::Touched,
        Response::Ok => ReplyLine::Ok,
        Response::Reset => ReplyLine::Reset,
        Response::Number(number) => ReplyLine::Number(*number),
        Response::Version(version) => ReplyLine::Version(version.as_bytes()),
        Response::ServerError(text) => ReplyLine::ServerError(text.as_bytes()),
        Response::Failed(error) => {
            let (word, text) = error.as_str().split_once(' ').unwrap_or((error.as_str(), ""));
            match word {
                "ERROR" => ReplyLine::Error(text.as_bytes()),
                "CLIENT_ERROR" => ReplyLine::ClientError(text.as_bytes()),
                _ => ReplyLine::ServerError(text.as_bytes()),
            }
        }
        Response::Meta(..) | Response::MetaNoop | Response::Hidden | Response::Text(_) | Response::Blocks(_) => {
            panic!("no case makes {response:?}")
        }
    };
    assert_eq!(lines, [single]);
}

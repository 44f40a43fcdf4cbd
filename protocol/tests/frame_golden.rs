//! The bytes of one message of each kind, written down: the wire must not change unnoticed, since nodes of two releases
//! talk to each other during every upgrade. A changed line here needs a new wire version or a new kind.
//!
//! Must not compute what it expects.

use bytes::{Bytes, BytesMut};
use memring_protocol::entry::{Body, Entry, Expiry, Item, Marks, Seen, UnixMillis};
use memring_protocol::flush::{FlushState, PacedFlush};
use memring_protocol::frame::{
    Batch, Leave, Preamble, decode, decode_preamble, encode, encode_in_pieces, encode_preamble, put_leave,
};
use memring_protocol::key::{Key, Partition};
use memring_protocol::limits::WHOLE_BYTES_MAX;
use memring_protocol::message::{
    Acknowledgement, Agreed, CompareRequest, ControlReply, ControlRequest, CopyDigest, Count, Counted, Difference,
    Fetch, FetchReply, FetchRequest, FetchWant, Fetched, FetchedPartition, Holdings, Invalidate, List, Message,
    Mutation, NewValue, NodeStatus, Outcome, PartitionState, PromiseReply, ReadRequest, ReadResult, Refusal, Remove,
    Replicate, Reply, Request, RequestId, Step, Store, StoreMode, Survey, SurveyReply, SurveyRequest, Surveyed, Want,
    WriteReply, WriteRequest,
};
use memring_protocol::ring::{Epoch, NodeName};
use memring_protocol::version::{Ballot, Slot, Stamp, Version};

const ID: RequestId = RequestId(0x0807_0605_0403_0201);

#[test]
fn requests_have_these_bytes() {
    let read = |want, noticed, keys| Request::Read(ReadRequest { epoch: Epoch(9), want, noticed, keys });
    check_request(
        read(Want::Digest, true, vec![key("a"), key("bc")]),
        "1100000001010000 0900000000000000020102000161026263",
    );
    check_request(
        read(Want::Look(Ballot(7)), false, vec![key("a")]),
        "1600000001010000 09000000000000000307000000000000000001000161",
    );
    let mut holdings = Holdings::of_keys_in(Bytes::from_static(b"abc"), 2);
    assert!(
        holdings.push(1, ((&key("bc")).into(), Some(entry().version))) && holdings.push(0, ((&key("a")).into(), None))
    );
    check_request(
        Request::Compare(CompareRequest { epoch: Epoch(9), noticed: true, holdings }),
        "3200000001080000 09000000000000000102000262639eafc59a0305255b01000100000000000003020000000\
         000000161fca7a5fa37e4f78600",
    );
    let replicate = |fence, entry| Request::Replicate(Replicate { epoch: Epoch(9), fence, key: key("key"), entry });
    check_request(
        replicate(Some(Ballot(7)), Some(entry())),
        "4100000001030000 0900000000000000010700000000000000036b65790100010000000000000302000000000000021\
         1000000220000000000000000000000050500000076616c7565",
    );
    check_request(replicate(None, None), "0e00000001030000 090000000000000000036b657900");
    let wants = vec![FetchWant { partition: partition(), digest: 5, cursor: 300 }];
    check_request(Request::Fetch(FetchRequest { epoch: Epoch(9), wants }), "0900000001040000 0901fb341205fb2c01");
    check_request(
        Request::Control(ControlRequest::Ping(status())),
        "1f00000001050000 00026e31fb221109fbe803fd000000000100000001060107fbe803010508fa",
    );
    let proposals = vec![(partition(), Ballot(70_000))];
    check_request(
        Request::Control(ControlRequest::Prepare { epoch: Epoch(9), proposals }),
        "0b00000001050000 010901fb3412fc70110100",
    );
    check_request(Request::Control(ControlRequest::FlushProbe), "0100000001050000 02");
    check_request(Request::Control(ControlRequest::FlushCommit(flush())), "0b00000001050000 03060107fbe803010508fa");
}

#[test]
fn writes_have_these_bytes() {
    check_write(
        Mutation::Store(Store::set(new_value())),
        "3a00000001020000 0900000000000000020103000000000000000500000000000000f4010000036b657901010000000\
         01100000001000060010500000076616c7565",
    );
    check_write(
        Mutation::Store(Store::plain(StoreMode::Add, new_value())),
        "3a00000001020000 0900000000000000020103000000000000000500000000000000f4010000036b657901020000000\
         01100000001000060010500000076616c7565",
    );
    check_write(
        Mutation::Store(Store::plain(StoreMode::Replace, new_value())),
        "3a00000001020000 0900000000000000020103000000000000000500000000000000f4010000036b657901030000000\
         01100000001000060010500000076616c7565",
    );
    let full = Store {
        mode: StoreMode::Append,
        new: new_value(),
        compare: Some(0x22),
        accept_older: true,
        token: Some(0x33),
        create: true,
    };
    check_write(
        Mutation::Store(full),
        "4a00000001020000 0900000000000000020103000000000000000500000000000000f4010000036b657901040122000\
         0000000000001013300000000000000011100000001000060010500000076616c7565",
    );
    check_write(
        Mutation::Store(Store::plain(StoreMode::Prepend, new_value())),
        "3a00000001020000 0900000000000000020103000000000000000500000000000000f4010000036b657901050000000\
         01100000001000060010500000076616c7565",
    );
    check_write(
        Mutation::Count(Count::plain(Step::Up(3))),
        "3000000001020000 0900000000000000020103000000000000000500000000000000f4010000036b657902010300000\
         00000000000000000",
    );
    let full = Count {
        step: Step::Down(3),
        compare: Some(0x22),
        token: Some(0x33),
        expiry: Some(Expiry::at(0x6000_0001)),
        create: Some((4, Expiry::NEVER)),
    };
    check_write(
        Mutation::Count(full),
        "5000000001020000 0900000000000000020103000000000000000500000000000000f4010000036b657902020300000\
         000000000012200000000000000013300000000000000010100006001040000000000000000000000",
    );
}

#[test]
fn reads_that_change_and_removals_have_these_bytes() {
    check_write(
        Mutation::Fetch(Fetch::default()),
        "2900000001020000 0900000000000000020103000000000000000500000000000000f4010000036b657903000000000\
         000",
    );
    let full = Fetch {
        expiry: Some(Expiry::NEVER),
        recache: Some(Expiry::at(0x6000_0001)),
        recache_after_touch: true,
        create: Some(Expiry::PAST),
        token: Some(0x33),
        unnoticed: true,
    };
    check_write(
        Mutation::Fetch(full),
        "3d00000001020000 0900000000000000020103000000000000000500000000000000f4010000036b657903010000000\
         0010100006001010100000001330000000000000001",
    );
    check_write(
        Mutation::Touch(Expiry::NEVER),
        "2700000001020000 0900000000000000020103000000000000000500000000000000f4010000036b65790400000000",
    );
    check_write(
        Mutation::Remove(Remove::default()),
        "2500000001020000 0900000000000000020103000000000000000500000000000000f4010000036b6579050000",
    );
    let instead =
        Invalidate { stale: true, empty: Some(0x11), expiry: Some(Expiry::at(0x6000_0001)), token: Some(0x33) };
    check_write(
        Mutation::Remove(Remove { compare: Some(0x22), instead: Some(instead) }),
        "4100000001020000 0900000000000000020103000000000000000500000000000000f4010000036b657905012200000\
         000000000010101110000000101000060013300000000000000",
    );
    check_write(
        Mutation::Confirm,
        "2300000001020000 0900000000000000020103000000000000000500000000000000f4010000036b657906",
    );
}

#[test]
fn replies_have_these_bytes() {
    check_reply(
        Reply::Read(vec![
            ReadResult::Absent,
            ReadResult::Digest(version()),
            ReadResult::Found(entry(), seen()),
            ReadResult::Found(Entry { version: version(), body: Body::Tombstone }, Seen::default()),
            ReadResult::Refused(Refusal::Epoch(Epoch(9))),
            ReadResult::Later,
        ]),
        "6700000001810000 0600010200010000000000000302000000000000030001000000000000030200000000000002110\
         00000220000000000000000000000050500000076616c756501070000000300010000000000000302000000000000010\
         0000000000402090000000000000005",
    );
    let done = |outcome| Reply::Write(WriteReply::Done(outcome));
    check_reply(done(Outcome::Stored { token: 0x33, bytes: 5 }), "0e00000001820000 0101330000000000000005000000");
    for (outcome, number) in [
        (Outcome::NotStored, 0x02),
        (Outcome::Exists, 0x03),
        (Outcome::NotFound, 0x04),
        (Outcome::Deleted, 0x05),
        (Outcome::Touched, 0x06),
        (Outcome::Miss, 0x09),
        (Outcome::NonNumeric, 0x0a),
        (Outcome::TooLarge, 0x0b),
        (Outcome::OutOfMemory, 0x0c),
    ] {
        check_reply(done(outcome), &format!("0200000001820000 01{number:02x}"));
    }
    let expiry = Expiry::at(0x6000_0001);
    check_reply(
        done(Outcome::Number(Counted { number: 12, token: 0x33, before: Expiry::NEVER, expiry })),
        "1a00000001820000 01070c0000000000000033000000000000000000000001000060",
    );
    check_reply(
        done(Outcome::Item(Fetched { item: item(), seen: seen(), before: Expiry::NEVER, won: true, created: false })),
        "2700000001820000 010811000000220000000000000000000000050500000076616c75650107000000000000000100",
    );
    check_reply(Reply::Write(WriteReply::Redirect(Slot::new(1023).expect("legal"))), "0300000001820000 02ff03");
    check_reply(Reply::Write(WriteReply::Deposed(Slot::new(1023).expect("legal"))), "0300000001820000 05ff03");
    check_reply(Reply::Write(WriteReply::Refused(Refusal::Recovering)), "0200000001820000 0301");
    check_reply(Reply::Write(WriteReply::InDoubt { acknowledged: 1, needed: 2 }), "0300000001820000 040102");
    check_reply(Reply::Replicate(Acknowledgement::Held { synced: true }), "0200000001830000 0101");
    check_reply(Reply::Replicate(Acknowledgement::Fenced(Ballot(7))), "0900000001830000 020700000000000000");
    check_reply(Reply::Replicate(Acknowledgement::Refused(Refusal::NotHome)), "0200000001830000 0303");
    check_reply(Reply::Compare(true), "0100000001890000 01");
    let state = PartitionState { promised: Ballot(7), digest: 5, dropped: Stamp(9) };
    let fetched = |state, cursor| FetchedPartition { partition: partition(), state, cursor };
    let partitions = vec![fetched(Ok(state), Some(300)), fetched(Err(Refusal::Busy), None)];
    check_reply(
        Reply::Fetch(FetchReply { partitions, entries: vec![(key("key"), entry())], flush: flush() }),
        "4f00000001840000 02fb34120007050901fb2c01fb3412010300060107fbe803010508fa01000000036b657900010000000000000\
         3020000000000000211000000220000000000000000000000050500000076616c7565",
    );
    check_reply(
        Reply::Control(ControlReply::Pong(status())),
        "1f00000001850000 00026e31fb221109fbe803fd000000000100000001060107fbe803010508fa",
    );
    check_reply(
        Reply::Control(ControlReply::Promises(vec![
            PromiseReply::Promised { synced: true, digest: 5, stamp: Stamp(6) },
            PromiseReply::Outbid(Ballot(7)),
            PromiseReply::Refused(Refusal::Recovering),
        ])),
        "0a00000001850000 01030001050601070200",
    );
    check_reply(Reply::Control(ControlReply::FlushStamp(Stamp(6))), "0200000001850000 0206");
    check_reply(Reply::Control(ControlReply::Done), "0100000001850000 03");
    check_reply(Reply::Control(ControlReply::Working), "0100000001850000 06");
}

#[test]
fn surveys_have_these_bytes() {
    let sender = Slot::new(3).expect("legal");
    let ask = |what| Request::Survey(SurveyRequest { epoch: Epoch(9), sender, latest: Stamp(6), what });
    let list = List {
        partition: partition(),
        buckets: 1,
        first: 2,
        last: 3,
        agreed: Stamp(4),
        evicted: Stamp(8),
        upto: Stamp(5),
        all: true,
        entries: vec![(7, version())],
    };
    let agreed = Agreed { partition: partition(), upto: Stamp(5) };
    check_request(ask(Survey::Digests(vec![agreed])), "09000000010a0000 0903060001fb341205");
    check_request(ask(Survey::Buckets(vec![partition()])), "08000000010a0000 0903060101fb3412");
    check_request(ask(Survey::Lists(vec![list])), "17000000010a0000 0903060201fb3412010203040805010107fb0001fb0302");
    check_request(ask(Survey::Start(vec![partition()])), "08000000010a0000 0903060301fb3412");
    let say = |found| Reply::Survey(SurveyReply { latest: Stamp(6), found });
    let digests = vec![Ok(CopyDigest { digest: 5, copy: 7 }), Err(Refusal::Busy)];
    check_reply(say(Surveyed::Digests(digests)), "08000000018a0000 0600020005070103");
    check_reply(
        say(Surveyed::Buckets(vec![Ok(vec![1, 2]), Err(Refusal::Recovering)])),
        "09000000018a0000 060102000201020100",
    );
    let difference = Difference { lacks: vec![1], gives: 2, young: 3, left: 4, whole: true };
    check_reply(
        say(Surveyed::Lists(vec![Ok(difference), Err(Refusal::NotHome)])),
        "0c000000018a0000 060202000101020304010102",
    );
    check_reply(say(Surveyed::Noted), "02000000018a0000 0603");
}

#[test]
fn acknowledgements_in_one_frame_have_these_bytes() {
    let (mut batch, mut bytes) = (Batch::default(), BytesMut::new());
    for (behind, said) in [
        (0, Acknowledgement::Held { synced: true }),
        (3, Acknowledgement::Held { synced: true }),
        (4, Acknowledgement::Fenced(Ballot(7))),
        ((254 << 20) + 2, Acknowledgement::Held { synced: true }),
        (513 << 20, Acknowledgement::Held { synced: true }),
    ] {
        batch.push(RequestId(ID.0 + behind), said, &mut bytes);
    }
    batch.end(&mut bytes);
    let (fenced, held) = ("ff0502030405060708020700000000000000", "ff01021324050607080101");
    assert_eq!(hex(&bytes), format!("2300000001880000 0102030405060708 00000003{fenced}fefe{held}").replace(' ', ""));
}

#[test]
fn fragments_and_leaves_have_these_bytes() {
    let value = Bytes::from(vec![b'v'; WHOLE_BYTES_MAX + 1]);
    let item = Item { value, flags: 0x11, cas: 0x22, expiry: Expiry::NEVER, marks: Marks::NONE };
    let entry = Entry { version: version(), body: Body::Item(item) };
    let replicate = Replicate { epoch: Epoch(9), fence: Some(Ballot(7)), key: key("key"), entry: Some(entry.clone()) };
    let read = Reply::Read(vec![ReadResult::Found(entry, seen())]);
    for (message, opening, rest) in [
        (
            Message::Request(ID, Request::Replicate(replicate)),
            "09000100010600000102030405060708033d000400000000000900000000000000010700000000000000036b65\
             79010001000000000000030200000000000002110000002200000000000000000000000001000400767676",
            "46000300010600000102030405060708033d00040000000100767676",
        ),
        (
            Message::Reply(ID, read),
            "09000100018600000102030405060708812f000400000000000100030001000000000000030200000000000002\
             110000002200000000000000000000000001000400767676",
            "38000300018600000102030405060708812f00040000000100767676",
        ),
    ] {
        let mut message = encode_in_pieces(&message, &mut BytesMut::new()).expect("within the limits").expect("long");
        for expected in [opening, rest] {
            let fragment = message.next_fragment().concat();
            assert_eq!(hex(&fragment[..expected.len() / 2]), expected);
        }
    }
    for (of_reply, leave, expected) in [
        (false, Leave::GoOn, "0100000001870000010203040506070801"),
        (false, Leave::Never, "0100000001870000010203040506070802"),
        (true, Leave::GoOn, "0100000001070000010203040506070801"),
    ] {
        let mut bytes = BytesMut::new();
        put_leave(ID, of_reply, leave, &mut bytes);
        assert_eq!(hex(&bytes), expected);
    }
}

#[test]
fn a_preamble_has_these_bytes() {
    let preamble = Preamble { features: 3, ..Preamble::new("memring", name(), 0x1122) };
    let expected =
        "230000000100000000000000000000006d656d72696e67000300000000000000002f9baddbe2a9972211000000000000026e31";
    let mut bytes = BytesMut::new();
    encode_preamble(&preamble, &mut bytes);
    assert_eq!(hex(&bytes), expected);
    assert_eq!(decode_preamble(&mut bytes).expect("a preamble"), Some(preamble));
}

fn check_request(request: Request, expected: &str) {
    check(Message::Request(ID, request), expected);
}

fn check_reply(reply: Reply, expected: &str) {
    check(Message::Reply(ID, reply), expected);
}

fn check_write(mutation: Mutation, expected: &str) {
    let write = WriteRequest {
        epoch: Epoch(9),
        key: key("key"),
        mutation,
        copies: 2,
        takeover: true,
        above: Ballot(3),
        upto: Ballot(5),
        patience_ms: 500,
    };
    check_request(Request::Write(write), expected);
}

/// `expected`: the header without the id, which is the same in all, then the body.
fn check(message: Message, expected: &str) {
    let mut bytes = BytesMut::new();
    encode(&message, &mut bytes).expect("within the limits");
    let id = "0102030405060708";
    let (header, body) = expected.split_once(' ').expect("a space where the id is");
    let expected = format!("{header}{id}{body}");
    assert_eq!(hex(&bytes), expected, "{message:?}");
    assert_eq!(decode(&mut bytes).expect("a frame"), Some(message));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key(text: &'static str) -> Key {
    Key::new(Bytes::from_static(text.as_bytes())).expect("legal")
}

fn name() -> NodeName {
    NodeName::new("n1").expect("legal")
}

fn partition() -> Partition {
    Partition::new(0x1234).expect("legal")
}

fn version() -> Version {
    Version { ballot: Ballot(0x0100), stamp: Stamp(0x0203) }
}

fn item() -> Item {
    let marks = Marks::STALE.with(Marks::BINARY_KEY);
    Item { value: Bytes::from_static(b"value"), flags: 0x11, cas: 0x22, expiry: Expiry::NEVER, marks }
}

fn seen() -> Seen {
    Seen { fetched: true, idle_s: 7 }
}

fn new_value() -> NewValue {
    let expiry = Expiry::at(0x6000_0001);
    NewValue { value: Bytes::from_static(b"value"), flags: 0x11, expiry, binary_key: true }
}

fn entry() -> Entry {
    Entry { version: version(), body: Body::Item(item()) }
}

fn flush() -> FlushState {
    let paced = PacedFlush { stamp: Stamp(5), from: UnixMillis(8), over_ms: 250 };
    FlushState { floor: Stamp(6), pending: Some((Stamp(7), UnixMillis(1000))), paced: Some(paced) }
}

fn status() -> NodeStatus {
    NodeStatus {
        name: name(),
        generation: 0x1122,
        epoch: Epoch(9),
        synced_permille: 1000,
        now: UnixMillis(0x1_0000_0000),
        settled: true,
        flush: flush(),
    }
}

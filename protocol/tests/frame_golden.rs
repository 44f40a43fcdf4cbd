//! The bytes of one message of each kind, written down: the wire must not change unnoticed, since nodes of two releases
//! talk to each other during every upgrade. A changed line here needs a new wire version or a new kind.
//!
//! Must not compute what it expects.

use bytes::{Bytes, BytesMut};
use memring_protocol::entry::{Body, Entry, Expiry, Item, UnixMillis};
use memring_protocol::flush::FlushState;
use memring_protocol::frame::{Preamble, decode, decode_preamble, encode, encode_preamble};
use memring_protocol::key::{Key, Partition};
use memring_protocol::message::{
    Acknowledgement, ControlReply, ControlRequest, FetchReply, FetchRequest, FetchWant, FetchedPartition, Message,
    Mutation, NewValue, NodeStatus, Outcome, PartitionState, PromiseReply, ReadRequest, ReadResult, Refusal, Replicate,
    Reply, Request, RequestId, Want, WriteReply, WriteRequest,
};
use memring_protocol::ring::{Epoch, NodeName};
use memring_protocol::version::{Ballot, Slot, Stamp, Version};

const ID: RequestId = RequestId(0x0807_0605_0403_0201);

#[test]
fn requests_have_these_bytes() {
    let read = ReadRequest { epoch: Epoch(9), want: Want::Digest, keys: vec![key("a"), key("bc")] };
    check_request(Request::Read(read), "1000000001010000 09000000000000000202000161026263");
    let new = NewValue { value: Bytes::from_static(b"value"), flags: 0x11, expiry: Expiry::at(0x6000_0001) };
    let write = |mutation| {
        let (epoch, key) = (Epoch(9), key("key"));
        Request::Write(WriteRequest {
            epoch,
            key,
            mutation,
            copies: 2,
            takeover: true,
            above: Ballot(3),
            upto: Ballot(5),
            patience_ms: 500,
        })
    };
    check_request(
        write(Mutation::Set(new.clone())),
        "3400000001020000 0900000000000000020103000000000000000500000000000000f4010000036b65790111000000010000600500000076616c7565",
    );
    check_request(
        write(Mutation::Cas(new, 0x22)),
        "3c00000001020000 0900000000000000020103000000000000000500000000000000f4010000036b657904220000000000000011000000010000600500000076616c7565",
    );
    check_request(
        write(Mutation::Incr(3)),
        "2b00000001020000 0900000000000000020103000000000000000500000000000000f4010000036b6579070300000000000000",
    );
    check_request(
        write(Mutation::GetAndTouch(Expiry::NEVER)),
        "2700000001020000 0900000000000000020103000000000000000500000000000000f4010000036b65790a00000000",
    );
    check_request(
        write(Mutation::Confirm),
        "2300000001020000 0900000000000000020103000000000000000500000000000000f4010000036b65790c",
    );
    let replicate = |fence, entry| Request::Replicate(Replicate { epoch: Epoch(9), fence, key: key("key"), entry });
    check_request(
        replicate(Some(Ballot(7)), Some(entry())),
        "4000000001030000 0900000000000000010700000000000000036b657901000100000000000003020000000000000211000\
         0002200000000000000000000000500000076616c7565",
    );
    check_request(replicate(None, None), "0e00000001030000 090000000000000000036b657900");
    let wants = vec![FetchWant { partition: partition(), digest: 5, cursor: 300 }];
    check_request(Request::Fetch(FetchRequest { epoch: Epoch(9), wants }), "0900000001040000 0901fb341205fb2c01");
    check_request(
        Request::Control(ControlRequest::Ping(status())),
        "1a00000001050000 00026e31fb221109fbe803fd0000000001000000060107fbe803",
    );
    let proposals = vec![(partition(), Ballot(70_000))];
    check_request(
        Request::Control(ControlRequest::Prepare { epoch: Epoch(9), proposals }),
        "0b00000001050000 010901fb3412fc70110100",
    );
    check_request(Request::Control(ControlRequest::FlushProbe), "0100000001050000 02");
    check_request(Request::Control(ControlRequest::FlushCommit(flush())), "0700000001050000 03060107fbe803");
}

#[test]
fn replies_have_these_bytes() {
    check_reply(
        Reply::Read(vec![
            ReadResult::Absent,
            ReadResult::Digest(version()),
            ReadResult::Found(entry()),
            ReadResult::Found(Entry { version: version(), body: Body::Tombstone }),
            ReadResult::Refused(Refusal::Epoch(Epoch(9))),
        ]),
        "5b00000001810000 05000102000100000000000003020000000000000300010000000000000302000000000000021100000\
         02200000000000000000000000500000076616c756503000100000000000003020000000000000104020900000000000000",
    );
    check_reply(Reply::Write(WriteReply::Done(Outcome::Stored)), "0200000001820000 0101");
    check_reply(
        Reply::Write(WriteReply::Done(Outcome::Item(item()))),
        "1b00000001820000 0108110000002200000000000000000000000500000076616c7565",
    );
    check_reply(Reply::Write(WriteReply::Done(Outcome::OutOfMemory)), "0200000001820000 010c");
    check_reply(Reply::Write(WriteReply::Redirect(Slot::new(1023).expect("legal"))), "0300000001820000 02ff03");
    check_reply(Reply::Write(WriteReply::Deposed(Slot::new(1023).expect("legal"))), "0300000001820000 05ff03");
    check_reply(Reply::Write(WriteReply::Refused(Refusal::Recovering)), "0200000001820000 0301");
    check_reply(Reply::Write(WriteReply::InDoubt { acknowledged: 1, needed: 2 }), "0300000001820000 040102");
    check_reply(Reply::Replicate(Acknowledgement::Held { synced: true }), "0200000001830000 0101");
    check_reply(Reply::Replicate(Acknowledgement::Fenced(Ballot(7))), "0900000001830000 020700000000000000");
    check_reply(Reply::Replicate(Acknowledgement::Refused(Refusal::NotHome)), "0200000001830000 0303");
    let state = PartitionState { promised: Ballot(7), digest: 5 };
    let fetched = |state, cursor| FetchedPartition { partition: partition(), state, cursor };
    let partitions = vec![fetched(Ok(state), Some(300)), fetched(Err(Refusal::Busy), None)];
    check_reply(
        Reply::Fetch(FetchReply { partitions, entries: vec![(key("key"), entry())], flush: flush() }),
        "4900000001840000 02fb341200070501fb2c01fb3412010300060107fbe80301000000036b6579000100000000000003020\
         0000000000002110000002200000000000000000000000500000076616c7565",
    );
    check_reply(
        Reply::Control(ControlReply::Pong(status())),
        "1a00000001850000 00026e31fb221109fbe803fd0000000001000000060107fbe803",
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
    Item { value: Bytes::from_static(b"value"), flags: 0x11, cas: 0x22, expiry: Expiry::NEVER }
}

fn entry() -> Entry {
    Entry { version: version(), body: Body::Item(item()) }
}

fn flush() -> FlushState {
    FlushState { floor: Stamp(6), pending: Some((Stamp(7), UnixMillis(1000))) }
}

fn status() -> NodeStatus {
    NodeStatus {
        name: name(),
        generation: 0x1122,
        epoch: Epoch(9),
        synced_permille: 1000,
        now: UnixMillis(0x1_0000_0000),
        flush: flush(),
    }
}

//! Links over real sockets, between machines that only echo and note.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use memring_engine::node::{Effect, LinkId};
use memring_engine::now::{Mono, Now};
use memring_protocol::entry::{Body, Entry, Expiry, Item, Marks, Seen};
use memring_protocol::frame::{ACKNOWLEDGEMENTS, FRAGMENTS, HEADER_BYTES, Preamble, encode, encode_preamble};
use memring_protocol::key::Key;
use memring_protocol::message::{
    Acknowledgement, ControlReply, ControlRequest, Message, ReadResult, Replicate, Reply, Request, RequestId,
};
use memring_protocol::ring::{Epoch, NodeName};
use memring_protocol::version::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

use super::handshake::handshake;
use super::{LINK_LIFE_MIN, Links, PAUSE_MEMORY, REDIAL_PAUSE_MIN, Room, send, serve};
use crate::clock::Clock;
use crate::event_loop::{EventLoop, Machine, Surroundings, Wiring};
use crate::threads;

/// What a machine saw.
#[derive(Default)]
struct Notes {
    replies: Vec<RequestId>,
    /// Replies that say that nothing was done.
    refused: usize,
    /// The values of large requests, in the order in which they were whole.
    values: Vec<(RequestId, Bytes)>,
    moves: usize,
    lost: usize,
}

struct Echo(Rc<RefCell<Notes>>);

impl Machine for Echo {
    fn on_peer_request(&mut self, _now: Now, link: LinkId, id: RequestId, request: Request, fx: &mut Vec<Effect>) {
        let reply = match request {
            Request::Replicate(Replicate { entry: None, .. }) => {
                fx.push(Effect::Acknowledge(link, id, Acknowledgement::Held { synced: true }));
                return;
            }
            Request::Replicate(Replicate { entry: Some(entry), .. }) => {
                if let Body::Item(item) = &entry.body {
                    self.0.borrow_mut().values.push((id, item.value.clone()));
                }
                Reply::Read(vec![ReadResult::Found(entry, Seen::default())])
            }
            _ => Reply::Control(ControlReply::Done),
        };
        fx.push(Effect::Answer(link, Message::Reply(id, reply)));
    }

    fn on_peer_reply(&mut self, _now: Now, _from: SocketAddr, id: RequestId, reply: Reply, _fx: &mut Vec<Effect>) {
        let mut notes = self.0.borrow_mut();
        notes.replies.push(id);
        match reply {
            Reply::Replicate(Acknowledgement::Refused(_)) | Reply::Control(ControlReply::Refused(_)) => {
                notes.refused += 1
            }
            Reply::Read(results) => {
                if let Some(ReadResult::Found(Entry { body: Body::Item(item), .. }, _)) = results.into_iter().next() {
                    notes.values.push((id, item.value));
                }
            }
            _ => {}
        }
    }

    fn on_peer_moved(&mut self, _now: Now, _from: SocketAddr, _id: RequestId, _fx: &mut Vec<Effect>) {
        self.0.borrow_mut().moves += 1;
    }

    fn on_peer_lost(&mut self, _now: Now, _peer: SocketAddr, _fx: &mut Vec<Effect>) {
        self.0.borrow_mut().lost += 1;
    }

    fn on_timer(&mut self, _now: Now, _fx: &mut Vec<Effect>) {}

    fn next_deadline(&self) -> Option<Mono> {
        None
    }
}

/// The largest item of these machines.
const ITEM_MAX: usize = 32 * 1024 * 1024;

struct Nobody;

impl Surroundings for Nobody {
    fn perform(&self, _now: Now, _effect: Effect) {}
}

fn preamble() -> BytesMut {
    let mut bytes = BytesMut::new();
    encode_preamble(&Preamble::new("test", NodeName::new("n1").expect("legal"), 1), &mut bytes);
    bytes
}

fn machine() -> (Rc<EventLoop<Echo, Nobody>>, Rc<RefCell<Notes>>) {
    machine_with(&Arc::new(Room::new(ITEM_MAX, 8 * ITEM_MAX)))
}

fn machine_with(room: &Arc<Room>) -> (Rc<EventLoop<Echo, Nobody>>, Rc<RefCell<Notes>>) {
    let notes = Rc::<RefCell<Notes>>::default();
    let wiring = Wiring {
        clock: Clock::start(),
        links: Links::new(preamble().freeze(), Arc::clone(room), 1),
        heartbeat: Arc::new(AtomicU64::new(0)),
    };
    let machine = EventLoop::new(Echo(Rc::clone(&notes)), Nobody, wiring);
    tokio::task::spawn_local(Rc::clone(&machine).run_timers());
    (machine, notes)
}

fn request(id: u64) -> Message {
    Message::Request(RequestId(id), Request::Control(ControlRequest::FlushProbe))
}

fn large(id: u64, bytes: usize) -> Message {
    let value = Bytes::from(vec![id as u8; bytes]);
    let item = Item { value, flags: 0, cas: 0, expiry: Expiry::NEVER, marks: Marks::NONE };
    let entry = Some(Entry { version: Version::default(), body: Body::Item(item) });
    let key = Key::copy_from(b"key").expect("legal");
    Message::Request(RequestId(id), Request::Replicate(Replicate { epoch: Epoch(1), fence: None, key, entry }))
}

/// Asks for no more than an acknowledgement.
fn confirm(id: u64) -> Message {
    let key = Key::copy_from(b"key").expect("legal");
    Message::Request(RequestId(id), Request::Replicate(Replicate { epoch: Epoch(1), fence: None, key, entry: None }))
}

fn ask(machine: &Rc<EventLoop<Echo, Nobody>>, peer: SocketAddr, message: &Message) -> bool {
    send(machine, peer, |outbox| outbox.push(message))
}

/// Takes the next link and serves it with a machine of this room; what that saw, and the link's task.
async fn answer_next(listener: &TcpListener, room: &Arc<Room>, features: Option<u64>) -> Served {
    let (mut stream, _from) = listener.accept().await.expect("a link");
    let (hello, rest) = handshake(&mut stream, "test").await.expect("one of ours");
    let (answering, notes) = machine_with(room);
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a permit");
    let features = features.unwrap_or(hello.features);
    (notes, tokio::task::spawn_local(serve(answering, stream, features, rest, permit)))
}

type Served = (Rc<RefCell<Notes>>, tokio::task::JoinHandle<()>);

fn on_one_thread(story: impl Future<Output = ()>) {
    let runtime = threads::runtime().expect("a runtime");
    LocalSet::new()
        .block_on(&runtime, async { tokio::time::timeout(Duration::from_secs(10), story).await.expect("in time") });
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

#[test]
fn requests_are_answered_over_one_link_until_it_ends() {
    on_one_thread(async {
        let (listener, address) = listener().await;
        let (asking, notes) = machine();
        for id in 0..1000 {
            assert!(ask(&asking, address, &request(id)));
        }
        let (mut stream, _from) = listener.accept().await.expect("a link");
        let (hello, rest) = handshake(&mut stream, "test").await.expect("one of ours");
        assert_eq!(hello.sender.as_str(), "n1");
        let (answering, _) = machine();
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a permit");
        let link = tokio::task::spawn_local(serve(answering, stream, hello.features, rest, permit));
        until(|| notes.borrow().replies.len() == 1000).await;
        assert!(notes.borrow().replies.is_sorted() && notes.borrow().lost == 0);
        link.abort();
        until(|| notes.borrow().lost == 1).await;
    });
}

#[test]
fn a_peer_that_refuses_is_lost_at_once_and_then_left_alone() {
    on_one_thread(async {
        let (listener, address) = listener().await;
        drop(listener);
        let (asking, notes) = machine();
        assert!(ask(&asking, address, &request(1)));
        until(|| notes.borrow().lost == 1).await;
        assert!(!ask(&asking, address, &request(2)));
        tokio::time::sleep(REDIAL_PAUSE_MIN).await;
        assert!(ask(&asking, address, &request(3)));
    });
}

#[test]
fn a_peer_that_never_reads_is_given_up() {
    on_one_thread(async {
        let (listener, address) = listener().await;
        let (asking, notes) = machine();
        // Without an await nothing leaves the outbox.
        for id in 0..super::LINK_QUEUE_BYTES_MAX as u64 / 16 {
            assert!(ask(&asking, address, &request(id)));
        }
        assert!(asking.links.outgoing.borrow().values().all(|outbox| outbox.is_closed()));
        until(|| notes.borrow().lost == 1).await;
        drop(listener);
    });
}

#[test]
fn strangers_are_turned_away() {
    let other_cluster = {
        let mut bytes = BytesMut::new();
        encode_preamble(&Preamble::new("other", NodeName::new("n1").expect("legal"), 1), &mut bytes);
        bytes
    };
    for hello in [&b"get a\r\n"[..], b"", &preamble()[..20], &other_cluster] {
        on_one_thread(async {
            let (listener, address) = listener().await;
            let mut stranger = TcpStream::connect(address).await.expect("a connection");
            stranger.write_all(hello).await.expect("sent");
            stranger.shutdown().await.expect("ended");
            let (mut stream, _from) = listener.accept().await.expect("a link");
            assert!(handshake(&mut stream, "test").await.is_err(), "{:?}", hello.escape_ascii());
            drop(stream);
            assert!(stranger.read(&mut [0]).await.is_ok_and(|count| count == 0));
        });
    }
}

#[test]
fn a_peer_that_cannot_be_dialled_is_left_alone_for_a_while() {
    let links = Links::new(Bytes::new(), Arc::new(Room::new(1024, 1024)), 1);
    let peer: SocketAddr = "127.0.0.1:1".parse().expect("an address");
    let mut now = Mono(1_000_000);
    for wait_ms in [100, 200, 400, 400] {
        links.dial_failed(peer, now);
        assert!(links.is_paused(peer, now.after(Duration::from_millis(wait_ms / 2 - 1))), "half of it at least");
        now = now.after(Duration::from_millis(wait_ms));
        assert!(!links.is_paused(peer, now));
    }
    let waits = |links: &Links| links.pauses.borrow().get(&peer).map(|pause| pause.until.0 - now.0);
    links.link_ended(peer, now, now);
    assert!(waits(&links) >= Some(200_000), "a link that ends at once is a failure like others");
    let chances: BTreeSet<_> = (0..20).map(|_| links.dial_failed(peer, now)).map(|()| waits(&links)).collect();
    assert!(chances.len() > 15, "no two threads come back together: {chances:?}");
    links.link_ended(peer, now, now.after(LINK_LIFE_MIN));
    assert_eq!(waits(&links), None);
    links.dial_failed(peer, now);
    assert!(!links.is_paused(peer, now.after(REDIAL_PAUSE_MIN)));
    let other: SocketAddr = "127.0.0.1:2".parse().expect("an address");
    links.dial_failed(other, now.after(PAUSE_MEMORY * 2));
    assert_eq!(links.pauses.borrow().len(), 1);
}

#[test]
fn large_messages_go_and_come_whole_and_small_ones_overtake_them() {
    on_one_thread(async {
        let (listener, address) = listener().await;
        // Room for one of the large ones at a time.
        let room = Arc::new(Room::new(ITEM_MAX, ITEM_MAX));
        let (asking, notes) = machine_with(&Arc::new(Room::new(ITEM_MAX, 64 * ITEM_MAX)));
        let sizes = [ITEM_MAX, 300_000, 9_000_000, ITEM_MAX / 2, 300_000];
        for (id, size) in sizes.iter().enumerate() {
            assert!(ask(&asking, address, &large(id as u64, *size)));
        }
        for id in 100..200 {
            assert!(ask(&asking, address, &request(id)));
        }
        let (_seen, _link) = answer_next(&listener, &room, None).await;
        until(|| notes.borrow().replies.len() == sizes.len() + 100).await;
        let notes = notes.borrow();
        let place = |id: u64| notes.replies.iter().position(|reply| reply.0 == id).expect("answered");
        assert!((100..200).all(|small| place(small) < place(0)), "{:?}", notes.replies);
        assert_eq!(notes.values.len(), sizes.len());
        for (id, value) in &notes.values {
            assert_eq!(value.len(), sizes[id.0 as usize]);
            assert!(value.iter().all(|byte| u64::from(*byte) == id.0), "the bytes of {id:?} are its own");
        }
        assert!(notes.lost == 0 && notes.refused == 0 && notes.moves > 2 * ITEM_MAX / (256 * 1024));
        assert!(room.take_now(ITEM_MAX).is_some(), "the room is given back");
    });
}

#[test]
fn what_a_peer_has_no_room_for_is_refused_and_the_link_goes_on() {
    on_one_thread(async {
        let (listener, address) = listener().await;
        let (asking, notes) = machine();
        assert!(ask(&asking, address, &large(1, 10_000_000)));
        assert!(ask(&asking, address, &large(2, 400_000)));
        let (seen, _link) = answer_next(&listener, &Arc::new(Room::new(1024 * 1024, 1024 * 1024)), None).await;
        until(|| notes.borrow().replies.len() == 2).await;
        assert_eq!((notes.borrow().refused, notes.borrow().lost), (1, 0));
        assert!(seen.borrow().values.iter().map(|(id, _)| id.0).eq([2]));
    });
}

#[test]
fn a_link_that_breaks_leaves_nothing_of_what_was_half_sent() {
    on_one_thread(async {
        let (listener, address) = listener().await;
        let room = Arc::new(Room::new(ITEM_MAX, ITEM_MAX));
        let (asking, notes) = machine();
        assert!(ask(&asking, address, &large(1, ITEM_MAX)));
        let (seen, link) = answer_next(&listener, &room, None).await;
        until(|| notes.borrow().moves > 8).await;
        link.abort();
        until(|| notes.borrow().lost == 1).await;
        assert!(seen.borrow().values.is_empty() && notes.borrow().replies.is_empty());
        until(|| room.take_now(ITEM_MAX).is_some()).await;
    });
}

#[test]
fn peers_of_an_earlier_release_get_whole_frames_or_a_refusal() {
    on_one_thread(async {
        let (listener, address) = listener().await;
        let (asking, notes) = machine();
        // An earlier release says nothing before its first reply.
        assert!(ask(&asking, address, &request(9)));
        assert!(ask(&asking, address, &large(1, 3_000_000)));
        assert!(ask(&asking, address, &large(2, 9_000_000)));
        let (seen, _link) = answer_next(&listener, &Arc::new(Room::new(ITEM_MAX, ITEM_MAX)), Some(0)).await;
        until(|| notes.borrow().replies.len() == 3).await;
        assert_eq!((notes.borrow().refused, notes.borrow().lost), (1, 0));
        assert!(seen.borrow().values.iter().map(|(id, _)| id.0).eq([1]));
    });
}

#[test]
fn acknowledgements_of_a_turn_come_in_one_frame_or_one_by_one_to_a_peer_of_an_earlier_release() {
    on_one_thread(async {
        let (listener, address) = listener().await;
        for (features, kinds) in
            [(FRAGMENTS | ACKNOWLEDGEMENTS, vec![0x88]), (FRAGMENTS, vec![0x83; 3]), (0, vec![0x83; 3])]
        {
            let mut stream = TcpStream::connect(address).await.expect("a link");
            let mut asked = BytesMut::new();
            let name = NodeName::new("n2").expect("legal");
            encode_preamble(&Preamble { features, ..Preamble::new("test", name, 1) }, &mut asked);
            (1..4).for_each(|id| encode(&confirm(id), &mut asked).expect("it fits"));
            stream.write_all(&asked).await.expect("sent");
            let (_seen, link) = answer_next(&listener, &Arc::new(Room::new(ITEM_MAX, ITEM_MAX)), None).await;
            let mut heard = BytesMut::new();
            // Beside the preamble, which an older release does not get.
            let said = |heard: &[u8]| frames(heard).map(|kinds| kinds.into_iter().filter(|kind| *kind != 0).collect());
            while said(&heard).is_none_or(|heard: Vec<u8>| heard.len() < kinds.len()) {
                assert!(stream.read_buf(&mut heard).await.expect("bytes") > 0);
            }
            assert_eq!(said(&heard), Some(kinds), "features {features}");
            link.abort();
        }
    });
}

#[test]
fn every_acknowledgement_of_a_frame_is_heard() {
    on_one_thread(async {
        let (listener, address) = listener().await;
        let (asking, notes) = machine();
        for id in 0..5000 {
            assert!(ask(&asking, address, &confirm(id << 20)));
        }
        let (_seen, _link) = answer_next(&listener, &Arc::new(Room::new(ITEM_MAX, ITEM_MAX)), None).await;
        until(|| notes.borrow().replies.len() == 5000).await;
        assert!(notes.borrow().replies.is_sorted() && notes.borrow().lost == 0);
    });
}

/// The kinds of frames; `None` if the last is not whole.
fn frames(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut kinds = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        kinds.push(*rest.get(1)?);
        bytes = bytes.get(HEADER_BYTES + u32::from_le_bytes(*length) as usize..)?;
    }
    bytes.is_empty().then_some(kinds)
}

//! Links over real sockets, between machines that only echo and note.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use memring_engine::node::{Effect, LinkId};
use memring_engine::now::{Mono, Now};
use memring_protocol::frame::{Preamble, encode_preamble};
use memring_protocol::message::{ControlReply, ControlRequest, Message, Reply, Request, RequestId};
use memring_protocol::ring::NodeName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

use super::handshake::handshake;
use super::{Links, PAUSE_MEMORY, REDIAL_PAUSE_MIN, send, serve};
use crate::clock::Clock;
use crate::event_loop::{EventLoop, Machine, Surroundings, Wiring};
use crate::threads;

/// What a machine saw.
#[derive(Default)]
struct Notes {
    replies: Vec<RequestId>,
    lost: usize,
}

struct Echo(Rc<RefCell<Notes>>);

impl Machine for Echo {
    fn on_peer_request(&mut self, _now: Now, link: LinkId, id: RequestId, _request: Request, fx: &mut Vec<Effect>) {
        fx.push(Effect::Answer(link, Message::Reply(id, Reply::Control(ControlReply::Done))));
    }

    fn on_peer_reply(&mut self, _now: Now, _from: SocketAddr, id: RequestId, _reply: Reply, _fx: &mut Vec<Effect>) {
        self.0.borrow_mut().replies.push(id);
    }

    fn on_peer_lost(&mut self, _now: Now, _peer: SocketAddr, _fx: &mut Vec<Effect>) {
        self.0.borrow_mut().lost += 1;
    }

    fn on_timer(&mut self, _now: Now, _fx: &mut Vec<Effect>) {}

    fn next_deadline(&self) -> Option<Mono> {
        None
    }
}

struct Nobody;

impl Surroundings for Nobody {
    fn perform(&self, _effect: Effect) {}
}

fn preamble() -> BytesMut {
    let mut bytes = BytesMut::new();
    encode_preamble(&Preamble::new("test", NodeName::new("n1").expect("legal"), 1), &mut bytes);
    bytes
}

fn machine() -> (Rc<EventLoop<Echo, Nobody>>, Rc<RefCell<Notes>>) {
    let notes = Rc::<RefCell<Notes>>::default();
    let wiring = Wiring {
        clock: Clock::start(),
        links: Links::new(preamble().freeze()),
        heartbeat: Arc::new(AtomicU64::new(0)),
    };
    let machine = EventLoop::new(Echo(Rc::clone(&notes)), Nobody, wiring);
    tokio::task::spawn_local(Rc::clone(&machine).run_timers());
    (machine, notes)
}

fn request(id: u64) -> Message {
    Message::Request(RequestId(id), Request::Control(ControlRequest::FlushProbe))
}

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
            assert!(send(&asking, address, &request(id)));
        }
        let (mut stream, _from) = listener.accept().await.expect("a link");
        let (hello, rest) = handshake(&mut stream, "test").await.expect("one of ours");
        assert_eq!(hello.sender.as_str(), "n1");
        let (answering, _) = machine();
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("a permit");
        let link = tokio::task::spawn_local(serve(answering, stream, rest, permit));
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
        assert!(send(&asking, address, &request(1)));
        until(|| notes.borrow().lost == 1).await;
        assert!(!send(&asking, address, &request(2)));
        tokio::time::sleep(REDIAL_PAUSE_MIN).await;
        assert!(send(&asking, address, &request(3)));
    });
}

#[test]
fn a_peer_that_never_reads_is_given_up() {
    on_one_thread(async {
        let (listener, address) = listener().await;
        let (asking, notes) = machine();
        // Without an await nothing leaves the outbox.
        for id in 0..super::LINK_QUEUE_BYTES_MAX as u64 / 16 {
            assert!(send(&asking, address, &request(id)));
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
    let links = Links::new(Bytes::new());
    let peer: SocketAddr = "127.0.0.1:1".parse().expect("an address");
    let mut now = Mono(1_000_000);
    for wait_ms in [100, 200, 400, 400] {
        links.dial_failed(peer, now);
        assert!(links.is_paused(peer, now.after(Duration::from_millis(wait_ms - 1))));
        now = now.after(Duration::from_millis(wait_ms));
        assert!(!links.is_paused(peer, now));
    }
    links.dial_succeeded(peer);
    links.dial_failed(peer, now);
    assert!(!links.is_paused(peer, now.after(REDIAL_PAUSE_MIN)));
    let other: SocketAddr = "127.0.0.1:2".parse().expect("an address");
    links.dial_failed(other, now.after(PAUSE_MEMORY * 2));
    assert_eq!(links.pauses.borrow().len(), 1);
}

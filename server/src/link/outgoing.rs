//! Links that this thread dials: requests out, replies in.
//!
//! Must not know what is asked. Whatever ends a link, the machine is told once that the peer is lost.

use std::net::SocketAddr;
use std::rc::Rc;

use bytes::BytesMut;
use memring_protocol::frame::InPlace;
use memring_protocol::message::Message;
use tokio::net::TcpStream;

use super::exchange::{Exchange, Incoming, LinkEnd, Side};
use super::outbox::Outbox;
use super::{DIAL_TIMEOUT, LINK_QUEUE_BYTES_MAX, tune};
use crate::event_loop::{EventLoop, Machine, Surroundings};

/// Queues a request for a peer by `push`, dialling first if there is no link. False if a dial has just failed. Whatever is queued
/// on a link that ends is lost, and so is what comes behind [`LINK_QUEUE_BYTES_MAX`] that the peer has let pile up: that
/// ends the link.
pub(crate) fn send<M: Machine, S: Surroundings>(
    thread: &Rc<EventLoop<M, S>>,
    peer: SocketAddr,
    push: impl FnOnce(&Outbox),
) -> bool {
    let links = &thread.links;
    let known = links.outgoing.borrow().get(&peer).cloned();
    let outbox = match known {
        Some(outbox) => outbox,
        None if links.is_paused(peer, thread.clock.now().mono) => return false,
        None => {
            let outbox = Rc::new(Outbox::for_requests(&links.preamble, &links.room));
            links.outgoing.borrow_mut().insert(peer, Rc::clone(&outbox));
            tokio::task::spawn_local(run(Rc::clone(thread), peer, Rc::clone(&outbox)));
            outbox
        }
    };
    if outbox.unsent_bytes() > LINK_QUEUE_BYTES_MAX {
        // Its task tells of the loss, this message's too, when it next runs.
        if !outbox.is_closed() {
            links.room.links_given_up.increment();
        }
        outbox.close();
    } else {
        push(&outbox);
    }
    true
}

async fn run<M: Machine, S: Surroundings>(thread: Rc<EventLoop<M, S>>, peer: SocketAddr, outbox: Rc<Outbox>) {
    let end = match dial(peer).await {
        Ok(mut stream) => {
            tracing::debug!(%peer, "link up");
            let up_at = thread.clock.now().mono;
            let deliver = |incoming: Incoming<'_>| deliver(&thread, peer, incoming);
            let (room, clock, input) = (&thread.links.room, thread.clock, BytesMut::new());
            let end = Exchange::new(&mut stream, &outbox, room, Side::Dialled, clock, input, deliver).run().await;
            thread.links.link_ended(peer, up_at, thread.clock.now().mono);
            end
        }
        Err(error) => {
            thread.links.dial_failed(peer, thread.clock.now().mono);
            LinkEnd::Socket(error)
        }
    };
    end.tell(peer, "outgoing");
    thread.links.forget(peer);
    thread.peer_lost(peer);
}

async fn dial(peer: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(peer))
        .await
        .map_err(|_elapsed| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    tune(&stream);
    Ok(stream)
}

fn deliver<M: Machine, S: Surroundings>(
    thread: &Rc<EventLoop<M, S>>,
    peer: SocketAddr,
    incoming: Incoming<'_>,
) -> Result<(), LinkEnd> {
    match incoming {
        Incoming::InPlace(now, InPlace::Acknowledgements(said)) => {
            let hear = |machine: &mut M, now, fx: &mut _| machine.on_peer_acknowledgements(now, peer, said, fx);
            thread.call_at(now, hear, |_effects| {});
            Ok(())
        }
        Incoming::Message(Message::Reply(id, reply)) => {
            thread.call(|machine, now, fx| machine.on_peer_reply(now, peer, id, reply, fx));
            Ok(())
        }
        Incoming::Moved(id) => {
            thread.call(|machine, now, fx| machine.on_peer_moved(now, peer, id, fx));
            Ok(())
        }
        Incoming::Message(Message::Request(..))
        | Incoming::Refusable(_)
        | Incoming::InPlace(_, InPlace::Replicate(..) | InPlace::Compare(..)) => Err(LinkEnd::WrongSide),
    }
}

//! Links that peers dialled: requests in, replies out.
//!
//! Must not know what is asked, nor who may ask (`handshake`).

use std::rc::Rc;

use bytes::BytesMut;
use memring_protocol::frame::{ACKNOWLEDGEMENTS, FRAGMENTS, InPlace};
use memring_protocol::message::{ControlReply, Message, Refusal, Reply};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::exchange::{Exchange, Incoming, LinkEnd, Side};
use super::outbox::{Outbox, Speech};
use super::tune;
use crate::event_loop::{EventLoop, Machine, Surroundings};

/// Serves a link whose preamble has passed, until it ends. `features` are the preamble's, `input` is what came behind it;
/// `permit` counts the link.
pub(crate) async fn serve<M: Machine, S: Surroundings>(
    thread: Rc<EventLoop<M, S>>,
    mut stream: TcpStream,
    features: u64,
    input: BytesMut,
    permit: OwnedSemaphorePermit,
) {
    tune(&stream);
    let links = &thread.links;
    // An older peer would not know what a preamble means here.
    let outbox = Rc::new(if features & FRAGMENTS != 0 {
        Outbox::for_replies(&links.preamble, Speech::Fragments, features & ACKNOWLEDGEMENTS != 0, &links.room)
    } else {
        Outbox::for_replies(&[], Speech::Whole, false, &links.room)
    });
    let link = thread.links.enter(&outbox);
    let deliver = |incoming: Incoming<'_>| match incoming {
        Incoming::InPlace(now, InPlace::Replicate(id, replicate)) => {
            let replicate = |machine: &mut M, now, fx: &mut _| machine.on_peer_replicate(now, link, id, &replicate, fx);
            thread.call_at(now, replicate, |_effects| {});
            Ok(())
        }
        Incoming::InPlace(now, InPlace::Compare(id, compare)) => {
            let compare = |machine: &mut M, now, fx: &mut _| machine.on_peer_compare(now, link, id, &compare, fx);
            thread.call_at(now, compare, |_effects| {});
            Ok(())
        }
        Incoming::Message(Message::Request(id, request)) => {
            thread.call(|machine, now, fx| machine.on_peer_request(now, link, id, request, fx));
            Ok(())
        }
        Incoming::Refusable(id) => {
            // It will ask in an older way, or someone else.
            let refusal = Reply::Control(ControlReply::Refused(Refusal::Busy));
            outbox.push(&Message::Reply(id, refusal));
            Ok(())
        }
        Incoming::Moved(_) => Ok(()),
        Incoming::Message(Message::Reply(..)) | Incoming::InPlace(_, InPlace::Acknowledgements(_)) => {
            Err(LinkEnd::WrongSide)
        }
    };
    let clock = thread.clock;
    let exchange = Exchange::new(&mut stream, &outbox, &links.room, Side::Serving, clock, input, deliver);
    let end = exchange.run().await;
    end.tell(link.0, "incoming");
    thread.links.leave(link);
    drop(permit);
}

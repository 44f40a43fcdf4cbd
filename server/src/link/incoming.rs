//! Links that peers dialled: requests in, replies out.
//!
//! Must not know what is asked, nor who may ask (`handshake`).

use std::rc::Rc;

use bytes::BytesMut;
use memring_protocol::message::{ControlReply, Message, Refusal, Reply};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::exchange::{Incoming, LinkEnd, exchange};
use super::outbox::Outbox;
use super::{LINK_REPLY_BYTES_MAX, tune};
use crate::event_loop::{EventLoop, Machine, Surroundings};

/// Serves a link whose preamble has passed, until it ends. `input` is what came behind the preamble; `permit` counts the
/// link.
pub(crate) async fn serve<M: Machine, S: Surroundings>(
    thread: Rc<EventLoop<M, S>>,
    mut stream: TcpStream,
    input: BytesMut,
    permit: OwnedSemaphorePermit,
) {
    tune(&stream);
    let outbox = Rc::new(Outbox::default());
    let link = thread.links.enter(&outbox);
    let deliver = |incoming| match incoming {
        Incoming::Message(Message::Request(id, request)) => {
            thread.call(|machine, now, fx| machine.on_peer_request(now, link, id, request, fx));
            Ok(())
        }
        Incoming::Unknown(id) => {
            // It will ask in an older way, or someone else.
            let refusal = Reply::Control(ControlReply::Refused(Refusal::Busy));
            outbox.push(&Message::Reply(id, refusal));
            Ok(())
        }
        Incoming::Message(Message::Reply(..)) => Err(LinkEnd::WrongSide),
    };
    let end = exchange(&mut stream, &outbox, input, LINK_REPLY_BYTES_MAX, deliver).await;
    tracing::debug!(link = link.0, %end, "incoming link down");
    thread.links.leave(link);
    drop(permit);
}

//! What a node wants done: the only way it touches the world.

use std::net::SocketAddr;

use memring_protocol::message::{Acknowledgement, Message, Replicate, RequestId};
use memring_protocol::text::Response;
use smallvec::SmallVec;

use super::events::Event;
use crate::cluster::hints::DiskCall;
use crate::now::ClusterTime;

/// A client's request on this thread: which connection, and its place in that connection's order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket {
    /// The connection's number on this thread.
    pub connection: u64,
    /// The request's number on the connection.
    pub sequence: u64,
}

/// A link that a peer dialled to this thread.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u64);

/// Peers, each with the id that the request to it has: the other homes of a partition, usually two.
pub type Receivers = SmallVec<[(SocketAddr, RequestId); 2]>;

/// One thing for the server (or the simulator) to perform.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Answer a client's request. Given exactly once a ticket, in any order: the connection restores the order.
    Respond(Ticket, Response),
    /// Send a request over this thread's own link to the node that listens on this peer address, dialling if needed.
    /// When that fails, or the link ends before the reply, report the peer lost.
    Send(SocketAddr, Message),
    /// Answer over the link that the request came on; dropped if the link is gone.
    Answer(LinkId, Message),
    /// The same, for [`Reply::Replicate`](memring_protocol::message::Reply::Replicate): those of one turn of a link go
    /// together.
    Acknowledge(LinkId, RequestId, Acknowledgement),
    /// As [`Effect::Send`] of a request of the kind [`Request::Replicate`](memring_protocol::message::Request::Replicate)
    /// to each of these.
    Replicate(Receivers, Replicate),
    /// Send a gossip packet by UDP from the peer port. Control thread only.
    Packet(SocketAddr, Vec<u8>),
    /// Do something with the files of hints, in the order of these effects, and report what came of it. Control thread only.
    HintDisk(DiskCall),
    /// From now on cluster time, on all threads, is this. Control thread only.
    Time(ClusterTime),
    /// Tell those who watch. Given only for kinds that [`Shared::set_watched`](super::Shared::set_watched) names.
    Event(Event),
}

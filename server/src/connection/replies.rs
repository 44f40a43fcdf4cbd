//! Replies on their way out of one connection: put in order, encoded, and bounded.
//!
//! Small replies are one contiguous run of bytes. A large value is sent from where it lies, between runs. Must not know
//! sockets, nor what replies say.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use memring_engine::now::Mono;
use memring_protocol::text::{ErrorReply, Response, miss_line};
use smallvec::SmallVec;

use super::pipeline::{Footprint, Pipeline};
use super::spare::SpareBuffer;
use crate::large::{LARGE_VALUE_BYTES, LargeValues, PINNED_VALUE_BYTES_MIN, Receiving, Sending};
use crate::stopwatch::Asked;

/// Bytes of replies that a connection may owe its client before it stops taking requests: a client that never reads
/// costs this, and what was in flight. Room for two hundred of the largest items at the default `-I`. Large values count
/// although they are not copied; one reply may pass the limit.
pub(crate) const OUTPUT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// An output buffer above this is not kept for the next reply: with room for what fills a connection's output, a thread
/// that sends much asks for no memory.
pub(super) const SPARE_OUTPUT_BYTES_MAX: usize = 2 * OUTPUT_BYTES_MAX;

/// Pieces that one write takes: two replies with large values, and what is behind them.
const WRITE_PIECES: usize = 5;

/// `END` of a get that goes on with more keys: not sent.
const END: &[u8] = b"END\r\n";

/// Which part of a client's command a request is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// All of it, and nobody wants the reply.
    Quiet,
    /// All of it, and nobody wants to be told of a miss.
    HidesMiss,
    /// Some keys of a long get; more follow.
    Some,
    /// The last keys of a long get.
    Last,
}

/// What is owed for a request that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    /// Which part of the client's command it is.
    pub(super) part: Part,
    /// What is timed, if it is.
    pub(super) asked: Option<Asked>,
    /// The turn in which it was begun.
    pub(super) begun: Mono,
}

/// The replies of one connection.
#[derive(Debug)]
pub(super) struct Replies {
    pipeline: Pipeline<Due, Response>,
    /// What goes before `output`: large values, and what stands before each.
    pieces: VecDeque<Piece>,
    pieces_bytes: usize,
    output: BytesMut,
    spare: Rc<SpareBuffer>,
    large: Arc<LargeValues>,
    /// Room of large values that were received, until the requests of these numbers are answered.
    rooms: Vec<(u64, Receiving)>,
    /// How many bytes the client may owe us before no more requests are taken.
    allowance: usize,
    /// A part of a long get failed: its error was the whole answer, and the parts behind it are dropped.
    skipping: bool,
}

/// Bytes that are sent from where they lie.
#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// Given back with it.
    _room: Option<Sending>,
}

impl Replies {
    pub(super) fn new(large: Arc<LargeValues>, spare: Rc<SpareBuffer>) -> Self {
        Self {
            pipeline: Pipeline::new(),
            pieces: VecDeque::new(),
            pieces_bytes: 0,
            output: BytesMut::new(),
            spare,
            large,
            rooms: Vec::new(),
            allowance: OUTPUT_BYTES_MAX,
            skipping: false,
        }
    }

    /// The number that the next request gets.
    pub(super) fn next_sequence(&self) -> u64 {
        self.pipeline.next_sequence()
    }

    /// Whether nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.pipeline.is_idle()
    }

    /// How many requests wait for their answers.
    pub(super) fn in_flight(&self) -> usize {
        self.pipeline.in_flight()
    }

    /// Whether the client owes us reading.
    pub(super) fn is_full(&self) -> bool {
        self.unsent() + self.pipeline.waiting_bytes() >= self.allowance
    }

    /// From how many bytes on it does.
    pub(super) fn allowance(&self) -> usize {
        self.allowance
    }

    /// Says from how many bytes on it does.
    pub(super) fn allow(&mut self, bytes: usize) {
        self.allowance = bytes;
    }

    pub(super) fn may_start(&self, footprint: &Footprint) -> bool {
        self.pipeline.may_start(footprint)
    }

    /// Has the replies to requests written straight into the output, those that are due, if nothing is in flight: returns
    /// how many were answered, as `answer` does, which leaves no more than their replies in the output.
    pub(super) fn pass_together(&mut self, answer: impl FnOnce(&mut BytesMut) -> usize) -> usize {
        if self.skipping || !self.pipeline.is_idle() {
            return 0;
        }
        self.find_room();
        let answered = answer(&mut self.output);
        (0..answered).for_each(|_| self.pipeline.pass());
        answered
    }

    /// As [`Replies::pass_together`], of one request, which may be a part of a get; whether it was answered.
    pub(super) fn pass_alone(&mut self, part: Part, answer: impl FnOnce(&mut BytesMut) -> usize) -> bool {
        let answered = self.pass_together(answer) == 1;
        if answered && part == Part::Some {
            self.cut_end();
        }
        answered
    }

    /// Gives memory that holds nothing back before a wait: what was to be said may have been said to nobody.
    pub(super) fn rest(&mut self) {
        if self.output.is_empty() && self.output.capacity() > 0 {
            self.spare.put(std::mem::take(&mut self.output));
        }
    }

    /// Encodes the reply to a request that was answered at once while nothing was in flight.
    pub(super) fn pass(&mut self, part: Part, response: &Response) {
        self.pipeline.pass();
        self.encode(part, response);
    }

    /// Notes a request whose answer will come.
    pub(super) fn start(&mut self, due: Due, footprint: Footprint) {
        self.pipeline.start(due, footprint);
    }

    /// Puts an error of ours in its place.
    pub(super) fn reject(&mut self, error: ErrorReply) {
        let response = Response::Failed(error);
        let bytes = response_bytes(&response);
        let due = Due { part: Part::Whole, asked: None, begun: Mono(0) };
        self.pipeline.push_answered(due, response, bytes);
        self.encode_ready();
    }

    /// Takes an answer in; `None` if nobody waits for it.
    pub(super) fn answer(&mut self, sequence: u64, response: Response) -> Option<Due> {
        if !self.rooms.is_empty() {
            self.rooms.retain(|(number, _)| *number != sequence);
        }
        let bytes = response_bytes(&response);
        let awaited = self.pipeline.answer(sequence, response, bytes);
        self.encode_ready();
        awaited
    }

    /// Keeps the room of a request's value until that is answered: until then it may not be the store's yet.
    pub(super) fn hold_room(&mut self, sequence: u64, room: Receiving) {
        if self.pipeline.awaits(sequence) {
            self.rooms.push((sequence, room));
        }
    }

    /// Whether large values are in flight.
    pub(super) fn holds_room(&self) -> bool {
        !self.rooms.is_empty()
    }

    /// How many bytes there are to send.
    pub(super) fn unsent(&self) -> usize {
        self.pieces_bytes + self.output.len()
    }

    /// Whether they are one run.
    pub(super) fn is_plain(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The last run of them; all there are, if they are one run.
    pub(super) fn output(&self) -> &[u8] {
        &self.output
    }

    /// The first of them.
    pub(super) fn next_piece(&self) -> &[u8] {
        self.pieces.front().map_or(&self.output, |piece| &piece.bytes)
    }

    /// The first of them, for one write.
    pub(super) fn slices(&self) -> SmallVec<[IoSlice<'_>; WRITE_PIECES]> {
        let pieces = self.pieces.iter().map(|piece| &piece.bytes[..]).chain([&self.output[..]]);
        pieces.take(WRITE_PIECES).map(IoSlice::new).collect()
    }

    /// Drops what was sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        let bytes = if self.pieces.is_empty() { bytes } else { self.sent_pieces(bytes) };
        if bytes < self.output.len() {
            self.output.advance(bytes);
        } else {
            self.output.clear();
            self.rest();
        }
    }

    /// Drops what was sent of the pieces; returns what was sent behind them.
    fn sent_pieces(&mut self, mut bytes: usize) -> usize {
        while let Some(piece) = self.pieces.front_mut() {
            let sent = bytes.min(piece.bytes.len());
            piece.bytes.advance(sent);
            self.pieces_bytes -= sent;
            bytes -= sent;
            if !piece.bytes.is_empty() {
                return 0;
            }
            self.pieces.pop_front();
        }
        self.pieces = VecDeque::new();
        bytes
    }

    fn encode_ready(&mut self) {
        while let Some((due, response)) = self.pipeline.take_next() {
            self.encode(due.part, &response);
        }
    }

    fn encode(&mut self, part: Part, response: &Response) {
        if part == Part::Quiet {
            return;
        }
        let skip = self.skipping;
        if part == Part::Last {
            self.skipping = false;
        }
        if skip {
            return;
        }
        if pinned_values(response) == 0 {
            self.put(response, &mut Vec::new());
        } else if !self.put_pinned(part, response) {
            return;
        }
        if part == Part::Some {
            if matches!(response, Response::Values { .. } | Response::Blocks(_)) {
                self.cut_end();
            } else {
                self.skipping = true;
            }
        }
    }

    /// Takes back the end of a get's answer: more of it follows.
    fn cut_end(&mut self) {
        let end = self.output.len() - END.len();
        debug_assert_eq!(&self.output[end..], END);
        self.output.truncate(end);
    }

    /// Memory for what is put into the output.
    fn find_room(&mut self) {
        if self.output.capacity() == 0 {
            self.output = self.spare.take();
        }
    }

    /// Puts a reply behind all that is to be sent. `rooms` are those of its values that need some, the first one last.
    fn put(&mut self, response: &Response, rooms: &mut Vec<Sending>) {
        self.find_room();
        let Self { pieces, pieces_bytes, .. } = self;
        response.encode_around(&mut self.output, LARGE_VALUE_BYTES, |output, value| {
            let before = output.split().freeze();
            *pieces_bytes += before.len() + value.len();
            pieces.push_back(Piece { bytes: before, _room: None });
            let room = if is_pinned(value) { rooms.pop() } else { None };
            pieces.push_back(Piece { bytes: value.clone(), _room: room });
        });
    }

    /// Puts a reply with values that need room; those that find none are told to be missing, as from a cache that has had
    /// to drop them: every client can go on from a miss, and few from an error. False if nobody is to be told that.
    #[cold]
    fn put_pinned(&mut self, part: Part, response: &Response) -> bool {
        let large = Arc::clone(&self.large);
        let mut rooms = Vec::new();
        let mut finds_room = |value: &Bytes| {
            let room = if is_pinned(value) { large.send(value) } else { return true };
            let found = room.is_some();
            rooms.extend(room);
            if !found {
                large.missed.increment();
            }
            found
        };
        let told = match response {
            Response::Meta(line, Some(value)) if !finds_room(value) => match part {
                Part::HidesMiss => return false,
                _ => Response::Meta(miss_line(line), None),
            },
            Response::Values { with_cas, values } => {
                let values = values.iter().filter(|(_, item)| finds_room(&item.value)).cloned().collect();
                Response::Values { with_cas: *with_cas, values }
            }
            other => other.clone(),
        };
        rooms.reverse();
        self.put(&told, &mut rooms);
        true
    }
}

/// How many values of a response need room.
fn pinned_values(response: &Response) -> usize {
    match response {
        Response::Values { values, .. } => values.iter().filter(|(_, item)| is_pinned(&item.value)).count(),
        Response::Meta(_, Some(value)) => usize::from(is_pinned(value)),
        _ => 0,
    }
}

fn is_pinned(value: &Bytes) -> bool {
    value.len() >= PINNED_VALUE_BYTES_MIN
}

/// About how many bytes a response encodes to: what it costs while it waits.
fn response_bytes(response: &Response) -> usize {
    /// Above the words and numbers of any line.
    const LINE_BYTES: usize = 96;
    match response {
        Response::Values { values, .. } => {
            LINE_BYTES + values.iter().map(|(key, item)| LINE_BYTES + key.len() + item.value.len()).sum::<usize>()
        }
        Response::Stats(stats) => stats.iter().map(|(name, value)| LINE_BYTES + name.len() + value.len()).sum(),
        Response::ServerError(text) => LINE_BYTES + text.len(),
        Response::Meta(line, value) => LINE_BYTES + line.len() + value.as_ref().map_or(0, Bytes::len),
        Response::Blocks(bytes) | Response::Text(bytes) => LINE_BYTES + bytes.len(),
        _ => LINE_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use memring_protocol::entry::{Expiry, Item, Marks};
    use memring_protocol::text::MetaLine;

    use super::*;

    fn values(key: &'static str) -> Response {
        large_values(key, Bytes::from_static(b"v"))
    }

    fn large_values(key: &'static str, value: Bytes) -> Response {
        let item = Item { value, flags: 0, cas: 1, expiry: Expiry::NEVER, marks: Marks::NONE };
        Response::Values { with_cas: false, values: vec![(Bytes::from_static(key.as_bytes()), item)] }
    }

    fn due(part: Part) -> Due {
        Due { part, asked: None, begun: Mono(0) }
    }

    fn replies(room: usize) -> Replies {
        Replies::new(LargeValues::new(room, 0), Rc::new(SpareBuffer::new(SPARE_OUTPUT_BYTES_MAX)))
    }

    /// Takes all there is to send, `most` bytes a write.
    fn drain(replies: &mut Replies, most: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        while replies.unsent() > 0 {
            let bytes = replies.slices().iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>();
            let count = bytes.len().min(most);
            sent.extend_from_slice(&bytes[..count]);
            assert!(replies.next_piece().starts_with(&bytes[..count.min(replies.next_piece().len())]));
            replies.sent(count);
        }
        assert!(replies.is_plain() && replies.large.sent_bytes() == 0);
        sent
    }

    /// Starts requests of these parts, answers them from the last to the first, and returns what is sent.
    fn check(requests: Vec<(Part, Response)>, expected: &str) {
        let mut replies = replies(0);
        for (part, _) in &requests {
            replies.start(due(*part), Footprint::Nothing);
        }
        for (sequence, (_, response)) in requests.into_iter().enumerate().rev() {
            assert!(replies.answer(sequence as u64, response).is_some());
        }
        assert!(replies.is_idle() && !replies.skipping);
        assert_eq!(replies.output().escape_ascii().to_string(), expected.escape_default().to_string());
    }

    #[test]
    fn replies_are_sent_in_order_and_quiet_ones_not_at_all() {
        check(
            vec![(Part::Whole, Response::Stored), (Part::Quiet, Response::NotFound), (Part::Whole, values("a"))],
            "STORED\r\nVALUE a 0 1\r\nv\r\nEND\r\n",
        );
    }

    #[test]
    fn the_parts_of_a_get_are_one_answer() {
        check(
            vec![(Part::Some, values("a")), (Part::Some, values("b")), (Part::Last, values("c"))],
            "VALUE a 0 1\r\nv\r\nVALUE b 0 1\r\nv\r\nVALUE c 0 1\r\nv\r\nEND\r\n",
        );
    }

    #[test]
    fn whoever_is_told_nothing_keeps_no_memory_for_it() {
        let mut replies = replies(0);
        for answered in [0, 1] {
            let answer = |out: &mut BytesMut| {
                out.extend_from_slice(&[b'x'; 100_000]);
                out.clear();
                answered
            };
            assert_eq!(replies.pass_alone(Part::Whole, answer), answered == 1);
            assert!(replies.output.capacity() >= 100_000);
            replies.rest();
            assert_eq!(replies.output.capacity(), 0);
        }
        replies.pass(Part::Whole, &Response::Stored);
        replies.rest();
        assert_eq!(replies.output(), b"STORED\r\n", "what is to be sent stays");
    }

    #[test]
    fn a_large_value_is_sent_from_where_it_lies() {
        let value = Bytes::from(vec![b'x'; LARGE_VALUE_BYTES + 1]);
        let line = MetaLine::from_slice(b"VA 65537\r\n");
        let text = std::str::from_utf8(&value).expect("text");
        let expected =
            format!("STORED\r\nVALUE a 0 65537\r\n{text}\r\nVALUE b 0 1\r\nv\r\nEND\r\nVA 65537\r\n{text}\r\nOK\r\n");
        for most in [999, 40_000, usize::MAX] {
            let mut replies = replies(0);
            replies.pass(Part::Whole, &Response::Stored);
            assert!(replies.is_plain());
            replies.pass(Part::Some, &large_values("a", value.clone()));
            replies.pass(Part::Last, &values("b"));
            replies.pass(Part::Whole, &Response::Meta(line.clone(), Some(value.clone())));
            replies.pass(Part::Whole, &Response::Ok);
            assert_eq!(replies.unsent(), expected.len());
            assert_eq!(replies.slices()[1].as_ptr(), value.as_ptr());
            assert!(drain(&mut replies, most) == expected.as_bytes(), "{most} bytes a write");
        }
    }

    #[test]
    fn a_value_that_finds_no_room_is_a_miss() {
        let value = Bytes::from(vec![b'x'; PINNED_VALUE_BYTES_MIN]);
        let hit = || Response::Meta(MetaLine::from_slice(b"VA 1048576 f5 Oabc kkey\r\n"), Some(value.clone()));
        for (part, response, expected) in [
            (Part::Whole, large_values("a", value.clone()), "END\r\n"),
            (Part::Some, large_values("a", value.clone()), ""),
            (Part::Whole, hit(), "EN Oabc kkey\r\n"),
            (Part::HidesMiss, hit(), ""),
        ] {
            let mut replies = replies(PINNED_VALUE_BYTES_MIN);
            let other = replies.large.send(&Bytes::from(vec![b'y'; PINNED_VALUE_BYTES_MIN]));
            assert!(other.is_some());
            replies.pass(part, &response);
            assert_eq!((replies.output(), replies.large.missed.value()), (expected.as_bytes(), 1), "{part:?}");
            drop(other);
            replies.pass(part, &response);
            assert!(replies.unsent() > value.len() && replies.large.sent_bytes() == value.len());
            replies.sent(replies.unsent());
            assert_eq!(replies.large.sent_bytes(), 0);
        }
    }

    #[test]
    fn the_room_of_a_value_is_held_until_its_request_is_answered() {
        let mut replies = replies(100);
        let large = Arc::clone(&replies.large);
        replies.pass(Part::Whole, &Response::Stored);
        replies.hold_room(0, large.receive(60).expect("there is room"));
        assert!(!replies.holds_room() && large.received_bytes() == 0);
        replies.start(due(Part::Whole), Footprint::Nothing);
        replies.hold_room(1, large.receive(60).expect("there is room"));
        assert!(replies.holds_room() && large.received_bytes() == 60);
        replies.answer(1, Response::Stored);
        assert!(!replies.holds_room() && large.received_bytes() == 0);
    }

    #[test]
    fn an_error_inside_a_get_ends_its_answer() {
        let error = || Response::ServerError("no".to_owned());
        check(
            vec![
                (Part::Some, values("a")),
                (Part::Some, error()),
                (Part::Some, values("b")),
                (Part::Last, values("c")),
                (Part::Whole, Response::Ok),
            ],
            "VALUE a 0 1\r\nv\r\nSERVER_ERROR no\r\nOK\r\n",
        );
        check(
            vec![(Part::Some, error()), (Part::Last, error()), (Part::Whole, Response::Ok)],
            "SERVER_ERROR no\r\nOK\r\n",
        );
    }
}

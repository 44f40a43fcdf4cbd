//! Replies on their way out of one connection: put in order, encoded, and bounded.
//!
//! Must not know sockets, nor what replies say.

use bytes::{Buf, Bytes, BytesMut};
use memring_protocol::text::{ErrorReply, Response};

use super::pipeline::{Footprint, Pipeline};

/// Bytes of replies that a connection may owe its client before it stops taking requests: a client that never reads
/// costs this, and what was in flight. Room for two hundred of the largest items at the default `-I`.
pub(crate) const OUTPUT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What an emptied output buffer may keep.
const SPARE_OUTPUT_BYTES_MAX: usize = 4 * 1024;

/// `END` of a get that goes on with more keys: not sent.
const END: &[u8] = b"END\r\n";

/// Which part of a client's command a request is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// All of it, and nobody wants the reply.
    Quiet,
    /// Some keys of a long get; more follow.
    Some,
    /// The last keys of a long get.
    Last,
}

/// The replies of one connection.
#[derive(Debug)]
pub(super) struct Replies {
    pipeline: Pipeline<Part, Response>,
    output: BytesMut,
    /// A part of a long get failed: its error was the whole answer, and the parts behind it are dropped.
    skipping: bool,
}

impl Replies {
    pub(super) fn new() -> Self {
        Self { pipeline: Pipeline::new(), output: BytesMut::new(), skipping: false }
    }

    /// The number that the next request gets.
    pub(super) fn next_sequence(&self) -> u64 {
        self.pipeline.next_sequence()
    }

    /// Whether nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.pipeline.is_idle()
    }

    /// Whether the client owes us reading.
    pub(super) fn is_full(&self) -> bool {
        self.output.len() + self.pipeline.waiting_bytes() >= OUTPUT_BYTES_MAX
    }

    pub(super) fn may_start(&self, footprint: &Footprint) -> bool {
        self.pipeline.may_start(footprint)
    }

    /// Encodes the reply to a request that was answered at once while nothing was in flight.
    pub(super) fn pass(&mut self, part: Part, response: &Response) {
        self.pipeline.pass();
        self.encode(part, response);
    }

    /// Notes a request whose answer will come.
    pub(super) fn start(&mut self, part: Part, footprint: Footprint) {
        self.pipeline.start(part, footprint);
    }

    /// Puts an error of ours in its place.
    pub(super) fn reject(&mut self, error: ErrorReply) {
        let response = Response::Failed(error);
        let bytes = response_bytes(&response);
        self.pipeline.push_answered(Part::Whole, response, bytes);
        self.encode_ready();
    }

    /// Takes an answer in; false if nobody waits for it.
    pub(super) fn answer(&mut self, sequence: u64, response: Response) -> bool {
        let bytes = response_bytes(&response);
        let awaited = self.pipeline.answer(sequence, response, bytes);
        self.encode_ready();
        awaited
    }

    /// Bytes to send.
    pub(super) fn output(&self) -> &[u8] {
        &self.output
    }

    /// Drops what was sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.output.advance(bytes);
        if self.output.is_empty() && self.output.capacity() > SPARE_OUTPUT_BYTES_MAX {
            self.output = BytesMut::new();
        }
    }

    fn encode_ready(&mut self) {
        while let Some((part, response)) = self.pipeline.take_next() {
            self.encode(part, &response);
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
        response.encode(&mut self.output);
        if part == Part::Some {
            if matches!(response, Response::Values { .. }) {
                let end = self.output.len() - END.len();
                debug_assert_eq!(&self.output[end..], END);
                self.output.truncate(end);
            } else {
                self.skipping = true;
            }
        }
    }
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
        Response::Text(lines) => LINE_BYTES + lines.len(),
        _ => LINE_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use memring_protocol::entry::{Expiry, Item, Marks};

    use super::*;

    fn values(key: &'static str) -> Response {
        let item =
            Item { value: Bytes::from_static(b"v"), flags: 0, cas: 1, expiry: Expiry::NEVER, marks: Marks::NONE };
        Response::Values { with_cas: false, values: vec![(Bytes::from_static(key.as_bytes()), item)] }
    }

    /// Starts requests of these parts, answers them from the last to the first, and returns what is sent.
    fn check(requests: Vec<(Part, Response)>, expected: &str) {
        let mut replies = Replies::new();
        for (part, _) in &requests {
            replies.start(*part, Footprint::Nothing);
        }
        for (sequence, (_, response)) in requests.into_iter().enumerate().rev() {
            assert!(replies.answer(sequence as u64, response));
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

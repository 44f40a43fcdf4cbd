//! Replies of one connection put to its requests, in their order.
//!
//! Must not know sockets or what is counted. Values are looked at where they were received, and not kept.

use std::collections::VecDeque;

use memring_client::raw::{ReplyLine, ReplyStep, parse_reply};

use super::workload::Request;

/// A request that waits for its reply; times in nanoseconds since the start of the load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Waiting {
    pub(super) request: Request,
    /// When it was due.
    pub(super) due: u64,
    /// When it was sent.
    pub(super) sent: u64,
}

/// What a reply says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome<'a> {
    /// So many of the keys had a value.
    Values { hits: u16 },
    /// The value was stored.
    Stored,
    /// `ERROR` or `CLIENT_ERROR`, and its words.
    Refused(&'a [u8]),
    /// `SERVER_ERROR`, and its words.
    Failed(&'a [u8]),
}

/// The server does not speak the protocol, or answers something else: nothing that follows can be understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OutOfStep;

/// Requests on their way, oldest first.
#[derive(Default, Debug)]
pub(super) struct Replies {
    waiting: VecDeque<Waiting>,
    /// Values so far of the get that is being answered.
    hits: u16,
}

impl Replies {
    /// How many requests wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The one that has waited longest.
    pub(super) fn oldest(&self) -> Option<&Waiting> {
        self.waiting.front()
    }

    /// A request has been sent.
    pub(super) fn expect(&mut self, request: Request, due: u64, sent: u64) {
        self.waiting.push_back(Waiting { request, due, sent });
    }

    /// Takes what can be understood of these bytes, and hands over each request with its outcome; how many bytes that were.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        mut on_reply: impl FnMut(Waiting, Outcome<'_>),
    ) -> Result<usize, OutOfStep> {
        let mut taken = 0;
        while taken < bytes.len() {
            let (consumed, reply) = match parse_reply(&bytes[taken..]) {
                ReplyStep::Reply { consumed, reply } => (consumed, reply),
                ReplyStep::Incomplete { .. } => break,
                ReplyStep::Malformed => return Err(OutOfStep),
            };
            taken += consumed;
            let Some(waiting) = self.waiting.front().copied() else { return Err(OutOfStep) };
            let outcome = match (reply, waiting.request) {
                (ReplyLine::Value { .. }, Request::Get { keys }) if self.hits < keys => {
                    self.hits += 1;
                    continue;
                }
                (ReplyLine::End, Request::Get { .. }) => Outcome::Values { hits: self.hits },
                (ReplyLine::Stored, Request::Set) => Outcome::Stored,
                (ReplyLine::Error(words) | ReplyLine::ClientError(words), _) => Outcome::Refused(words),
                (ReplyLine::ServerError(words), _) => Outcome::Failed(words),
                _ => return Err(OutOfStep),
            };
            self.hits = 0;
            self.waiting.pop_front();
            on_reply(waiting, outcome);
        }
        Ok(taken)
    }

    /// Nothing that waits will be answered.
    pub(super) fn give_up(&mut self) -> impl Iterator<Item = Waiting> + '_ {
        self.hits = 0;
        self.waiting.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(requests: &[Request]) -> Replies {
        let mut replies = Replies::default();
        for (at, request) in requests.iter().enumerate() {
            replies.expect(*request, at as u64, at as u64);
        }
        replies
    }

    /// Feeds the bytes in pieces of every size: what was said of which request.
    fn told(requests: &[Request], bytes: &[u8]) -> Result<Vec<String>, OutOfStep> {
        let mut first = None;
        for piece in 1..=bytes.len().max(1) {
            let (mut replies, mut told, mut received) = (replies(requests), Vec::new(), Vec::new());
            let mut outcome = Ok(());
            for piece in bytes.chunks(piece) {
                received.extend_from_slice(piece);
                let taken =
                    replies.take(&received, |waiting, outcome| told.push(format!("{} {outcome:?}", waiting.due)));
                match taken {
                    Ok(taken) => drop(received.drain(..taken)),
                    Err(error) => {
                        outcome = Err(error);
                        break;
                    }
                }
            }
            let told = outcome.map(|()| told);
            assert_eq!(*first.get_or_insert_with(|| told.clone()), told, "in pieces of {piece}");
        }
        first.expect("a first piece")
    }

    const GET: Request = Request::Get { keys: 2 };

    #[test]
    fn replies_go_to_their_requests_in_order() {
        let bytes = b"VALUE a 0 5\r\nEND\r\n\r\nEND\r\nSTORED\r\nEND\r\nSERVER_ERROR no\r\nCLIENT_ERROR a\r\nERROR\r\n";
        let told = told(&[GET, Request::Set, GET, Request::Set, GET, Request::Set], bytes).expect("in step");
        assert_eq!(
            told,
            [
                "0 Values { hits: 1 }",
                "1 Stored",
                "2 Values { hits: 0 }",
                &format!("3 Failed({:?})", b"no"),
                &format!("4 Refused({:?})", b"a"),
                "5 Refused([])",
            ]
        );
    }

    #[test]
    fn what_answers_nothing_is_out_of_step() {
        for (requests, bytes) in [
            (&[][..], &b"STORED\r\n"[..]),
            (&[GET], b"STORED\r\n"),
            (&[Request::Set], b"END\r\n"),
            (&[Request::Set], b"HTTP/1.0 400 Bad Request\r\n"),
            (&[GET], b"VALUE a 0 0\r\n\r\nVALUE a 0 0\r\n\r\nVALUE a 0 0\r\n\r\n"),
        ] {
            assert_eq!(told(requests, bytes), Err(OutOfStep), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_given_up_is_handed_back() {
        let mut replies = replies(&[GET, Request::Set]);
        replies.take(b"VALUE a 0 0\r\n\r\n", |_, _| panic!("not complete")).expect("in step");
        assert_eq!((replies.len(), replies.oldest().map(|waiting| waiting.due)), (2, Some(0)));
        assert_eq!(replies.give_up().map(|waiting| waiting.due).collect::<Vec<_>>(), [0, 1]);
        // The value that came belongs to nothing that follows.
        replies.expect(GET, 7, 7);
        let mut hits = None;
        replies.take(b"END\r\n", |_, outcome| hits = Some(format!("{outcome:?}"))).expect("in step");
        assert_eq!(hits.as_deref(), Some("Values { hits: 0 }"));
    }
}

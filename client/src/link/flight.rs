//! What is on its way over one connection: requests become bytes, reply lines become answers, in the same order.
//!
//! Must not know sockets. A caller that has gone keeps its place: its answer is read and dropped, so that the next one goes
//! to the next caller.

use std::collections::VecDeque;

use bytes::BytesMut;
use memring_protocol::text::{ReplyLine, encode_get};

use super::coalesce::Line;
use super::queue::{Answered, Asking, Fits, Job};
use crate::answer::{Answer, Partial, refusal};
use crate::error::Error;

/// A request whose answer is due.
#[derive(Debug)]
struct Due {
    /// The place of its first byte in all that is said on the connection.
    start: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    Line { line: Box<Line>, waiting: Vec<Answered> },
    Said { partial: Partial, fits: Fits, answered: Answered },
}

impl What {
    fn answer(self, result: &mut dyn FnMut() -> Result<Answer, Error>) -> usize {
        match self {
            Self::Line { waiting, .. } => {
                let count = waiting.len();
                // Who has gone does not want to know.
                waiting.into_iter().for_each(|answered| drop(answered.send(result())));
                count
            }
            Self::Said { answered, .. } => {
                let _ = answered.send(result());
                1
            }
        }
    }
}

/// All requests on their way, first sent first.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    due: VecDeque<Due>,
    /// Bytes said so far.
    said: u64,
}

impl Flight {
    /// Whether nothing is due.
    pub(crate) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// Appends jobs as bytes to `out`. Jobs that wait at the same time have no order among them: reads go last, put together
    /// to lines of several keys.
    pub(crate) fn say(&mut self, jobs: impl IntoIterator<Item = Job>, out: &mut BytesMut) {
        let mut lines: Vec<(Box<Line>, Vec<Answered>)> = Vec::new();
        for Job { asking, answered } in jobs {
            match asking {
                Asking::Read { keys, with_cas } => {
                    let last = lines.iter_mut().rev().find(|(line, _)| line.with_cas() == with_cas);
                    match last.filter(|(line, _)| line.has_room(with_cas, keys.len())) {
                        Some((line, waiting)) => {
                            line.add_reader(keys);
                            waiting.push(answered);
                        }
                        None => {
                            let mut line = Box::new(Line::new(with_cas));
                            line.add_reader(keys);
                            lines.push((line, vec![answered]));
                        }
                    }
                }
                Asking::Say { bytes, expected, fits } => {
                    out.extend_from_slice(&bytes);
                    self.push(bytes.len(), What::Said { partial: Partial::new(expected), fits, answered });
                }
            }
        }
        for (line, waiting) in lines {
            let before = out.len();
            encode_get(line.keys(), line.with_cas(), out);
            self.push(out.len() - before, What::Line { line, waiting });
        }
    }

    fn push(&mut self, bytes: usize, what: What) {
        self.due.push_back(Due { start: self.said, what });
        self.said += bytes as u64;
    }

    /// Takes the next reply line. How many jobs it was the last line for.
    pub(crate) fn on_reply(&mut self, reply: ReplyLine<'_>) -> Result<usize, Error> {
        let Some(due) = self.due.front_mut() else {
            return Err(Error::OutOfProtocol("more answers than requests".to_owned()));
        };
        let answer = match &mut due.what {
            What::Said { partial, fits, .. } => match partial.take(reply)? {
                None => return Ok(0),
                Some(answer) if fits.allows(&answer) => answer,
                Some(answer) => {
                    return Err(Error::OutOfProtocol(format!("{answer:?} does not answer the request")));
                }
            },
            What::Line { line, .. } => match reply {
                ReplyLine::Value { key, flags, cas, value } => {
                    let due = line.on_value(key, flags, cas, value);
                    due.map_err(|_| Error::OutOfProtocol("a value that was not asked for".to_owned()))?;
                    return Ok(0);
                }
                ReplyLine::End => return Ok(self.land()),
                other => match refusal(other) {
                    Some(answer) => answer,
                    None => return Err(Error::OutOfProtocol(format!("{other:?} where values were due"))),
                },
            },
        };
        let due = self.due.pop_front().expect("it was there");
        Ok(due.what.answer(&mut || Ok(answer.clone())))
    }

    /// The first line has come home: its readers have their values.
    fn land(&mut self) -> usize {
        let Some(Due { what: What::Line { line, waiting }, .. }) = self.due.pop_front() else {
            unreachable!("a line is due");
        };
        let count = waiting.len();
        for (answered, values) in waiting.into_iter().zip(line.finish()) {
            let _ = answered.send(Ok(Answer::Values(values)));
        }
        count
    }

    /// The connection has ended with this error after so many bytes were written: what was not begun was certainly not
    /// done. How many jobs were answered.
    pub(crate) fn fail(&mut self, written: u64, error: &Error) -> usize {
        let mut count = 0;
        for due in self.due.drain(..) {
            let is_unsent = due.start >= written;
            count += due.what.answer(&mut || {
                Err(if is_unsent {
                    Error::NotSent("the connection ended before it was its turn")
                } else {
                    error.again()
                })
            });
        }
        self.said = 0;
        count
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use memring_protocol::text::{ReplyStep, parse_reply};
    use tokio::sync::oneshot;

    use super::*;
    use crate::pipeline::Expected;

    type Waiting = oneshot::Receiver<Result<Answer, Error>>;

    fn read(key: &'static str) -> (Job, Waiting) {
        let (answered, answer) = oneshot::channel();
        (
            Job { asking: Asking::Read { keys: [Bytes::from(key)].into_iter().collect(), with_cas: false }, answered },
            answer,
        )
    }

    fn say(words: &'static str) -> (Job, Waiting) {
        let (answered, answer) = oneshot::channel();
        let fits = Fits::If(|answer| matches!(answer, Answer::Touched | Answer::Number(_)));
        (Job { asking: Asking::Say { bytes: Bytes::from(words), expected: Expected::Line, fits }, answered }, answer)
    }

    /// What is said for jobs, and their receivers.
    fn said(flight: &mut Flight, jobs: Vec<(Job, Waiting)>) -> (String, Vec<Waiting>) {
        let (jobs, waiting): (Vec<Job>, Vec<Waiting>) = jobs.into_iter().unzip();
        let mut out = BytesMut::new();
        flight.say(jobs, &mut out);
        (String::from_utf8_lossy(&out).into_owned(), waiting)
    }

    fn hear(flight: &mut Flight, mut replies: &[u8]) -> Result<usize, Error> {
        let mut answered = 0;
        while let ReplyStep::Reply { consumed, reply } = parse_reply(replies) {
            answered += flight.on_reply(reply)?;
            replies = &replies[consumed..];
        }
        Ok(answered)
    }

    fn told(waiting: Vec<Waiting>) -> Vec<String> {
        let told = |mut answer: Waiting| match answer.try_recv() {
            Ok(Ok(Answer::Values(values))) => {
                values.iter().map(|value| value.bytes.escape_ascii().to_string()).collect()
            }
            Ok(Ok(answer)) => format!("{answer:?}"),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "nothing".to_owned(),
        };
        waiting.into_iter().map(told).collect()
    }

    #[test]
    fn reads_that_wait_together_are_one_line_and_each_reader_has_its_own() {
        let mut flight = Flight::default();
        let (words, waiting) = said(&mut flight, vec![read("a"), say("touch t 1\r\n"), read("b"), read("a")]);
        assert_eq!(words, "touch t 1\r\nget a b\r\n");
        assert_eq!(hear(&mut flight, b"TOUCHED\r\nVALUE a 0 1\r\nA\r\nEND\r\n").unwrap(), 4);
        assert!(flight.is_empty());
        assert_eq!(told(waiting), ["A", "Touched", "", "A"]);
    }

    #[test]
    fn a_caller_that_has_gone_does_not_shift_the_answers_of_others() {
        let mut flight = Flight::default();
        let (_, mut waiting) = said(&mut flight, vec![say("incr a 1\r\n"), say("incr b 1\r\n")]);
        let (_, more) = said(&mut flight, vec![read("a")]);
        drop(waiting.remove(0));
        assert_eq!(hear(&mut flight, b"1\r\n2\r\nVALUE a 0 1\r\n1\r\nEND\r\n").unwrap(), 3);
        assert_eq!(told(waiting), ["Number(2)"]);
        assert_eq!(told(more), ["1"]);
    }

    #[test]
    fn a_refused_line_is_refused_to_all_of_its_readers() {
        let mut flight = Flight::default();
        let (_, waiting) = said(&mut flight, vec![read("a"), read("b")]);
        hear(&mut flight, b"SERVER_ERROR out of memory\r\n").unwrap();
        assert_eq!(told(waiting), ["Failed(\"out of memory\")", "Failed(\"out of memory\")"]);
    }

    #[test]
    fn what_no_request_asked_for_is_out_of_protocol() {
        for (key, replies) in [("a", &b"VALUE b 0 1\r\nB\r\n"[..]), ("a", b"STORED\r\n"), ("a", b"END\r\nEND\r\n")] {
            let mut flight = Flight::default();
            let (_, _waiting) = said(&mut flight, vec![read(key)]);
            assert!(matches!(hear(&mut flight, replies), Err(Error::OutOfProtocol(_))), "{}", replies.escape_ascii());
        }
        let mut flight = Flight::default();
        let (_, _waiting) = said(&mut flight, vec![say("incr a 1\r\n")]);
        assert!(matches!(hear(&mut flight, b"DELETED\r\n"), Err(Error::OutOfProtocol(_))));
    }

    #[test]
    fn what_was_not_begun_when_a_connection_ends_was_certainly_not_done() {
        let mut flight = Flight::default();
        let (words, waiting) = said(&mut flight, vec![say("incr a 1\r\n"), say("incr b 1\r\n"), read("c")]);
        assert_eq!(words.find("incr b"), Some(10));
        assert_eq!(flight.fail(11, &Error::Closed), 3);
        let unsent = "nothing was sent: the connection ended before it was its turn";
        assert_eq!(told(waiting), ["the server closed the connection", "the server closed the connection", unsent]);
    }
}

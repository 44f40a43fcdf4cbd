//! Requests that wait for one connection: many callers put them in, its driver takes them out, within named limits.
//!
//! Must not know connections or what is asked. A caller that finds no room waits: that is the back-pressure.

use std::collections::VecDeque;
use std::pin::pin;

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::{Notify, oneshot};

use crate::answer::Answer;
use crate::error::Error;
use crate::pipeline::Expected;

/// Requests that wait for a connection or are on their way over it, as told by [`Limits`](crate::Limits).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct QueueLimits {
    /// Requests, waiting and on their way.
    pub(crate) requests_max: usize,
    /// Bytes of those that wait. One request that is larger goes alone.
    pub(crate) bytes_max: usize,
}

/// Where an answer goes. Whoever waits may have gone.
pub(crate) type Answered = oneshot::Sender<Result<Answer, Error>>;

/// What is to be asked.
#[derive(Debug)]
pub(crate) enum Asking {
    /// Values, as part of a line with other readers' keys. Answered by [`Answer::Values`] with the hits in order.
    Read {
        /// Checked; at least one.
        keys: SmallVec<[Bytes; 1]>,
        /// Whether cas tokens are wanted.
        with_cas: bool,
    },
    /// Bytes of one request, and how its answer looks.
    Say {
        /// The request.
        bytes: Bytes,
        /// How its answer ends.
        expected: Expected,
        /// Which answers there can be.
        fits: Fits,
    },
}

/// Which answers a request can have, beside being refused: any other belongs to another request.
#[derive(Debug)]
pub(crate) enum Fits {
    /// Those of which this is true.
    If(fn(&Answer) -> bool),
    /// The value of this key, or none.
    ValueOf(Bytes),
}

impl Fits {
    /// Whether this can be the answer.
    pub(crate) fn allows(&self, answer: &Answer) -> bool {
        match (self, answer) {
            (_, Answer::Refused(_) | Answer::Failed(_)) => true,
            (Self::If(is_one), answer) => is_one(answer),
            (Self::ValueOf(key), Answer::Values(values)) => {
                values.len() <= 1 && values.iter().all(|value| value.key == key)
            }
            (Self::ValueOf(_), _) => false,
        }
    }
}

impl Asking {
    /// About as many bytes as it will be sent as.
    fn bytes(&self) -> usize {
        match self {
            Self::Read { keys, .. } => keys.iter().map(|key| key.len() + 1).sum(),
            Self::Say { bytes, .. } => bytes.len(),
        }
    }
}

/// A request, and who waits for its answer.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) asking: Asking,
    pub(crate) answered: Answered,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue {
    limits: QueueLimits,
    state: Mutex<State>,
    /// The driver is told that something came.
    came: Notify,
    /// Callers are told that something went.
    went: Notify,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    bytes: usize,
    /// Taken by the driver, and not answered yet.
    on_their_way: usize,
    closed: bool,
}

impl Queue {
    /// Empty.
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self { limits, state: Mutex::default(), came: Notify::new(), went: Notify::new() }
    }

    /// Waits for room, and puts a job in. Dropped, it has put nothing in. Fails when the queue is closed.
    pub(crate) async fn put(&self, job: Job) -> Result<(), Error> {
        let Err(mut job) = self.try_put(job)? else { return Ok(()) };
        loop {
            let mut went = pin!(self.went.notified());
            // From here on nothing that goes is missed.
            went.as_mut().enable();
            match self.try_put(job)? {
                Ok(()) => return Ok(()),
                Err(refused) => job = refused,
            }
            went.await;
        }
    }

    /// Puts a job in if there is room; gives it back if not.
    fn try_put(&self, job: Job) -> Result<Result<(), Job>, Error> {
        let bytes = job.asking.bytes();
        let mut state = self.state.lock();
        if state.closed {
            return Err(Error::NotSent("the server is no longer part of the cluster"));
        }
        let requests = state.jobs.len() + state.on_their_way;
        let is_too_much = state.bytes + bytes > self.limits.bytes_max && !state.jobs.is_empty();
        if requests >= self.limits.requests_max || is_too_much {
            return Ok(Err(job));
        }
        state.bytes += bytes;
        let was_empty = state.jobs.is_empty();
        state.jobs.push_back(job);
        drop(state);
        if was_empty {
            self.came.notify_one();
        }
        Ok(Ok(()))
    }

    /// Takes what waits, up to about so many bytes: what they come to counts as on its way until [`Queue::on_answered`].
    /// Whom nobody waits for any more is left out.
    pub(crate) fn take(&self, bytes_max: usize, out: &mut Vec<Job>) {
        let mut state = self.state.lock();
        let mut taken = 0;
        let mut left_out = false;
        while taken < bytes_max {
            let Some(job) = state.jobs.pop_front() else { break };
            let bytes = job.asking.bytes();
            state.bytes -= bytes;
            if job.answered.is_closed() {
                left_out = true;
                continue;
            }
            taken += bytes.max(1);
            state.on_their_way += 1;
            out.push(job);
        }
        drop(state);
        if left_out || taken > 0 {
            self.went.notify_waiters();
        }
    }

    /// So many requests were answered, or given up.
    pub(crate) fn on_answered(&self, count: usize) {
        if count > 0 {
            self.state.lock().on_their_way -= count;
            self.went.notify_waiters();
        }
    }

    /// Whether something waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().jobs.is_empty()
    }

    /// Waits until something came, or the queue was closed. May return without either.
    pub(crate) async fn wait(&self) {
        self.came.notified().await;
    }

    /// Whether nothing more will come.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Takes nothing more. What waits is still sent.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.came.notify_one();
        self.went.notify_waiters();
    }

    /// Answers all that waits with an error each.
    pub(crate) fn fail(&self, error: impl Fn() -> Error) {
        let jobs = {
            let mut state = self.state.lock();
            state.bytes = 0;
            std::mem::take(&mut state.jobs)
        };
        self.went.notify_waiters();
        for job in jobs {
            // Who has gone does not want to know.
            let _ = job.answered.send(Err(error()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: QueueLimits = QueueLimits { requests_max: 3, bytes_max: 100 };

    fn job(bytes: usize) -> (Job, oneshot::Receiver<Result<Answer, Error>>) {
        let (answered, answer) = oneshot::channel();
        let (bytes, fits) = (Bytes::from(vec![b'x'; bytes]), Fits::If(|_| true));
        (Job { asking: Asking::Say { bytes, expected: Expected::Line, fits }, answered }, answer)
    }

    fn has_room(queue: &Queue, bytes: usize) -> bool {
        let (job, answer) = job(bytes);
        std::mem::forget(answer);
        queue.try_put(job).expect("it is open").is_ok()
    }

    #[test]
    fn requests_and_bytes_are_limited_and_what_is_on_its_way_counts() {
        let queue = Queue::new(LIMITS);
        assert!(has_room(&queue, 1000), "one that is too large goes alone");
        assert!(!has_room(&queue, 1));
        let mut taken = Vec::new();
        queue.take(10, &mut taken);
        assert_eq!(taken.len(), 1);
        assert!(has_room(&queue, 60) && !has_room(&queue, 60) && has_room(&queue, 40));
        assert!(!has_room(&queue, 0), "three are waiting or on their way");
        queue.on_answered(1);
        assert!(!has_room(&queue, 1) && has_room(&queue, 0));
        queue.take(60, &mut taken);
        assert_eq!(taken.len(), 2, "no more than was asked for");
    }

    #[test]
    fn whom_nobody_waits_for_is_not_sent() {
        let queue = Queue::new(LIMITS);
        let (dropped, answer) = job(1);
        assert!(matches!(queue.try_put(dropped), Ok(Ok(()))));
        drop(answer);
        assert!(has_room(&queue, 2));
        let mut taken = Vec::new();
        queue.take(100, &mut taken);
        assert!(matches!(&taken[..], [Job { asking: Asking::Say { bytes, .. }, .. }] if bytes.len() == 2));
    }

    #[tokio::test]
    async fn a_caller_waits_for_room_and_is_told_when_the_queue_closes() {
        let queue = Queue::new(LIMITS);
        (0..3).for_each(|_| assert!(has_room(&queue, 1)));
        let free = async {
            tokio::task::yield_now().await;
            let mut taken = Vec::new();
            queue.take(1, &mut taken);
            queue.on_answered(1);
        };
        let (job_a, _answer) = job(1);
        let (put, ()) = tokio::join!(queue.put(job_a), free);
        assert!(put.is_ok());
        let (job_b, _answer) = job(1);
        let (put, ()) = tokio::join!(queue.put(job_b), async { queue.close() });
        assert!(matches!(put, Err(Error::NotSent(_))));
    }

    #[tokio::test]
    async fn what_waits_when_no_connection_comes_about_is_told_so() {
        let queue = Queue::new(LIMITS);
        let (waiting, answer) = job(1);
        assert!(matches!(queue.try_put(waiting), Ok(Ok(()))));
        queue.fail(|| Error::NotSent("a test"));
        assert!(matches!(answer.await, Ok(Err(Error::NotSent("a test")))));
        assert!(queue.is_empty());
    }
}

//! One call, asked of one server after the other until one answers, as far as that is safe, allowed and in time.
//!
//! Must not know commands. What is safe: to ask another server when the one before was certainly told nothing, and, for reads
//! and for writes of which the caller says so, when it failed. The second kind takes from the retry budget.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::view::View;
use super::{Client, Shared};
use crate::answer::Answer;
use crate::error::Error;
use crate::link::Asking;
use crate::routing::{Purpose, Route};

/// What is said when there is nobody to ask.
pub(super) const NOBODY: &str = "no server may be asked now";

impl Client {
    /// Asks for a key, and makes of the answer what `read` says, which has all answers that fit the request.
    pub(super) async fn ask<T>(
        &self,
        key: &[u8],
        purpose: Purpose,
        asking: impl Fn() -> Asking,
        read: impl FnOnce(Answer) -> Option<T>,
    ) -> Result<T, Error> {
        let shared = &*self.shared;
        shared.calls.fetch_add(1, Ordering::Relaxed);
        let view = shared.view.load_full();
        let call = self.begin_call(&view, purpose);
        let mut route = Route::of(&view.topology, &shared.options.zone, key, purpose);
        let mut is_second_round = false;
        let mut failure = Error::NotSent(NOBODY);
        loop {
            let Some(server) = route.next(&view.topology, |server| view.may_ask(server)) else {
                if is_second_round || !may_turn_back(&failure) {
                    return Err(failure);
                }
                is_second_round = true;
                route = Route::of(&view.topology, &shared.options.zone, key, purpose);
                continue;
            };
            let link = view.link(server).expect("a server that may be asked has a link");
            match link.call(asking(), call.attempt_until(), call.within).await {
                Ok(answer) => return understood(answer, read),
                Err(error) if call.goes_on_after(shared, &error) => failure = error,
                Err(error) => return Err(error),
            }
        }
    }

    /// What holds for all attempts of a call that begins now.
    pub(super) fn begin_call(&self, view: &View, purpose: Purpose) -> Call {
        let repeats = purpose == Purpose::Read || self.terms.repeats_writes;
        let has_others = view.topology.is_one_cache() && view.topology.servers().len() > 1;
        let within = self.terms.deadline;
        Call {
            within,
            deadline: Instant::now() + within,
            attempt: if repeats && has_others { self.shared.options.attempt } else { within },
            repeats,
        }
    }
}

/// A call and its limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// How long it may take in all, and until when.
    pub(super) within: Duration,
    deadline: Instant,
    /// How long one server may take.
    attempt: Duration,
    /// Whether it may be asked again although it may have been applied.
    repeats: bool,
}

impl Call {
    /// Until when the server that is asked now may take.
    pub(super) fn attempt_until(&self) -> Instant {
        if self.attempt >= self.within { self.deadline } else { self.deadline.min(Instant::now() + self.attempt) }
    }

    /// Whether another server is to be asked after this failure. If so, it may have taken from the budget.
    pub(super) fn goes_on_after(&self, shared: &Shared, error: &Error) -> bool {
        let now = Instant::now();
        if now >= self.deadline {
            return false;
        }
        if error.is_unsent() {
            return true;
        }
        let may = self.repeats
            && error.is_of_server()
            && shared.budget.lock().take(now.duration_since(shared.began), shared.calls.load(Ordering::Relaxed));
        if may {
            shared.repeats.fetch_add(1, Ordering::Relaxed);
        }
        may
    }
}

/// Whether the same servers may be asked once more: a connection that the server had closed meanwhile, perhaps while the request
/// waited behind others, is no reason not to.
pub(super) fn may_turn_back(error: &Error) -> bool {
    match error {
        Error::Broken(_) | Error::Closed => true,
        error => error.is_unsent() && !matches!(error, Error::Connect(_) | Error::NotSent(NOBODY)),
    }
}

/// What an answer means, unless it is a refusal.
pub(super) fn understood<T>(answer: Answer, read: impl FnOnce(Answer) -> Option<T>) -> Result<T, Error> {
    match answer {
        Answer::Refused(text) => Err(Error::Refused(text)),
        Answer::Failed(text) => Err(Error::Failed(text)),
        answer => read(answer).ok_or_else(|| Error::OutOfProtocol("an answer of another kind".to_owned())),
    }
}

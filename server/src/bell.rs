//! A bell: one task waits for it, and whatever runs on the same thread rings it.
//!
//! What a `Notify` is between threads, without its lock: workers share nothing with each other. Must not know why it is
//! rung.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// See the top of the file.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Bell {
    /// Wakes the task that waits, or lets the next wait be over at once. Ringing twice is ringing once.
    pub(crate) fn ring(&self) {
        if !self.rung.replace(true)
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// Ready once for each time that it was rung since it was ready last.
    pub(crate) fn poll_rung(&self, cx: &Context<'_>) -> Poll<()> {
        if self.rung.replace(false) {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        match &mut *waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits until it is rung.
    pub(crate) async fn rung(&self) {
        poll_fn(|cx| self.poll_rung(cx)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_wakes_once_however_often_it_is_rung() {
        let bell = Bell::default();
        let cx = Context::from_waker(Waker::noop());
        assert!(bell.poll_rung(&cx).is_pending());
        bell.ring();
        bell.ring();
        assert!(bell.poll_rung(&cx).is_ready() && bell.poll_rung(&cx).is_pending());
    }

    #[test]
    fn a_task_that_waits_is_woken() {
        let runtime = crate::threads::runtime().expect("a runtime");
        let bell = std::rc::Rc::new(Bell::default());
        let ringer = std::rc::Rc::clone(&bell);
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            tokio::task::spawn_local(async move { ringer.ring() });
            bell.rung().await;
        });
    }
}

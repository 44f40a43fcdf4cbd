//! What a connection does while it has nothing to do: waits for its client, for answers, or for its patience to end.
//!
//! Must not know what is read.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use super::Connection;
use crate::arrival::Arrived;

/// What a wait ended with.
enum Woken {
    Readable,
    /// There may be room to send, or an answer has come: the loop looks.
    Otherwise,
    Lapsed,
}

impl Connection {
    /// Waits for something to do, and reads if there is something to read.
    pub(super) async fn wait(&mut self, may_read: bool, unsent: usize) -> io::Result<()> {
        let lapse = self.next_lapse(may_read, unsent);
        let woken = match lapse {
            None => self.woken(may_read, unsent > 0).await?,
            Some((at, _)) => {
                let mut lapsed = pin!(tokio::time::sleep(self.thread.clock.until(at)));
                let mut woken = pin!(self.woken(may_read, unsent > 0));
                poll_fn(|cx| match woken.as_mut().poll(cx) {
                    Poll::Ready(woken) => Poll::Ready(woken),
                    Poll::Pending => lapsed.as_mut().poll(cx).map(|()| Ok(Woken::Lapsed)),
                })
                .await?
            }
        };
        match (woken, lapse) {
            (Woken::Readable, _) => self.read().await,
            (Woken::Lapsed, Some((_, lapse))) => self.end_for(lapse),
            (Woken::Otherwise | Woken::Lapsed, _) => Ok(()),
        }
    }

    /// Waits for the socket, where something is wanted of it, and for the bell.
    async fn woken(&self, reads: bool, writes: bool) -> io::Result<Woken> {
        poll_fn(|cx| {
            if reads && let Poll::Ready(ready) = self.stream.poll_readable(cx) {
                return Poll::Ready(ready.map(|()| Woken::Readable));
            }
            if writes && let Poll::Ready(ready) = self.stream.poll_writable(cx) {
                return Poll::Ready(ready.map(|()| Woken::Otherwise));
            }
            self.shelf.bell.poll_rung(cx).map(|()| Ok(Woken::Otherwise))
        })
        .await
    }

    pub(super) async fn read(&mut self) -> io::Result<()> {
        match self.input.read(&mut self.stream, self.needed, &self.thread.surroundings.spare).await? {
            Arrived::Bytes(count) => {
                self.thread.surroundings.traffic.count_read(count);
                self.hear_data();
                if self.input.has_block() || self.input.is_filled() {
                    // There is more where that came from: a large value, or a pipeline that never ends. Others have their
                    // turn before.
                    tokio::task::yield_now().await;
                }
            }
            Arrived::Nothing => {}
            Arrived::End => self.ending = true,
        }
        Ok(())
    }
}

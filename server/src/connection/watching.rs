//! A connection that watches: it takes no commands any more and gets a line for each event.
//!
//! Must not know what the events are, or how lines are written (`watch`).

use std::io;

use bytes::{Buf, BytesMut};
use memring_protocol::text::{ErrorReply, WatchKinds};
use tokio::io::Interest;

use super::{Connection, Mode, Stall};
use crate::registry::State;

/// What a watcher says is read and dropped in pieces of this size.
const IGNORED_BYTES: usize = 4 * 1024;

impl Connection {
    /// `watch`: begins once all earlier replies are sent, unless the client has not waited for those.
    pub(super) fn start_watch(&mut self, kinds: WatchKinds) -> Result<(), Stall> {
        let enabled = self.thread.surroundings.door.shared.settings().watch_enabled;
        let refusal = match () {
            () if !enabled => ErrorReply::WatchDisabled,
            () if self.batched => ErrorReply::PipelinedWatch,
            () if !self.shelf.replies.borrow().is_idle() => return Err(Stall::InFlight),
            () => {
                self.mode = Mode::Watching(kinds);
                return Ok(());
            }
        };
        self.shelf.replies.borrow_mut().reject(refusal);
        Ok(())
    }

    /// Watches until the client goes or the node stops. False if there are too many watchers: then the client is told,
    /// and may say something else.
    pub(super) async fn watch(&mut self, kinds: WatchKinds) -> io::Result<bool> {
        let Some(watching) = self.thread.surroundings.door.watchers.enter(kinds) else {
            self.mode = Mode::Commands;
            self.shelf.replies.borrow_mut().reject(ErrorReply::TooManyWatchers);
            return Ok(false);
        };
        self.entry.is_now(State::Watch);
        let mut out = BytesMut::new();
        while !self.shelf.is_stopping() {
            let blocked = loop {
                watching.take(&mut out);
                if out.is_empty() {
                    break false;
                }
                if !self.send_lines(&mut out)? {
                    break true;
                }
                tokio::task::consume_budget().await;
            };
            let interest = if blocked { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            let readable = tokio::select! {
                ready = self.stream.ready(interest) => ready?.is_readable(),
                () = watching.more(), if !blocked => false,
                () = self.shelf.bell.rung() => false,
            };
            if readable && !self.ignore_input()? {
                break;
            }
        }
        // What was told up to the stop, as far as the socket takes it.
        watching.take(&mut out);
        self.send_lines(&mut out)?;
        Ok(true)
    }

    /// Sends as much as the socket takes now; whether that was all.
    fn send_lines(&self, out: &mut BytesMut) -> io::Result<bool> {
        while !out.is_empty() {
            let Some(count) = self.write(|stream| stream.try_write(out))? else { return Ok(false) };
            out.advance(count);
        }
        Ok(true)
    }

    /// Drops what the client says; false if it has gone.
    fn ignore_input(&self) -> io::Result<bool> {
        match self.stream.try_read(&mut [0; IGNORED_BYTES]) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.thread.surroundings.traffic.count_read(count);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

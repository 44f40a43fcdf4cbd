//! foca's hooks: what it wants sent and timed is collected here, and the rumours it carries go to the roster.
//!
//! Must not judge: the roster says what is news, `Membership` what follows.

use std::sync::Arc;
use std::time::Duration;

use foca::{BroadcastHandler, Notification, Runtime, Timer};
use memring_protocol::codec::CodecError;
use memring_protocol::gossip::{NodeId, Rumour};
use parking_lot::Mutex;

use super::roster::Roster;

/// Hands rumours to the roster. foca owns it, so the roster is shared; it is locked only while one side speaks, and never
/// across a call of foca.
pub(super) struct Rumours(pub(super) Arc<Mutex<Roster>>);

impl BroadcastHandler<NodeId> for Rumours {
    type Key = Rumour;
    type Error = CodecError;

    fn receive_item(&mut self, bytes: &[u8], sender: Option<&NodeId>) -> Result<Option<Rumour>, CodecError> {
        let rumour = Rumour::from_bytes(bytes)?;
        let is_news = self.0.lock().hear(&rumour, sender.is_none());
        Ok(is_news.then_some(rumour))
    }
}

/// What foca wants done, until the call returns.
#[derive(Default)]
pub(super) struct Wishes {
    pub(super) sends: Vec<(NodeId, Vec<u8>)>,
    pub(super) timers: Vec<(Duration, Timer<NodeId>)>,
}

impl Runtime<NodeId> for Wishes {
    // What changed is read from foca's list afterwards: it also holds suspicions, of which foca does not notify.
    fn notify(&mut self, _notification: Notification<'_, NodeId>) {}

    fn send_to(&mut self, to: NodeId, bytes: &[u8]) {
        self.sends.push((to, bytes.to_vec()));
    }

    fn submit_after(&mut self, timer: Timer<NodeId>, after: Duration) {
        self.timers.push((after, timer));
    }
}

//! foca's hooks: what it wants sent and timed is collected here, and the rumours it carries go to the roster.
//!
//! Must not judge: the roster says what is news, `Membership` what follows.

use std::sync::Arc;
use std::time::Duration;

use foca::{BroadcastHandler, Notification, Runtime, Timer};
use memring_protocol::gossip::{GossipError, NodeId, Rumour};
use parking_lot::Mutex;

use super::roster::Roster;

/// Hands rumours to the roster. foca owns it, so the roster is shared; it is locked only while one side speaks, and never
/// across a call of foca.
pub(super) struct Rumours(pub(super) Arc<Mutex<Roster>>);

impl BroadcastHandler<NodeId> for Rumours {
    type Key = Rumour;
    type Error = GossipError;

    fn receive_item(&mut self, bytes: &[u8], sender: Option<&NodeId>) -> Result<Option<Rumour>, GossipError> {
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
    /// Whether foca came to take part in a cluster, or ceased to, when it said so.
    pub(super) takes_part: Option<bool>,
}

impl Runtime<NodeId> for Wishes {
    // Which members changed is read from foca's list afterwards: it also holds suspicions, of which foca does not notify.
    fn notify(&mut self, notification: Notification<'_, NodeId>) {
        match notification {
            Notification::Active => self.takes_part = Some(true),
            Notification::Idle | Notification::Defunct | Notification::Rejoin(_) => self.takes_part = Some(false),
            Notification::MemberUp(_) | Notification::MemberDown(_) | Notification::Rename(..) => {}
        }
    }

    fn send_to(&mut self, to: NodeId, bytes: &[u8]) {
        self.sends.push((to, bytes.to_vec()));
    }

    fn submit_after(&mut self, timer: Timer<NodeId>, after: Duration) {
        self.timers.push((after, timer));
    }
}

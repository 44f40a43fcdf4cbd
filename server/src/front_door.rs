//! What all client connections of the process share: who may log in, who is here, and how to stop the node.
//!
//! Must not know sockets, or what a command means.

use std::sync::Arc;
use std::time::Duration;

use memring_engine::node::Shared;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::config::{Accounts, AuthFile, Config};
use crate::facts::FactSources;
use crate::signals::Stop;
use crate::watch::Watchers;

/// Shared by the workers and the control thread.
pub(crate) struct FrontDoor {
    pub(crate) facts: FactSources,
    /// Those who may log in; `None` lets everyone do everything.
    pub(crate) auth: Option<Auth>,
    /// How long a client may send no command.
    pub(crate) idle_timeout: Option<Duration>,
    /// Why the process is to stop; the first reason is enough.
    pub(crate) stops: mpsc::Sender<Stop>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) watchers: Arc<Watchers>,
}

impl FrontDoor {
    pub(crate) fn new(config: &Config, shared: Arc<Shared>, facts: FactSources, stops: mpsc::Sender<Stop>) -> Self {
        let idle_timeout = (config.idle_timeout_s > 0).then(|| Duration::from_secs(config.idle_timeout_s.into()));
        let watchers = Arc::new(Watchers::new(Arc::clone(&shared), facts.clock));
        Self { facts, auth: config.auth_file.as_ref().map(Auth::new), idle_timeout, stops, shared, watchers }
    }
}

/// The accounts of the moment.
pub(crate) struct Auth {
    path: String,
    /// Taken for a pointer's copy at a login, and when the file is read again.
    accounts: Mutex<Arc<Accounts>>,
}

impl Auth {
    fn new(file: &AuthFile) -> Self {
        Self { path: file.path.clone(), accounts: Mutex::new(Arc::new(file.accounts.clone())) }
    }

    /// Whether this user may log in with this password.
    pub(crate) fn admits(&self, user: &[u8], password: &[u8]) -> bool {
        let accounts = Arc::clone(&self.accounts.lock());
        accounts.hold(user, password)
    }

    /// Reads the file again; keeps what it said before if it is bad. Whoever is logged in stays so.
    pub(crate) fn reload(&self) {
        match Accounts::read(&self.path) {
            Ok(accounts) => {
                *self.accounts.lock() = Arc::new(accounts);
                tracing::info!("--auth-file {} is read again", self.path);
            }
            Err(why) => tracing::warn!("--auth-file {}: {why}: the accounts stay as they were", self.path),
        }
    }
}

//! The control thread's loop: gossip, joining, leaving.
//!
//! Must not know how a membership is decided: it brings packets and addresses to the engine's control.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use memring_engine::node::{Control, Effect, Shared};
use memring_engine::now::Now;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use crate::config::JoinTarget;
use crate::event_loop::{EventLoop, Surroundings};
use crate::hint_disk::HintDisk;

/// The control thread's event loop.
pub(crate) type ControlLoop = EventLoop<Control, Outside>;

/// The largest packet that UDP carries.
const PACKET_BYTES_MAX: usize = 64 * 1024;

/// How often the names of `--join` are looked up while this node is alone…
const JOIN_ALONE: Duration = Duration::from_secs(5);

/// … and afterwards: pods that came since then.
const JOIN_IN_COMPANY: Duration = Duration::from_secs(30);

/// How long one name may take to look up.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// The most addresses that one round of look-ups hands over.
const JOIN_ADDRESSES_MAX: usize = 1024;

/// Performs the effects that only the control thread has.
pub(crate) struct Outside {
    udp: Rc<UdpSocket>,
    hint_disk: Option<HintDisk>,
}

impl Outside {
    pub(crate) fn new(udp: Rc<UdpSocket>, hint_disk: Option<HintDisk>) -> Self {
        Self { udp, hint_disk }
    }
}

impl Surroundings for Outside {
    fn perform(&self, _now: Now, effect: Effect) {
        match effect {
            Effect::Packet(to, packet) => {
                // Gossip expects losses: a socket that is full loses this one.
                if let Err(error) = self.udp.try_send_to(&packet, to) {
                    tracing::debug!(%to, %error, "a packet is lost");
                }
            }
            Effect::HintDisk(call) => {
                if let Some(disk) = &self.hint_disk {
                    disk.call(call);
                }
            }
            // Not shown: effects can hold values.
            _ => tracing::error!("an effect that the control thread does not have"),
        }
    }
}

/// Hands packets to the engine for ever.
pub(crate) async fn receive_packets(thread: Rc<ControlLoop>) {
    let udp = Rc::clone(&thread.surroundings.udp);
    let mut packet = vec![0; PACKET_BYTES_MAX];
    loop {
        match udp.recv_from(&mut packet).await {
            Ok((length, from)) => {
                thread.call(|control, now, fx| control.on_packet(now, from, &packet[..length], fx));
            }
            // A port that nobody listens on answers so; the packet was lost, nothing else.
            Err(error) => tracing::debug!(%error, "a packet was not received"),
        }
        tokio::task::consume_budget().await;
    }
}

/// Looks the names of `--join` up again and again and hands the addresses to the engine.
pub(crate) async fn keep_joining(thread: Rc<ControlLoop>, shared: Arc<Shared>, targets: Vec<JoinTarget>, port: u16) {
    let own = shared.settings().peer;
    loop {
        let mut addresses = Vec::new();
        for target in &targets {
            match look_up(target, port).await {
                Ok(found) => addresses.extend(found.into_iter().filter(|&address| address != own)),
                Err(error) => tracing::warn!(%target, %error, "cannot look up a node to join"),
            }
        }
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(JOIN_ADDRESSES_MAX);
        tracing::debug!(?addresses, "joining");
        if !addresses.is_empty() {
            thread.call(|control, now, fx| control.join(now, &addresses, fx));
        }
        let alone = shared.cluster_view().members.len() <= 1;
        tokio::time::sleep(if alone { JOIN_ALONE } else { JOIN_IN_COMPANY }).await;
    }
}

async fn look_up(target: &JoinTarget, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    let lookup = tokio::net::lookup_host((target.host.as_str(), target.port.unwrap_or(port)));
    let found = tokio::time::timeout(LOOKUP_TIMEOUT, lookup)
        .await
        .map_err(|_elapsed| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    Ok(found.collect())
}

/// Leaves the ring when the admin port is told to.
pub(crate) async fn drain_when_told(thread: Rc<ControlLoop>, told: Arc<Notify>) {
    loop {
        told.notified().await;
        tracing::info!("told to leave the ring");
        thread.call(Control::drain);
    }
}

//! Keeps the kernel's list of leased devices like dnsmasq's: by its events at once, by its file at the start and every minute.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kavadam_domain::{Mac, Timestamp};
use kavadam_firewall::Gate;
use tokio::net::UnixDatagram;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::core::Device;
use crate::devices::Devices;
use crate::engine::{EngineHandle, Message};
use crate::lease::{Lease, LeaseAction, LeaseEvent, read_event, read_file};

const LOOK_EVERY: Duration = Duration::from_mins(1);
/// How much longer than the lease the kernel admits a device: dnsmasq, which is never late by as much, ends it first.
const GRACE: Duration = Duration::from_mins(2);
const MOST_EVENT_OCTETS: usize = 512;

/// The task's own state.
pub(crate) struct LeaseKeeper {
    pub gate: Arc<Gate>,
    pub devices: Devices,
    pub engine: EngineHandle,
    pub file: PathBuf,
    /// How long a lease is where an event does not say.
    pub duration: Duration,
    pub known: HashMap<Ipv4Addr, (Mac, Option<Timestamp>)>,
}

impl LeaseKeeper {
    /// Takes in what dnsmasq's file says; without a file there are no leases yet.
    pub async fn read_file(&mut self) {
        let text = match tokio::fs::read_to_string(&self.file).await {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => {
                tracing::warn!(%error, "cannot read the lease file");
                return;
            }
        };
        let now = clock::now();
        for lease in read_file(&text) {
            let is_over = lease.until.is_some_and(|until| until <= now);
            let is_known = self.known.get(&lease.ipv4) == Some(&(lease.mac, lease.until));
            if !is_over && !is_known {
                self.hold(lease, now).await;
            }
        }
    }

    /// Listens until cancelled.
    pub async fn run(mut self, socket: UnixDatagram, cancel: CancellationToken) {
        let mut buffer = [0; MOST_EVENT_OCTETS];
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = look.tick() => self.read_file().await,
                received = socket.recv(&mut buffer) => match received {
                    Ok(length) => {
                        let text = buffer.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok());
                        if let Some(event) = text.and_then(read_event) {
                            self.take_in(event).await;
                        } else {
                            tracing::warn!("a message on the lease socket is no lease event");
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot read the lease socket");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        }
    }

    async fn take_in(&mut self, event: LeaseEvent) {
        let Lease { mac, ipv4, .. } = event.lease;
        match event.action {
            LeaseAction::Held => self.hold(event.lease, clock::now()).await,
            LeaseAction::Ended => {
                self.known.remove(&ipv4);
                self.devices.end_lease(mac, ipv4);
                if let Err(error) = self.gate.revoke_lease(mac, ipv4) {
                    tracing::error!(%error, "cannot revoke a lease");
                }
                self.engine.send(Message::Address(mac, None)).await;
            }
        }
    }

    async fn hold(&mut self, lease: Lease, now: Timestamp) {
        let Lease { mac, ipv4, until } = lease;
        let ttl = until.map_or(self.duration, |until| until.since(now)) + GRACE;
        if let Err(error) = self.gate.admit_lease(mac, ipv4, Some(ttl)) {
            tracing::error!(%error, "cannot admit a lease");
            return;
        }
        let was = self.known.insert(ipv4, (mac, until));
        self.devices.lease(mac, ipv4);
        self.engine.send(Message::Address(mac, Some(ipv4))).await;
        if was.is_none_or(|(owner, _)| owner != mac) {
            // Remembered devices are online before their first request.
            let device = Device {
                mac,
                ipv4: Some(ipv4),
                ipv6: None,
            };
            self.engine.send(Message::Knock(device, None)).await;
        }
    }
}

//! Keeps the kernel's list of leased devices like dnsmasq's: by its events at once, by its file at the start and every minute.
//!
//! What the file says is admitted in the kernel at once; the engine is told of it afterwards, at a measured pace, so that a
//! start with very many leases neither waits for the engine nor floods the server with questions.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kavadam_domain::{Mac, Timestamp};
use kavadam_firewall::DhcpPool;
use tokio::net::UnixDatagram;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::core::Device;
use crate::devices::Devices;
use crate::engine::{EngineHandle, Message};
use crate::fingerprints::Fingerprints;
use crate::kernel::Admission;
use crate::lease::{Lease, LeaseAction, LeaseEvent, read_event, read_file};
use crate::pool::Pool;

const LOOK_EVERY: Duration = Duration::from_mins(1);
/// How much longer than the lease the kernel admits a device: dnsmasq, which is never late by as much, ends it first.
const GRACE: Duration = Duration::from_mins(2);
const MOST_EVENT_OCTETS: usize = 512;
/// Of what the file brought, so many at each step are told to the engine: 1,280 a second.
const TOLD_AT_ONCE: usize = 64;
const PACE: Duration = Duration::from_millis(50);
/// How often those are looked for that were not there. After a boot the bridge has heard of nobody yet, while most phones have an address and ask for none.
const ABSENT_EVERY: Duration = Duration::from_secs(1);

/// When a lease ends by the wall clock, to which dnsmasq keeps, and by one that nobody sets. A machine that has no clock of its own gives leases before it
/// knows the time; when it does, they are all over at once, and their devices know nothing of it.
struct Term {
    until: Timestamp,
    ends: Instant,
}

impl Term {
    /// Whether the wall clock alone says that it is over. Nothing is as exact as a minute here.
    fn is_cut_short(&self) -> bool {
        self.until <= clock::now() && self.ends > Instant::now() + LOOK_EVERY
    }
}

/// The task's own state.
pub(crate) struct LeaseKeeper<G> {
    gate: G,
    devices: Devices,
    fingerprints: Fingerprints,
    engine: EngineHandle,
    file: PathBuf,
    /// How long a lease is where an event does not say.
    duration: Duration,
    pool: Pool,
    known: HashMap<Ipv4Addr, (Mac, Option<Timestamp>)>,
    terms: HashMap<Ipv4Addr, Term>,
    /// Admitted, and the engine not told yet.
    untold: VecDeque<Ipv4Addr>,
    /// Known, and not in the file when it was last read.
    missing: HashSet<Ipv4Addr>,
    /// Have a lease, and were not there when they were looked for last.
    absent: HashSet<Mac>,
    seen: fn(&Devices, Vec<Mac>) -> Vec<Mac>,
}

impl<G: Admission> LeaseKeeper<G> {
    /// A keeper that knows of no lease yet.
    pub fn new(gate: G, devices: Devices, engine: EngineHandle, file: PathBuf, pool: DhcpPool) -> Self {
        let duration = pool.lease;
        Self {
            gate,
            devices,
            fingerprints: Fingerprints::new(duration),
            engine,
            file,
            duration,
            pool: Pool::new(pool.addresses),
            known: HashMap::new(),
            terms: HashMap::new(),
            untold: VecDeque::new(),
            missing: HashSet::new(),
            absent: HashSet::new(),
            seen: Devices::seen,
        }
    }

    /// How devices ask, for who looks on.
    pub fn fingerprints(&self) -> Fingerprints {
        self.fingerprints.clone()
    }

    /// Takes in what dnsmasq's file says; without a file there are no leases yet. Waits for nobody but the kernel.
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
        let leases = read_file(&text);
        self.end_missing(&leases).await;
        for lease in leases {
            let is_over = lease.until.is_some_and(|until| until <= now);
            let is_known = self.known.get(&lease.ipv4) == Some(&(lease.mac, lease.until));
            if is_over || is_known {
                continue;
            }
            let was = self.known.get(&lease.ipv4).map(|(owner, _)| *owner);
            if let Some(other) = was.filter(|was| *was != lease.mac) {
                self.end(other, lease.ipv4).await;
            }
            if self.admit(lease, now) && was != Some(lease.mac) {
                self.untold.push_back(lease.ipv4);
            }
        }
        self.pool.look(self.known.len(), Instant::now());
    }

    /// Ends leases whose `del` we missed. dnsmasq writes its file in place, so one reading may have found half of it: what is
    /// missing twice is gone.
    async fn end_missing(&mut self, leases: &[Lease]) {
        let listed: HashSet<(Ipv4Addr, Mac)> = leases.iter().map(|lease| (lease.ipv4, lease.mac)).collect();
        let unlisted = self
            .known
            .iter()
            .filter(|(ipv4, (mac, _))| !listed.contains(&(**ipv4, *mac)) && !self.is_cut_short(**ipv4));
        let missing: HashMap<Ipv4Addr, Mac> = unlisted.map(|(ipv4, (mac, _))| (*ipv4, *mac)).collect();
        let before = std::mem::replace(&mut self.missing, missing.keys().copied().collect());
        for (ipv4, mac) in missing {
            if before.contains(&ipv4) {
                self.missing.remove(&ipv4);
                self.end(mac, ipv4).await;
            }
        }
    }

    /// Tells the engine of some that it has not heard of, as they stand now.
    async fn tell_some(&mut self) {
        let some = self.untold.drain(..self.untold.len().min(TOLD_AT_ONCE));
        let owned = some.filter_map(|ipv4| Some((self.known.get(&ipv4)?.0, ipv4)));
        // Not what an event has overtaken meanwhile.
        let current: Vec<(Mac, Ipv4Addr)> = owned
            .filter(|(mac, ipv4)| self.devices.address_of(*mac) == Some(*ipv4))
            .collect();
        for (mac, ipv4) in &current {
            self.engine.send(Message::Address(*mac, *ipv4)).await;
        }
        self.ask_after(current).await;
    }

    /// Whoever was not there and is by now is told of anew, at the same pace.
    async fn look_again(&mut self) {
        for mac in self.look(self.absent.iter().copied().collect()).await {
            self.absent.remove(&mac);
            self.untold.extend(self.devices.address_of(mac));
        }
    }

    /// Listens until cancelled.
    pub async fn run(mut self, socket: UnixDatagram, cancel: CancellationToken) {
        let mut buffer = [0; MOST_EVENT_OCTETS];
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut pace = tokio::time::interval(PACE);
        // Nothing is owed for the time in which there was nobody to tell of.
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut absent = tokio::time::interval(ABSENT_EVERY);
        absent.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = look.tick() => self.read_file().await,
                _ = pace.tick(), if !self.untold.is_empty() => self.tell_some().await,
                _ = absent.tick(), if !self.absent.is_empty() => self.look_again().await,
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
            LeaseAction::Held => {
                let was = self.known.get(&ipv4).map(|(owner, _)| *owner);
                self.missing.remove(&ipv4);
                // Of the one before nobody may have said that it ended.
                if let Some(other) = was.filter(|was| *was != mac) {
                    self.end(other, ipv4).await;
                }
                self.devices.place(mac, event.place);
                if let Some(fingerprint) = event.fingerprint {
                    self.fingerprints.asked(mac, fingerprint, Instant::now());
                }
                if self.admit(event.lease, clock::now()) {
                    self.tell(mac, ipv4, was != Some(mac)).await;
                }
            }
            // Its device goes on, and the kernel's entry ends in its own time; another that gets the address takes it over.
            LeaseAction::Ended if self.is_held_by(mac, ipv4) && self.is_cut_short(ipv4) => {
                tracing::debug!(%ipv4, "the clock was set: a lease ends before its time");
            }
            LeaseAction::Ended => self.end(mac, ipv4).await,
        }
        self.pool.look(self.known.len(), Instant::now());
    }

    async fn end(&mut self, mac: Mac, ipv4: Ipv4Addr) {
        if self.is_held_by(mac, ipv4) {
            self.known.remove(&ipv4);
            self.terms.remove(&ipv4);
        }
        self.devices.end_lease(mac, ipv4);
        self.absent.remove(&mac);
        if let Err(error) = self.gate.revoke_lease(mac, ipv4) {
            tracing::error!(%error, "cannot revoke a lease");
        }
        self.engine.send(Message::AddressGone(mac, ipv4)).await;
    }

    fn is_held_by(&self, mac: Mac, ipv4: Ipv4Addr) -> bool {
        self.known.get(&ipv4).is_some_and(|(owner, _)| *owner == mac)
    }

    fn is_cut_short(&self, ipv4: Ipv4Addr) -> bool {
        self.terms.get(&ipv4).is_some_and(Term::is_cut_short)
    }

    /// Whether the kernel took it.
    fn admit(&mut self, lease: Lease, now: Timestamp) -> bool {
        let Lease { mac, ipv4, until } = lease;
        let span = until.map_or(self.duration, |until| until.since(now));
        if let Err(error) = self.gate.admit_lease(mac, ipv4, Some(span + GRACE)) {
            tracing::error!(%error, "cannot admit a lease");
            return false;
        }
        self.known.insert(ipv4, (mac, until));
        let term = Term {
            until: until.unwrap_or(now + span),
            ends: Instant::now() + span,
        };
        self.terms.insert(ipv4, term);
        self.devices.lease(mac, ipv4);
        true
    }

    async fn tell(&mut self, mac: Mac, ipv4: Ipv4Addr, is_new: bool) {
        self.engine.send(Message::Address(mac, ipv4)).await;
        if is_new || self.absent.contains(&mac) {
            self.ask_after(vec![(mac, ipv4)]).await;
        }
    }

    /// Has the engine ask whether these are remembered, so that they are online before their first request; not those that are not there. A request for an
    /// address is no proof that its device is: anybody may send one in its name.
    async fn ask_after(&mut self, devices: Vec<(Mac, Ipv4Addr)>) {
        let seen = self.look(devices.iter().map(|(mac, _)| *mac).collect()).await;
        for (mac, ipv4) in devices {
            if !seen.contains(&mac) {
                self.absent.insert(mac);
                continue;
            }
            self.absent.remove(&mac);
            let device = Device {
                mac,
                ipv4: Some(ipv4),
                ipv6: None,
            };
            self.engine.send(Message::Knock(device, None)).await;
        }
    }

    /// Those that are there, or of whom nobody can tell; where it holds nobody else up.
    async fn look(&mut self, macs: Vec<Mac>) -> HashSet<Mac> {
        let (devices, seen, asked) = (self.devices.clone(), self.seen, macs.clone());
        let looked = tokio::task::spawn_blocking(move || seen(&devices, macs)).await;
        let there = looked.unwrap_or_else(|panic| {
            tracing::error!(%panic, "the look at who is there ended unexpectedly");
            asked
        });
        there.into_iter().collect()
    }
}

#[cfg(test)]
mod tests;

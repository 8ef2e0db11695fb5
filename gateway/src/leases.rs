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
        for _ in 0..TOLD_AT_ONCE {
            let Some(ipv4) = self.untold.pop_front() else { return };
            let owner = self.known.get(&ipv4).map(|(mac, _)| *mac);
            // Not what an event has overtaken meanwhile.
            if let Some(mac) = owner.filter(|mac| self.devices.address_of(*mac) == Some(ipv4)) {
                self.tell(mac, ipv4, true).await;
            }
        }
    }

    /// Listens until cancelled.
    pub async fn run(mut self, socket: UnixDatagram, cancel: CancellationToken) {
        let mut buffer = [0; MOST_EVENT_OCTETS];
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut pace = tokio::time::interval(PACE);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = look.tick() => self.read_file().await,
                _ = pace.tick(), if !self.untold.is_empty() => self.tell_some().await,
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
                // One that asks by the same Client Identifier gets the lease of another MAC, of which nobody says that it ends.
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

    async fn tell(&self, mac: Mac, ipv4: Ipv4Addr, is_new: bool) {
        self.engine.send(Message::Address(mac, ipv4)).await;
        if is_new {
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

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::{Arc, Mutex};

    use kavadam_firewall::FirewallError;
    use tokio::sync::mpsc;

    use super::*;

    /// The pairs that may send.
    #[derive(Clone, Default)]
    struct FakeGate(Arc<Mutex<HashSet<(Mac, Ipv4Addr)>>>);

    impl Admission for FakeGate {
        fn admit_lease(&self, mac: Mac, ipv4: Ipv4Addr, _: Option<Duration>) -> Result<(), FirewallError> {
            self.0.lock().unwrap().insert((mac, ipv4));
            Ok(())
        }
        fn revoke_lease(&self, mac: Mac, ipv4: Ipv4Addr) -> Result<(), FirewallError> {
            self.0.lock().unwrap().remove(&(mac, ipv4));
            Ok(())
        }
    }

    struct Scene {
        keeper: LeaseKeeper<FakeGate>,
        gate: FakeGate,
        messages: mpsc::Receiver<Message>,
        dir: tempfile::TempDir,
    }

    fn scene(file: &str) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("leases");
        std::fs::write(&path, file).unwrap();
        let (handle, messages) = EngineHandle::new();
        let gate = FakeGate::default();
        Scene {
            keeper: LeaseKeeper::new(gate.clone(), Devices::default(), handle, path, DhcpPool::default()),
            gate,
            messages,
            dir,
        }
    }

    impl Scene {
        fn admitted(&self) -> usize {
            self.gate.0.lock().unwrap().len()
        }

        /// Addresses that were said to be gone.
        fn gone(&mut self) -> Vec<Ipv4Addr> {
            let mut gone = Vec::new();
            while let Ok(message) = self.messages.try_recv() {
                if let Message::AddressGone(_, ipv4) = message {
                    gone.push(ipv4);
                }
            }
            gone
        }
    }

    const LEASE: &str = "0 02:00:00:00:00:01 10.80.1.1 * *\n";
    const OTHER: &str = "0 02:00:00:00:00:02 10.80.1.2 * *\n";

    #[tokio::test]
    async fn admits_ten_thousand_leases_before_anybody_listens_and_tells_of_them_in_time() {
        let mut text = String::new();
        for n in 0..10_000_u32 {
            let [_, _, high, low] = n.to_be_bytes();
            let _ = writeln!(text, "0 02:00:00:00:{high:02x}:{low:02x} 10.80.{high}.{low} * *");
        }
        let mut scene = scene(&text);
        let reading = tokio::time::timeout(Duration::from_mins(1), scene.keeper.read_file());
        reading.await.expect("waits for no engine");
        assert_eq!(scene.admitted(), 10_000);
        assert!(scene.messages.is_empty());

        let socket = crate::lease::listen(&scene.dir.path().join("socket")).unwrap();
        let cancel = CancellationToken::new();
        let keeper = tokio::spawn(scene.keeper.run(socket, cancel.clone()));
        let began = tokio::time::Instant::now();
        let (mut knocks, mut addresses) = (0, 0);
        while knocks < 1_280 {
            match scene.messages.recv().await.unwrap() {
                Message::Knock(..) => knocks += 1,
                Message::Address(..) => addresses += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(addresses, 1_280);
        assert!(began.elapsed() >= Duration::from_millis(500), "no flood");
        cancel.cancel();
        keeper.await.unwrap();
    }

    #[tokio::test]
    async fn ends_a_lease_that_is_twice_missing_from_the_file() {
        let mut scene = scene(&format!("{LEASE}{OTHER}"));
        scene.keeper.read_file().await;
        assert_eq!(scene.admitted(), 2);
        std::fs::write(&scene.keeper.file, OTHER).unwrap();
        scene.keeper.read_file().await;
        assert_eq!(scene.admitted(), 2, "it may have been read while it was written");
        scene.keeper.read_file().await;
        assert_eq!(scene.admitted(), 1);
        assert_eq!(scene.gone(), [Ipv4Addr::new(10, 80, 1, 1)]);
        scene.keeper.read_file().await;
        assert_eq!(scene.gone(), [] as [Ipv4Addr; 0]);
    }

    #[tokio::test]
    async fn a_lease_that_is_back_in_the_file_stays() {
        let mut scene = scene(&format!("{LEASE}{OTHER}"));
        scene.keeper.read_file().await;
        for text in [OTHER.to_owned(), format!("{LEASE}{OTHER}"), OTHER.to_owned()] {
            std::fs::write(&scene.keeper.file, text).unwrap();
            scene.keeper.read_file().await;
        }
        assert_eq!(scene.admitted(), 2);
    }

    #[tokio::test]
    async fn a_lease_that_goes_from_mac_to_mac_leaves_nothing_behind() {
        let mut scene = scene("");
        for number in 1..=50 {
            let text = format!("old 02:00:00:00:00:{number:02x} 10.80.1.1 ap-{number}");
            scene.keeper.take_in(read_event(&text).unwrap()).await;
        }
        assert_eq!(scene.admitted(), 1);
        let place = |number| scene.keeper.devices.place_of(Mac([2, 0, 0, 0, 0, number]));
        assert_eq!((place(49), place(50)), (None, Some("ap-50".to_owned())));
        assert_eq!(scene.gone().len(), 49);
    }

    #[tokio::test]
    async fn a_lease_that_is_over_only_as_the_clock_was_set_lasts_its_time() {
        let [first, second, third] = [1, 2, 3].map(|number| Ipv4Addr::new(10, 80, 1, number));
        let mut scene = scene("");
        let hour = Duration::from_hours(1);
        let then = clock::now() - hour * 2;
        for (number, ipv4, given) in [(1, first, then), (2, second, then), (3, third, clock::now())] {
            let lease = Lease {
                mac: Mac([2, 0, 0, 0, 0, number]),
                ipv4,
                until: Some(given + hour),
            };
            assert!(scene.keeper.admit(lease, given));
        }
        for number in 1..=3 {
            let text = format!("del 02:00:00:00:00:0{number} 10.80.1.{number}");
            scene.keeper.take_in(read_event(&text).unwrap()).await;
        }
        assert_eq!(scene.gone(), [third], "which was given back");
        for _ in 0..3 {
            scene.keeper.read_file().await;
        }
        assert_eq!((scene.admitted(), scene.gone().len()), (2, 0));

        let taken = read_event("add 02:00:00:00:00:09 10.80.1.2").unwrap();
        scene.keeper.take_in(taken).await;
        assert_eq!(scene.gone(), [second], "another device has it");
        scene.keeper.terms.get_mut(&first).unwrap().ends = Instant::now();
        for _ in 0..2 {
            std::fs::write(&scene.keeper.file, "0 02:00:00:00:00:09 10.80.1.2 * *").unwrap();
            scene.keeper.read_file().await;
        }
        assert_eq!(scene.gone(), [first], "its time is over");
    }

    #[tokio::test]
    async fn an_address_that_ends_is_named_and_its_new_owner_keeps_it() {
        let mut scene = scene("");
        for text in [
            "add 02:00:00:00:00:01 10.80.1.1",
            "add 02:00:00:00:00:02 10.80.1.1",
            "del 02:00:00:00:00:01 10.80.1.1",
        ] {
            scene.keeper.take_in(read_event(text).unwrap()).await;
        }
        let owner = Mac([2, 0, 0, 0, 0, 2]);
        let ended = Ipv4Addr::new(10, 80, 1, 1);
        assert_eq!(scene.gone(), [ended; 2], "when another has it, and when it is said so");
        assert_eq!(
            scene.keeper.known.get(&Ipv4Addr::new(10, 80, 1, 1)),
            Some(&(owner, None))
        );
        assert_eq!(scene.admitted(), 1);
    }
}

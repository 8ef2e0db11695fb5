//! Sessions in the kernel: opened, metered, limited, closed and found again.
//!
//! **Blocking.** Every method is a handful of netlink messages that the kernel answers while they are sent, 10 to 100 µs
//! in all, or as much for each session where there are many, under one mutex: less than handing the work to another thread would cost, so async code may call them directly.
//! Only [`Gate::load`], [`Gate::restore`] and [`Gate::verify`] (they ask `nft` what it sees), [`Gate::adopt`], and reading thousands of meters at once
//! take longer and belong on `spawn_blocking`.
//!
//! **State.** What is kept in memory can be read back from the kernel by [`Gate::adopt`] at any time; each method changes
//! the kernel in one transaction first and the memory after.

mod addresses;
mod adopt;
mod change;
mod classes;
mod close;
mod filters;
mod free;
mod leases;
mod mend;
mod numbers;
mod open;
mod owner;
mod pins;
mod pools;
mod prefixes;
mod restore;
mod sessions;
mod shown;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use ipnet::Ipv6Net;
use kavadam_domain::{ClassName, FilterName, Mac};

use crate::netlink::{Channel, Neighbours, Table};
use crate::session::{AdoptedSession, Meter, OpenSession, PoolKey, Slot};
use crate::{Events, FirewallError, Layout, OtherLan, apply};
pub use addresses::SeenAddresses;
use classes::Classes;
use filters::Filtered;
pub use leases::Opening;
use numbers::Numbers;
use owner::Holding;
pub use restore::Restored;
pub use view::{SeenDevice, SeenSession, Stay, Uncharged, View};

/// Sessions in one transaction.
const MOST_TOGETHER: usize = 128;
/// Between two portions of a long piece of work, or those who wait would hardly ever have their turn.
const PAUSE: Duration = Duration::from_millis(1);

/// The gate of this machine. Dropping it changes nothing in the kernel.
pub struct Gate {
    state: Mutex<State>,
    /// Somebody else may have changed elements.
    is_suspect: AtomicBool,
    filtered: Arc<Filtered>,
}

/// What we know of the kernel's table, and the way to it.
struct State {
    nft: Channel,
    holding: Holding,
    /// What the kernel has of us, but for the content of sets: [`ruleset::structure`].
    structure: Option<String>,
    /// Of the LAN's bridge, and their numbers in it.
    ports: BTreeMap<String, u16>,
    /// LANs of other gates that are guarded.
    others: BTreeSet<String>,
    /// Of the LAN, where they come and go.
    prefixes: BTreeSet<Ipv6Net>,
    /// Rules in the tables for bridges and for ARP, by family; not every kernel can have both.
    beside: BTreeMap<u8, usize>,
    /// No other gate is on this machine, so that all its connections are through this one.
    is_alone: bool,
    neighbours: Neighbours,
    max_sessions: u32,
    burst_octets: u32,
    numbers: Numbers,
    sessions: HashMap<Slot, Session>,
    pools: HashMap<PoolKey, Pool>,
    by_mac: HashMap<Mac, Slot>,
    by_ipv4: HashMap<Ipv4Addr, Slot>,
    /// Filters that the rules have.
    filters: BTreeSet<FilterName>,
    filtered: Arc<Filtered>,
    /// Shaping classes that the rules have, and their numbers.
    classes: Classes,
    /// The rules count for each session what it moves free of charge.
    counts_free: bool,
    /// Addresses leased to a device, and until when: its MAC stays known until the last one ends.
    leases: HashMap<Mac, BTreeMap<Ipv4Addr, Option<Instant>>>,
    /// Whose each of them is, by who got it last.
    leased: HashMap<Ipv4Addr, Mac>,
}

#[derive(Clone)]
struct Session {
    mac: Mac,
    ipv4: Option<Ipv4Addr>,
    pool: PoolKey,
    /// Octets per second.
    up: Option<u64>,
    down: Option<u64>,
    filter: Option<FilterName>,
    class: Option<ClassName>,
    /// Where it waits for its turn, if the gate has its class.
    queue: Option<u32>,
    label: Vec<u8>,
    /// It has meters of what it moves free of charge.
    counts_free: bool,
}

#[derive(Default)]
struct Pool {
    limit_octets: Option<u64>,
    /// None: not in the kernel yet, its first session will bring it there.
    slots: BTreeSet<Slot>,
    /// Octets of sessions that have ended.
    spent_octets: u64,
}

impl State {
    /// Knowing nothing yet.
    fn new(layout: &Layout) -> Result<Self, FirewallError> {
        let opening = || FirewallError::kernel("open a netlink socket");
        Ok(Self {
            nft: Channel::netfilter(layout.table()).map_err(opening())?,
            holding: Holding::Shared,
            structure: None,
            ports: BTreeMap::new(),
            others: BTreeSet::new(),
            prefixes: BTreeSet::new(),
            beside: BTreeMap::new(),
            is_alone: layout.other_lans.is_empty(),
            neighbours: Neighbours::open(&layout.lan_if).map_err(opening())?,
            max_sessions: layout.max_sessions,
            burst_octets: layout.burst_octets,
            numbers: Numbers::default(),
            sessions: HashMap::new(),
            pools: HashMap::new(),
            by_mac: HashMap::new(),
            by_ipv4: HashMap::new(),
            filters: BTreeSet::new(),
            filtered: Arc::default(),
            classes: Classes::of(&layout.classes),
            counts_free: false,
            leases: HashMap::new(),
            leased: HashMap::new(),
        })
    }
}

impl Gate {
    /// Loads the rule set, keeping sessions that are in the kernel, and verifies it. The interfaces need not exist yet.
    /// Then [`Gate::adopt`] tells which sessions there are; the first [`Gate::restore`] compares them with what is in the kernel, as after
    /// [`Gate::suspect`]. Where the kernel can (Linux 6.9), nobody else may change the table from then
    /// on, for as long as the gate lives.
    ///
    /// # Errors
    /// Whatever keeps the gate from standing, with its remedy.
    pub fn load(layout: &Layout) -> Result<Self, FirewallError> {
        layout.check()?;
        let mut state = State::new(layout)?;
        state.load_rules(layout)?;
        state.adopt()?;
        state.follow_classes(layout);
        state.count_free();
        if state.numbers.is_fresh() {
            if state.is_alone {
                state.forget_connections();
            } else {
                state.numbers.begin_at(UNIX_EPOCH.elapsed().unwrap_or_default());
            }
        }
        Ok(Self {
            filtered: Arc::clone(&state.filtered),
            state: Mutex::new(state),
            // What others did while the table was nobody's, or before they were listened to, nobody has told.
            is_suspect: AtomicBool::new(true),
        })
    }

    /// Loads the rule set again, of this or a changed configuration. Sessions and their connections go on. Where only addresses and ports that
    /// are open, free or blocked have changed it takes a millisecond, otherwise some tens of them, in which nobody can log in.
    ///
    /// # Errors
    /// As [`Gate::load`], and [`FirewallError::FilterInUse`]; then the rules before still hold.
    pub fn reload(&self, layout: &Layout) -> Result<(), FirewallError> {
        self.take_rules(layout)?;
        self.settle();
        Ok(())
    }

    /// The first part of [`Gate::reload`]: what holds for everybody. Those online are brought after by [`Gate::settle`].
    ///
    /// # Errors
    /// As [`Gate::reload`].
    pub fn take_rules(&self, layout: &Layout) -> Result<(), FirewallError> {
        layout.check()?;
        let mut state = self.state();
        state.require_filters_in_use(layout)?;
        if state.has_structure_of(layout) {
            state.fill_configured(layout)?;
        } else {
            state.load_rules(layout)?;
        }
        if !state.has_classes_of(layout) {
            state.take_classes(layout);
        }
        Ok(())
    }

    /// The second part of [`Gate::reload`]: brings those online, some hundreds at a time, into the classes of now, and counts what they move free. Nobody
    /// is held up meanwhile, and it may be done anew at any time.
    pub fn settle(&self) {
        self.place_sessions();
        self.count_free();
    }

    /// Whether nobody else may change the table.
    #[must_use]
    pub fn is_owned(&self) -> bool {
        self.state().holding == Holding::Owned
    }

    /// Looks whether the table is still what [`Gate::load`] left, for a health check.
    ///
    /// # Errors
    /// [`FirewallError::Unverified`] names each difference.
    pub fn verify(layout: &Layout) -> Result<(), FirewallError> {
        apply::verify(layout)
    }

    /// Looks whether the table is still what [`Gate::load`] left, and makes it so again if somebody changed or removed it; after
    /// [`Gate::suspect`] also whether the sessions in it are. `None`: it was. Nothing else happens to the gate meanwhile.
    ///
    /// # Errors
    /// As [`Gate::load`]. Then the gate may be open; try again soon.
    pub fn restore(&self, layout: &Layout) -> Result<Option<Restored>, FirewallError> {
        let restored = match apply::verify(layout) {
            Ok(()) => self.restore_beside(layout)?,
            Err(FirewallError::Unverified { missing, .. }) => Some(self.state().restore(layout, missing)?),
            Err(error) => return Err(error),
        };
        if !self.is_suspect.swap(false, Ordering::Relaxed) {
            return Ok(restored);
        }
        Ok(match (restored, self.mend(layout)) {
            (Some(mut restored), Some(mended)) => {
                restored.differences.extend(mended.differences);
                restored.lost.extend(mended.lost);
                Some(restored)
            }
            (restored, mended) => restored.or(mended),
        })
    }

    fn restore_beside(&self, layout: &Layout) -> Result<Option<Restored>, FirewallError> {
        let mut state = self.state();
        let Some(difference) = state.difference_beside()? else {
            return Ok(None);
        };
        Ok(Some(state.restore(layout, vec![difference])?))
    }

    /// That an element of a session is missing which should be there has everything looked at again.
    fn heed_missing<'a>(&self, errors: impl IntoIterator<Item = &'a FirewallError>) {
        if errors.into_iter().any(FirewallError::is_of_missing) {
            self.suspect();
        }
    }

    /// Has the next [`Gate::restore`] compare every session with what is remembered of it: some seconds with very many, while the gate goes on.
    pub fn suspect(&self) {
        self.is_suspect.store(true, Ordering::Relaxed);
    }

    /// The port of our socket, by which the kernel tells our changes from those of others.
    pub(crate) fn port(&self) -> u32 {
        self.state().nft.port()
    }

    /// Starts listening for used-up quotas and changed rules; needs a Tokio runtime.
    ///
    /// # Errors
    /// [`FirewallError::NotPermitted`] or [`FirewallError::Kernel`].
    pub fn events(layout: &Layout) -> Result<Events, FirewallError> {
        Events::open(layout.table())
    }

    /// A poisoned lock is no reason to leave citizens online for ever: each method leaves the memory whole or untouched.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a quota of so many octets, both directions and families together; `None` is without limit. It is in the
    /// kernel from its first session to the end of its last, and then gone, as it is if the first cannot be opened.
    ///
    /// # Errors
    /// [`FirewallError::NumbersUsedUp`].
    pub fn create_pool(&self, limit_octets: Option<u64>) -> Result<PoolKey, FirewallError> {
        self.state().create_pool(limit_octets)
    }

    /// Sets limits of pools, together. Tells which could not be set, and why.
    ///
    /// # Errors
    /// As [`Gate::set_pool_limit`].
    pub fn set_pool_limits(&self, limits: &BTreeMap<PoolKey, Option<u64>>) -> Vec<(PoolKey, FirewallError)> {
        self.state().set_pool_limits(limits)
    }

    /// Sets a pool's limit, counted from when the pool was made: a top-up is a higher limit, not a difference. Not one
    /// octet is lost or given away by it, whatever is flowing. A new limit at or below what has been used closes the pool.
    ///
    /// # Errors
    /// [`FirewallError::UnknownPool`], [`FirewallError::Kernel`].
    pub fn set_pool_limit(&self, pool: PoolKey, limit_octets: Option<u64>) -> Result<(), FirewallError> {
        self.state().set_pool_limit(pool, limit_octets)
    }

    /// Octets that passed on account of a pool, by sessions past and present.
    ///
    /// # Errors
    /// [`FirewallError::UnknownPool`], [`FirewallError::Kernel`].
    pub fn pool_used(&self, pool: PoolKey) -> Result<u64, FirewallError> {
        self.state().pool_used(pool)
    }

    /// The pools that refuse packets now; the answer to [`crate::GateEvent::Resync`].
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn pools_used_up(&self) -> Result<Vec<PoolKey>, FirewallError> {
        self.state().pools_used_up()
    }

    /// Opens sessions, those that can be together in one transaction: after it the devices' packets pass. The answers are in the order of the
    /// questions, and a session that cannot be opened keeps no other from it. If it was to be the first of its pool, the pool is gone.
    ///
    /// # Errors
    /// For each: [`FirewallError::DeviceOnline`], [`FirewallError::AddressTaken`], [`FirewallError::Full`],
    /// [`FirewallError::UnknownPool`], [`FirewallError::UnknownFilter`], [`FirewallError::LabelTooLong`], [`FirewallError::NoInterface`], …; then nothing
    /// has changed of it.
    pub fn open_all(&self, sessions: &[OpenSession]) -> Vec<Result<Slot, FirewallError>> {
        let chunks = sessions.chunks(MOST_TOGETHER);
        let opened: Vec<_> = chunks.flat_map(|some| self.state().open_together(some)).collect();
        let mut state = self.state();
        for (session, _) in sessions.iter().zip(&opened).filter(|(_, opened)| opened.is_err()) {
            state.drop_pool_if_empty(session.pool);
        }
        drop(state);
        opened
    }

    /// Opens one session.
    ///
    /// # Errors
    /// As [`Gate::open_all`].
    pub fn open(&self, session: &OpenSession) -> Result<Slot, FirewallError> {
        let opened = self.open_all(std::slice::from_ref(session)).pop();
        opened.unwrap_or(Err(FirewallError::UnknownPool(session.pool)))
    }

    /// Reads meters by key. Slots that are not open are left out.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn read(&self, slots: &[Slot]) -> Result<Vec<(Slot, Meter)>, FirewallError> {
        self.state().read(slots)
    }

    /// Lets a device be heard before login (strict mode): this pair over IPv4, and the MAC over IPv6. `ttl` `None` is for
    /// devices with a fixed address. Calling it again renews.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn admit_lease(&self, mac: Mac, ipv4: Ipv4Addr, ttl: Option<Duration>) -> Result<(), FirewallError> {
        self.state().admit_lease(mac, ipv4, ttl)
    }

    /// Undoes [`Gate::admit_lease`]; that there was no such lease is no error.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn revoke_lease(&self, mac: Mac, ipv4: Ipv4Addr) -> Result<(), FirewallError> {
        self.state().revoke_lease(mac, ipv4)
    }

    /// Opens an address for so long, as one that a name leads to. Calling it again renews.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn open_name(&self, open: Opening, address: IpAddr, stay: Duration) -> Result<(), FirewallError> {
        self.state().open_name(open, address, stay)
    }

    /// Leads the DNS of those online to [`Layout::citizen_names_port`] for so long, unless this is called again; `None` ends it at once. Their
    /// resolver is then the one they asked, so that they are not held up by whoever is dead.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn keep_names(&self, stay: Option<Duration>) -> Result<(), FirewallError> {
        self.state().keep_names(stay)
    }

    /// Says which interfaces are the ports of the LAN's bridge, and by which numbers it knows them: what comes in at one of them goes to none of the
    /// others, and those who ask for an address there get a part of them ([`crate::DhcpPool`]).
    ///
    /// # Errors
    /// [`FirewallError::Kernel`], as on a kernel whose bridges cannot be filtered.
    pub fn tie_ports(&self, ports: &BTreeMap<String, u16>) -> Result<(), FirewallError> {
        let mut state = self.state();
        state.ports.clone_from(ports);
        state.fill_ports()
    }

    /// Ends every connection through this machine, or says why not: translations made by another configuration would be somebody else's by the present one.
    pub fn forget_translations(&self) {
        let mut state = self.state();
        if state.is_alone {
            state.forget_connections();
        } else {
            tracing::warn!(
                "gateway.nat has changed, and connections from before keep what they had, so that the record may name another device for them. \
                 Remedy: conntrack -F, which ends those of the other gates too"
            );
        }
    }

    /// Which LANs of other gates ([`Layout::other_lans`]) are guarded: the gate's table is there, and judges what is forwarded.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn guarded_lans(layout: &Layout) -> Result<BTreeSet<String>, FirewallError> {
        let mut guarded = BTreeSet::new();
        for OtherLan { interface, table } in &layout.other_lans {
            let is_there = Channel::netfilter(Table::named(table)).and_then(|mut nft| nft.has_chain("forward"));
            if is_there.map_err(FirewallError::kernel("look for another gate"))? {
                guarded.insert(interface.clone());
            }
        }
        Ok(guarded)
    }

    /// Leaves it to other gates what goes between these LANs and the internet, and drops what comes from any other.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn leave_lans(&self, lans: &BTreeSet<String>) -> Result<(), FirewallError> {
        let mut state = self.state();
        state.others.clone_from(lans);
        state.fill_others()
    }

    /// Every session in the kernel, expired ones too: for a process that starts while people are online.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn adopt(&self) -> Result<Vec<AdoptedSession>, FirewallError> {
        self.state().adopt()
    }

    /// Sessions whose time ran out in the kernel and that wait to be closed, their meters intact. Expiry sends no event; whoever knows when it set which
    /// end need not ask.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn expired(&self) -> Result<Vec<Slot>, FirewallError> {
        self.state().expired()
    }
}

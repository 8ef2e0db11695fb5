//! The session core: what happened, and when, becomes what is to be done. It waits for nothing and knows no sockets; time
//! comes with every input, chance in a seed, so that tests move both by hand.
//!
//! ```text
//!   knock, logon ──Ask──▶ server ──Answered──▶ Save, Spool(Start) ──▶ Do(Open) ──▶ Tell
//!   tick, depletion ──▶ read meters ──▶ Spool(Interim), Ask(Authorize-Only) ──Answered──▶ Save ──▶ Do(Limit, Fit)
//!   end ──▶ Halt in the kernel ──40 ms──▶ read ──▶ Spool(Stop), Save ──▶ Do(Close) ──▶ Forget
//! ```
//!
//! **The record comes first.** What widens a session (its opening, a higher limit, a longer time) is committed as a row, then
//! done in the kernel: a [`Deed`]. So the kernel never allows what no row knows, and adoption believes the rows: it holds the
//! kernel to them, whichever of the two a crash left behind.
//!
//! **Nothing is lost by a crash.** A session's meters live in the kernel until its Stop is committed: an end first halts the
//! session (its kernel timeout is set to almost nothing, which keeps the meters), then reads what has become final, then
//! commits the Stop and in the row that it is stopped, and only then removes the meters, and last the row. A crash between any
//! two of these leaves a session that the next process finds and ends, or one that it only has to remove.
//!
//! **Quota.** A pool's limit in the kernel is the sum of what its sessions were granted. At low water (a quarter of the free
//! octets of the last grant, half if it stands still) the pool asks again; when used up it asks once more, and what is then refused, or not raised, ends
//! every session of the pool. While the server is silent, or raises nothing before it can know what was used, the pool stays closed, is asked for again, and ends
//! after a minute.
//! Acct-Terminate-Cause is then NAS-Request (10): RFC 2866 has no word for a quota.

mod address;
mod adopt;
mod agenda;
mod deeds;
mod end;
mod exchange;
mod login;
mod meters;
mod orders;
mod renewal;
mod renumbering;
mod seen;
mod session;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv6Net;
use kavadam_domain::session::terminate_cause;
use kavadam_domain::{ClassName, Mac};
use kavadam_firewall::{FirewallError, PoolKey, Slot};

use crate::kernel::Kernel;
use agenda::Agenda;
pub use deeds::Deeds;
use deeds::{Obeyed, Opening};
use login::Login;
use session::{Pool, Session};

pub use exchange::{Answer, AskId, Command, Deed, Input, Now, Settings, Told, View, WaiterId};
pub use session::{Device, SessionRow};

/// Less than one merged packet counts as used up: a session that cannot pass it would hang rather than end.
pub const USED_UP_BELOW_OCTETS: u64 = 65_536;
/// The timeout that halts a session. Kernels without the correction of 2024 count it in ticks and round down, and nought would
/// mean for ever: this is one tick of the slowest kernel.
const HALT_TIMEOUT: Duration = Duration::from_millis(10);
/// The kernel ends a halted session within two of its ticks, each at most 10 ms; after this its meters are final.
const HALT: Duration = Duration::from_millis(40);
/// How long a refusal of a device's MAC is remembered, so that its probes do not flood the server.
const REFUSAL_REMEMBERED: Duration = Duration::from_mins(1);
/// Likewise when no server answered, or the kernel did not take who was accepted.
const SILENCE_REMEMBERED: Duration = Duration::from_secs(5);
/// Used up without an answer for so long: ended.
const STARVED_AT_MOST: Duration = Duration::from_mins(1);
/// Devices whose refusals are remembered.
const MOST_REFUSED: usize = 65_536;

/// All devices and sessions of this gate.
pub struct Core<K> {
    settings: Settings,
    kernel: K,
    sessions: HashMap<Slot, Session>,
    by_mac: HashMap<Mac, Slot>,
    by_id: HashMap<String, Slot>,
    by_ipv4: HashMap<Ipv4Addr, Slot>,
    /// Sessions whose IPv6 address is of a prefix that has gone.
    unnumbered: BTreeSet<Slot>,
    /// Of the LAN, where they come and go.
    prefixes: Vec<Ipv6Net>,
    pools: HashMap<PoolKey, Pool>,
    /// When the meters of those online are to be read.
    reads: Agenda<Slot>,
    /// More of them are due than were read.
    is_behind: bool,
    /// When the time of those online is over.
    ends: Agenda<Slot>,
    /// Pools that starve, or are to ask again.
    waiting: BTreeSet<PoolKey>,
    by_cui: HashMap<Vec<u8>, PoolKey>,
    logins: HashMap<AskId, Login>,
    login_of: HashMap<Mac, AskId>,
    /// Accepted, and not in the kernel yet.
    openings: HashMap<AskId, Opening>,
    opening_of: HashMap<Mac, AskId>,
    /// Stopped and not removed yet, with their Acct-Session-Ids.
    leaving: HashMap<Slot, String>,
    /// Of these, those that the kernel did not let go.
    unclosed: BTreeSet<Slot>,
    /// Sessions and pools that the kernel may not hold to their limits yet.
    unlimited: BTreeSet<Slot>,
    unfit: BTreeSet<PoolKey>,
    /// Sessions that the kernel did not give this address.
    unmoved: BTreeMap<Slot, Option<Ipv4Addr>>,
    renewals: HashMap<AskId, Slot>,
    refused: HashMap<Mac, Instant>,
    /// Who waits for an end.
    mourners: HashMap<Slot, Vec<(WaiterId, Told)>>,
    /// Who waits for an order to hold.
    obeyed: Vec<Obeyed>,
    /// Classes that were asked for and are not here; each is told of once.
    missing_classes: BTreeSet<ClassName>,
    last_number: u64,
    out: Vec<Command>,
}

impl<K: Kernel> Core<K> {
    /// A core without sessions; see [`Core::adopt`].
    pub fn new(settings: Settings, kernel: K) -> Self {
        Self {
            settings,
            kernel,
            sessions: HashMap::new(),
            by_mac: HashMap::new(),
            by_id: HashMap::new(),
            by_ipv4: HashMap::new(),
            unnumbered: BTreeSet::new(),
            prefixes: Vec::new(),
            pools: HashMap::new(),
            reads: Agenda::default(),
            is_behind: false,
            ends: Agenda::default(),
            waiting: BTreeSet::new(),
            by_cui: HashMap::new(),
            logins: HashMap::new(),
            login_of: HashMap::new(),
            openings: HashMap::new(),
            opening_of: HashMap::new(),
            leaving: HashMap::new(),
            unclosed: BTreeSet::new(),
            unlimited: BTreeSet::new(),
            unfit: BTreeSet::new(),
            unmoved: BTreeMap::new(),
            renewals: HashMap::new(),
            refused: HashMap::new(),
            mourners: HashMap::new(),
            obeyed: Vec::new(),
            missing_classes: BTreeSet::new(),
            last_number: 0,
            out: Vec::new(),
        }
    }

    /// Takes in what happened; gives back what is to be done.
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Command> {
        match input {
            Input::Knock(device, waiter) => self.knock(device, waiter, now),
            Input::Logon {
                device,
                user_name,
                credential,
                waiter,
            } => self.log_on(device, user_name, credential, waiter),
            Input::Logoff(mac, waiter) => self.log_off(mac, waiter),
            Input::Address(mac, ipv4) => self.leased(mac, ipv4, now),
            Input::AddressGone(mac, ipv4) => self.vacate(mac, ipv4, now),
            Input::Prefixes(prefixes) => self.renumber(&prefixes, now),
            Input::Neighbours(neighbours) => self.look_around(&neighbours, now),
            Input::Answered(ask, answer) => self.answered(ask, answer, now),
            Input::PoolUsedUp(pool) => self.look_at_pool(pool, now),
            Input::Disconnect(target, waiter) => self.disconnect(&target, waiter),
            Input::Change(target, limits, waiter) => self.change(&target, limits, waiter, now),
            Input::Tick => self.tick(now),
        }
        std::mem::take(&mut self.out)
    }

    /// The kernel announced more than it could say: looks at every pool that is used up.
    pub fn resync(&mut self, now: Now) -> Vec<Command> {
        match self.kernel.pools_used_up() {
            Ok(pools) => pools.into_iter().for_each(|pool| self.look_at_pool(pool, now)),
            Err(error) => warn_kernel(&error),
        }
        std::mem::take(&mut self.out)
    }

    /// The kernel lost these sessions: they end with the octets last read.
    pub fn lost(&mut self, slots: &[Slot]) -> Vec<Command> {
        for slot in slots {
            self.halt(*slot, terminate_cause::NAS_ERROR);
        }
        std::mem::take(&mut self.out)
    }

    /// When a tick is due earlier than the next full second.
    pub fn wake_at(&self) -> Option<Instant> {
        let halting = self.mourners.keys().filter_map(|slot| self.sessions.get(slot));
        let behind = self.reads.next().filter(|_| self.is_behind);
        halting.filter_map(Session::final_at).chain(behind).min()
    }

    /// Whether the device has a session, ending or not.
    pub fn is_online(&self, mac: Mac) -> bool {
        self.by_mac.contains_key(&mac)
    }

    /// Sessions online.
    pub fn online(&self) -> usize {
        self.by_mac.len()
    }

    /// The session of a device, its meters read this moment.
    pub fn view(&mut self, mac: Mac, now: Now) -> Option<View> {
        let slot = *self.by_mac.get(&mac)?;
        let pool = self.sessions.get(&slot)?.pool;
        self.read_pool(pool, now);
        let used = self.pool_used(pool);
        let limit = self.pools.get(&pool)?.limit_octets;
        let session = self.sessions.get(&slot)?;
        let left = session
            .row
            .left
            .map(|left| left.octets.saturating_sub(used.saturating_sub(left.at_used_octets)));
        Some(View {
            id: session.row.id.clone(),
            started: session.row.started,
            session_secs: session.age(now).as_secs(),
            seconds_remaining: session
                .ends_at
                .map(|end| end.saturating_duration_since(now.mono).as_secs()),
            octets_remaining: left.or_else(|| limit.map(|limit| limit.saturating_sub(used))),
            meter: session.meter,
            idle_secs: now.mono.saturating_duration_since(session.active_at).as_secs(),
            limits: session.row.limits,
        })
    }

    fn next_ask(&mut self) -> AskId {
        self.last_number += 1;
        AskId(self.last_number)
    }

    /// Unique at this gate for ever: 64 random bits of this start, then a count.
    fn next_id(&mut self) -> String {
        self.last_number += 1;
        format!("{:016x}-{:x}", self.settings.seed, self.last_number)
    }

    fn tell(&mut self, waiter: WaiterId, told: Told) {
        self.out.push(Command::Tell(waiter, told));
    }

    fn tick(&mut self, now: Now) {
        self.refused.retain(|_, until| *until > now.mono);
        self.retry_deeds(now);
        self.retry_halts();
        self.finish_halted(now);
        self.end_overdue(now);
        self.poll(now);
        self.retry_renewals(now);
    }

    fn answered(&mut self, ask: AskId, answer: Answer, now: Now) {
        if let Some(login) = self.logins.remove(&ask) {
            self.decided(ask, login, answer, now);
        } else if let Some(slot) = self.renewals.remove(&ask) {
            self.renewed(ask, slot, answer, now);
        }
    }
}

/// A failure of the kernel is logged here, once; what it means for a session is its own state's business.
fn warn_kernel(error: &FirewallError) {
    tracing::error!(%error, "packet filter");
}

//! What a device is told: refused, denied, or what the resolver says; and what its answer opens in the kernel.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use ipnet::{Ipv4Net, Ipv6Net};
use kavadam_firewall::Opening;

use super::budget::Budget;
use super::filtered::{Asker, Lists};
use super::garden::Garden;
use super::opened::{Due, MOST_OF_AN_ANSWER, Opened};
use super::question::{Asked, addresses, denial, name, nothing, read, refusal, served_host};
use crate::config::GatewayConfig;
use crate::devices::Devices;
use crate::http::source::Source;
use crate::http::throttle::Throttle;
use crate::kernel::Naming;

/// Addresses that a name leads to stay open for so long at least: connections last longer than most answers hold.
pub(super) const STAY_AT_LEAST: Duration = Duration::from_hours(1);
const STAY_AT_MOST: Duration = Duration::from_hours(24);

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Little, and slowly.
    Strangers,
    /// Whatever they like, but for what is blocked.
    Citizens,
}

/// What is open, free and blocked by name.
pub(crate) struct Rules {
    garden: Garden,
    free: Garden,
    blocked: Lists,
}

impl Rules {
    /// What the configuration says, the files not yet read.
    fn unread(config: &GatewayConfig) -> Self {
        Self {
            garden: config.garden_names.clone(),
            free: config.free_names.clone(),
            blocked: Lists::unread(config),
        }
    }

    /// What the configuration and its files say. Blocking.
    ///
    /// # Errors
    /// A file cannot be read: half a list is worse than yesterday's.
    pub fn read(config: &GatewayConfig) -> io::Result<Self> {
        Self::unread(config).read_files()
    }

    fn read_files(&self) -> io::Result<Self> {
        Ok(Self {
            garden: self.garden.clone(),
            free: self.free.clone(),
            blocked: self.blocked.read()?,
        })
    }

    /// By which entry a name is open, or free for who may go there.
    fn entry(&self, name: &str, audience: Audience) -> Option<(Opening, &str)> {
        let garden = self.garden.entry(name).map(|entry| (Opening::Garden, entry));
        let free = || self.free.entry(name).map(|entry| (Opening::Free, entry));
        garden.or_else(|| (audience == Audience::Citizens).then(free).flatten())
    }

    /// Whether it is asked where a name is served that is open or free, with what may lead elsewhere: to addresses that the answer hints at and to other
    /// names (RFC 9460), none of which is open. Who hears of none asks for the addresses, as every browser can.
    fn would_lead_astray(&self, question: &[u8], name: &str, audience: Audience) -> bool {
        served_host(question, name).is_some_and(|host| self.entry(host, audience).is_some())
    }

    /// What was opened on purpose stays open, whatever list it is on.
    fn is_blocked(&self, name: &str, asker: impl FnOnce() -> Asker) -> bool {
        self.blocked.has(name, asker) && !self.garden.has(name) && !self.free.has(name)
    }
}

/// Shared by all ports.
pub(crate) struct Answerer<G> {
    gate: G,
    rules: RwLock<Arc<Rules>>,
    devices: Devices,
    lan4: Ipv4Net,
    lan6: Option<Ipv6Net>,
    budget: Mutex<Budget>,
    answers: Throttle,
    opened: Mutex<Opened>,
}

impl<G: Naming> Answerer<G> {
    pub(super) fn new(gate: G, config: &GatewayConfig, devices: Devices) -> Self {
        Self {
            gate,
            rules: RwLock::new(Arc::new(Rules::unread(config))),
            devices,
            lan4: config.lan4,
            lan6: config.lan6,
            budget: Mutex::default(),
            answers: Throttle::of_answers(),
            opened: Mutex::default(),
        }
    }

    /// Answers by other rules from now on.
    pub fn set_rules(&self, rules: Rules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// Reads the files of the present rules anew. Blocking. Rules that were set meanwhile stay: their files were read with them.
    pub(super) fn read_files(&self) -> io::Result<()> {
        let before = self.rules();
        let read = before.read_files()?;
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&rules, &before) {
            *rules = Arc::new(read);
        }
        Ok(())
    }

    /// Files that the present rules are in, among others.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.rules().blocked.files()
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Leads the questions of those online here, or no longer.
    pub(super) fn keep_names(&self, stay: Option<Duration>) {
        if let Err(error) = self.gate.keep_names(stay) {
            tracing::warn!(%error, "those online ask the resolver itself: nothing is free or blocked by name");
        }
    }

    /// What the device gets; `asking` brings the resolver's answer, if it is to be asked. `None`: nothing.
    pub(super) async fn answer(
        &self,
        audience: Audience,
        question: &[u8],
        from: IpAddr,
        asking: impl Future<Output = io::Result<Vec<u8>>>,
    ) -> io::Result<Option<Vec<u8>>> {
        match audience {
            Audience::Strangers => self.answer_stranger(question, from, asking).await,
            Audience::Citizens => self.answer_citizen(question, from, asking).await,
        }
    }

    async fn answer_stranger(
        &self,
        question: &[u8],
        from: IpAddr,
        asking: impl Future<Output = io::Result<Vec<u8>>>,
    ) -> io::Result<Option<Vec<u8>>> {
        let name = match read(question) {
            Asked::Nothing => return Ok(None),
            Asked::Other => return Ok(refusal(question)),
            Asked::Plain(question) => question.name,
        };
        let rules = self.rules();
        if rules.would_lead_astray(question, &name, Audience::Strangers) {
            return Ok(nothing(question));
        }
        // Nobody can tunnel through a garden but its owner.
        let entry = rules.entry(&name, Audience::Strangers);
        let device = Source::of(from, self.devices.find(from).as_ref());
        if entry.is_none() && !self.lock().admits(device, &name, Instant::now()) {
            return Ok(refusal(question));
        }
        // Who is online and asks from a link-local address comes here too, with the filter that it has.
        if rules.is_blocked(&name, || self.asker(from)) {
            return Ok(denial(question));
        }
        let answer = asking.await?;
        if let Some(entry) = entry {
            self.open_for(entry, &answer);
        } else {
            let octets = u32::try_from(answer.len()).unwrap_or(u32::MAX);
            if !self.answers.admits_many(device, octets.into(), Instant::now()) {
                return Ok(refusal(question));
            }
        }
        Ok(Some(answer))
    }

    async fn answer_citizen(
        &self,
        question: &[u8],
        from: IpAddr,
        asking: impl Future<Output = io::Result<Vec<u8>>>,
    ) -> io::Result<Option<Vec<u8>>> {
        let (name, rules) = (name(question), self.rules());
        let asker = || self.asker(from);
        if name.as_ref().is_some_and(|name| rules.is_blocked(name, asker)) {
            return Ok(denial(question));
        }
        let leads_astray = |name: &String| rules.would_lead_astray(question, name, Audience::Citizens);
        if name.as_ref().is_some_and(leads_astray) {
            return Ok(nothing(question));
        }
        let answer = asking.await?;
        if let Some(entry) = name.as_ref().and_then(|name| rules.entry(name, Audience::Citizens)) {
            self.open_for(entry, &answer);
        }
        Ok(Some(answer))
    }

    /// Looked for only if it matters, as an IPv6 address is asked of the kernel.
    fn asker(&self, from: IpAddr) -> Asker {
        match self.devices.find(from) {
            Some(device) => self.gate.filter_of(device.mac).map_or(Asker::Plain, Asker::Filtered),
            None => Asker::Unknown,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Budget> {
        // No code runs under this lock that could leave it half-changed.
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before the device hears of the addresses, so that its first packet there passes, or is free.
    fn open_for(&self, entry: (Opening, &str), answer: &[u8]) {
        let mut told = addresses(answer);
        told.retain(|(address, _)| self.is_elsewhere(*address));
        let (told4, told6): (Vec<_>, Vec<_>) = told.into_iter().partition(|(address, _)| address.is_ipv4());
        for told in [told4, told6] {
            let addresses = told.len();
            if addresses > MOST_OF_AN_ANSWER && self.is_to_be_told() {
                tracing::warn!(
                    entry = entry.1,
                    addresses,
                    "a name leads to more addresses than one answer opens"
                );
            }
            for (address, holds) in told.into_iter().take(MOST_OF_AN_ANSWER) {
                self.open(entry, address, holds.clamp(STAY_AT_LEAST, STAY_AT_MOST));
            }
        }
    }

    fn open(&self, entry: (Opening, &str), address: IpAddr, stay: Duration) {
        let due = self.opened().admit(entry, address, stay, Instant::now());
        match due {
            Due::Refused if self.is_to_be_told() => {
                tracing::warn!(
                    entry = entry.1,
                    "names of one entry lead to more addresses than may be open at a time"
                );
            }
            Due::Nothing | Due::Refused => {}
            Due::Open => {
                let Err(error) = self.gate.open_name(entry.0, address, stay) else {
                    return;
                };
                self.opened().forget(entry, address);
                if self.is_to_be_told() {
                    tracing::warn!(%error, entry = entry.1, "an address of a name stays closed, or is charged");
                }
            }
        }
    }

    fn is_to_be_told(&self) -> bool {
        self.opened().is_to_be_told(Instant::now())
    }

    fn opened(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever owns a garden's name could otherwise open the gateway's own network with it.
    fn is_elsewhere(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(ip) => {
                !(ip.is_loopback()
                    || ip.is_unspecified()
                    || ip.is_multicast()
                    || ip.is_broadcast()
                    || ip.is_link_local()
                    || self.lan4.contains(&ip))
            }
            IpAddr::V6(ip) => {
                !(ip.is_loopback()
                    || ip.is_unspecified()
                    || ip.is_multicast()
                    || ip.is_unicast_link_local()
                    || ip.to_ipv4_mapped().is_some()
                    || self.lan6.is_some_and(|net| net.contains(&ip)))
            }
        }
    }
}

//! Router advertisements (RFC 4861): how devices learn of the gateway, of the prefixes to make their addresses of, of the resolver (RFC 8106), of the
//! captive portal (RFC 8910) and of the translator to IPv4 (RFC 8781).
//!
//! Of our own, since dnsmasq writes neither of the last two, and a device without `DHCPv6`, which is every Android, learns of them in no other way if it has
//! IPv6 only. A process of its own, so that they go on while the gateway restarts, and with no capability but to open a raw socket.
//!
//! Nothing is said at the end. "I am a router no longer" is what a router says that goes; one that is started anew would take everybody's way to the
//! internet away for as long as that takes, although the kernel goes on forwarding.

mod configured;
mod memory;
mod nat64;
mod offers;
mod packet;
mod schedule;
mod socket;

use std::convert::Infallible;
use std::io;
use std::net::Ipv6Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use ipnet::Ipv6Net;
use kavadam_firewall::{LanAddress, Layout};
use rand::rngs::ThreadRng;
use tokio::time::MissedTickBehavior;

pub use nat64::{InvalidNat64Prefix, Nat64Prefix};
pub(crate) use packet::is_solicitation;

use crate::clock;
use crate::config::{ApiConfig, GatewayConfig};
use crate::neighbours::{self, Link};
use configured::Configured;
use memory::{Memory, Told};
use offers::Offers;
use packet::Advertisement;
use schedule::{Recipient, Schedule};
use socket::RouterSocket;

/// A look each second suffices, as where the packet filter follows prefixes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks at the same trouble before it is told: an address that has just come is sure to be ours a second or two later.
const PATIENCE: u32 = 4;
/// RFC 9096 §4, where the lifetimes of prefixes are from too: half an hour without us takes nobody's way to the internet away.
const LIFETIME_SECS: u16 = 2700;
/// `MaxRtrAdvInterval`. What devices were told is written each time all are told, so that it is never older than this.
const MOST_INTERVAL: Duration = Duration::from_mins(10);
/// Devices keep a provider's prefix for no longer than was last advertised, and that may be little.
const MOST_INTERVAL_DELEGATED: Duration = Duration::from_mins(2);

/// Advertises the gateway at its LAN, for ever: an interface or an address that is not there is waited for. In `state_dir`, if there is one, is kept what
/// devices were told.
///
/// # Errors
/// The gateway has no IPv6, or we may not open a raw socket (`CAP_NET_RAW`).
pub async fn advertise(config: &GatewayConfig, state_dir: Option<&Path>) -> io::Result<Infallible> {
    let mut router = Router::new(config, state_dir)?;
    socket::is_permitted()?;
    let mut trouble = String::new();
    let mut looks = 0_u32;
    loop {
        let Err(error) = router.serve().await;
        let found = error.to_string();
        if std::mem::take(&mut router.has_served) || found != trouble {
            (trouble, looks) = (found, 0);
        }
        looks = looks.saturating_add(1);
        if looks == PATIENCE {
            tracing::warn!(interface = config.lan_if, %error, "cannot advertise the gateway yet");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

struct Router {
    layout: Layout,
    lan6: Ipv6Net,
    says: Advertisement,
    offers: Offers,
    resolvers: Configured<Ipv6Addr>,
    translators: Configured<Nat64Prefix>,
    memory: Memory,
    schedule: Schedule,
    chance: ThreadRng,
    /// There is something that not all were told yet.
    has_news: bool,
    /// All were told something, so that a trouble after it is news.
    has_served: bool,
}

impl Router {
    fn new(config: &GatewayConfig, state_dir: Option<&Path>) -> io::Result<Self> {
        let lan6 = config.lan6.ok_or(io::ErrorKind::Unsupported)?;
        let memory = Memory::new(state_dir);
        let (told, now) = (memory.recall(clock::now()), Instant::now());
        let mut offers = Offers::default();
        offers.recall(&told.prefixes, now);
        let resolvers = Configured::new(Some(lan6.addr()), &told.resolvers, now);
        let translators = Configured::new(config.nat64, &told.translators, now);
        let most_interval = if config.is_delegated {
            MOST_INTERVAL_DELEGATED
        } else {
            MOST_INTERVAL
        };
        // The file counts whole seconds: rather too late than too early.
        let ago = told.since.map(|ago| ago.saturating_sub(Duration::from_secs(1)));
        let last_all = ago.and_then(|ago| now.checked_sub(ago));
        Ok(Self {
            layout: config.layout(),
            lan6,
            says: Advertisement {
                lifetime_secs: LIFETIME_SECS,
                hardware_address: None,
                mtu: 0,
                offers: Vec::new(),
                resolver: lan6.addr(),
                gone_resolvers: Vec::new(),
                captive_portal: config.api.as_ref().map(ApiConfig::url),
                nat64: config.nat64,
                gone_nat64: Vec::new(),
            },
            offers,
            has_news: resolvers.is_news() || translators.is_news(),
            resolvers,
            translators,
            memory,
            schedule: Schedule::new(most_interval, last_all, now),
            chance: rand::rng(),
            has_served: false,
        })
    }

    /// For as long as the interface can be spoken from.
    async fn serve(&mut self) -> io::Result<Infallible> {
        let (link, addresses) = self.look()?;
        is_usable(
            &self.lan6.to_string(),
            addresses.iter().find(|one| one.net == self.lan6),
        )?;
        let socket = RouterSocket::open(&self.layout.lan_if, link.index)?;
        self.take_over(&link, &addresses);
        self.schedule.begin(self.has_news, Instant::now(), &mut self.chance);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                received = socket.receive() => {
                    let (packet, from) = received?;
                    if is_solicitation(&packet, from) {
                        self.schedule.solicited(from, Instant::now(), &mut self.chance);
                    }
                }
                () = tokio::time::sleep_until(self.schedule.next().into()) => self.send(&socket).await?,
                _ = looks.tick() => {
                    let (found, addresses) = self.look()?;
                    if found.index != link.index {
                        return Err(io::Error::other("it was made anew"));
                    }
                    if self.take_over(&found, &addresses) {
                        self.schedule.tell_anew(Instant::now());
                    }
                }
            }
        }
    }

    /// The interface as it is now. Devices believe what comes from a link-local address alone (RFC 4861 §6.1.2), so without one nothing can be said.
    fn look(&self) -> io::Result<(Link, Vec<LanAddress>)> {
        let link = neighbours::link(&self.layout.lan_if)?;
        let addresses = LanAddress::all(&self.layout).map_err(io::Error::other)?;
        if !link.is_up {
            return Err(io::Error::other("it is down"));
        }
        let mut link_local = addresses.iter().filter(|one| one.is_link_local());
        let best = link_local.clone().find(|one| one.is_sure).or_else(|| link_local.next());
        is_usable("that is good on the link (fe80::/10)", best)?;
        Ok((link, addresses))
    }

    /// Takes over what is to be said of the interface; whether devices must hear of it at once.
    fn take_over(&mut self, link: &Link, addresses: &[LanAddress]) -> bool {
        let before = (self.says.hardware_address, self.says.mtu);
        let is_first = before == (None, 0);
        (self.says.hardware_address, self.says.mtu) = (link.mac, link.mtu);
        let has_other_prefixes = self.offers.look(addresses, Instant::now());
        let has_changed = has_other_prefixes || (!is_first && before != (link.mac, link.mtu));
        self.has_news |= has_changed;
        has_changed
    }

    async fn send(&mut self, socket: &RouterSocket) -> io::Result<()> {
        let now = Instant::now();
        let due = self.schedule.due(now, &mut self.chance);
        if due.is_empty() {
            return Ok(());
        }
        self.says.offers = self.offers.offers(now);
        self.says.gone_resolvers = self.resolvers.gone(now);
        self.says.gone_nat64 = self.translators.gone(now);
        let packet = self.says.octets();
        for to in due {
            match (socket.send(&packet, to).await, to) {
                (Ok(()), Recipient::All) => self.has_told(now),
                (Err(error), Recipient::All) => {
                    self.has_news = true;
                    return Err(error);
                }
                // Who is not there any more is no reason to stop.
                (Err(error), Recipient::One(_)) => tracing::debug!(%error, "cannot answer who solicits"),
                (Ok(()), Recipient::One(_)) => {}
            }
        }
        Ok(())
    }

    /// All were told what is so now.
    fn has_told(&mut self, now: Instant) {
        self.schedule.has_told(now);
        self.has_news = false;
        let lifetime = Duration::from_secs(self.says.lifetime_secs.into());
        let told = Told {
            since: Some(Duration::ZERO),
            prefixes: self.offers.told(now),
            resolvers: self.resolvers.told(lifetime, now),
            translators: self.translators.told(lifetime, now),
        };
        self.memory.keep(&told, clock::now());
        if !std::mem::replace(&mut self.has_served, true) {
            tracing::info!(interface = self.layout.lan_if, "advertising the gateway");
        }
    }
}

/// Why an address of the interface cannot be counted on.
fn is_usable(name: &str, address: Option<&LanAddress>) -> io::Result<()> {
    let why = match address {
        Some(LanAddress { is_sure: true, .. }) => return Ok(()),
        Some(LanAddress {
            is_taken: true, net, ..
        }) => format!("another machine has its address {}", net.addr()),
        Some(LanAddress { net, .. }) => format!(
            "whether another machine has its address {} is not known yet (duplicate address detection)",
            net.addr()
        ),
        None => format!("it does not have the address {name}"),
    };
    Err(io::Error::other(why))
}

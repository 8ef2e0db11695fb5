//! The gate as people look at it. Nothing is changed, whoever holds the table.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use kavadam_domain::Mac;

use super::State;
use super::sessions::key4;
use crate::lan::neighbours;
use crate::netlink::{Element, FAMILY_ARP, FAMILY_BRIDGE, FAMILY_INET};
use crate::ruleset::arp::UNHEARD;
use crate::ruleset::link::{ADVERTISEMENTS, DHCP_SERVERS, ROGUES};
use crate::ruleset::{COUNTERS, set, share};
use crate::ruleset::{dhcp, impostors};
use crate::session::{AdoptedSession, PoolKey, Slot};
use crate::{FirewallError, Layout};

/// A way to look at the gate of this machine.
pub struct View(pub(super) State);

/// A session, and what its packets meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenSession {
    /// Who, what for and how much.
    pub session: AdoptedSession,
    /// Towards the internet, octets per second; `None`: no limit.
    pub up_octets_per_sec: Option<u64>,
    /// Towards the device, octets per second; `None`: no limit.
    pub down_octets_per_sec: Option<u64>,
    /// The queue of the uplink in which it waits by its class, as traffic control writes it; `None`: it has no class, or the gate has it not.
    pub queue: Option<String>,
    /// The kernel refuses its packets. What was used tells it not: the packet that would have crossed the limit is not in the meters.
    pub is_used_up: bool,
}

/// What no session is charged for, since the table was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Uncharged {
    /// To the walled garden and what else is free.
    pub up_octets: u64,
    /// From there.
    pub down_octets: u64,
    /// Packets to where nobody may go.
    pub blocked_packets: u64,
}

/// How long something stays; `None`: until it is taken away.
pub type Stay = Option<Duration>;

/// All that the kernel knows of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenDevice {
    /// The device.
    pub mac: Mac,
    /// Addresses that it may speak from before it has logged in.
    pub leases: Vec<(Ipv4Addr, Stay)>,
    /// Whether it may speak over IPv6 before it has logged in.
    pub may_use_ipv6: Option<Stay>,
    /// Which session its IPv4 packets are taken for.
    pub auth4: Option<(Slot, Stay)>,
    /// Which session its IPv6 packets are taken for.
    pub auth6: Option<(Slot, Stay)>,
    /// IPv6 addresses that it holds: nobody else is heard from them.
    pub holds: Vec<(Ipv6Addr, Stay)>,
    /// IPv6 addresses that the kernel knows it by as a neighbour, and that others hold, each with one of them, if it is still known who.
    pub held_by_others: Vec<(Ipv6Addr, Option<Mac>)>,
    /// Its session, be it one whose time is up.
    pub session: Option<SeenSession>,
}

impl View {
    /// Opens it. No table need be there: then there is nobody in it. What changes while it is read may be in the answer or not: on a busy gate
    /// nothing could be read at one moment.
    ///
    /// # Errors
    /// [`FirewallError::NotPermitted`] or [`FirewallError::Kernel`].
    pub fn open(layout: &Layout) -> Result<Self, FirewallError> {
        let mut state = State::new(layout)?;
        state.nft = state.nft.at_a_glance();
        Ok(Self(state))
    }

    /// Whether the gate stands: without it everybody would be let through.
    ///
    /// # Errors
    /// [`FirewallError::NotPermitted`] or [`FirewallError::Kernel`].
    pub fn is_standing(&mut self) -> Result<bool, FirewallError> {
        match self.0.nft.table_flags() {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(FirewallError::kernel("look for the gate's table")(error)),
        }
    }

    /// Every session, by slot. With 100,000 it takes some seconds.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn sessions(&mut self) -> Result<Vec<SeenSession>, FirewallError> {
        let found = self.0.list()?;
        let used_up: BTreeSet<PoolKey> = self.0.pools_used_up()?.into_iter().collect();
        let seen = |session: AdoptedSession| {
            let is_used_up = used_up.contains(&session.pool);
            self.0.seen(session, is_used_up)
        };
        Ok(found.into_iter().map(seen).collect())
    }

    fn session_of(&mut self, mac: Mac) -> Result<Option<SeenSession>, FirewallError> {
        let Some(session) = self.0.list_pool_of(mac)?.into_iter().find(|one| one.mac == mac) else {
            return Ok(None);
        };
        let quotas = self.0.quota_of(session.pool);
        let quotas = quotas.map_err(FirewallError::kernel("read a quota"))?;
        let is_used_up = quotas.iter().any(|quota| quota.used_octets >= quota.limit_octets);
        Ok(Some(self.0.seen(session, is_used_up)))
    }

    /// One device. Of sessions only its own is read, and those that share its pool.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn device(&mut self, mac: Mac) -> Result<SeenDevice, FirewallError> {
        let session = self.session_of(mac)?;
        let state = &mut self.0;
        let mut look = || {
            let mut leases: Vec<(Ipv4Addr, Stay)> = state
                .nft
                .all_elements(set::LEASES)?
                .iter()
                .filter(|one| one.key.starts_with(&mac.0))
                .filter_map(|one| Some((address(&one.key)?, stay(one))))
                .collect();
            leases.sort_unstable_by_key(|(ipv4, _)| *ipv4);
            let mut may_use_ipv6 = state.nft.elements(set::LEASE_MACS, &[&mac.0])?.first().map(stay);
            if may_use_ipv6.is_none() {
                may_use_ipv6 = state.nft.elements(set::UNLEASED, &[&mac.0])?.first().map(stay);
            }
            let slots = |elements: &[Element]| elements.first().and_then(|one| Some((slot(one)?, stay(one))));
            let ipv4 = session.as_ref().and_then(|one| one.session.ipv4);
            let auth4 = match ipv4 {
                Some(ipv4) => slots(&state.nft.elements(set::AUTH4, &[&key4(mac, ipv4)])?),
                None => None,
            };
            let auth6 = slots(&state.nft.elements(set::AUTH6, &[&mac.0])?);
            Ok((leases, may_use_ipv6, auth4, auth6))
        };
        let (leases, may_use_ipv6, auth4, auth6) = look().map_err(FirewallError::kernel("look for a device"))?;
        let (holds, held_by_others) = state.held(mac).map_err(FirewallError::kernel("look for a device"))?;
        Ok(SeenDevice {
            mac,
            leases,
            may_use_ipv6,
            auth4,
            auth6,
            holds,
            held_by_others,
            session,
        })
    }

    /// Frames that were refused on layer 2, what they were and how many: what no device may send to others, between the ports of the LAN's bridge
    /// (counted once for each port that it would have gone to) and to the gateway itself, ARP of unknown devices beyond what is heard, what was said in another's name, and what relays have asked of DHCP.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn rogues(&mut self) -> Result<Vec<(&'static str, u64)>, FirewallError> {
        let mut told: Vec<(&'static str, u64)> = Vec::new();
        let here =
            [impostors::COUNTER, dhcp::RELAYED, ADVERTISEMENTS, DHCP_SERVERS].map(|name| (FAMILY_INET, name, name));
        let between = ROGUES.map(|name| (FAMILY_BRIDGE, name, name));
        let all = std::iter::once((FAMILY_ARP, UNHEARD, "unheard_arp"))
            .chain(here)
            .chain(between);
        for (family, name, shown) in all {
            let counter = self.0.nft.counter(family, name);
            let counter = counter.map_err(FirewallError::kernel("read a counter"))?;
            let Some(counter) = counter else { continue };
            match told.iter_mut().find(|(known, _)| *known == shown) {
                Some((_, packets)) => *packets = packets.saturating_add(counter.packets),
                None => told.push((shown, counter.packets)),
            }
        }
        Ok(told)
    }

    /// Octets of IP packets that were charged to nobody, up and down, and how many packets were refused as blocked.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn uncharged(&mut self) -> Result<Uncharged, FirewallError> {
        let [free_up, free_down, blocked] = COUNTERS.map(|name| {
            let counter = self.0.nft.counter(FAMILY_INET, name);
            let counter = counter.map_err(FirewallError::kernel("read a counter"));
            counter.map(Option::unwrap_or_default)
        });
        Ok(Uncharged {
            up_octets: free_up?.octets,
            down_octets: free_down?.octets,
            blocked_packets: blocked?.packets,
        })
    }

    /// Octets of each session so far that were charged, up and down, read by number: cheap enough to be asked each second.
    ///
    /// # Errors
    /// [`FirewallError::Kernel`].
    pub fn octets(&mut self, slots: &[Slot]) -> Result<HashMap<Slot, (u64, u64)>, FirewallError> {
        let meters = self.0.read_charged(slots)?;
        Ok(meters
            .into_iter()
            .map(|(slot, meter)| (slot, (meter.up_octets, meter.down_octets)))
            .collect())
    }
}

impl State {
    /// A session that was listed.
    fn seen(&self, session: AdoptedSession, is_used_up: bool) -> SeenSession {
        let limits = self.sessions.get(&session.slot);
        SeenSession {
            up_octets_per_sec: limits.and_then(|one| one.up),
            down_octets_per_sec: limits.and_then(|one| one.down),
            queue: limits.and_then(|one| one.queue).map(share::written),
            is_used_up,
            session,
        }
    }

    /// The IPv6 addresses that a device holds, and those where it is the kernel's neighbour while others hold them.
    fn held(&mut self, mac: Mac) -> io::Result<Held> {
        let known = neighbours(self.neighbours.interface())?;
        let holders = self.nft.all_elements(impostors::HOLDERS)?;
        let holders: Vec<(Ipv6Addr, Mac)> = holders.iter().filter_map(|one| holder(&one.key)).collect();
        let mut held = |address: Ipv6Addr| -> io::Result<Option<Stay>> {
            let found = self.nft.elements(impostors::HELD, &[&address.octets()])?;
            Ok(found.first().map(stay))
        };
        let (mut holds, mut by_others) = (Vec::new(), Vec::new());
        for (address, _) in holders.iter().filter(|one| one.1 == mac) {
            holds.extend(held(*address)?.map(|stay| (*address, stay)));
        }
        for (_, address) in known.iter().filter(|one| one.0 == mac) {
            let of_this = || holders.iter().filter(|one| one.0 == *address);
            if of_this().all(|one| one.1 != mac) && held(*address)?.is_some() {
                by_others.push((*address, of_this().map(|one| one.1).next()));
            }
        }
        holds.sort_unstable();
        by_others.sort_unstable();
        Ok((holds, by_others))
    }
}

type Held = (Vec<(Ipv6Addr, Stay)>, Vec<(Ipv6Addr, Option<Mac>)>);

fn holder(key: &[u8]) -> Option<(Ipv6Addr, Mac)> {
    let (address, rest) = key.split_first_chunk::<16>()?;
    Some(((*address).into(), Mac(*rest.first_chunk()?)))
}

fn stay(element: &Element) -> Stay {
    element.expires_ms.map(Duration::from_millis)
}

fn slot(element: &Element) -> Option<Slot> {
    let mark = element.data.as_deref()?.try_into().ok()?;
    Some(Slot(u32::from_ne_bytes(mark)))
}

/// The second part of a key made by [`key4`].
fn address(key: &[u8]) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = key.get(8..12)?.try_into().ok()?;
    Some(octets.into())
}

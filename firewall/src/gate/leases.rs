//! Who may be heard before login, in strict mode.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use kavadam_domain::Mac;

use super::State;
use super::sessions::{key4, millis};
use crate::FirewallError;
use crate::netlink::{Entry, FAMILY_ARP};
use crate::ruleset::arp::{LEASED, PAIRS};
use crate::ruleset::{impostors, set};

const DNS: u16 = 53;

/// What a name opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opening {
    /// To strangers, and free to those online.
    Garden,
    /// Free to those online alone.
    Free,
}

/// Who has an address, and until when.
pub(super) type Known = (Mac, Ipv4Addr, Option<Instant>);

impl State {
    pub(super) fn admit_lease(&mut self, mac: Mac, ipv4: Ipv4Addr, ttl: Option<Duration>) -> Result<(), FirewallError> {
        self.renew(mac, ipv4, ttl)
            .map_err(FirewallError::kernel("admit a lease"))?;
        let until = ttl.and_then(|ttl| Instant::now().checked_add(ttl));
        self.leases.entry(mac).or_default().insert(ipv4, until);
        self.leased.insert(ipv4, mac);
        Ok(())
    }

    /// Admits again every lease we know of, after the kernel has lost them.
    pub(super) fn admit_known(&mut self) -> Result<(), FirewallError> {
        let known = self.known_leases();
        self.admit_again(&known)
    }

    /// Every lease that is not over.
    pub(super) fn known_leases(&mut self) -> Vec<Known> {
        let now = Instant::now();
        for addresses in self.leases.values_mut() {
            addresses.retain(|_, until| until.is_none_or(|until| until > now));
        }
        self.leases.retain(|_, addresses| !addresses.is_empty());
        let leases = &self.leases;
        self.leased
            .retain(|ipv4, mac| leases.get(mac).is_some_and(|addresses| addresses.contains_key(ipv4)));
        let each = self.leases.iter();
        each.flat_map(|(mac, addresses)| addresses.iter().map(|(ipv4, until)| (*mac, *ipv4, *until)))
            .collect()
    }

    /// Those that are still as they were known.
    pub(super) fn admit_again(&mut self, known: &[Known]) -> Result<(), FirewallError> {
        let now = Instant::now();
        for &(mac, ipv4, until) in known {
            if self.leases.get(&mac).and_then(|addresses| addresses.get(&ipv4)) != Some(&until) {
                continue;
            }
            self.renew(mac, ipv4, until.map(|until| until.saturating_duration_since(now)))
                .map_err(FirewallError::kernel("admit a lease"))?;
        }
        Ok(())
    }

    pub(super) fn open_name(&mut self, open: Opening, address: IpAddr, stay: Duration) -> Result<(), FirewallError> {
        let (set4, set6) = match open {
            Opening::Garden => (set::GARDEN_NAMES4, set::GARDEN_NAMES6),
            Opening::Free => (set::FREE_NAMES4, set::FREE_NAMES6),
        };
        let timeout_ms = Some(millis(stay));
        let opened = match address {
            IpAddr::V4(ip) => self.put(&[(set4, &ip.octets())], timeout_ms),
            IpAddr::V6(ip) => self.put(&[(set6, &ip.octets())], timeout_ms),
        };
        opened.map_err(FirewallError::kernel("open an address"))
    }

    pub(super) fn keep_names(&mut self, stay: Option<Duration>) -> Result<(), FirewallError> {
        let port = DNS.to_be_bytes();
        let kept = match stay {
            Some(stay) => self.put(&[(set::CITIZEN_NAMES, &port)], Some(millis(stay))),
            None => self.delete_if_there([(set::CITIZEN_NAMES, port.to_vec())]),
        };
        kept.map_err(FirewallError::kernel("lead names here"))
    }

    fn renew(&mut self, mac: Mac, ipv4: Ipv4Addr, ttl: Option<Duration>) -> io::Result<()> {
        let pair = key4(mac, ipv4);
        let known: [(&str, &[u8]); 5] = [
            (set::LEASES, &pair),
            (set::LEASE_MACS, &mac.0),
            (set::LEASE_CLIENTS, &mac.0),
            (impostors::LEASE_OWNERS, &owner(mac)),
            (impostors::LEASED, &ipv4.octets()),
        ];
        self.put(&known, ttl.map(millis))?;
        let heard = Entry {
            timeout_ms: ttl.map(millis),
            ..Entry::default()
        };
        self.hear_arp(&[(PAIRS, &pair), (LEASED, &ipv4.octets())], Some(&heard));
        Ok(())
    }

    /// Of the address this device alone, always, as long as `stay` says; or no more than others, and others too. Should this fail, it does no great
    /// harm.
    fn hear_arp(&mut self, elements: &[(&str, &[u8])], stay: Option<&Entry>) {
        if !self.beside.contains_key(&FAMILY_ARP) {
            return;
        }
        let mut change = || {
            let mut batch = self.nft.batch();
            for (set, key) in elements {
                if !self.nft.elements_in(FAMILY_ARP, set, &[key])?.is_empty() {
                    batch.delete_of_arp(set, key);
                }
                if let Some(&stay) = stay {
                    batch.add_of_arp(set, &Entry { key, ..stay });
                }
            }
            self.nft.commit(batch)
        };
        if let Err(error) = change() {
            tracing::warn!(%error, "a device's ARP is heard no more than a stranger's");
        }
    }

    /// Deleted and added in one batch: before kernel 6.12, adding what exists does not renew its timeout.
    fn put(&mut self, elements: &[(&str, &[u8])], timeout_ms: Option<u64>) -> io::Result<()> {
        // An old one may expire between the look and the change: then once more.
        for attempt in 0.. {
            let mut batch = self.nft.batch();
            for &(set, key) in elements {
                if !self.nft.elements(set, &[key])?.is_empty() {
                    batch.delete(set, key);
                }
                batch.add(
                    set,
                    &Entry {
                        key,
                        timeout_ms,
                        ..Entry::default()
                    },
                );
            }
            match self.nft.commit(batch) {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) && attempt < 2 => {}
                result => return result,
            }
        }
        Ok(())
    }

    pub(super) fn revoke_lease(&mut self, mac: Mac, ipv4: Ipv4Addr) -> Result<(), FirewallError> {
        let is_last = self.leases.get_mut(&mac).is_none_or(|addresses| {
            addresses.remove(&ipv4);
            addresses.is_empty()
        });
        let (pair, address) = (key4(mac, ipv4), ipv4.octets());
        let mut gone: Vec<(&str, Vec<u8>)> = vec![(set::LEASES, pair.to_vec())];
        let mut unheard: Vec<(&str, &[u8])> = vec![(PAIRS, &pair)];
        // Somebody else may have got it before we hear that it was given back.
        if self.leased.get(&ipv4).is_none_or(|holder| *holder == mac) {
            self.leased.remove(&ipv4);
            gone.push((impostors::LEASED, address.to_vec()));
            unheard.push((LEASED, &address));
        }
        if is_last {
            self.leases.remove(&mac);
            gone.extend([set::LEASE_MACS, set::LEASE_CLIENTS].map(|set| (set, mac.0.to_vec())));
            gone.push((impostors::LEASE_OWNERS, owner(mac).to_vec()));
        }
        self.hear_arp(&unheard, None);
        self.delete_if_there(gone)
            .map_err(FirewallError::kernel("revoke a lease"))
    }
}

/// A device that speaks for itself: its hardware address twice, each padded to a multiple of four octets.
fn owner(mac: Mac) -> [u8; 16] {
    let mut key = [0; 16];
    for half in key.chunks_mut(8) {
        half.iter_mut().zip(mac.0).for_each(|(octet, own)| *octet = own);
    }
    key
}

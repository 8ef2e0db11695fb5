//! A session goes on whatever becomes of its device's IPv6 address; the record tells the present one.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use kavadam_domain::Mac;
use kavadam_firewall::Slot;

use super::{Command, Core, Now};
use crate::kernel::Kernel;
use crate::report::Kind;

impl<K: Kernel> Core<K> {
    /// These are the LAN's prefixes now. A session whose address is of another has none until its device is seen with one.
    pub(super) fn renumber(&mut self, prefixes: &[Ipv6Net], now: Now) {
        let is_gone = |ip: Ipv6Addr| !prefixes.iter().any(|net| net.contains(&ip));
        let gone = self
            .sessions
            .values()
            .filter(|session| session.is_online() && session.row.ipv6.is_some_and(is_gone));
        let gone: Vec<Slot> = gone.map(|session| session.slot).collect();
        for slot in gone {
            self.number(slot, None, now);
            self.unnumbered.insert(slot);
        }
        self.prefixes = prefixes.to_vec();
    }

    /// Devices and their addresses, as the gateway's own neighbours. An address is given to a session that lost its own, and to one that came by a
    /// local one, which nobody in the internet sees; otherwise what a device has besides changes by the hour (RFC 8981), and is in nobody's record.
    pub(super) fn look_around(&mut self, neighbours: &[(Mac, Ipv6Addr)], now: Now) {
        self.unnumbered.retain(|slot| self.sessions.contains_key(slot));
        for (mac, ip) in neighbours {
            let is_delegated = self.prefixes.iter().any(|net| net.contains(ip)) && !ip.is_unique_local();
            let session = self.by_mac.get(mac).and_then(|slot| self.sessions.get(slot));
            let Some(session) = session.filter(|_| is_delegated) else {
                continue;
            };
            let slot = session.slot;
            let is_local = session.row.ipv6.is_some_and(|ip| ip.is_unique_local());
            if self.unnumbered.remove(&slot) || is_local {
                self.number(slot, Some(*ip), now);
            }
        }
    }

    fn number(&mut self, slot: Slot, ipv6: Option<Ipv6Addr>, now: Now) {
        let Some(session) = self.sessions.get_mut(&slot).filter(|session| session.is_online()) else {
            return;
        };
        session.row.ipv6 = ipv6;
        self.out.push(Command::Save(Box::new(session.row.clone())));
        // The record says from when on the device was where; its meters may be as old as their last reading.
        self.out
            .push(Command::Spool(Box::new(session.report(Kind::Interim, now))));
    }
}

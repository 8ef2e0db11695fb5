//! A session's IPv4 address follows its device's lease, from the moment that a server is asked about it.

use std::net::Ipv4Addr;

use kavadam_domain::Mac;
use kavadam_firewall::{FirewallError, Meter, Slot};

use super::deeds::Opening;
use super::{Command, Core, Now, warn_kernel};
use crate::kernel::Kernel;
use crate::report::Kind;

impl<K: Kernel> Core<K> {
    /// The device has this address. A session of another that still claims it is behind the times: its neighbour entry would
    /// draw the new owner's packets to a device that has left.
    pub(super) fn leased(&mut self, mac: Mac, ipv4: Ipv4Addr, now: Now) {
        let holder = self.by_ipv4.get(&ipv4).and_then(|slot| self.sessions.get(slot));
        if let Some(other) = holder.filter(|session| session.row.mac != mac) {
            self.move_to(other.slot, None, now);
        }
        if let Some(slot) = self.by_mac.get(&mac).copied() {
            self.move_to(slot, Some(ipv4), now);
        } else {
            self.move_newcomer(mac, |_| Some(ipv4), now);
        }
    }

    pub(super) fn vacate(&mut self, mac: Mac, ipv4: Ipv4Addr, now: Now) {
        let holder = self.by_ipv4.get(&ipv4).and_then(|slot| self.sessions.get(slot));
        if let Some(session) = holder.filter(|session| session.row.mac == mac) {
            self.move_to(session.slot, None, now);
        }
        let slot = self.by_mac.get(&mac);
        if let Some(slot) = slot.filter(|slot| self.unmoved.get(slot) == Some(&Some(ipv4))) {
            self.unmoved.remove(slot);
        }
        self.move_newcomer(mac, |held| held.filter(|held| *held != ipv4), now);
    }

    /// A device that a server is asked about, or whose session is to be opened: it will have this address.
    fn move_newcomer(&mut self, mac: Mac, now_held: impl Fn(Option<Ipv4Addr>) -> Option<Ipv4Addr>, now: Now) {
        if let Some(login) = self.login_of.get(&mac).and_then(|ask| self.logins.get_mut(ask)) {
            login.device.ipv4 = now_held(login.device.ipv4);
        }
        let Some(Opening { row, .. }) = self.opening_at(mac) else {
            return;
        };
        let ipv4 = now_held(row.ipv4);
        if row.ipv4 == ipv4 {
            return;
        }
        row.ipv4 = ipv4;
        // Its Start, with the address before, is on its way; both are committed before it is opened.
        let (row, report) = (row.clone(), row.report(Kind::Interim, Meter::default(), 0, now.wall));
        self.out.push(Command::Save(Box::new(row)));
        self.out.push(Command::Spool(Box::new(report)));
    }

    pub(super) fn move_to(&mut self, slot: Slot, ipv4: Option<Ipv4Addr>, now: Now) {
        self.unmoved.remove(&slot);
        let Some(session) = self.sessions.get_mut(&slot) else {
            return;
        };
        if session.row.ipv4 == ipv4 || !session.is_online() {
            return;
        }
        match self.kernel.set_ipv4(slot, ipv4) {
            Ok(()) => {}
            // It is about to be ended.
            Err(FirewallError::Expired(_)) => return,
            Err(error) => {
                // The next tick tries again.
                self.unmoved.insert(slot, ipv4);
                return warn_kernel(&error);
            }
        }
        let old = std::mem::replace(&mut session.row.ipv4, ipv4);
        self.out.push(Command::Save(Box::new(session.row.clone())));
        // The record says from when on the device was where; its meters may be as old as their last reading.
        self.out
            .push(Command::Spool(Box::new(session.report(Kind::Interim, now))));
        self.release_address(slot, old);
        if let Some(ipv4) = ipv4 {
            self.by_ipv4.insert(ipv4, slot);
        }
    }

    pub(super) fn release_address(&mut self, slot: Slot, ipv4: Option<Ipv4Addr>) {
        if let Some(ipv4) = ipv4.filter(|ipv4| self.by_ipv4.get(ipv4) == Some(&slot)) {
            self.by_ipv4.remove(&ipv4);
        }
    }
}

//! A session's IPv4 address follows its device's lease.

use std::net::Ipv4Addr;

use kavadam_domain::Mac;
use kavadam_firewall::{FirewallError, Slot};

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
        }
    }

    pub(super) fn vacate(&mut self, mac: Mac, ipv4: Ipv4Addr, now: Now) {
        let holder = self.by_ipv4.get(&ipv4).and_then(|slot| self.sessions.get(slot));
        if let Some(session) = holder.filter(|session| session.row.mac == mac) {
            self.move_to(session.slot, None, now);
        }
    }

    fn move_to(&mut self, slot: Slot, ipv4: Option<Ipv4Addr>, now: Now) {
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
            Err(error) => return warn_kernel(&error),
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

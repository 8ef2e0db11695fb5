//! What a gate shows of how it wants orders, by what it answered and how it writes.
//!
//! Known to the running process alone: after a restart the gate is asked as its record and profile say, until it is heard.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError, RwLock};

use crate::listener::lock;
use crate::profile::Spelling;
use crate::wire::{Packet, attr};

/// Addresses of one gate that are kept: those where it is not the first port that answers.
const MOST_ADDRESSES: usize = 4096;

/// See the module.
#[derive(Default)]
pub(super) struct Habits {
    /// Where orders are not heard at the first port: which is asked next.
    ports: Mutex<HashMap<IpAddr, u16>>,
    /// How it spelled the last device that it asked or told about.
    spelling: RwLock<Option<Spelling>>,
}

impl Habits {
    /// How it spells a device.
    pub(super) fn spelling(&self) -> Option<Spelling> {
        *self.spelling.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A well signed request of the gate.
    pub(super) fn hear(&self, packet: &Packet) {
        let station = packet.text(attr::CALLING_STATION_ID);
        let heard = station.and_then(|text| Spelling::heard(&text));
        // Written only where it changes: every request passes here.
        if heard.is_some() && heard != self.spelling() {
            *self.spelling.write().unwrap_or_else(PoisonError::into_inner) = heard;
        }
    }

    /// On which of these ports to ask the gate there: on the first, unless another answered or it was silent.
    pub(super) fn port(&self, there: IpAddr, ports: &[u16]) -> u16 {
        let known = lock(&self.ports).get(&there).copied();
        let known = known.filter(|port| ports.contains(port));
        known.or(ports.first().copied()).unwrap_or_default()
    }

    /// Asked on that port it answered, or was silent: then the next is asked. One sending, one port, for a port that is shut looks like a
    /// gate that is off.
    pub(super) fn asked(&self, there: IpAddr, ports: &[u16], port: u16, is_silent: bool) {
        let next = if is_silent {
            // Another order found out already.
            if self.port(there, ports) != port {
                return;
            }
            let mut from_it = ports.iter().cycle().skip_while(|known| **known != port);
            from_it.nth(1).copied().unwrap_or(port)
        } else {
            port
        };
        let mut known = lock(&self.ports);
        if ports.first() == Some(&next) {
            known.remove(&there);
        } else if known.len() < MOST_ADDRESSES || known.contains_key(&there) {
            known.insert(there, next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: [u16; 2] = [1700, 3799];
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 7, 0, 2));

    #[test]
    fn a_gate_is_asked_on_its_next_port_once_it_was_silent_and_stays_where_it_answers() {
        let habits = Habits::default();
        assert_eq!(habits.port(THERE, &PORTS), 1700);
        habits.asked(THERE, &PORTS, 1700, true);
        assert_eq!(habits.port(THERE, &PORTS), 3799);
        habits.asked(THERE, &PORTS, 1700, true);
        assert_eq!(habits.port(THERE, &PORTS), 3799, "two orders, one finding");
        habits.asked(THERE, &PORTS, 3799, false);
        assert_eq!(habits.port(THERE, &PORTS), 3799);
        habits.asked(THERE, &PORTS, 3799, true);
        assert_eq!(habits.port(THERE, &PORTS), 1700, "it was changed there");
        assert!(lock(&habits.ports).is_empty());
    }

    #[test]
    fn a_gate_with_one_port_is_asked_there_however_silent() {
        let habits = Habits::default();
        habits.asked(THERE, &[3799], 3799, true);
        assert_eq!(habits.port(THERE, &[3799]), 3799);
        habits.asked(THERE, &PORTS, 1700, true);
        assert_eq!(habits.port(THERE, &[4000]), 4000, "its administrator gave it another");
        assert_eq!(lock(&habits.ports).len(), 1);
    }
}

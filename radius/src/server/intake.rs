//! From a datagram to work to do. No IO and no clock: who sent it and when come in as values.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kavadam_access::api::Candidates;
use kavadam_domain::{NasId, Timestamp};

use super::DropReason;
use super::counts::Unanswered;
use super::sender::Sender;
use crate::duplicates::{Admission, Bounds, Duplicates, Key, Total};
use crate::listener::{Job, SharedDuplicates, lock};
use crate::wire::{Code, Packet};

/// Outlasts the retransmissions of common gates (MikroTik, CoovaChilli and ours give up within 20 seconds).
const REMEMBERED: Duration = Duration::from_secs(30);
/// Of each gate: at 2,000 requests a second, 30 seconds' worth of common answers. A busy gate does not shorten the memory of the
/// others, and one that fills its answers with Proxy-State shortens its own.
const OF_A_GATE: Bounds = Bounds {
    lifetime: REMEMBERED,
    octets: 12 << 20,
    // A quarter of what a port works on. Answers take milliseconds, so that a controller which has every identifier of 32 ports in use gets as
    // many thousands a second; if they take longer, it keeps no other gate waiting, and what is dropped comes again.
    under_way: 1024,
};
/// Of all gates together: 90,000 common answers, all of the last 18 seconds when 300,000 sessions come back within a minute.
const OF_ALL_OCTETS: usize = 16 << 20;

/// Which port it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Authentication,
    Accounting,
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// The gate is there.
    pub(super) seen_at: SocketAddr,
    /// Only what comes from the same can be a copy.
    pub(super) copies_from: SocketAddr,
}

impl From<SocketAddr> for Origin {
    /// Of a datagram: identifiers are told apart for each socket of the gate.
    fn from(socket: SocketAddr) -> Self {
        Self {
            seen_at: socket,
            copies_from: socket,
        }
    }
}

impl Origin {
    /// A gate that lost a connection sends what was not answered over the next, by another way to the internet perhaps.
    pub(super) const fn of_a_connection(from: IpAddr) -> Self {
        Self {
            seen_at: SocketAddr::new(from, 0),
            copies_from: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        }
    }
}

/// What to do.
pub(super) enum Taken {
    /// Say nothing.
    Drop(Unanswered),
    /// Say again to this gate what was said before.
    Replay(NasId, Arc<[u8]>),
    /// Work on it, and report the answer to the job.
    Work(Packet, Sender, Job),
}

/// The intake of one port.
pub(super) struct Intake {
    port: Port,
    seen: Mutex<Seen>,
}

/// What each gate sent.
struct Seen {
    by_gate: HashMap<NasId, SharedDuplicates>,
    total: Arc<Total>,
    cleared_at: Option<Instant>,
}

impl Seen {
    fn new() -> Self {
        Self {
            by_gate: HashMap::new(),
            total: Total::new(OF_ALL_OCTETS),
            cleared_at: None,
        }
    }

    fn of(&mut self, nas: NasId, now: Instant) -> SharedDuplicates {
        // A gate that has fallen silent leaves nothing behind.
        if self.cleared_at.is_none_or(|at| now.duration_since(at) >= REMEMBERED) {
            self.cleared_at = Some(now);
            self.by_gate.retain(|_, seen| {
                let is_in_use = Arc::strong_count(seen) > 1;
                let mut seen = lock(seen);
                seen.expire(now);
                is_in_use || !seen.is_empty()
            });
        }
        let total = &self.total;
        let anew = || Arc::new(Mutex::new(Duplicates::new(OF_A_GATE, total)));
        Arc::clone(self.by_gate.entry(nas).or_insert_with(anew))
    }
}

impl Intake {
    pub(super) fn new(port: Port) -> Self {
        Self {
            port,
            seen: Mutex::new(Seen::new()),
        }
    }

    /// Decides what to do with a datagram from `from`, where these `gates` are. `clock` is the time of day, for what ends with a date.
    pub(super) fn take(
        &self,
        datagram: &[u8],
        from: SocketAddr,
        gates: &Candidates,
        now: Instant,
        clock: Timestamp,
    ) -> Taken {
        let (packet, sender) = match self.judge(datagram, gates, clock) {
            Ok(judged) => judged,
            Err(unanswered) => return Taken::Drop(unanswered),
        };
        let nas = sender.nas().id;
        let key = Key {
            source: from,
            identifier: packet.identifier(),
            authenticator: *packet.authenticator(),
        };
        let seen = lock(&self.seen).of(nas, now);
        // The lock ends with this statement: a job locks again when it is done or dropped.
        let admission = lock(&seen).admit(&key, now);
        match admission {
            Admission::New => Taken::Work(packet, sender, Job::new(&seen, key)),
            Admission::InProgress => Taken::Drop(Unanswered::by(nas, DropReason::InProgress)),
            Admission::Full => Taken::Drop(Unanswered::by(nas, DropReason::Busy)),
            Admission::Replay(reply) => Taken::Replay(nas, reply),
        }
    }

    fn judge(&self, datagram: &[u8], gates: &Candidates, clock: Timestamp) -> Result<(Packet, Sender), Unanswered> {
        let (packet, sender) = self
            .prove(datagram, gates, clock)
            .map_err(|reason| Unanswered::of(gates, reason))?;
        if !packet.fits_an_answer() {
            return Err(Unanswered::by(sender.nas().id, DropReason::ProxyState));
        }
        Ok((packet, sender))
    }

    fn prove(&self, datagram: &[u8], gates: &Candidates, clock: Timestamp) -> Result<(Packet, Sender), DropReason> {
        // Before a single octet is read: most of a flood ends here.
        if gates.all().is_empty() {
            return Err(DropReason::UnknownSource);
        }
        let packet = Packet::parse(datagram)?;
        if !self.port.takes(packet.code()) {
            return Err(DropReason::WrongPort);
        }
        let sender = Sender::of(&packet, gates, clock)?;
        Ok((packet, sender))
    }
}

impl Port {
    const fn takes(self, code: Code) -> bool {
        match self {
            Self::Authentication => matches!(code, Code::AccessRequest | Code::StatusServer),
            Self::Accounting => matches!(code, Code::AccountingRequest | Code::StatusServer),
        }
    }
}

#[cfg(test)]
mod memory {
    use super::*;

    #[test]
    fn each_gate_has_a_memory_of_its_own_which_silence_clears() {
        let (mut seen, now) = (Seen::new(), Instant::now());
        let one = seen.of(NasId(1), now);
        assert!(!Arc::ptr_eq(&one, &seen.of(NasId(2), now)));
        assert!(Arc::ptr_eq(&one, &seen.of(NasId(1), now)));
        let key = Key {
            source: (Ipv4Addr::LOCALHOST, 5).into(),
            identifier: 1,
            authenticator: [9; 16],
        };
        lock(&one).admit(&key, now);
        lock(&one).answered(&key, Arc::from(&b"answer"[..]), now);
        let weak = Arc::downgrade(&one);
        drop(one);
        seen.of(NasId(2), now + REMEMBERED);
        assert!(weak.upgrade().is_none(), "nothing is left of it");
    }
}

//! From a datagram to work to do. No IO and no clock: who sent it and when come in as values.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kavadam_access::api::NasEntry;
use kavadam_domain::NasId;

use super::DropReason;
use crate::duplicates::{Admission, Duplicates, Key};
use crate::listener::{Job, SharedDuplicates, lock};
use crate::wire::{Code, Packet};

/// Outlasts the retransmissions of common gates (MikroTik, CoovaChilli and ours give up within 20 seconds).
const REMEMBERED: Duration = Duration::from_secs(30);
/// Of each gate: at 2,000 requests a second, 30 seconds' worth. A busy gate does not shorten the memory of the others.
const REMEMBERED_REQUESTS: usize = 65_536;

/// Which port it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Authentication,
    Accounting,
}

/// What to do.
pub(super) enum Taken {
    /// Say nothing.
    Drop(DropReason),
    /// Say again what was said before.
    Replay(Arc<[u8]>),
    /// Work on it, and report the answer to the job.
    Work(Packet, Job),
}

/// The intake of one port.
pub(super) struct Intake {
    port: Port,
    seen: Mutex<Seen>,
}

/// What each gate sent.
#[derive(Default)]
struct Seen {
    by_gate: HashMap<NasId, SharedDuplicates>,
    cleared_at: Option<Instant>,
}

impl Seen {
    fn of(&mut self, nas: NasId, now: Instant) -> SharedDuplicates {
        // A gate that has fallen silent leaves nothing behind.
        if self.cleared_at.is_none_or(|at| now.duration_since(at) >= REMEMBERED) {
            self.cleared_at = Some(now);
            for seen in self.by_gate.values() {
                lock(seen).expire(now);
            }
        }
        let anew = || Arc::new(Mutex::new(Duplicates::new(REMEMBERED, REMEMBERED_REQUESTS)));
        Arc::clone(self.by_gate.entry(nas).or_insert_with(anew))
    }
}

impl Intake {
    pub(super) fn new(port: Port) -> Self {
        Self {
            port,
            seen: Mutex::default(),
        }
    }

    /// Decides what to do with a datagram from `from`, where the gate `nas` is, if any.
    pub(super) fn take(&self, datagram: &[u8], from: SocketAddr, nas: Option<&NasEntry>, now: Instant) -> Taken {
        let (packet, nas) = match self.judge(datagram, nas) {
            Ok(judged) => judged,
            Err(reason) => return Taken::Drop(reason),
        };
        let key = Key {
            source: from,
            identifier: packet.identifier(),
            authenticator: *packet.authenticator(),
        };
        let seen = lock(&self.seen).of(nas, now);
        // The lock ends with this statement: a job locks again when it is done or dropped.
        let admission = lock(&seen).admit(key, now);
        match admission {
            Admission::New => Taken::Work(packet, Job::new(&seen, key)),
            Admission::InProgress => Taken::Drop(DropReason::InProgress),
            Admission::Replay(reply) => Taken::Replay(reply),
        }
    }

    fn judge(&self, datagram: &[u8], nas: Option<&NasEntry>) -> Result<(Packet, NasId), DropReason> {
        let nas = nas.ok_or(DropReason::UnknownSource)?;
        let packet = Packet::parse(datagram).map_err(|_| DropReason::Malformed)?;
        if !self.port.takes(packet.code()) {
            return Err(DropReason::WrongPort);
        }
        packet.verify_request(&nas.secret, true).map_err(|error| {
            tracing::debug!(nas.id = %nas.id, %error, "dropped a request");
            DropReason::Unverified
        })?;
        Ok((packet, nas.id))
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
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn each_gate_has_a_memory_of_its_own_which_silence_clears() {
        let (mut seen, now) = (Seen::default(), Instant::now());
        let one = seen.of(NasId(1), now);
        assert!(!Arc::ptr_eq(&one, &seen.of(NasId(2), now)));
        assert!(Arc::ptr_eq(&one, &seen.of(NasId(1), now)));
        let key = Key {
            source: (Ipv4Addr::LOCALHOST, 5).into(),
            identifier: 1,
            authenticator: [9; 16],
        };
        lock(&one).admit(key, now);
        lock(&one).answered(key, Arc::from(&b"answer"[..]), now);
        seen.of(NasId(2), now + REMEMBERED);
        assert!(lock(&one).is_empty());
    }
}

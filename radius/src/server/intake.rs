//! From a datagram to work to do. No IO and no clock: who sent it and when come in as values.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kavadam_access::api::NasEntry;

use super::DropReason;
use crate::duplicates::{Admission, Duplicates, Key};
use crate::listener::{Job, SharedDuplicates, lock};
use crate::wire::{Code, Packet};

/// Outlasts the retransmissions of common gates (MikroTik, CoovaChilli and ours give up within 20 seconds).
const REMEMBERED: Duration = Duration::from_secs(30);
/// At 2,000 requests a second, 30 seconds' worth.
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
    seen: SharedDuplicates,
}

impl Intake {
    pub(super) fn new(port: Port) -> Self {
        Self {
            port,
            seen: Arc::new(Mutex::new(Duplicates::new(REMEMBERED, REMEMBERED_REQUESTS))),
        }
    }

    /// Decides what to do with a datagram from `from`, where the gate `nas` is, if any.
    pub(super) fn take(&self, datagram: &[u8], from: SocketAddr, nas: Option<&NasEntry>, now: Instant) -> Taken {
        let packet = match self.judge(datagram, nas) {
            Ok(packet) => packet,
            Err(reason) => return Taken::Drop(reason),
        };
        let key = Key {
            source: from,
            identifier: packet.identifier(),
            authenticator: *packet.authenticator(),
        };
        // The lock ends with this statement: a job locks again when it is done or dropped.
        let admission = lock(&self.seen).admit(key, now);
        match admission {
            Admission::New => Taken::Work(packet, Job::new(&self.seen, key)),
            Admission::InProgress => Taken::Drop(DropReason::InProgress),
            Admission::Replay(reply) => Taken::Replay(reply),
        }
    }

    fn judge(&self, datagram: &[u8], nas: Option<&NasEntry>) -> Result<Packet, DropReason> {
        let nas = nas.ok_or(DropReason::UnknownSource)?;
        let packet = Packet::parse(datagram).map_err(|_| DropReason::Malformed)?;
        if !self.port.takes(packet.code()) {
            return Err(DropReason::WrongPort);
        }
        packet.verify_request(&nas.secret, true).map_err(|error| {
            tracing::debug!(nas.id = %nas.id, %error, "dropped a request");
            DropReason::Unverified
        })?;
        Ok(packet)
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

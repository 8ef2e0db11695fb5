//! See [`crate::fuzzing`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use kavadam_access::api::Candidates;
use kavadam_domain::{NasId, Timestamp};

use super::accounting::AccountingDoor;
use super::authentication::AuthenticationDoor;
use super::{Centre, Counts, DropReason, intake};
use crate::listener::Job;
use crate::profile::Profiles;

/// Which port it came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// 1812
    Authentication,
    /// 1813
    Accounting,
}

/// The intake of one port.
pub struct Intake(intake::Intake);

/// What the intake makes of a datagram.
pub enum Taken {
    /// Silence.
    Dropped(DropReason),
    /// The answer of before.
    Replayed(Arc<[u8]>),
    /// A new request of that gate.
    New(NasId, Work),
}

/// A request being worked on; dropped, it was not answered.
pub struct Work(Job);

impl Intake {
    /// Of that port.
    #[must_use]
    pub fn of(port: Port) -> Self {
        Self(intake::Intake::new(match port {
            Port::Authentication => intake::Port::Authentication,
            Port::Accounting => intake::Port::Accounting,
        }))
    }

    /// Decides what to do with a datagram.
    #[must_use]
    pub fn take(&self, datagram: &[u8], from: SocketAddr, gates: &Candidates, now: Instant, clock: Timestamp) -> Taken {
        match self.0.take(datagram, from, gates, now, clock) {
            intake::Taken::Drop(unanswered) => Taken::Dropped(unanswered.reason),
            intake::Taken::Replay(_, reply) => Taken::Replayed(reply),
            intake::Taken::Work(_, sender, job) => Taken::New(sender.nas().id, Work(job)),
        }
    }
}

impl Work {
    /// Keeps the answer for copies.
    #[must_use]
    pub fn answered(self, reply: Vec<u8>) -> Arc<[u8]> {
        self.0.answered(reply)
    }
}

/// Both ports, from a datagram to its answer. The centre must not wait.
pub struct Doors<C> {
    auth: AuthenticationDoor<C>,
    acct: AccountingDoor<C>,
}

impl<C: Centre> Doors<C> {
    /// Doors without ports.
    #[must_use]
    pub fn new(centre: C, profiles: Arc<Profiles>) -> Self {
        let (centre, counts) = (Arc::new(centre), Arc::new(Counts::default()));
        Self {
            auth: AuthenticationDoor::new(Arc::clone(&centre), Arc::clone(&counts), profiles),
            acct: AccountingDoor::new(centre, counts),
        }
    }

    /// The answer to a datagram from one of these gates.
    ///
    /// # Errors
    /// Why there is none.
    pub fn answer(
        &self,
        port: Port,
        gates: &Candidates,
        datagram: &[u8],
        from: SocketAddr,
    ) -> Result<Arc<[u8]>, DropReason> {
        let answer = match port {
            Port::Authentication => self.auth.work_for(gates, datagram, from).now_or_never(),
            Port::Accounting => self.acct.work_for(gates, datagram, from).now_or_never(),
        };
        answer.map_or(Err(DropReason::InProgress), |answer| {
            answer.map_err(|unanswered| unanswered.reason)
        })
    }
}

//! The accounting port: commit, then answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use kavadam_access::api;
use kavadam_domain::{NasId, Timestamp};

use super::authentication::failed;
use super::intake::{Intake, Port, Taken};
use super::{Centre, Counts, DropReason};
use crate::listener::Door;
use crate::wire::{Code, Draft, Packet};
use crate::{AccountingKind, AccountingRequest, clock};

pub(super) struct AccountingDoor<C> {
    centre: Arc<C>,
    intake: Intake,
    counts: Arc<Counts>,
}

impl<C: Centre> AccountingDoor<C> {
    pub(super) fn new(centre: Arc<C>, counts: Arc<Counts>) -> Self {
        Self {
            centre,
            intake: Intake::new(Port::Accounting),
            counts,
        }
    }

    async fn work(&self, datagram: &[u8], from: SocketAddr) -> Result<Arc<[u8]>, DropReason> {
        let now = clock::now();
        let nas = self.centre.nas_by_source(from.ip()).await.map_err(failed)?;
        let (packet, job) = match self.intake.take(datagram, from, nas.as_ref(), Instant::now()) {
            Taken::Drop(reason) => return Err(reason),
            Taken::Replay(reply) => {
                self.counts.add_replayed();
                return Ok(reply);
            }
            Taken::Work(packet, job) => (packet, job),
        };
        let nas = nas.ok_or(DropReason::UnknownSource)?;
        self.centre.nas_seen(nas.id, from, now).await.map_err(failed)?;
        if packet.code() == Code::AccountingRequest {
            self.keep(&packet, nas.id, now).await?;
        }
        let mut draft = Draft::reply(Code::AccountingResponse, &packet);
        draft.proxy_state_of(&packet);
        let reply = draft.seal_reply(&nas.secret).map_err(failed)?;
        self.counts.add_answered();
        Ok(job.answered(reply))
    }

    async fn keep(&self, packet: &Packet, nas: NasId, now: Timestamp) -> Result<(), DropReason> {
        let request = AccountingRequest::read(packet, now).ok_or(DropReason::Unusable)?;
        let accounted = self.centre.account(report(request, nas), now).await.map_err(failed)?;
        tracing::debug!(nas.id = %nas, ?accounted, "accounting");
        Ok(())
    }
}

impl<C: Centre> Door for AccountingDoor<C> {
    async fn answer(&self, datagram: Vec<u8>, from: SocketAddr) -> Option<Arc<[u8]>> {
        self.work(&datagram, from)
            .await
            .inspect_err(|reason| self.counts.add_dropped(*reason))
            .ok()
    }
}

fn report(request: AccountingRequest, nas: NasId) -> api::AccountingReport {
    let ip = request.framed_ip();
    let counters = request.counters;
    api::AccountingReport {
        nas,
        kind: match request.kind {
            AccountingKind::Start => api::AccountingKind::Start,
            AccountingKind::Interim => api::AccountingKind::Interim,
            AccountingKind::Stop(cause) => api::AccountingKind::Stop(cause),
            AccountingKind::On => api::AccountingKind::On,
            AccountingKind::Off => api::AccountingKind::Off,
        },
        acct_session_id: request.acct_session_id,
        class: request.classes.into_iter().next(),
        user_name: request.user_name,
        mac: request.mac,
        ip,
        counters: api::Counters {
            up_octets: counters.up_octets,
            down_octets: counters.down_octets,
            up_packets: counters.up_packets,
            down_packets: counters.down_packets,
            session_secs: counters.session_secs,
            has_gigawords: counters.has_gigawords,
        },
        at: request.at,
    }
}

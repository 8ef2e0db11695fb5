//! The accounting port: commit, then answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use kavadam_access::api::{self, NasEntry};
use kavadam_domain::{NasId, Timestamp};

use super::authentication::failed;
use super::counts::{GateCounts, RequestKind};
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

    async fn work(
        &self,
        datagram: &[u8],
        from: SocketAddr,
        nas: NasEntry,
        gate: &GateCounts,
    ) -> Result<Arc<[u8]>, DropReason> {
        let (now, arrived) = (clock::now(), Instant::now());
        let (packet, job) = match self.intake.take(datagram, from, Some(&nas), arrived) {
            Taken::Drop(reason) => return Err(reason),
            Taken::Replay(reply) => {
                gate.add_replayed();
                return Ok(reply);
            }
            Taken::Work(packet, job) => (packet, job),
        };
        let is_status = packet.code() == Code::StatusServer;
        gate.add_request(
            if is_status {
                RequestKind::Status
            } else {
                RequestKind::Accounting
            },
            now,
        );
        self.centre.nas_seen(nas.id, from, now).await.map_err(failed)?;
        if packet.code() == Code::AccountingRequest {
            self.keep(&packet, nas.id, now).await?;
        }
        let mut draft = Draft::reply(Code::AccountingResponse, &packet);
        draft.proxy_state_of(&packet);
        let reply = draft.seal_reply(&nas.secret).map_err(failed)?;
        let code = if is_status {
            Code::StatusServer
        } else {
            Code::AccountingResponse
        };
        gate.add_reply(code, arrived.elapsed());
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
        match self.centre.nas_by_source(from.ip()).await.map_err(failed) {
            Ok(Some(nas)) => {
                let gate = self.counts.gate(nas.id);
                let worked = self.work(&datagram, from, nas, &gate).await;
                worked.inspect_err(|reason| gate.add_dropped(*reason)).ok()
            }
            Ok(None) => {
                self.counts.add_stranger(from.ip());
                None
            }
            Err(reason) => {
                self.counts.add_dropped(reason);
                None
            }
        }
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
        },
        at: request.at,
    }
}

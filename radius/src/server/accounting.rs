//! The accounting port: commit, then answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use kavadam_access::api::{self, Candidates, NasEntry};
use kavadam_domain::Timestamp;

use super::authentication::failed;
use super::counts::{RequestKind, Unanswered};
use super::intake::{Intake, Origin, Port, Taken};
use super::reporter::{session_name, source_of};
use super::sender::Sender;
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

    /// Answers one of these gates: known by their source, or one by the certificate of its connection.
    pub(super) async fn work_for(
        &self,
        gates: &Candidates,
        datagram: &[u8],
        origin: impl Into<Origin>,
    ) -> Result<Arc<[u8]>, Unanswered> {
        let origin = origin.into();
        let (now, arrived) = (clock::now(), Instant::now());
        let (packet, sender, job) = match self.intake.take(datagram, origin.copies_from, gates, arrived, now) {
            Taken::Drop(unanswered) => return Err(unanswered),
            Taken::Replay(nas, reply) => {
                self.counts.gate(nas).add_replayed();
                return Ok(reply);
            }
            Taken::Work(packet, sender, job) => (packet, sender, job),
        };
        let nas = sender.nas().id;
        let reply = self.answer_new(&packet, &sender, origin.seen_at, (now, arrived)).await;
        let reply = reply.map_err(|reason| Unanswered::by(nas, reason))?;
        Ok(job.answered(reply))
    }

    /// A well signed request that was not seen before.
    async fn answer_new(
        &self,
        packet: &Packet,
        sender: &Sender,
        from: SocketAddr,
        (now, arrived): (Timestamp, Instant),
    ) -> Result<Vec<u8>, DropReason> {
        let nas = sender.nas().id;
        let gate = self.counts.gate(nas);
        let is_status = packet.code() == Code::StatusServer;
        gate.add_request(
            if is_status {
                RequestKind::Status
            } else {
                RequestKind::Accounting
            },
            now,
        );
        self.centre.nas_seen(nas, from, now);
        gate.hear(packet, sender.nas());
        if packet.code() == Code::AccountingRequest {
            self.keep(packet, sender, from, now).await?;
        }
        let mut draft = Draft::reply(Code::AccountingResponse, packet);
        draft.proxy_state_of(packet);
        let reply = draft.seal_reply(sender.secret()).map_err(failed)?;
        let code = if is_status {
            Code::StatusServer
        } else {
            Code::AccountingResponse
        };
        gate.add_reply(code, arrived.elapsed());
        Ok(reply)
    }

    async fn keep(&self, packet: &Packet, sender: &Sender, from: SocketAddr, now: Timestamp) -> Result<(), DropReason> {
        let request = AccountingRequest::read(packet, now).ok_or(DropReason::Unusable)?;
        let nas = sender.nas();
        let report = report(request, packet, nas, from);
        let accounted = self.centre.account(report, now).await.map_err(failed)?;
        tracing::debug!(nas.id = %nas.id, ?accounted, "accounting");
        Ok(())
    }
}

impl<C: Centre> Door for AccountingDoor<C> {
    fn turns_away(&self, from: SocketAddr) -> bool {
        let is_stranger = self.centre.is_stranger(from.ip());
        if is_stranger {
            self.counts.add_stranger(from.ip());
        }
        is_stranger
    }

    async fn answer(&self, datagram: Vec<u8>, from: SocketAddr) -> Option<Arc<[u8]>> {
        let gates = match self.centre.gates_at(from.ip()).await.map_err(failed) {
            Ok(gates) => gates,
            Err(reason) => {
                self.counts.add_dropped(reason);
                return None;
            }
        };
        self.work_for(&gates, &datagram, from)
            .await
            .inspect_err(|unanswered| self.counts.add_unanswered(from.ip(), *unanswered))
            .ok()
    }
}

fn report(request: AccountingRequest, packet: &Packet, nas: &NasEntry, from: SocketAddr) -> api::AccountingReport {
    let ip = request.framed_ip();
    let counters = request.counters;
    api::AccountingReport {
        nas: nas.id,
        from: source_of(packet, nas, from),
        kind: match request.kind {
            AccountingKind::Start => api::AccountingKind::Start,
            AccountingKind::Interim => api::AccountingKind::Interim,
            AccountingKind::Stop(cause) => api::AccountingKind::Stop(cause),
            AccountingKind::On => api::AccountingKind::On,
            AccountingKind::Off => api::AccountingKind::Off,
            AccountingKind::Other(number) => api::AccountingKind::Other(number),
        },
        acct_session_id: session_name(request.acct_session_id, packet, nas),
        class: request.classes.into_iter().next(),
        user_name: request.user_name,
        mac: request.mac,
        ip,
        ports: request.ports,
        counters: api::Counters {
            up_octets: counters.up_octets,
            down_octets: counters.down_octets,
            up_packets: counters.up_packets,
            down_packets: counters.down_packets,
            session_secs: counters.session_secs,
            has_gigawords: counters.has_gigawords,
        },
        free: request.free,
        at: request.at,
    }
}

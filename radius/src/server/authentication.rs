//! The authentication port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use kavadam_access::api::{self, AuthorizeRequest, Decision, NasEntry, Proof, Service};
use kavadam_domain::{Language, Mac, Reason, Timestamp};

use super::intake::{Intake, Port, Taken};
use super::{Centre, Counts, DropReason};
use crate::listener::Door;
use crate::wire::{Code, Draft, EncodeError, Packet, attr};
use crate::{AccessReply, AccessRequest, Credential, Grant, ServiceType, clock};

pub(super) struct AuthenticationDoor<C> {
    centre: Arc<C>,
    intake: Intake,
    counts: Arc<Counts>,
}

impl<C: Centre> AuthenticationDoor<C> {
    pub(super) fn new(centre: Arc<C>, counts: Arc<Counts>) -> Self {
        Self {
            centre,
            intake: Intake::new(Port::Authentication),
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
        let reply = match packet.code() {
            Code::StatusServer => alive(&packet, &nas),
            _ => self.decide(&packet, &nas, now).await?,
        };
        let reply = reply.map_err(|error| {
            tracing::error!(%error, nas.id = %nas.id, "the answer does not fit into a packet");
            DropReason::Failed
        })?;
        self.counts.add_answered();
        Ok(job.answered(reply))
    }

    async fn decide(
        &self,
        packet: &Packet,
        nas: &NasEntry,
        now: Timestamp,
    ) -> Result<Result<Vec<u8>, EncodeError>, DropReason> {
        let question =
            AccessRequest::read(packet, &nas.secret).map_or(Question::Unsupported, |read| question(read, nas));
        let reply = match question {
            Question::Ask(request) => reply_of(self.centre.authorize(request, now).await.map_err(failed)?),
            Question::Unsupported => AccessReply::Reject {
                message: Some(Reason::UnsupportedMethod.message(Language::default())),
            },
            // RFC 3579 §3.2: in silence, whatever else is forgiven the gate.
            Question::Eap(_) if !packet.has_message_authenticator() => return Err(DropReason::Unverified),
            Question::Eap(identifier) => return Ok(eap_failure(packet, identifier, nas)),
        };
        Ok(reply.encode(packet, &nas.secret))
    }
}

impl<C: Centre> Door for AuthenticationDoor<C> {
    async fn answer(&self, datagram: Vec<u8>, from: SocketAddr) -> Option<Arc<[u8]>> {
        self.work(&datagram, from)
            .await
            .inspect_err(|reason| self.counts.add_dropped(*reason))
            .ok()
    }
}

/// Logged once, here: the gate hears nothing and asks again. At most one line a second, since anybody can send a datagram while the
/// database is down; the rest is counted.
pub(super) fn failed(error: impl std::error::Error) -> DropReason {
    static LOGGED_IN_SEC: AtomicI64 = AtomicI64::new(i64::MIN);
    let sec = clock::now().as_secs();
    if LOGGED_IN_SEC.swap(sec, Ordering::Relaxed) != sec {
        tracing::error!(%error, "cannot answer a gate");
    }
    DropReason::Failed
}

/// What an Access-Request comes down to.
enum Question {
    Ask(AuthorizeRequest),
    /// No proof or an unreadable one, and not a service that does without.
    Unsupported,
    Eap(u8),
}

fn question(request: AccessRequest, nas: &NasEntry) -> Question {
    let ip = request.framed_ip();
    let named = Mac::of_station(&request.user_name);
    let is_mac_login = request.mac.is_some() && named == request.mac;
    // The name at a login may be anything that a person typed; that of a Call-Check is the gate's own.
    let mac = match request.service {
        ServiceType::CallCheck => request.mac.or(named),
        ServiceType::Login | ServiceType::AuthorizeOnly => request.mac,
    };
    let service = match (request.service, request.credential) {
        (_, Credential::Eap(identifier)) => return Question::Eap(identifier),
        (ServiceType::AuthorizeOnly, _) => Service::Renewal,
        (ServiceType::CallCheck, _) => Service::CallCheck,
        (ServiceType::Login, _) if is_mac_login => Service::CallCheck,
        (ServiceType::Login, Credential::Absent) => return Question::Unsupported,
        (ServiceType::Login, Credential::Pap(password)) => Service::Login(Proof::Pap(password)),
        (
            ServiceType::Login,
            Credential::Chap {
                ident,
                response,
                challenge,
            },
        ) => Service::Login(Proof::Chap {
            ident,
            response,
            challenge,
        }),
        (ServiceType::Login, Credential::MsChapV2(made)) => Service::Login(Proof::MsChapV2(api::MsChapV2 {
            ident: made.ident,
            challenge: made.challenge,
            peer_challenge: made.peer_challenge,
            response: made.response,
        })),
    };
    Question::Ask(AuthorizeRequest {
        nas: nas.id,
        user_name: request.user_name,
        service,
        mac,
        ip,
        acct_session_id: request.acct_session_id,
        class: request.classes.into_iter().next(),
        wants_cui: request.wants_cui,
    })
}

fn reply_of(decision: Decision) -> AccessReply {
    match decision {
        Decision::Accept(grant) => AccessReply::Accept(Grant {
            limits: grant.limits,
            is_renewable: grant.is_renewable,
            classes: vec![grant.class],
            user_name: Some(grant.user_name),
            cui: Some(grant.cui),
            message: None,
            ms_chap2_success: grant.ms_chap2_success,
        }),
        Decision::Reject { message, .. } => AccessReply::Reject { message: Some(message) },
    }
}

/// Answers Status-Server (RFC 5997 §4.2).
fn alive(request: &Packet, nas: &NasEntry) -> Result<Vec<u8>, EncodeError> {
    let mut draft = Draft::reply(Code::AccessAccept, request);
    draft.proxy_state_of(request);
    draft.seal_reply(&nas.secret)
}

/// Ends an EAP conversation that we do not offer: Access-Reject with EAP-Failure (RFC 3579 §2.6.3), and no Reply-Message, which
/// may not stand beside it (§2.6.5).
fn eap_failure(request: &Packet, identifier: u8, nas: &NasEntry) -> Result<Vec<u8>, EncodeError> {
    const FAILURE: u8 = 4;
    let mut draft = Draft::reply(Code::AccessReject, request);
    draft.octets(attr::EAP_MESSAGE, &[FAILURE, identifier, 0, 4]);
    draft.proxy_state_of(request);
    draft.seal_reply(&nas.secret)
}

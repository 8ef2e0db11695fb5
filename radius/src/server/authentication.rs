//! The authentication port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use kavadam_access::api::{AuthorizeRequest, Candidates, Decision, NasEntry, Proof, Seen, Service};
use kavadam_domain::{Language, Mac, Reason, Timestamp};

use super::intake::{Intake, Port, Taken};
use super::sender::Sender;
use super::{Centre, Counts, DropReason};
use crate::listener::Door;
use crate::profile::{Dialect, Profile, Profiles};
use crate::wire::{Code, Draft, EncodeError, Packet, attr};
use crate::{AccessReply, AccessRequest, Credential, Grant, ServiceType, clock};

pub(super) struct AuthenticationDoor<C> {
    centre: Arc<C>,
    intake: Intake,
    counts: Arc<Counts>,
    profiles: Arc<Profiles>,
}

impl<C: Centre> AuthenticationDoor<C> {
    pub(super) fn new(centre: Arc<C>, counts: Arc<Counts>, profiles: Arc<Profiles>) -> Self {
        Self {
            centre,
            intake: Intake::new(Port::Authentication),
            counts,
            profiles,
        }
    }

    async fn work(&self, datagram: &[u8], from: SocketAddr) -> Result<Arc<[u8]>, DropReason> {
        let gates = self.centre.gates_at(from.ip()).await.map_err(failed)?;
        self.work_for(&gates, datagram, from).await
    }

    /// Answers one of these gates: known by their source, or one by the certificate of its connection.
    pub(super) async fn work_for(
        &self,
        gates: &Candidates,
        datagram: &[u8],
        from: SocketAddr,
    ) -> Result<Arc<[u8]>, DropReason> {
        let now = clock::now();
        let (packet, sender, job) = match self.intake.take(datagram, from, gates, Instant::now(), now) {
            Taken::Drop(reason) => return Err(reason),
            Taken::Replay(reply) => {
                self.counts.add_replayed();
                return Ok(reply);
            }
            Taken::Work(packet, sender, job) => (packet, sender, job),
        };
        let nas = sender.nas();
        self.centre.nas_seen(nas.id, from, now).await.map_err(failed)?;
        let reply = match packet.code() {
            Code::StatusServer => alive(&packet, &sender),
            _ => self.decide(&packet, &sender, now).await?,
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
        sender: &Sender,
        now: Timestamp,
    ) -> Result<Result<Vec<u8>, EncodeError>, DropReason> {
        let question = AccessRequest::read(packet, sender.secret())
            .map_or(Question::Unsupported, |read| question(read, sender.nas()));
        let profile = self.profiles.get(&sender.nas().profile);
        let reply = match question {
            Question::Ask(mut request) => {
                request.seen = profile.seen(packet);
                let decision = self.centre.authorize(request, now).await.map_err(failed)?;
                return Ok(answer(decision, profile, packet, sender));
            }
            Question::Unsupported => AccessReply::Reject {
                message: Some(Reason::UnsupportedMethod.message(Language::default())),
            },
            Question::Eap(identifier) => return Ok(eap_failure(packet, identifier, sender)),
        };
        Ok(reply.encode(packet, sender.secret()))
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
#[expect(
    clippy::large_enum_variant,
    reason = "one for each request, and nearly all of them ask"
)]
enum Question {
    Ask(AuthorizeRequest),
    /// No proof or an unreadable one, and not a service that does without.
    Unsupported,
    Eap(u8),
}

fn question(request: AccessRequest, nas: &NasEntry) -> Question {
    let ip = request.framed_ip();
    let is_mac_login = request.mac.is_some() && request.user_name.parse::<Mac>().ok() == request.mac;
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
    };
    Question::Ask(AuthorizeRequest {
        nas: nas.id,
        user_name: request.user_name,
        service,
        mac: request.mac,
        ip,
        acct_session_id: request.acct_session_id,
        class: request.classes.into_iter().next(),
        wants_cui: request.wants_cui,
        seen: Seen::default(),
    })
}

/// A grant in the words of the gate's vendor, or a refusal.
fn answer(decision: Decision, profile: &Profile, packet: &Packet, sender: &Sender) -> Result<Vec<u8>, EncodeError> {
    let grant = match decision {
        Decision::Accept(grant) => grant,
        Decision::Reject { message, .. } => {
            return AccessReply::Reject { message: Some(message) }.encode(packet, sender.secret());
        }
    };
    let dialect = Dialect {
        profile,
        plan: &grant.plan,
        is_throttled: grant.is_throttled,
    };
    let accept = AccessReply::Accept(Grant {
        limits: grant.limits,
        is_renewable: grant.is_renewable,
        classes: vec![grant.class],
        user_name: Some(grant.user_name),
        cui: Some(grant.cui),
        message: None,
    });
    accept.encode_in(&dialect, packet, sender.secret())
}

/// Answers Status-Server (RFC 5997 §4.2).
fn alive(request: &Packet, sender: &Sender) -> Result<Vec<u8>, EncodeError> {
    let mut draft = Draft::reply(Code::AccessAccept, request);
    draft.proxy_state_of(request);
    draft.seal_reply(sender.secret())
}

/// Ends an EAP conversation that we do not offer: Access-Reject with EAP-Failure (RFC 3579 §2.6.3), and no Reply-Message, which
/// may not stand beside it (§2.6.5).
fn eap_failure(request: &Packet, identifier: u8, sender: &Sender) -> Result<Vec<u8>, EncodeError> {
    const FAILURE: u8 = 4;
    let mut draft = Draft::reply(Code::AccessReject, request);
    draft.octets(attr::EAP_MESSAGE, &[FAILURE, identifier, 0, 4]);
    draft.proxy_state_of(request);
    draft.seal_reply(sender.secret())
}

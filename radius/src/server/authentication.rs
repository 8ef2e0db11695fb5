//! The authentication port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use kavadam_access::api::{self, AuthorizeRequest, Candidates, Decision, Grounds, NasEntry, Proof, Seen, Service};
use kavadam_domain::{Language, Mac, NasId, Reason, Timestamp};

use super::counts::{Answer, GateCounts, Outcome, RequestKind, Unanswered};
use super::intake::{Intake, Origin, Port, Taken};
use super::reporter::{session_name, source_of};
use super::sender::Sender;
use super::{Centre, Counts, DropReason};
use crate::device::mac_of;
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
                RequestKind::Access
            },
            now,
        );
        self.centre.nas_seen(nas, from, now);
        gate.hear(packet, sender.nas());
        let reply = match packet.code() {
            Code::StatusServer => alive(packet, sender),
            _ => self.decide(packet, sender, from, now).await?,
        };
        let reply = reply.map_err(|error| {
            tracing::error!(%error, nas.id = %nas, "the answer does not fit into a packet");
            DropReason::Failed
        })?;
        let code = if is_status { Code::StatusServer } else { code_of(&reply) };
        gate.add_reply(code, arrived.elapsed());
        Ok(reply)
    }

    async fn decide(
        &self,
        packet: &Packet,
        sender: &Sender,
        from: SocketAddr,
        now: Timestamp,
    ) -> Result<Result<Vec<u8>, EncodeError>, DropReason> {
        let nas = sender.nas();
        let gate = &self.counts.gate(nas.id);
        let question =
            AccessRequest::read(packet, sender.secret()).map_or(Question::Unsupported, |read| question(read, nas));
        let profile = self.profiles.get(&nas.profile);
        let reply = match question {
            Question::Ask(mut request) => {
                request.seen = Seen {
                    from: source_of(packet, nas, from),
                    ..profile.seen(packet)
                };
                request.acct_session_id = request.acct_session_id.map(|id| session_name(id, packet, nas));
                let asked = Asked::of(&request, now);
                let decision = self.centre.authorize(request, now).await.map_err(failed)?;
                self.remember(asked, &decision, gate);
                return Ok(answer(decision, profile, packet, sender));
            }
            Question::Unsupported => {
                let message = Reason::UnsupportedMethod.message(self.language_of(packet, nas).await);
                self.remember_undecided(Reason::UnsupportedMethod, packet, nas, gate, now);
                AccessReply::Reject { message: Some(message) }
            }
            Question::WrongService(service) => {
                // For whoever set the gate up, and whose terminal may know no other script: a page says it in its reader's language.
                let message = Reason::UnsupportedService.message(Language::En);
                log_service(service, nas.id, now);
                self.remember_undecided(Reason::UnsupportedService, packet, nas, gate, now);
                AccessReply::Reject { message: Some(message) }
            }
            // RFC 3579 §3.2: in silence, whatever else is forgiven the gate.
            Question::Eap(_) if !packet.has_message_authenticator() => return Err(DropReason::Unsigned),
            Question::Eap(identifier) => {
                self.remember_undecided(Reason::UnsupportedMethod, packet, nas, gate, now);
                return Ok(eap_failure(packet, identifier, sender));
            }
        };
        Ok(reply.encode(packet, sender.secret()))
    }

    /// A refusal is said in some language even where that is not to be learnt now.
    async fn language_of(&self, packet: &Packet, nas: &NasEntry) -> Language {
        let user_name = packet.text(attr::USER_NAME).unwrap_or_default();
        let known = self.centre.language_of(nas.site, mac_of(packet), &user_name).await;
        known.map_err(failed).unwrap_or_default()
    }

    /// A gate that is set to a method or a service that we do not offer: nobody was asked.
    fn remember_undecided(&self, reason: Reason, packet: &Packet, nas: &NasEntry, gate: &GateCounts, now: Timestamp) {
        gate.add_reject(reason.code());
        let asked = Asked {
            at: now,
            nas: nas.id,
            user_name: packet.text(attr::USER_NAME).unwrap_or_default(),
            mac: mac_of(packet),
            kind: "login",
        };
        let refused = Outcome::Refused(reason, Grounds::default());
        self.counts.recent().add(asked.answered(refused));
    }

    /// For whoever looks on, or asks later why.
    fn remember(&self, asked: Asked, decision: &Decision, gate: &GateCounts) {
        let outcome = match decision {
            Decision::Accept(grant) => Outcome::Granted(grant.user_name.clone()),
            Decision::Reject { reason, grounds, .. } => {
                gate.add_reject(reason.code());
                Outcome::Refused(*reason, grounds.clone())
            }
        };
        self.counts.recent().add(asked.answered(outcome));
    }
}

/// What is kept of an Access-Request beside its answer.
struct Asked {
    at: Timestamp,
    nas: NasId,
    user_name: String,
    mac: Option<Mac>,
    kind: &'static str,
}

impl Asked {
    fn of(request: &AuthorizeRequest, at: Timestamp) -> Self {
        Self {
            at,
            nas: request.nas,
            user_name: request.user_name.clone(),
            mac: request.mac,
            kind: match request.service {
                Service::Login(_) => "login",
                Service::CallCheck => "return",
                Service::Renewal => "renewal",
            },
        }
    }

    fn answered(self, outcome: Outcome) -> Answer {
        Answer {
            at: self.at,
            nas: self.nas,
            user_name: self.user_name,
            mac: self.mac,
            asked: self.kind,
            outcome,
        }
    }
}

/// The code of a packet of ours.
fn code_of(packet: &[u8]) -> Code {
    let octet = packet.first().copied().unwrap_or_default();
    Code::from_octet(octet).unwrap_or(Code::AccessReject)
}

impl<C: Centre> Door for AuthenticationDoor<C> {
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

/// At most one line a minute: a gate may be set up so for long, and its administrators many.
fn log_service(service_type: u32, nas: NasId, now: Timestamp) {
    static LOGGED_IN_MINUTE: AtomicI64 = AtomicI64::new(i64::MIN);
    let minute = now.as_secs().div_euclid(60);
    if LOGGED_IN_MINUTE.swap(minute, Ordering::Relaxed) != minute {
        tracing::warn!(nas.id = %nas, service_type, "refused a login to something else than the network, such as a gate's command line");
    }
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
    /// Of that Service-Type, which is none of ours.
    WrongService(u32),
    Eap(u8),
}

fn question(request: AccessRequest, nas: &NasEntry) -> Question {
    let ip = request.framed_ip();
    let named = Mac::of_station(&request.user_name);
    let is_mac_login = request.mac.is_some() && named == request.mac;
    // The name at a login may be anything that a person typed; that of a Call-Check is the gate's own.
    let mac = match request.service {
        ServiceType::CallCheck => request.mac.or(named),
        ServiceType::Login | ServiceType::AuthorizeOnly | ServiceType::Other(_) => request.mac,
    };
    let service = match (request.service, request.credential) {
        (_, Credential::Eap(identifier)) => return Question::Eap(identifier),
        (ServiceType::Other(number), _) => return Question::WrongService(number),
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
        ms_chap2_success: grant.ms_chap2_success,
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

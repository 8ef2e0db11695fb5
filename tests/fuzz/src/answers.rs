//! What the centre answers to requests that hold anything.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

use kavadam_access::api::{
    self, Accounted, AccountingReport, AuthorizeRequest, Candidates, Decision, Grounds, NasEntry, Service,
};
use kavadam_domain::{Limits, NasId, Reason, SessionId, Timestamp};
use kavadam_radius::AccessReply;
use kavadam_radius::fuzzing::{Doors, Port};
use kavadam_radius::profile::Profiles;
use kavadam_radius::server::{Centre, DropReason};
use kavadam_radius::wire::{EncodeError, MAX_PACKET_OCTETS, Packet};

use crate::gates::{ACCESS_REQUEST, ACCOUNTING_REQUEST, GATE, STATUS_SERVER, gate, secret};
use crate::signing;

const ACCESS_ACCEPT: u8 = 2;
const ACCESS_REJECT: u8 = 3;
const ACCOUNTING_RESPONSE: u8 = 5;
const REPLY_MESSAGE: u8 = 18;
const CLASS: u8 = 25;
const EAP_MESSAGE: u8 = 79;
const CHARGEABLE_USER_IDENTITY: u8 = 89;

static PROFILES: LazyLock<Arc<Profiles>> = LazyLock::new(|| Arc::new(Profiles::built_in().unwrap_or_default()));

/// A request made of these octets: mode, what is decided, the gate's profile, then attributes. Each that is well signed and can be answered
/// is, whatever it holds: with one packet that fits, is signed, and gives back its Proxy-States; a copy with the same.
pub fn answer(input: &[u8]) {
    let Some((&[mode, decided, profile, identifier], attributes)) = input.split_first_chunk::<4>() else {
        return;
    };
    let (port, code) = match mode & 3 {
        0 | 1 => (Port::Authentication, ACCESS_REQUEST),
        2 => (Port::Accounting, ACCOUNTING_REQUEST),
        _ if mode & 4 == 0 => (Port::Authentication, STATUS_SERVER),
        _ => (Port::Accounting, STATUS_SERVER),
    };
    let first: &[u8] = if mode & 8 == 0 && code != ACCOUNTING_REQUEST {
        &signing::UNSIGNED
    } else {
        &[]
    };
    let mut request = signing::packet(code, identifier, [9; 16], &[first, attributes].concat());
    signing::sign_request(&mut request, &secret(0));

    any_reply(&request, decided);
    let asked = Arc::<AtomicU32>::default();
    let centre = Paper {
        asked: Arc::clone(&asked),
        decided,
    };
    let doors = Doors::new(centre, Arc::clone(&PROFILES));
    let names: Vec<_> = PROFILES.iter().map(|profile| profile.name.as_str()).collect();
    let gates = Candidates::from(NasEntry {
        profile: (*names.get(usize::from(profile) % names.len().max(1)).unwrap_or(&"")).to_owned(),
        ..gate(0, false)
    });
    let answer = match doors.answer(port, &gates, &request, GATE) {
        Ok(answer) => answer,
        Err(reason) => return assert_not_answerable(reason, &request),
    };
    signing::assert_answers(&answer, &request, &secret(0));
    let calls = asked.load(Ordering::Relaxed);
    assert!(calls <= 1, "asked once");
    match (port, answer.first().copied()) {
        (Port::Accounting, Some(ACCOUNTING_RESPONSE)) => {}
        (Port::Authentication, Some(ACCESS_ACCEPT)) if code == STATUS_SERVER => assert_eq!(calls, 0),
        (Port::Authentication, Some(ACCESS_ACCEPT)) => {
            assert_eq!((calls, decided & 1), (1, 0), "granted by the centre alone");
            assert_eq!(signing::values(&answer, CLASS).len(), 1);
            let wants = signing::values(&request, CHARGEABLE_USER_IDENTITY).len().min(1);
            assert_eq!(signing::values(&answer, CHARGEABLE_USER_IDENTITY).len(), wants);
        }
        (Port::Authentication, Some(ACCESS_REJECT)) => assert_well_refused(&answer, &request),
        (_, code) => panic!("answered with {code:?}"),
    }
    if port == Port::Authentication {
        let first = signing::attributes(&answer).next();
        assert_eq!(
            first.map(|(kind, _)| kind),
            Some(signing::MESSAGE_AUTHENTICATOR),
            "BlastRADIUS"
        );
    }
    let copy = doors.answer(port, &gates, &request, GATE);
    assert_eq!(copy.as_ref(), Ok(&answer), "a copy");
    assert_eq!(asked.load(Ordering::Relaxed), calls, "once");
}

fn assert_not_answerable(reason: DropReason, request: &[u8]) {
    let is_accounting = request.first() == Some(&ACCOUNTING_REQUEST);
    match reason {
        DropReason::Unsigned => assert!(!is_accounting && !signing::is_signed(request)),
        DropReason::ProxyState => assert!(signing::values(request, signing::PROXY_STATE).len() > 8),
        DropReason::Unusable => assert!(is_accounting),
        _ => panic!("not answered: {reason:?}"),
    }
}

/// EAP is refused with EAP-Failure to its identifier (RFC 3579 §2.6.3) and without a Reply-Message (§2.6.5), all else without EAP.
fn assert_well_refused(answer: &[u8], request: &[u8]) {
    let eap = signing::values(request, EAP_MESSAGE);
    let failures = signing::values(answer, EAP_MESSAGE);
    if eap.is_empty() {
        return assert!(failures.is_empty() && !signing::values(answer, REPLY_MESSAGE).is_empty());
    }
    let identifier = eap.concat().get(1).copied().unwrap_or_default();
    assert_eq!(failures, [[4, identifier, 0, 4]]);
    assert!(signing::values(answer, REPLY_MESSAGE).is_empty());
}

/// Any reply to any request, Proxy-States without a bound: a good packet, or none since it would be too large.
fn any_reply(request: &[u8], size: u8) {
    let Ok(packet) = Packet::parse(request) else {
        unreachable!("it is well-formed");
    };
    let message = Some("ക".repeat(usize::from(size) * 2));
    for reply in [
        AccessReply::Reject {
            message: message.clone(),
        },
        AccessReply::Challenge {
            message,
            state: vec![size; usize::from(size)],
        },
    ] {
        match reply.encode(&packet, &secret(0)) {
            Ok(answer) => signing::assert_answers(&answer, request, &secret(0)),
            Err(EncodeError::Packet(octets)) => assert!(octets > MAX_PACKET_OCTETS),
            Err(EncodeError::Attribute(_)) => assert!(size > 253, "it fits"),
        }
    }
}

/// A centre of paper, which decides as it is told.
struct Paper {
    asked: Arc<AtomicU32>,
    decided: u8,
}

impl Paper {
    fn grant(&self) -> api::Grant {
        let wide = self.decided & 2 != 0;
        let all = |limit: u64| wide.then_some(limit);
        api::Grant {
            session: SessionId(1),
            user_name: "u".repeat(if wide { 64 } else { 1 }),
            class: vec![7; if wide { 64 } else { 1 }],
            cui: vec![8; if wide { 64 } else { 1 }],
            limits: Limits {
                max_total_octets: all(u64::MAX),
                up_bits_per_sec: all(u64::MAX),
                down_bits_per_sec: all(1),
                session_secs: wide.then_some(u32::MAX),
                idle_secs: wide.then_some(0),
                interim_secs: wide.then_some(60),
                remaining_octets: all(u64::MAX),
                filter: wide.then(|| "minors".parse().ok()).flatten(),
                class: wide.then(|| "free".parse().ok()).flatten(),
            },
            is_renewable: self.decided & 4 != 0,
            plan: "citizen".into(),
            is_throttled: self.decided & 8 != 0,
            ms_chap2_success: wide.then(|| format!("S={}", "A".repeat(40))),
        }
    }
}

impl Centre for Paper {
    type Error = Infallible;

    async fn gates_at(&self, _: IpAddr) -> Result<Candidates, Infallible> {
        Ok(Candidates::default())
    }

    fn nas_seen(&self, _: NasId, _: SocketAddr, _: Timestamp) {}

    async fn authorize(&self, request: AuthorizeRequest, _: Timestamp) -> Result<Decision, Infallible> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let seen = request.seen;
        for told in [seen.handle, seen.ssid, seen.access_point].into_iter().flatten() {
            assert!(
                !told.is_empty() && !told.contains(char::is_control),
                "fit to be kept: {told:?}"
            );
        }
        assert!(!request.user_name.contains('\0'), "PostgreSQL keeps no NUL");
        let is_return = matches!(request.service, Service::CallCheck);
        Ok(match self.decided & 1 {
            0 => Decision::Accept(self.grant()),
            _ => Decision::Reject {
                reason: if is_return {
                    Reason::UnknownDevice
                } else {
                    Reason::BadCredential
                },
                message: "ക".repeat(1 + usize::from(self.decided)),
                grounds: Grounds::default(),
            },
        })
    }

    async fn account(&self, report: AccountingReport, _: Timestamp) -> Result<Accounted, Infallible> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        assert!(!report.acct_session_id.contains('\0'));
        Ok(Accounted::Unknown)
    }
}

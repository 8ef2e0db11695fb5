//! Requests to the centre, from gates and from whoever stands where they stand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use kavadam_access::api::{Candidates, NasEntry, NasProof, OldSecret};
use kavadam_domain::gate::Abilities;
use kavadam_domain::{NasId, SiteId, Timestamp};
use kavadam_radius::fuzzing::{Intake, Port, Taken};
use kavadam_radius::server::DropReason;

use crate::signing;

pub const ACCESS_REQUEST: u8 = 1;
pub const ACCOUNTING_REQUEST: u8 = 4;
pub const STATUS_SERVER: u8 = 12;
const COA_REQUEST: u8 = 43;
const NAS_IDENTIFIER: u8 = 32;
pub const GATE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 5000);

/// When old secrets and exceptions end.
const UNTIL: Timestamp = Timestamp::from_secs(1_800_000_000);
/// As many of one range as may be tried without a name.
const MOST_UNNAMED: usize = 8;

/// A request made of these octets: mode, who signs, two octets for a bit to turn, then attributes. It is taken for that of the gate whose
/// secret signed it and of nobody else; a copy waits, then gets the same octets; one that was not answered may come again.
pub fn request(input: &[u8]) {
    let Some((&[mode, who, high, low], attributes)) = input.split_first_chunk::<4>() else {
        return;
    };
    let scene = Scene::of(mode, who, attributes);
    let (intake, now) = (Intake::of(scene.port), Instant::now());
    let take = |datagram: &[u8], from: SocketAddr| intake.take(datagram, from, &scene.gates, now, scene.clock);

    let forged = signing::bent(&scene.request, u16::from_be_bytes([high, low]));
    if !scene.is_exempt() {
        assert!(!matches!(take(&forged, GATE), Taken::New(..)), "forged");
    }
    let work = match (take(&scene.request, GATE), scene.expected()) {
        (Taken::New(nas, work), Ok(expected)) => {
            assert_eq!(nas, expected, "the gate that signed it");
            work
        }
        (Taken::Dropped(reason), Err(expected)) => return assert_eq!(reason, expected),
        (Taken::New(nas, _), Err(expected)) => panic!("taken for one of {nas}, but {expected:?}"),
        (Taken::Dropped(reason), Ok(_)) => panic!("dropped: {reason:?}"),
        (Taken::Replayed(_), _) => panic!("nothing was answered"),
    };
    let other_port = SocketAddr::new(GATE.ip(), 5001);
    assert!(matches!(
        take(&scene.request, GATE),
        Taken::Dropped(DropReason::InProgress)
    ));
    assert!(matches!(take(&scene.request, other_port), Taken::New(..)), "another's");
    if mode & 0x80 != 0 {
        drop(work);
        return assert!(
            matches!(take(&scene.request, GATE), Taken::New(..)),
            "it may come again"
        );
    }
    let answer = work.answered(attributes.to_vec());
    match take(&scene.request, GATE) {
        Taken::Replayed(again) => assert_eq!(again, answer),
        Taken::New(..) | Taken::Dropped(_) => panic!("a copy gets the same octets"),
    }
}

struct Scene {
    port: Port,
    code: u8,
    gates: Candidates,
    /// Of the gates; beyond them, a stranger.
    signer: usize,
    is_old_secret: bool,
    is_over: bool,
    is_exception: bool,
    clock: Timestamp,
    request: Vec<u8>,
}

impl Scene {
    fn of(mode: u8, who: u8, attributes: &[u8]) -> Self {
        let code = match mode >> 1 & 3 {
            0 => ACCESS_REQUEST,
            1 => ACCOUNTING_REQUEST,
            2 => STATUS_SERVER,
            _ => COA_REQUEST,
        };
        let count: u8 = match mode >> 3 & 3 {
            0 => 1,
            1 => 3,
            2 => 12,
            _ => 0,
        };
        let (is_over, is_exception) = (mode & 0x20 != 0, mode & 0x40 != 0);
        let signer = usize::from(who & 15) % (usize::from(count) + 1);
        let is_old_secret = who & 0x80 != 0;
        let mut request = signing::packet(code, who, [9; 16], attributes);
        let secret = if is_old_secret {
            old_secret(signer)
        } else {
            secret(signer)
        };
        signing::sign_request(&mut request, &secret);
        Self {
            port: if mode & 1 == 0 {
                Port::Authentication
            } else {
                Port::Accounting
            },
            code,
            gates: (0..count)
                .map(|number| Arc::new(gate(number.into(), is_exception)))
                .collect(),
            signer,
            is_old_secret,
            is_over,
            is_exception,
            clock: if is_over {
                UNTIL
            } else {
                Timestamp::from_secs(UNTIL.as_secs() - 1)
            },
            request,
        }
    }

    /// The one gate there need not sign this.
    fn is_exempt(&self) -> bool {
        self.is_exception && self.gates.all().len() == 1 && self.code == ACCESS_REQUEST
    }

    fn expected(&self) -> Result<NasId, DropReason> {
        let is_for_port = match self.port {
            Port::Authentication => matches!(self.code, ACCESS_REQUEST | STATUS_SERVER),
            Port::Accounting => matches!(self.code, ACCOUNTING_REQUEST | STATUS_SERVER),
        };
        let count = self.gates.all().len();
        let states = signing::values(&self.request, signing::PROXY_STATE);
        let is_signed = signing::is_signed(&self.request);
        let nas = match count {
            0 => return Err(DropReason::UnknownSource),
            _ if !is_for_port => return Err(DropReason::WrongPort),
            1 if self.is_exempt() && !is_signed => {
                if self.is_over {
                    return Err(DropReason::ExceptionOver);
                }
                if !states.is_empty() {
                    return Err(DropReason::UnsignedProxyState);
                }
                0
            }
            _ => self.signed_by()?,
        };
        let octets: usize = states.iter().map(|state| 2 + state.len()).sum();
        if states.len() > 32 || octets > 2048 {
            return Err(DropReason::ProxyState);
        }
        Ok(id(nas))
    }

    /// Of the gates that may have sent it, the one that signed it.
    fn signed_by(&self) -> Result<usize, DropReason> {
        let count = self.gates.all().len();
        let said = signing::values(&self.request, NAS_IDENTIFIER);
        let named = said
            .first()
            .and_then(|said| (0..count).find(|number| name(*number).as_bytes() == *said));
        let is_lone = count == 1;
        if !is_lone && named.is_none() && count > MOST_UNNAMED {
            return Err(DropReason::Unnamed);
        }
        if self.code != ACCOUNTING_REQUEST && !signing::is_signed(&self.request) {
            return Err(DropReason::Unsigned);
        }
        let is_secret = self.signer < count && !(self.is_old_secret && self.is_over);
        let is_named = is_lone || named.is_none_or(|named| named == self.signer);
        if is_secret && is_named {
            Ok(self.signer)
        } else {
            Err(DropReason::Unverified)
        }
    }
}

fn name(number: usize) -> String {
    format!("gate-{number}")
}

fn id(number: usize) -> NasId {
    NasId(i64::try_from(number).unwrap_or_default() + 1)
}

pub fn secret(number: usize) -> Vec<u8> {
    format!("the secret of gate {number}").into_bytes()
}

fn old_secret(number: usize) -> Vec<u8> {
    format!("the old secret of gate {number}").into_bytes()
}

/// One of the gates. With an exception its Access-Requests may be unsigned until then.
pub fn gate(number: usize, is_exception: bool) -> NasEntry {
    NasEntry {
        id: id(number),
        name: name(number),
        site: SiteId(1),
        source: IpNet::from(GATE.ip()),
        secret: secret(number).into(),
        proof: NasProof {
            old_secret: Some(OldSecret {
                secret: old_secret(number).into(),
                until: UNTIL,
            }),
            unsigned_until: is_exception.then_some(UNTIL),
            ..NasProof::default()
        },
        uam_secret: Vec::new().into(),
        coa_port: 3799,
        coa_host: None,
        profile: "kavadam".into(),
        abilities: Abilities::ALL,
    }
}

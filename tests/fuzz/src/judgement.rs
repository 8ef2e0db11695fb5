//! What comes in place of an answer, judged by those who asked.

use std::net::SocketAddr;
use std::time::Duration;

use kavadam_domain::Limits;
use kavadam_radius::dynamic::DynamicReply;
use kavadam_radius::fuzzing::is_answer;
use kavadam_radius::probe::{Heard, Probe};
use kavadam_radius::wire::{Code, Draft, Packet, attr, vendor};
use kavadam_radius::{AccessReply, ErrorCause, Grant, NasIdentity, Secret};

use crate::signing::{self, SECRET};

const REQUESTS: [Code; 5] = [
    Code::AccessRequest,
    Code::AccountingRequest,
    Code::StatusServer,
    Code::DisconnectRequest,
    Code::CoaRequest,
];
const IDENTIFIER: u8 = 7;

/// A reply made of these octets: mode, code, two octets for a bit to turn, then attributes. It is believed if and only if it answers the
/// request, by its code and identifier, and is signed with the secret; and what it says is the same however often it is said.
pub fn reply(input: &[u8]) {
    let Some((&[mode, code, high, low], attributes)) = input.split_first_chunk::<4>() else {
        return;
    };
    let (Some(asked), Some(code)) = (
        REQUESTS.get(usize::from(mode % 8)),
        Code::ALL.get(usize::from(code) % Code::ALL.len()),
    ) else {
        return;
    };
    let identifier = if mode & 8 == 0 { IDENTIFIER } else { mode };
    let Some(request) = request(*asked, 1) else { return };
    let mut reply = signing::packet(code.octet(), identifier, [0; 16], attributes);
    signing::sign_reply(&mut reply, request.authenticator(), SECRET);

    let is_right = code.answers(*asked);
    let is_for_it = is_right && identifier == IDENTIFIER;
    let is_signed = signing::is_signed(&reply) || *code == Code::AccountingResponse;
    let probe = probe();
    let is_believed = |octets: &[u8], request: &Packet| matches!(probe.judge(octets, request), Heard::Answer(_));
    assert_eq!(is_believed(&reply, &request), is_for_it);
    let takes = |octets: &[u8], is_strict| is_answer(&request, (SERVER, &probe.secret), is_strict, octets, SERVER);
    assert_eq!(
        (takes(&reply, false), takes(&reply, true)),
        (is_right, is_right && is_signed)
    );
    let padded = [reply.as_slice(), &[0xa5; 9]].concat();
    assert_eq!(
        (takes(&padded, false), is_believed(&padded, &request)),
        (is_right, is_for_it)
    );

    let elsewhere = SocketAddr::from(([10, 0, 0, 2], 1813));
    assert!(!is_answer(&request, (SERVER, &probe.secret), false, &reply, elsewhere));
    let mut by_a_stranger = reply.clone();
    signing::sign_reply(&mut by_a_stranger, request.authenticator(), b"another secret");
    for forged in [signing::bent(&reply, u16::from_be_bytes([high, low])), by_a_stranger] {
        assert!(!takes(&forged, false) && !is_believed(&forged, &request), "forged");
    }
    if let Some(other) = self::request(*asked, 2) {
        assert!(!is_believed(&reply, &other), "it answers another request");
    }
    if let (true, Ok(packet)) = (is_right, Packet::parse(&reply)) {
        if let Some(AccessReply::Accept(grant)) = AccessReply::read(&packet) {
            assert_held_to(&grant.limits, &reply);
        }
        says_the_same(&packet, &request);
    }
}

const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)), 1812);

fn probe() -> Probe {
    Probe {
        to: SERVER,
        source: None,
        secret: Secret::new(SECRET),
        nas: NasIdentity::default(),
        tries: 1,
        wait: Duration::ZERO,
    }
}

fn request(code: Code, number: u8) -> Option<Packet> {
    let mut draft = Draft::request(code, [number; 16]);
    draft.octets(attr::CHARGEABLE_USER_IDENTITY, &[0]);
    draft.u32(attr::NAS_PORT, number.into());
    Packet::parse(&draft.seal_request(IDENTIFIER, SECRET).ok()?).ok()
}

/// The limits of an Access-Accept are those that stand in it. What cannot be read would have made it a refusal.
fn assert_held_to(limits: &Limits, accept: &[u8]) {
    let number = |value: Option<&&[u8]>| Some(u32::from_be_bytes((*value?).try_into().ok()?));
    let plain = |kind| number(signing::values(accept, kind).first());
    let of_vendor = |(vendor, kind)| number(signing::vendor_values(accept, vendor, kind).first());
    assert_eq!(limits.session_secs, plain(attr::SESSION_TIMEOUT));
    assert_eq!(limits.idle_secs, plain(attr::IDLE_TIMEOUT));
    assert_eq!(limits.interim_secs, plain(attr::ACCT_INTERIM_INTERVAL));
    let rate = |attribute| of_vendor(attribute).filter(|rate| *rate > 0).map(u64::from);
    assert_eq!(limits.up_bits_per_sec, rate(vendor::WISPR_BANDWIDTH_MAX_UP));
    assert_eq!(limits.down_bits_per_sec, rate(vendor::WISPR_BANDWIDTH_MAX_DOWN));
    let low = of_vendor(vendor::CHILLISPOT_MAX_TOTAL_OCTETS).unwrap_or(0);
    let high = of_vendor(vendor::CHILLISPOT_MAX_TOTAL_GIGAWORDS).unwrap_or(0);
    let octets = u64::from(high) * (1 << 32) + u64::from(low);
    assert_eq!(limits.max_total_octets, Some(octets).filter(|octets| *octets > 0));
}

fn says_the_same(packet: &Packet, request: &Packet) {
    match request.code() {
        Code::DisconnectRequest | Code::CoaRequest => {
            let is_ack = matches!(packet.code(), Code::DisconnectAck | Code::CoaAck);
            let cause = packet.u32(attr::ERROR_CAUSE).map(ErrorCause);
            let expected = if is_ack {
                DynamicReply::Ack
            } else {
                DynamicReply::Nak(cause)
            };
            assert_eq!(DynamicReply::of(packet), expected);
        }
        Code::AccessRequest => {
            let read = AccessReply::read(packet).map(unspoken);
            assert!(read.is_some(), "an answer to an Access-Request says something");
            let Some(Ok(again)) = read.as_ref().map(|reply| reply.encode(request, SECRET)) else {
                return;
            };
            let again = Packet::parse(&again).ok().and_then(|packet| AccessReply::read(&packet));
            assert_eq!(again, read, "once more says the same");
        }
        _ => {}
    }
}

/// Reply-Messages without a character are none.
fn unspoken(reply: AccessReply) -> AccessReply {
    let spoken = |message: Option<String>| message.filter(|text| !text.is_empty());
    match reply {
        AccessReply::Accept(grant) => AccessReply::Accept(Grant {
            message: spoken(grant.message),
            ..grant
        }),
        AccessReply::Reject { message } => AccessReply::Reject {
            message: spoken(message),
        },
        AccessReply::Challenge { message, state } => AccessReply::Challenge {
            message: spoken(message),
            state,
        },
    }
}

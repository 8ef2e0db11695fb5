//! RADIUS as anybody may send it to an open port.

use std::net::IpAddr;

use ipnet::IpNet;
use kavadam_domain::{Limits, Timestamp};
use kavadam_radius::capture::{CaptureFile, KnownGate, Trace};
use kavadam_radius::profile::{Dialect, Dictionary, Profiles};
use kavadam_radius::tell;
use kavadam_radius::wire::{
    Code, Draft, MAX_PACKET_OCTETS, Packet, Secret, attr, hide_password, reveal_password, vendor,
};
use kavadam_radius::{AccessReply, AccessRequest, AccountingRequest, DynamicRequest, Grant};

const SECRET: &[u8] = b"a secret for fuzzing";

/// Any datagram: read, checked, and taken for each kind of request. Padding changes nothing, and an answer to it is one.
pub fn packet(datagram: &[u8]) {
    let Ok(packet) = Packet::parse(datagram) else { return };
    let mut padded = datagram.to_vec();
    padded.resize(MAX_PACKET_OCTETS, 0xa5);
    let again = Packet::parse(&padded).map(|again| (again.code(), again.identifier(), *again.authenticator()));
    assert_eq!(
        again,
        Ok((packet.code(), packet.identifier(), *packet.authenticator())),
        "padding is ignored"
    );

    look(&packet);
    for is_strict in [true, false] {
        _ = packet.verify_request(SECRET, is_strict);
    }
    _ = AccessRequest::read(&packet, SECRET);
    _ = AccountingRequest::read(&packet, Timestamp::from_secs(1_800_000_000));
    _ = DynamicRequest::read(&packet);
    if let Some(code) = answer_of(packet.code()) {
        let mut draft = Draft::reply(code, &packet);
        draft.proxy_state_of(&packet);
        if let Ok(octets) = draft.seal_reply(SECRET) {
            let verified =
                Packet::parse(&octets).map(|reply| reply.verify_reply(packet.authenticator(), SECRET, false));
            assert_eq!(verified, Ok(Ok(())), "an answer of ours is well made");
        }
    }
}

/// A capture from anywhere: read to its end, every packet followed and told. What hides a password is never told, nor is a person.
pub fn capture(file: &[u8]) {
    let Ok(capture) = CaptureFile::open(file) else { return };
    let mut trace = Trace::new(vec![KnownGate {
        name: "gate-1".into(),
        source: IpNet::from(IpAddr::from([10, 0, 0, 1])),
        servers: None,
        secret: Secret::new(SECRET),
    }]);
    // Each datagram takes 28 octets of headers at the least: there cannot be more of them.
    let most = file.len() / 28;
    for (at, datagram) in capture.flatten().enumerate() {
        assert!(at < most, "more datagrams than fit into the file");
        let Ok(seen) = trace.see(&datagram) else { continue };
        for is_personal in [true, false] {
            for (name, value) in tell::attributes(&seen.packet, is_personal) {
                let is_hidden = value.starts_with("hidden (");
                assert!(
                    is_hidden || !["User-Password", "CHAP-Password"].contains(&name.as_str()),
                    "{name} is told"
                );
                assert!(value.chars().all(|c| !c.is_control()), "{value:?}");
            }
        }
    }
}

/// A server's answer, as a forger may shape it.
pub fn reply(datagram: &[u8]) {
    let Ok(packet) = Packet::parse(datagram) else { return };
    _ = packet.verify_reply(&[7; 16], SECRET, true);
    _ = AccessReply::read(&packet);
}

/// A hidden password of any length: what hiding makes comes back.
pub fn password(octets: &[u8]) {
    let authenticator = [3; 16];
    _ = reveal_password(octets, &authenticator, SECRET);
    if octets.len() <= 128 && octets.last().is_none_or(|last| *last != 0) {
        let hidden = hide_password(octets, &authenticator, SECRET);
        let back = reveal_password(&hidden, &authenticator, SECRET);
        assert_eq!(back.as_deref().map(Vec::as_slice), Some(octets));
    }
}

/// A dictionary as anybody may write it: read the same each time, and what is wrong stands on a line that is there.
pub fn dictionary(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let (mut one, mut other) = (Dictionary::default(), Dictionary::default());
    let problems = one.add("fuzz", text);
    assert_eq!(problems, other.add("fuzz", text));
    assert_eq!(one.len(), other.len());
    let lines = text.lines().count();
    for problem in problems.err().unwrap_or_default() {
        assert!(problem.line <= lines && !problem.text.is_empty());
        assert!(!problem.text.contains(char::is_control), "fit for a log");
    }
}

/// A profile as anybody may write it: refused with reasons, or good for an answer that is well made.
pub fn profile(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let given = [("fuzz.toml".to_owned(), text.to_owned())];
    let profiles = match Profiles::read(&given) {
        Ok(profiles) => profiles,
        Err(problems) => return assert!(!problems.is_empty()),
    };
    let limits = Limits {
        max_total_octets: Some(u64::MAX),
        up_bits_per_sec: Some(1),
        down_bits_per_sec: None,
        session_secs: Some(u32::MAX),
        idle_secs: Some(0),
        interim_secs: Some(60),
        remaining_octets: None,
        filter: "minors".parse().ok(),
        class: "free".parse().ok(),
    };
    let request = Draft::request(Code::AccessRequest, [7; 16]).seal_request(1, SECRET);
    let request = Packet::parse(&request.unwrap_or_default());
    let accept = AccessReply::Accept(Grant {
        limits,
        ..Grant::default()
    });
    for (profile, request) in profiles.iter().zip(std::iter::repeat(&request)) {
        let Ok(request) = request else { return };
        let dialect = Dialect {
            profile,
            plan: "citizen",
            is_throttled: true,
        };
        // What does not fit into an attribute is refused, and else an answer is one.
        if let Ok(octets) = accept.encode_in(&dialect, request, SECRET) {
            let verified =
                Packet::parse(&octets).map(|reply| reply.verify_reply(request.authenticator(), SECRET, true));
            assert_eq!(verified, Ok(Ok(())));
        }
    }
}

fn look(packet: &Packet) {
    for attribute in [
        attr::USER_NAME,
        attr::SESSION_TIMEOUT,
        attr::FRAMED_IP_ADDRESS,
        attr::CLASS,
        attr::PROXY_STATE,
    ] {
        let all = packet.all_octets(attribute);
        assert_eq!(packet.has(attribute), !all.is_empty());
        assert_eq!(packet.octets(attribute), all.first().cloned());
        _ = (
            packet.text(attribute),
            packet.u32(attribute),
            packet.ipv4(attribute),
            packet.ipv6(attribute),
        );
    }
    for attribute in [
        vendor::CHILLISPOT_MAX_TOTAL_OCTETS,
        vendor::CHILLISPOT_CONFIG,
        vendor::WISPR_BANDWIDTH_MAX_DOWN,
    ] {
        assert_eq!(
            packet.vendor_octets(attribute).len(),
            packet.vendor_texts(attribute).len()
        );
        _ = packet.vendor_u32(attribute);
    }
}

const fn answer_of(code: Code) -> Option<Code> {
    match code {
        Code::AccessRequest => Some(Code::AccessReject),
        Code::StatusServer => Some(Code::AccessAccept),
        Code::AccountingRequest => Some(Code::AccountingResponse),
        Code::DisconnectRequest => Some(Code::DisconnectNak),
        Code::CoaRequest => Some(Code::CoaNak),
        _ => None,
    }
}

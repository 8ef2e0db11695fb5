use zeroize::Zeroizing;

use super::*;
use crate::wire::EncodeError;

const SECRET: &[u8] = b"a-secret-of-the-gate";

fn sent(request: &AccessRequest) -> Result<Packet, EncodeError> {
    let draft = request.draft(&NasIdentity::default(), &Secret::new(SECRET));
    Ok(Packet::parse(&draft.seal_request(1, SECRET)?).unwrap())
}

#[test]
fn every_request_carries_a_password_or_a_state() {
    let name = "02-00-00-00-00-01";
    let packet = sent(&AccessRequest::new(ServiceType::CallCheck, name, Credential::Absent)).unwrap();
    let read = AccessRequest::read(&packet, SECRET).unwrap();
    assert!(matches!(read.credential, Credential::Pap(password) if password.as_slice() == name.as_bytes()));
    let packet = sent(&AccessRequest::new(
        ServiceType::AuthorizeOnly,
        "alias",
        Credential::Absent,
    ))
    .unwrap();
    assert!(packet.has(attr::STATE) && !packet.has(attr::USER_PASSWORD));
}

#[test]
fn a_password_that_does_not_fit_is_refused_rather_than_cut() {
    let request = |octets| {
        let password = Zeroizing::new(vec![b'x'; octets]);
        sent(&AccessRequest::new(
            ServiceType::Login,
            "name",
            Credential::Pap(password),
        ))
    };
    assert!(request(128).is_ok());
    assert_eq!(request(129).unwrap_err(), EncodeError::Attribute(attr::USER_PASSWORD));
}

#[test]
fn ms_chap_is_read_as_written_and_its_success_repeats_the_identifier() {
    let made = MsChapV2 {
        ident: 9,
        challenge: [1; 16],
        peer_challenge: [2; 16],
        response: [3; 24],
    };
    let request = AccessRequest::new(ServiceType::Login, "name", Credential::MsChapV2(made));
    let packet = sent(&request).unwrap();
    let read = AccessRequest::read(&packet, SECRET).unwrap();
    assert!(matches!(read.credential, Credential::MsChapV2(read) if read == made));

    let answer = |reply: AccessReply| Packet::parse(&reply.encode(&packet, SECRET).unwrap()).unwrap();
    let success = format!("S={}", "A0".repeat(20));
    let accept = answer(AccessReply::Accept(Grant {
        ms_chap2_success: Some(success.clone()),
        ..Grant::default()
    }));
    let expected = [&[9], success.as_bytes()].concat();
    assert_eq!(accept.vendor_octets((311, 26)), [expected]);
    let long = "ക".repeat(400);
    let reject = answer(AccessReply::Reject { message: Some(long) });
    let error = reject.vendor_octets((311, 2)).remove(0);
    assert!(error.starts_with(b"\x09E=691 R=0 C=") && std::str::from_utf8(&error).is_ok());
}

#[test]
fn two_kinds_of_password_are_none() {
    let mut draft = Draft::request(Code::AccessRequest, [7; 16]);
    draft
        .octets(attr::USER_PASSWORD, &[0; 16])
        .octets(attr::CHAP_PASSWORD, &[0; 17]);
    let packet = Packet::parse(&draft.seal_request(1, SECRET).unwrap()).unwrap();
    assert!(AccessRequest::read(&packet, SECRET).is_none());
}

#[test]
fn a_devices_ipv6_address_is_told_whole_or_by_prefix_and_interface() {
    let read = |values: &[(u8, &[u8])]| {
        let mut draft = Draft::request(Code::AccessRequest, [7; 16]);
        for (kind, value) in values {
            draft.octets(*kind, value);
        }
        let packet = Packet::parse(&draft.seal_request(1, SECRET).unwrap()).unwrap();
        AccessRequest::read(&packet, SECRET).unwrap().framed_ip()
    };
    let address: Ipv6Addr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
    let prefix = [&[0, 64], &address.octets()[..8]].concat();
    let interface = &address.octets()[8..];
    let told = Some(IpAddr::V6(address));
    assert_eq!(read(&[(attr::FRAMED_IPV6_ADDRESS, &address.octets())]), told);
    assert_eq!(
        read(&[
            (attr::FRAMED_IPV6_PREFIX, &prefix),
            (attr::FRAMED_INTERFACE_ID, interface)
        ]),
        told
    );
    let own = Some(IpAddr::V6("2001:db8:1:2::".parse().unwrap()));
    assert_eq!(read(&[(attr::FRAMED_IPV6_PREFIX, &prefix)]), own);
    let of_many = [&[0, 48], &address.octets()[..6]].concat();
    for broken in [of_many.as_slice(), &[], &[0], &[0, 129], &[0; 19], &[0, 64, 1, 2, 3]] {
        let found = read(&[(attr::FRAMED_IPV6_PREFIX, broken)]);
        assert!(found.is_none() || broken.len() == 5, "{broken:?} {found:?}");
    }
}

use std::time::Duration;

use kavadam_access::api::{NasProof, OldSecret};
use kavadam_domain::{NasId, SiteId};

use super::*;
use crate::wire::Draft;

const NOW: Timestamp = Timestamp(1_800_000_000_000_000);
const HOUR: Duration = Duration::from_hours(1);

fn gate(id: i64, name: &str, secret: &[u8], proof: NasProof) -> Arc<NasEntry> {
    Arc::new(NasEntry {
        id: NasId(id),
        name: name.to_owned(),
        site: SiteId(1),
        source: "10.7.0.0/24".parse().unwrap(),
        secret: secret.to_vec().into(),
        proof,
        uam_secret: Vec::new().into(),
        coa_port: 3799,
        coa_host: None,
        profile: "kavadam".into(),
        abilities: kavadam_domain::gate::Abilities::ALL,
    })
}

fn alone(proof: NasProof) -> Candidates {
    [gate(1, "one", b"the first secret", proof)].into_iter().collect()
}

fn three() -> Candidates {
    let proof = NasProof::default;
    let gates = [
        gate(1, "one", b"the first secret", proof()),
        gate(2, "two", b"the second secret", proof()),
        gate(3, "three", b"the third secret", proof()),
    ];
    gates.into_iter().collect()
}

fn changing() -> NasProof {
    NasProof {
        old_secret: Some(OldSecret {
            secret: b"the old secret".to_vec().into(),
            until: NOW + HOUR,
        }),
        ..NasProof::default()
    }
}

fn request(code: Code, secret: &[u8], write: impl FnOnce(&mut Draft)) -> Packet {
    let mut draft = Draft::request(code, [7; 16]);
    write(&mut draft);
    Packet::parse(&draft.seal_request(1, secret).unwrap()).unwrap()
}

fn login(secret: &[u8], nas: Option<&str>) -> Packet {
    request(Code::AccessRequest, secret, |draft| {
        if let Some(name) = nas {
            draft.text(attr::NAS_IDENTIFIER, name);
        }
    })
}

fn who(packet: &Packet, gates: &Candidates) -> Result<i64, DropReason> {
    Sender::of(packet, gates, NOW).map(|sender| sender.nas().id.0)
}

#[test]
fn a_gate_alone_at_its_source_is_meant_whatever_it_calls_itself() {
    let gates = alone(NasProof::default());
    for name in [None, Some("one"), Some("MikroTik")] {
        assert_eq!(who(&login(b"the first secret", name), &gates), Ok(1));
    }
    assert_eq!(
        who(&login(b"another secret", None), &gates),
        Err(DropReason::Unverified)
    );
    assert_eq!(
        who(&login(b"the first secret", None), &Candidates::default()),
        Err(DropReason::UnknownSource)
    );
}

#[test]
fn of_several_the_one_whose_name_and_secret_it_has() {
    let gates = three();
    assert_eq!(who(&login(b"the second secret", Some("two")), &gates), Ok(2));
    assert_eq!(who(&login(b"the third secret", None), &gates), Ok(3));
    assert_eq!(who(&login(b"the third secret", Some("AP-17")), &gates), Ok(3));
    let report = request(Code::AccountingRequest, b"the second secret", |_| {});
    assert_eq!(who(&report, &gates), Ok(2));
}

#[test]
fn no_gate_speaks_for_another_at_its_source() {
    let gates = three();
    for (secret, own) in [(b"the first secret".as_slice(), "one"), (b"the third secret", "three")] {
        for name in ["one", "two", "three"].into_iter().filter(|name| *name != own) {
            for code in [Code::AccessRequest, Code::AccountingRequest, Code::StatusServer] {
                let forged = request(code, secret, |draft| _ = draft.text(attr::NAS_IDENTIFIER, name));
                assert_eq!(who(&forged, &gates), Err(DropReason::Unverified), "{own} as {name}");
            }
        }
    }
}

#[test]
fn a_flood_without_names_meets_a_bounded_number_of_secrets() {
    let one = |id: usize| {
        let secret = format!("secret number {id}");
        gate(
            i64::try_from(id).unwrap(),
            &format!("gate-{id}"),
            secret.as_bytes(),
            NasProof::default(),
        )
    };
    let gates: Candidates = (0..=MOST_UNNAMED).map(one).collect();
    assert_eq!(who(&login(b"secret number 3", None), &gates), Err(DropReason::Unnamed));
    assert_eq!(who(&login(b"secret number 3", Some("gate-3")), &gates), Ok(3));
}

#[test]
fn both_secrets_hold_while_one_is_changed_and_the_answer_is_signed_with_that_used() {
    let gates = alone(changing());
    for secret in [b"the first secret".as_slice(), b"the old secret", b"the first secret"] {
        for packet in [login(secret, None), request(Code::AccountingRequest, secret, |_| {})] {
            let sender = Sender::of(&packet, &gates, NOW).ok().unwrap();
            assert_eq!(sender.secret(), secret);
            let next = gates.all()[0].secrets(NOW).next().unwrap().1;
            assert_eq!(next, secret, "orders are signed with the one that worked last");
        }
    }
    let over = Sender::of(&login(b"the old secret", None), &gates, NOW + HOUR);
    assert_eq!(over.err(), Some(DropReason::Unverified));
}

fn unsigned(write: impl FnOnce(&mut Draft)) -> Packet {
    request(Code::AccessRequest, b"irrelevant", |draft| {
        draft.without_message_authenticator();
        write(draft);
    })
}

fn exempt(until: Timestamp) -> NasProof {
    NasProof {
        unsigned_until: Some(until),
        ..NasProof::default()
    }
}

#[test]
fn message_authenticator_is_demanded_but_of_an_exception_until_its_date() {
    let plain = unsigned(|_| {});
    assert_eq!(who(&plain, &alone(NasProof::default())), Err(DropReason::Unsigned));
    assert_eq!(who(&plain, &alone(exempt(NOW + HOUR))), Ok(1));
    assert_eq!(who(&plain, &alone(exempt(NOW))), Err(DropReason::ExceptionOver));
    assert_eq!(
        who(&login(b"the first secret", None), &alone(exempt(NOW))),
        Ok(1),
        "who has learnt it is heard"
    );
}

#[test]
fn an_exception_covers_neither_proxy_state_nor_a_wrong_signature_nor_status_server() {
    let gates = alone(exempt(NOW + HOUR));
    let proxied = unsigned(|draft| _ = draft.octets(attr::PROXY_STATE, b"prefix of the forger's choice"));
    assert_eq!(who(&proxied, &gates), Err(DropReason::UnsignedProxyState));
    assert_eq!(
        who(&login(b"another secret", None), &gates),
        Err(DropReason::Unverified)
    );
    let status = request(Code::StatusServer, b"the first secret", |draft| {
        draft.without_message_authenticator();
    });
    assert_eq!(who(&status, &gates), Err(DropReason::Unsigned));
}

#[test]
fn an_exception_is_void_where_several_gates_stand() {
    let gates: Candidates = [
        gate(1, "one", b"the first secret", exempt(NOW + HOUR)),
        gate(2, "two", b"the second secret", NasProof::default()),
    ]
    .into_iter()
    .collect();
    let plain = unsigned(|draft| _ = draft.text(attr::NAS_IDENTIFIER, "one"));
    assert_eq!(who(&plain, &gates), Err(DropReason::Unsigned));
    assert_eq!(who(&unsigned(|_| {}), &gates), Err(DropReason::Unsigned));
}

#[test]
fn an_unsigned_request_is_read_with_the_secret_that_worked_last() {
    let proof = NasProof {
        unsigned_until: Some(NOW + HOUR),
        ..changing()
    };
    let gates = alone(proof);
    let report = request(Code::AccountingRequest, b"the old secret", |_| {});
    assert_eq!(who(&report, &gates), Ok(1));
    let sender = Sender::of(&unsigned(|_| {}), &gates, NOW).ok().unwrap();
    assert_eq!(sender.secret(), b"the old secret");
}

//! What gates send to log somebody in, and what the server makes of it. Over real sockets, with a centre of paper that refuses all.

use crate::lab::{Lab, Mood, SECRET};
use kavadam_access::api::{AuthorizeRequest, Proof, Service};
use kavadam_domain::{Language, Mac, NasId, Reason};
use kavadam_radius::wire::{Code, Draft, Packet, attr, hide_password};

const MAC: Mac = Mac([2, 0, 0, 0xab, 0, 1]);
const SPELLINGS: [&str; 9] = [
    "02:00:00:ab:00:01",
    "02:00:00:AB:00:01",
    "02-00-00-AB-00-01",
    "0200.00ab.0001",
    "0200-00ab-0001",
    "020000-ab0001",
    "020000AB0001",
    "02-00-00-AB-00-01:K-FI: guests",
    " 02-00-00-ab-00-01",
];
const MS_CHAP_RESPONSE: (u32, u8) = (311, 1);
const MS_CHAP_ERROR: (u32, u8) = (311, 2);
const MS_CHAP_CHALLENGE: (u32, u8) = (311, 11);
const MS_CHAP2_RESPONSE: (u32, u8) = (311, 25);
/// None, Login, Framed, Outbound (Cisco's web authentication), Call-Check.
const SERVICE_TYPES: [Option<u32>; 5] = [None, Some(1), Some(2), Some(5), Some(10)];

/// Sends a request and returns the answer, whose signature was checked.
async fn ask(lab: &Lab, write: impl FnOnce(&mut Draft)) -> Packet {
    let authenticator = rand::random();
    let mut draft = Draft::request(Code::AccessRequest, authenticator);
    write(&mut draft);
    let request = draft.seal_request(rand::random(), SECRET).unwrap();
    let answer = lab.ask(lab.auth, &request).await.expect("silence");
    let answer = Packet::parse(&answer).unwrap();
    assert_eq!(answer.verify_reply(&authenticator, SECRET, true), Ok(()));
    answer
}

/// The same, as the centre heard it; `None` if it was not asked.
async fn heard(lab: &Lab, write: impl FnOnce(&mut Draft)) -> Option<AuthorizeRequest> {
    assert_eq!(ask(lab, write).await.code(), Code::AccessReject);
    lab.centre.asked.lock().unwrap().pop()
}

fn password(draft: &mut Draft, text: &[u8]) {
    let hidden = hide_password(text, draft.authenticator(), SECRET);
    draft.octets(attr::USER_PASSWORD, &hidden);
}

fn ms_chap2_response() -> [u8; 50] {
    let mut response = [7; 50];
    response[1] = 0;
    response
}

#[tokio::test]
async fn a_device_is_recognised_however_its_gate_writes_it() {
    let lab = Lab::new().await;
    for service in SERVICE_TYPES {
        for (name, station) in SPELLINGS.iter().zip(SPELLINGS.iter().cycle().skip(3)) {
            let asked = heard(&lab, |draft| {
                draft.text(attr::USER_NAME, name);
                draft.text(attr::CALLING_STATION_ID, station);
                password(draft, name.as_bytes());
                if let Some(service) = service {
                    draft.u32(attr::SERVICE_TYPE, service);
                }
            });
            let asked = asked.await.unwrap();
            assert!(
                matches!(asked.service, Service::CallCheck),
                "{service:?} {name} {station}"
            );
            assert_eq!(asked.mac, Some(MAC), "{station}");
        }
    }
}

#[tokio::test]
async fn a_device_needs_no_password_and_may_send_any() {
    let lab = Lab::new().await;
    let writes: [fn(&mut Draft); 4] = [
        |_| {},
        |draft| password(draft, b""),
        |draft| password(draft, b"a password of all devices"),
        |draft| _ = draft.octets(attr::CHAP_PASSWORD, &[1; 17]),
    ];
    for write in writes {
        let asked = heard(&lab, |draft| {
            draft.text(attr::USER_NAME, "020000ab0001");
            draft.text(attr::CALLING_STATION_ID, "02-00-00-AB-00-01");
            write(draft);
        });
        assert!(matches!(asked.await.unwrap().service, Service::CallCheck));
    }
}

#[tokio::test]
async fn the_name_alone_is_a_device_at_a_call_check_and_never_at_a_login() {
    let lab = Lab::new().await;
    for service in SERVICE_TYPES {
        let asked = heard(&lab, |draft| {
            draft.text(attr::USER_NAME, "020000AB0001");
            password(draft, b"020000AB0001");
            if let Some(service) = service {
                draft.u32(attr::SERVICE_TYPE, service);
            }
        });
        let asked = asked.await.unwrap();
        let is_call_check = service == Some(10);
        assert_eq!(matches!(asked.service, Service::CallCheck), is_call_check);
        assert_eq!(asked.mac, is_call_check.then_some(MAC));
    }
}

#[tokio::test]
async fn somebody_elses_address_as_name_is_no_device() {
    let lab = Lab::new().await;
    let asked = heard(&lab, |draft| {
        draft.text(attr::USER_NAME, "02-00-00-AB-00-01");
        draft.text(attr::CALLING_STATION_ID, "02-00-00-00-00-66");
        password(draft, b"02-00-00-AB-00-01");
    });
    assert!(matches!(asked.await.unwrap().service, Service::Login(Proof::Pap(_))));
}

/// Whoever runs a gate may point its administrators' logins here too: a citizen with a number and a code must get no command line.
#[tokio::test]
async fn a_login_to_anything_but_the_network_is_refused_and_nobody_is_asked() {
    let lab = Lab::new().await;
    let asks_for = |service: u32| {
        move |draft: &mut Draft| {
            draft.text(attr::USER_NAME, "9876543210");
            draft.u32(attr::SERVICE_TYPE, service);
            draft.text(attr::CALLING_STATION_ID, "192.0.2.7");
            password(draft, b"123456");
        }
    };
    // Callbacks, Administrative, NAS-Prompt, Authenticate-Only of a shell, and what is for no person (RFC 2865 §5.6, RFC 5607 §6.1).
    let others = [3, 4, 6, 7, 8, 9, 11, 12, 16, 18, 0, u32::MAX];
    for service in others {
        let answer = ask(&lab, asks_for(service)).await;
        assert_eq!(answer.code(), Code::AccessReject, "{service}");
        let said = answer.text(attr::REPLY_MESSAGE).unwrap();
        assert!(said.contains("Set another RADIUS server"), "{service}: {said}");
    }
    let torn = ask(&lab, |draft| {
        draft.text(attr::USER_NAME, "9876543210");
        draft.octets(attr::SERVICE_TYPE, &[0, 0, 1]);
        password(draft, b"123456");
    });
    assert_eq!(torn.await.code(), Code::AccessReject);
    assert!(lab.centre.asked.lock().unwrap().is_empty());
    let rejects = lab.counts.gate(NasId(1)).figures().rejects;
    assert_eq!(rejects["unsupported-service"], others.len() as u64 + 1);
    assert_eq!(lab.counts.recent().find(|_| true, 99).len(), others.len() + 1);
}

#[tokio::test]
async fn authenticate_only_of_a_device_is_a_login() {
    let lab = Lab::new().await;
    let asked = heard(&lab, |draft| {
        draft.text(attr::USER_NAME, "9876543210");
        draft.u32(attr::SERVICE_TYPE, 8);
        draft.text(attr::CALLING_STATION_ID, "02-00-00-AB-00-01");
        password(draft, b"123456");
    });
    assert!(matches!(asked.await.unwrap().service, Service::Login(Proof::Pap(_))));
}

#[tokio::test]
async fn passwords_of_every_length_arrive_whole() {
    let lab = Lab::new().await;
    for length in [1, 15, 16, 17, 127, 128] {
        let sent = vec![b'x'; length];
        let asked = heard(&lab, |draft| {
            draft.text(attr::USER_NAME, "9876543210");
            password(draft, &sent);
        });
        let Service::Login(Proof::Pap(found)) = asked.await.unwrap().service else {
            panic!("no PAP login")
        };
        assert_eq!(*found, sent);
    }
}

#[tokio::test]
async fn a_proof_that_is_torn_or_not_alone_is_refused_and_nobody_is_asked() {
    let lab = Lab::new().await;
    let writes: [fn(&mut Draft); 10] = [
        |_| {},
        |draft| _ = draft.octets(attr::USER_PASSWORD, &[]),
        |draft| _ = draft.octets(attr::USER_PASSWORD, &[1; 15]),
        |draft| _ = draft.octets(attr::USER_PASSWORD, &[1; 144]),
        |draft| {
            password(draft, b"123456");
            password(draft, b"123456");
        },
        |draft| {
            password(draft, b"123456");
            draft.octets(attr::CHAP_PASSWORD, &[1; 17]);
        },
        |draft| {
            _ = draft
                .octets(attr::CHAP_PASSWORD, &[1; 17])
                .octets(attr::CHAP_PASSWORD, &[1; 17]);
        },
        |draft| _ = draft.octets(attr::CHAP_PASSWORD, &[]),
        |draft| _ = draft.octets(attr::CHAP_PASSWORD, &[1; 16]),
        |draft| _ = draft.octets(attr::CHAP_PASSWORD, &[1; 18]),
    ];
    for write in writes {
        let answer = ask(&lab, |draft| {
            draft.text(attr::USER_NAME, "9876543210");
            write(draft);
        });
        let answer = answer.await;
        assert_eq!(answer.code(), Code::AccessReject);
        assert_eq!(
            answer.text(attr::REPLY_MESSAGE),
            Some(Reason::UnsupportedMethod.message(Language::En)),
            "in the person's language"
        );
        assert!(answer.vendor_octets(MS_CHAP_ERROR).is_empty());
    }
    lab.centre.moods.lock().unwrap().push_back(Mood::Fails);
    let answer = ask(&lab, |draft| _ = draft.text(attr::USER_NAME, "9876543210"));
    assert_eq!(
        answer.await.text(attr::REPLY_MESSAGE),
        Some(Reason::UnsupportedMethod.message(Language::default())),
        "refused all the same where that is not to be learnt"
    );
    assert!(lab.centre.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn ms_chap_of_the_second_version_reaches_the_centre_and_its_refusal_says_so_in_its_own_words() {
    let lab = Lab::new().await;
    let answer = ask(&lab, |draft| {
        draft.text(attr::USER_NAME, "9876543210");
        draft.vendor(MS_CHAP_CHALLENGE, &[5; 16]);
        draft.vendor(MS_CHAP2_RESPONSE, &ms_chap2_response());
    });
    let answer = answer.await;
    assert_eq!(answer.code(), Code::AccessReject);
    let said = Reason::BadCredential.message(Language::En);
    assert_eq!(answer.text(attr::REPLY_MESSAGE).as_ref(), Some(&said));
    let error = answer.vendor_octets(MS_CHAP_ERROR).remove(0);
    let (ident, text) = error.split_first().unwrap();
    let text = std::str::from_utf8(text).unwrap();
    assert_eq!(*ident, 7);
    assert!(
        text.starts_with("E=691 R=0 C=") && text.ends_with(&format!(" V=3 M={said}")),
        "{text}"
    );
    let asked = lab.centre.asked.lock().unwrap().pop().unwrap();
    let Service::Login(Proof::MsChapV2(made)) = asked.service else {
        panic!("no MS-CHAPv2 login")
    };
    assert_eq!((made.ident, made.challenge), (7, [5; 16]));
    assert_eq!((made.peer_challenge, made.response), ([7; 16], [7; 24]));
}

#[tokio::test]
async fn ms_chap_that_is_torn_mixed_or_of_the_first_version_is_refused_with_ms_chap_error() {
    let lab = Lab::new().await;
    let writes: [fn(&mut Draft); 7] = [
        |draft| {
            _ = draft
                .vendor(MS_CHAP_RESPONSE, &[7; 50])
                .vendor(MS_CHAP_CHALLENGE, &[5; 8]);
        },
        |draft| _ = draft.vendor(MS_CHAP2_RESPONSE, &ms_chap2_response()),
        |draft| {
            _ = draft
                .vendor(MS_CHAP2_RESPONSE, &[7; 49])
                .vendor(MS_CHAP_CHALLENGE, &[5; 16]);
        },
        |draft| _ = draft.vendor(MS_CHAP2_RESPONSE, &[]).vendor(MS_CHAP_CHALLENGE, &[5; 16]),
        |draft| {
            _ = draft
                .vendor(MS_CHAP2_RESPONSE, &ms_chap2_response())
                .vendor(MS_CHAP_CHALLENGE, &[5; 8]);
        },
        |draft| {
            draft.vendor(MS_CHAP_CHALLENGE, &[5; 16]);
            draft.vendor(MS_CHAP2_RESPONSE, &ms_chap2_response());
            draft.vendor(MS_CHAP2_RESPONSE, &ms_chap2_response());
        },
        |draft| {
            draft.vendor(MS_CHAP_CHALLENGE, &[5; 16]);
            draft.vendor(MS_CHAP2_RESPONSE, &ms_chap2_response());
            password(draft, b"123456");
        },
    ];
    for write in writes {
        let answer = ask(&lab, |draft| {
            draft.text(attr::USER_NAME, "9876543210");
            write(draft);
        });
        let answer = answer.await;
        assert_eq!(answer.code(), Code::AccessReject);
        assert!(answer.has(attr::REPLY_MESSAGE));
        assert_eq!(answer.vendor_octets(MS_CHAP_ERROR).len(), 1);
    }
    assert!(lab.centre.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn eap_in_any_shape_is_ended_with_eap_failure_and_no_other_word() {
    let lab = Lab::new().await;
    let identity: &[u8] = &[2, 42, 0, 9, 1, b'n', b'e', b'm', b'o'];
    let long: Vec<u8> = [&[2, 42, 1, 0x90, 13][..], &[0; 395]].concat();
    // The packet's fragments, and the identifier of the answer.
    let shapes: [(Vec<&[u8]>, u8); 8] = [
        (vec![&[]], 0),
        (vec![identity], 42),
        (vec![&identity[..1], &identity[1..]], 42),
        (vec![&long[..253], &long[253..]], 42),
        (vec![&[2]], 0),
        (vec![&[2, 42]], 42),
        (vec![&[2, 42, 0xff, 0xff, 1]], 42),
        (vec![&[0xff; 253], &[0xff; 253]], 0xff),
    ];
    for (fragments, identifier) in shapes {
        let answer = ask(&lab, |draft| {
            draft.text(attr::USER_NAME, "nemo");
            for fragment in &fragments {
                draft.octets(attr::EAP_MESSAGE, fragment);
            }
            // Not beside EAP (RFC 3579 §3.3), but some send it.
            password(draft, b"123456");
        });
        let answer = answer.await;
        assert_eq!(answer.code(), Code::AccessReject);
        assert_eq!(answer.all_octets(attr::EAP_MESSAGE), [vec![4, identifier, 0, 4]]);
        assert!(!answer.has(attr::REPLY_MESSAGE), "RFC 3579 section 2.6.5");
    }
    assert!(lab.centre.asked.lock().unwrap().is_empty());
}

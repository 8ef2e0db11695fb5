//! Logins at controllers with a page of their own: number and code, voucher or app, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::time::Duration;

use kavadam_access::admin::NasChange;
use kavadam_access::api::*;
use kavadam_access::ms_chap;
use kavadam_access::voucher::Worth;
use kavadam_domain::{Language, Mac, Reason, challenge};
use lab::{Database, Lab, MAC, MB, NUMBER, OTHER_MAC, cases, granted, plan, refused};
use md5::{Digest, Md5};
use zeroize::Zeroizing;

cases! {
    a_voucher_as_password_is_redeemed_for_the_number_once,
    a_newcomer_comes_in_by_number_and_voucher_where_no_code_is_sent,
    of_many_gates_that_send_one_voucher_at_once_one_number_gets_it,
    a_voucher_that_two_servers_are_asked_for_at_once_is_answered_by_both_and_tops_up_once,
    voucher_guesses_are_limited_for_the_device_and_for_the_number,
    a_voucher_is_not_used_up_by_who_may_not_come_in,
    an_app_logs_in_without_a_message_once_and_within_limits,
    an_app_logs_in_by_chap_with_a_code_pending_or_without,
    ms_chap_is_refused_until_it_is_allowed_and_costs_no_try,
    ms_chap_logs_in_with_a_ticket_and_with_a_code_and_the_server_proves_itself,
    refusals_are_in_the_language_of_the_person_as_far_as_it_is_known,
    a_voucher_without_a_number_is_asked_for_the_number,
}

const NUMBER_2: &str = "9876543211";
const CHALLENGE: [u8; 16] = *b"sixteen octets!!";

async fn by_password(lab: &Lab, mac: Mac, name: &str, password: &str, id: &str) -> Decision {
    let proof = Proof::Pap(Zeroizing::new(password.as_bytes().to_vec()));
    lab.authorize(mac, Service::Login(proof), name, id).await
}

async fn by_chap(lab: &Lab, password: &str, id: &str) -> Decision {
    let response = Md5::new()
        .chain_update([7])
        .chain_update(password)
        .chain_update(CHALLENGE)
        .finalize()
        .into();
    let proof = Proof::Chap {
        ident: 7,
        response,
        challenge: CHALLENGE.to_vec(),
    };
    lab.authorize(MAC, Service::Login(proof), NUMBER, id).await
}

async fn by_ms_chap(lab: &Lab, name: &str, password: &str, id: &str) -> Decision {
    let response = ms_chap::respond(7, CHALLENGE, [9; 16], name, password);
    let service = Service::Login(Proof::MsChapV2(response));
    lab.authorize(MAC, service, name, id).await
}

async fn voucher(lab: &Lab) -> Zeroizing<String> {
    let made = lab
        .access
        .create_vouchers(1, Worth::octets(30 * MB), "Akshaya 7", None, "test", lab.now);
    made.await.unwrap().remove(0)
}

async fn topped_up(lab: &Lab) -> u64 {
    let view = lab.access.subscriber(&NUMBER.parse().unwrap(), lab.now).await.unwrap();
    view.unwrap().topped_up_octets
}

async fn a_voucher_as_password_is_redeemed_for_the_number_once(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    let code = voucher(&lab).await;
    let typed = format!("{}-{}", code[..6].to_lowercase(), &code[6..]);
    granted(by_password(&lab, MAC, NUMBER, &typed, "s1").await);
    assert_eq!(topped_up(&lab).await, 30 * MB);
    // The answer was lost, and another server is asked.
    granted(by_password(&lab, MAC, NUMBER, &code, "s1").await);
    assert_eq!(topped_up(&lab).await, 30 * MB, "given once");
    let other = by_password(&lab, OTHER_MAC, NUMBER_2, &code, "s2").await;
    assert_eq!(refused(other), Reason::BadVoucher);
    lab.pass(Duration::from_mins(1));
    let late = by_password(&lab, MAC, NUMBER, &code, "s3").await;
    assert_eq!(refused(late), Reason::BadVoucher, "no lasting password");
    granted(lab.authorize(MAC, Service::CallCheck, "mac", "s4").await);
}

async fn a_newcomer_comes_in_by_number_and_voucher_where_no_code_is_sent(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    let code = voucher(&lab).await;
    let redeem = async |lab: &Lab, visit: &Visit, number: &str, has_consent: bool, code: &str| {
        let came = lab.access.redeem_voucher_for(visit, number, has_consent, code, lab.now);
        match came.await.unwrap() {
            Verified::Ticket(ticket) => Ok(ticket),
            Verified::Refused(reason) => Err(reason),
        }
    };
    let visit = Visit {
        is_seen: false,
        ..lab.visit(MAC)
    };
    for (number, has_consent, typed, reason) in [
        ("12345", true, code.as_str(), Reason::InvalidNumber),
        (NUMBER, false, code.as_str(), Reason::NoConsent),
        (NUMBER, true, "", Reason::BadVoucher),
        (NUMBER, true, "'; DROP TABLE voucher", Reason::BadVoucher),
        (NUMBER, true, "2345 6789 ABCD", Reason::BadVoucher),
    ] {
        assert_eq!(
            redeem(&lab, &visit, number, has_consent, typed).await.err(),
            Some(reason)
        );
    }
    let first = redeem(&lab, &visit, "+91 98765 43210", true, &code.to_lowercase()).await;
    first.unwrap_or_else(|reason| panic!("{reason:?}"));
    let reason = refused(lab.authorize(MAC, Service::CallCheck, "mac", "s0").await);
    assert_eq!(reason, Reason::UnknownDevice, "not before the gate had the ticket");
    let again = redeem(&lab, &visit, NUMBER, true, &code).await;
    let ticket = again.unwrap_or_else(|reason| panic!("a second tap: {reason:?}"));
    let grant = granted(lab.logon(MAC, &ticket, "s1").await);
    assert_eq!(grant.limits.remaining_octets, Some(50 * MB));
    lab.report(AccountingKind::Stop(1), "s1", MB, 60).await;
    granted(lab.authorize(MAC, Service::CallCheck, "mac", "s2").await);
    // Another's number does not change that it is used.
    let theirs = redeem(&lab, &lab.visit(OTHER_MAC), NUMBER_2, true, &code).await;
    assert_eq!(theirs.err(), Some(Reason::BadVoucher));
    lab.pass(Duration::from_mins(10));
    let second = voucher(&lab).await;
    lab.block().await;
    assert_eq!(
        redeem(&lab, &visit, NUMBER, true, &second).await.err(),
        Some(Reason::Blocked)
    );
    // A device has so many tries, whatever the number.
    for guess in 0..9 {
        let number = format!("987650000{guess}");
        let wrong = redeem(&lab, &visit, &number, true, "2345 6789 ABCD").await;
        assert_eq!(wrong.err(), Some(Reason::BadVoucher));
    }
    let right = redeem(&lab, &visit, NUMBER_2, true, &second).await;
    assert!(matches!(right, Err(Reason::TooMany(_))), "{:?}", right.err());
    let seen = redeem(&lab, &lab.visit(OTHER_MAC), NUMBER_2, true, &second).await;
    assert!(seen.is_ok(), "still unused");
    granted(lab.authorize(OTHER_MAC, Service::CallCheck, "mac", "s3").await);
}

async fn of_many_gates_that_send_one_voucher_at_once_one_number_gets_it(database: Database) {
    let lab = Lab::new(database, &plan(20 * MB)).await;
    let code = voucher(&lab).await;
    let (one, two, three) = tokio::join!(
        by_password(&lab, MAC, NUMBER, &code, "s1"),
        by_password(&lab, OTHER_MAC, NUMBER_2, &code, "s2"),
        by_password(&lab, Mac([2, 0, 0, 0, 0, 3]), "9876543212", &code, "s3"),
    );
    let accepted = |decision: &&Decision| matches!(decision, Decision::Accept(_));
    assert_eq!([one, two, three].iter().filter(accepted).count(), 1);
}

async fn a_voucher_that_two_servers_are_asked_for_at_once_is_answered_by_both_and_tops_up_once(database: Database) {
    let lab = Lab::new(database, &plan(20 * MB)).await;
    let code = voucher(&lab).await;
    let (one, two) = tokio::join!(
        by_password(&lab, MAC, NUMBER, &code, "s1"),
        by_password(&lab, MAC, NUMBER, &code, "s1"),
    );
    assert_eq!(granted(one).session, granted(two).session);
    assert_eq!(topped_up(&lab).await, 30 * MB);
}

async fn voucher_guesses_are_limited_for_the_device_and_for_the_number(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    let code = voucher(&lab).await;
    for _ in 0..10 {
        let guess = by_password(&lab, MAC, NUMBER, "2345 6789 ABCD", "s1").await;
        assert_eq!(refused(guess), Reason::BadVoucher);
    }
    for (mac, number) in [(MAC, NUMBER_2), (OTHER_MAC, NUMBER)] {
        let right = by_password(&lab, mac, number, &code, "s1").await;
        assert!(matches!(refused(right), Reason::TooMany(_)));
    }
    let page = lab.access.redeem_voucher(&lab.visit(MAC), &code, lab.now).await;
    assert!(
        matches!(page.unwrap(), Verified::Refused(Reason::TooMany(_))),
        "one limit for both doors"
    );
    lab.pass(Duration::from_mins(10));
    granted(by_password(&lab, MAC, NUMBER, &code, "s1").await);
}

async fn a_voucher_is_not_used_up_by_who_may_not_come_in(database: Database) {
    let lab = Lab::new(database, &plan(20 * MB)).await;
    let code = voucher(&lab).await;
    lab.ticket(MAC).await;
    lab.block().await;
    assert_eq!(
        refused(by_password(&lab, MAC, NUMBER, &code, "s1").await),
        Reason::Blocked
    );
    let site = async |is_open| {
        let set = lab
            .access
            .set_site("Vizhinjam bus stand", is_open, "citizen", "test", lab.now);
        set.await.unwrap();
    };
    site(false).await;
    let closed = by_password(&lab, OTHER_MAC, NUMBER_2, &code, "s1").await;
    assert_eq!(refused(closed), Reason::SiteClosed);
    site(true).await;
    granted(by_password(&lab, OTHER_MAC, NUMBER_2, &code, "s1").await);
}

async fn an_app_logs_in_without_a_message_once_and_within_limits(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    let secret = lab
        .access
        .enrol_authenticator(&NUMBER.parse().unwrap(), "test", lab.now)
        .await
        .unwrap();
    let code = challenge::authenticator_code(&secret, lab.now);
    granted(by_password(&lab, MAC, NUMBER, &code, "s1").await);
    let again = by_password(&lab, OTHER_MAC, NUMBER, &code, "s2").await;
    assert_eq!(refused(again), Reason::BadCredential, "good once");
    for _ in 0..3 {
        by_password(&lab, MAC, NUMBER, "not it", "s3").await;
    }
    lab.pass(Duration::from_secs(30));
    let next = challenge::authenticator_code(&secret, lab.now);
    let limited = by_password(&lab, MAC, NUMBER, &next, "s4").await;
    assert!(matches!(refused(limited), Reason::TooMany(_)));
}

async fn an_app_logs_in_by_chap_with_a_code_pending_or_without(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    let number = NUMBER.parse().unwrap();
    let secret = lab.access.enrol_authenticator(&number, "test", lab.now).await.unwrap();
    granted(by_chap(&lab, &challenge::authenticator_code(&secret, lab.now), "s1").await);
    lab.pass(Duration::from_mins(1));
    lab.ask(MAC).await;
    granted(by_chap(&lab, &challenge::authenticator_code(&secret, lab.now), "s1").await);
}

async fn ms_chap_is_refused_until_it_is_allowed_and_costs_no_try(database: Database) {
    let lab = Lab::new(database, &plan(20 * MB)).await;
    lab.ask(MAC).await;
    let code = lab.code(MAC).await;
    let decision = by_ms_chap(&lab, NUMBER, &code, "s1").await;
    let Decision::Reject { reason, message, .. } = decision else {
        panic!("accepted")
    };
    assert_eq!(reason, Reason::UnsupportedMethod);
    assert_eq!(
        message,
        Reason::UnsupportedMethod.message(Language::En),
        "the challenge's language"
    );
    granted(by_password(&lab, MAC, NUMBER, &code, "s1").await);
}

/// At the lab's gate.
async fn allow_ms_chap(lab: &Lab, is_allowed: bool) {
    let change = NasChange {
        is_ms_chap_allowed: Some(is_allowed),
        ..NasChange::default()
    };
    lab.access.change_nas("gate-1", &change, "test", lab.now).await.unwrap();
}

async fn ms_chap_logs_in_with_a_ticket_and_with_a_code_and_the_server_proves_itself(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    allow_ms_chap(&lab, true).await;
    let ticket = lab.ticket(MAC).await;
    let grant = granted(by_ms_chap(&lab, &ticket.user_name, &ticket.password, "s1").await);
    let expected = ms_chap::respond(7, CHALLENGE, [9; 16], &ticket.user_name, &ticket.password);
    assert_eq!(
        grant.ms_chap2_success,
        expected.check(&ticket.user_name, &ticket.password)
    );
    assert!(grant.ms_chap2_success.is_some());
    lab.pass(Duration::from_mins(1));
    lab.ask(MAC).await;
    let code = lab.code(MAC).await;
    let wrong = if code == "000000" { "000001" } else { "000000" };
    assert_eq!(
        refused(by_ms_chap(&lab, NUMBER, wrong, "s2").await),
        Reason::WrongCode(4)
    );
    assert!(
        granted(by_ms_chap(&lab, NUMBER, &code, "s2").await)
            .ms_chap2_success
            .is_some()
    );
    allow_ms_chap(&lab, false).await;
    let taken_back = by_ms_chap(&lab, NUMBER, &code, "s3").await;
    assert_eq!(refused(taken_back), Reason::UnsupportedMethod);
}

async fn refusals_are_in_the_language_of_the_person_as_far_as_it_is_known(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    let said = |decision| match decision {
        Decision::Reject { reason, message, .. } => (reason, message),
        Decision::Accept(_) => panic!("accepted"),
    };
    let (reason, message) = said(by_password(&lab, MAC, NUMBER, "123456", "s1").await);
    assert_eq!(message, reason.message(Language::Ml), "nothing is known yet");
    lab.ask(MAC).await;
    let (reason, message) = said(lab.authorize(MAC, Service::CallCheck, "mac", "s1").await);
    assert_eq!(
        (reason, message),
        (Reason::UnknownDevice, Reason::UnknownDevice.message(Language::En))
    );
    lab.pass(Duration::from_mins(1));
    lab.online(MAC, "s1").await;
    let (reason, message) = said(by_password(&lab, OTHER_MAC, NUMBER, "2345 6789 ABCD", "s2").await);
    assert_eq!(
        (reason, message),
        (Reason::BadVoucher, Reason::BadVoucher.message(Language::En))
    );
    let site = lab.visit(MAC).site;
    for (mac, name, language) in [
        (None, NUMBER, Language::En),
        (Some(MAC), "torn", Language::En),
        (Some(OTHER_MAC), "torn", Language::Ml),
    ] {
        let known = lab.access.language_at(site, mac, name).await.unwrap();
        assert_eq!(known, language, "of a request that cannot be read: {name}");
    }
}

async fn a_voucher_without_a_number_is_asked_for_the_number(database: Database) {
    let lab = Lab::new(database, &plan(20 * MB)).await;
    let code = voucher(&lab).await;
    for password in ["", &code] {
        let decision = by_password(&lab, MAC, &code, password, "s1").await;
        assert_eq!(refused(decision), Reason::InvalidNumber);
    }
    granted(by_password(&lab, MAC, NUMBER, &code, "s1").await);
}

//! Use cases over time, on both databases. Time is moved by hand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::time::Duration;

use kavadam_access::api::*;
use kavadam_access::voucher::Worth;
use kavadam_domain::{Mac, Reason, challenge};
use lab::{Database, Lab, MAC, MB, NUMBER, OTHER_MAC, cases, granted, plan, refused};

cases! {
    a_citizens_day_from_number_to_used_up_and_the_next_morning,
    a_ticket_is_good_once_on_its_own_device_and_for_a_minute,
    five_wrong_codes_spend_a_code_and_each_try_counts,
    a_number_gets_three_codes_in_ten_minutes_and_is_told_when_to_come_back,
    without_consent_or_with_a_wrong_number_nothing_is_sent,
    reports_twice_and_out_of_order_charge_each_octet_once,
    two_devices_at_once_never_get_more_than_remains,
    a_disconnect_is_ordered_until_the_gate_obeys_and_the_device_returns_by_its_owners_wish_alone,
    an_authenticator_code_stands_in_for_the_message_once,
    a_gates_word_that_a_device_is_not_online_counts_but_an_old_link_does_not,
    nobody_is_sent_a_code_at_a_closed_site,
    a_voucher_brings_a_used_up_citizen_back_once,
}

async fn a_citizens_day_from_number_to_used_up_and_the_next_morning(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    assert_eq!(lab.access.step(&lab.visit(MAC), lab.now).await.unwrap(), Step::Number);
    assert!(matches!(lab.ask(MAC).await, Started::Sent(_)));
    assert!(
        matches!(lab.access.step(&lab.visit(MAC), lab.now).await.unwrap(), Step::Code(_)),
        "reopened on the code"
    );
    lab.pass(Duration::from_secs(31));
    let grant = lab.online(MAC, "s1").await;
    assert_eq!(grant.limits.down_bits_per_sec, Some(10_000_000));
    assert!(grant.is_renewable);
    assert!(!grant.user_name.contains(NUMBER), "no number on the wire");
    lab.report(AccountingKind::Start, "s1", 0, 0).await;

    let mut total = grant.limits.max_total_octets.unwrap();
    let mut seen = 0;
    while seen < 20 * MB {
        lab.pass(Duration::from_secs(10));
        seen = total;
        lab.report(AccountingKind::Interim, "s1", seen, 10).await;
        match lab.authorize(MAC, Service::Renewal, &grant.user_name, "s1").await {
            Decision::Accept(more) => total = more.limits.max_total_octets.unwrap(),
            Decision::Reject { reason, .. } => {
                assert!(matches!(reason, Reason::QuotaUsedUp(Some(_))), "{reason:?}");
                break;
            }
        }
    }
    assert_eq!(seen, 20 * MB, "every octet of the quota was handed out, and none more");
    lab.report(AccountingKind::Stop(10), "s1", seen, 100).await;
    let Step::UsedUp(status) = lab.access.step(&lab.visit(MAC), lab.now).await.unwrap() else {
        panic!("not used up")
    };
    assert_eq!(status.used_octets, 20 * MB);
    assert!(matches!(
        refused(lab.authorize(MAC, Service::CallCheck, "mac", "s2").await),
        Reason::QuotaUsedUp(_)
    ));

    lab.pass(Duration::from_hours(24));
    granted(lab.authorize(MAC, Service::CallCheck, "mac", "s3").await);
}

async fn a_ticket_is_good_once_on_its_own_device_and_for_a_minute(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    let ticket = lab.ticket(MAC).await;
    assert_eq!(
        refused(lab.logon(OTHER_MAC, &ticket, "s1").await),
        Reason::BadCredential
    );
    granted(lab.logon(MAC, &ticket, "s1").await);
    assert_eq!(
        refused(lab.logon(MAC, &ticket, "s2").await),
        Reason::BadCredential,
        "replayed"
    );
    lab.pass(Duration::from_secs(31));
    let late = lab.ticket(MAC).await;
    lab.pass(Duration::from_mins(1));
    assert_eq!(
        refused(lab.logon(MAC, &late, "s3").await),
        Reason::BadCredential,
        "a minute later"
    );
}

async fn five_wrong_codes_spend_a_code_and_each_try_counts(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    lab.ask(MAC).await;
    let right = lab.code(MAC).await;
    let wrong = if right == "000000" { "000001" } else { "000000" };
    for left in (0..5).rev() {
        let outcome = lab.access.verify_code(&lab.visit(MAC), wrong, lab.now).await.unwrap();
        assert!(matches!(outcome, Verified::Refused(Reason::WrongCode(n)) if n == left));
    }
    let outcome = lab.access.verify_code(&lab.visit(MAC), &right, lab.now).await.unwrap();
    assert!(
        matches!(outcome, Verified::Refused(Reason::WrongCode(0))),
        "spent, even for the right one"
    );
}

async fn a_number_gets_three_codes_in_ten_minutes_and_is_told_when_to_come_back(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    for _ in 0..3 {
        assert!(matches!(lab.ask(MAC).await, Started::Sent(_)));
        lab.pass(Duration::from_mins(1));
    }
    assert_eq!(
        lab.ask(OTHER_MAC).await,
        Started::Refused(Reason::TooMany(Duration::from_mins(7)))
    );
    lab.pass(Duration::from_mins(7));
    assert!(matches!(lab.ask(OTHER_MAC).await, Started::Sent(_)));
}

async fn without_consent_or_with_a_wrong_number_nothing_is_sent(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let refused = |started| matches!(started, Started::Refused(Reason::NoConsent | Reason::InvalidNumber));
    assert!(refused(
        lab.access
            .start_login(&lab.visit(MAC), NUMBER, false, lab.now)
            .await
            .unwrap()
    ));
    assert!(refused(
        lab.access
            .start_login(&lab.visit(MAC), "12345", true, lab.now)
            .await
            .unwrap()
    ));
    let mut tx = lab.store.read().await.unwrap();
    assert!(tx.last_challenge(lab.site, MAC).await.unwrap().is_none());
}

async fn reports_twice_and_out_of_order_charge_each_octet_once(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.pass(Duration::from_mins(1));
    assert_eq!(
        lab.report(AccountingKind::Interim, "s1", 5 * MB, 60).await,
        Accounted::Charged(5 * MB)
    );
    assert_eq!(
        lab.report(AccountingKind::Interim, "s1", 5 * MB, 60).await,
        Accounted::Charged(0)
    );
    lab.pass(Duration::from_mins(1));
    assert_eq!(
        lab.report(AccountingKind::Stop(1), "s1", 9 * MB, 120).await,
        Accounted::Charged(4 * MB)
    );
    assert_eq!(
        lab.report(AccountingKind::Stop(1), "s1", 9 * MB, 120).await,
        Accounted::Charged(0)
    );
    assert_eq!(
        lab.report(AccountingKind::Interim, "s1", 7 * MB, 90).await,
        Accounted::Charged(0),
        "late"
    );
    assert_eq!(
        lab.report(AccountingKind::Stop(1), "nobody's", 7 * MB, 90).await,
        Accounted::Unknown
    );
}

async fn two_devices_at_once_never_get_more_than_remains(database: Database) {
    let lab = Lab::new(database, &plan(40 * MB)).await;
    let first = lab.ticket(MAC).await;
    let second = lab.ticket(OTHER_MAC).await;
    let (one, two) = tokio::join!(lab.logon(MAC, &first, "s1"), lab.logon(OTHER_MAC, &second, "s2"));
    let handed_out: u64 = [one, two]
        .into_iter()
        .map(|d| granted(d).limits.max_total_octets.unwrap())
        .sum();
    assert!(handed_out <= 40 * MB, "{handed_out}");
    let third = lab.ticket(Mac([2, 0, 0, 0, 0, 3])).await;
    assert_eq!(
        refused(lab.logon(Mac([2, 0, 0, 0, 0, 3]), &third, "s3").await),
        Reason::TooManyDevices(2)
    );
}

async fn a_disconnect_is_ordered_until_the_gate_obeys_and_the_device_returns_by_its_owners_wish_alone(
    database: Database,
) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    assert!(lab.access.disconnect(&lab.visit(MAC), lab.now).await.unwrap());
    let orders = lab.orders().await;
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0].action, OrderAction::End);
    let settled = lab.answer(&orders[0], OrderAnswer::Silence).await;
    assert!(!settled);
    assert!(lab.orders().await.is_empty(), "not again at once");
    lab.pass(Duration::from_secs(3));
    assert_eq!(lab.orders().await.len(), 1, "but soon");
    assert!(lab.answer(&orders[0], OrderAnswer::Done).await);
    lab.report(AccountingKind::Stop(6), "s1", MB, 3).await;
    assert_eq!(
        refused(lab.authorize(MAC, Service::CallCheck, "mac", "s2").await),
        Reason::UnknownDevice
    );
    assert!(matches!(
        lab.access.step(&lab.visit(MAC), lab.now).await.unwrap(),
        Step::Returning { .. }
    ));
    let Verified::Ticket(ticket) = lab.access.reconnect(&lab.visit(MAC), lab.now).await.unwrap() else {
        panic!("a remembered device needs no code")
    };
    granted(lab.logon(MAC, &ticket, "s3").await);
}

async fn a_voucher_brings_a_used_up_citizen_back_once(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.pass(Duration::from_mins(1));
    lab.report(AccountingKind::Stop(10), "s1", 20 * MB, 60).await;
    assert!(matches!(
        refused(lab.authorize(MAC, Service::CallCheck, "mac", "s2").await),
        Reason::QuotaUsedUp(_)
    ));
    let code = lab
        .access
        .create_vouchers(1, Worth::octets(30 * MB), "Akshaya 7", None, "test", lab.now)
        .await
        .unwrap()
        .remove(0);
    let typed = code.to_lowercase();
    let Verified::Ticket(ticket) = lab
        .access
        .redeem_voucher(&lab.visit(MAC), &typed, lab.now)
        .await
        .unwrap()
    else {
        panic!("a good voucher")
    };
    let grant = granted(lab.logon(MAC, &ticket, "s3").await);
    assert_eq!(grant.limits.remaining_octets, Some(30 * MB));
    lab.pass(Duration::from_mins(1));
    let again = lab
        .access
        .redeem_voucher(&lab.visit(MAC), &code, lab.now)
        .await
        .unwrap();
    assert!(matches!(again, Verified::Refused(Reason::BadVoucher)), "used");
    for _ in 0..8 {
        lab.access
            .redeem_voucher(&lab.visit(MAC), "2345 6789 ABCD", lab.now)
            .await
            .unwrap();
    }
    let guess = lab
        .access
        .redeem_voucher(&lab.visit(MAC), "2345 6789 ABCD", lab.now)
        .await
        .unwrap();
    assert!(
        matches!(guess, Verified::Refused(Reason::TooMany(_))),
        "guessing is limited"
    );
}

async fn an_authenticator_code_stands_in_for_the_message_once(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    let number = NUMBER.parse().unwrap();
    let replaced = lab.access.enrol_authenticator(&number, "test", lab.now).await.unwrap();
    let secret = lab.access.enrol_authenticator(&number, "test", lab.now).await.unwrap();
    let view = lab.access.subscriber(&number, lab.now).await.unwrap().unwrap();
    assert!(view.has_authenticator);
    lab.ask(MAC).await;
    let old = challenge::authenticator_code(&replaced, lab.now);
    assert_eq!(
        lab.enter(MAC, &old).await,
        Some(Reason::WrongCode(4)),
        "the app replaced"
    );
    let code = challenge::authenticator_code(&secret, lab.now);
    assert_eq!(lab.enter(MAC, &code).await, None);

    lab.ask(OTHER_MAC).await;
    assert_eq!(
        lab.enter(OTHER_MAC, &code).await,
        Some(Reason::WrongCode(4)),
        "used before"
    );
    assert!(lab.access.forget_authenticator(&number, "test", lab.now).await.unwrap());
    assert!(!lab.access.forget_authenticator(&number, "test", lab.now).await.unwrap());
    lab.pass(Duration::from_secs(30));
    let next = challenge::authenticator_code(&secret, lab.now);
    assert_eq!(
        lab.enter(OTHER_MAC, &next).await,
        Some(Reason::WrongCode(3)),
        "forgotten"
    );
}

async fn a_gates_word_that_a_device_is_not_online_counts_but_an_old_link_does_not(database: Database) {
    let mut lab = Lab::new(database, &plan(100 * MB)).await;
    let before = lab.now;
    lab.pass(Duration::from_secs(1));
    lab.online(MAC, "s1").await;
    lab.pass(Duration::from_secs(1));
    let told = |offline_at| Visit {
        offline_at: Some(offline_at),
        ..lab.visit(MAC)
    };
    let step = lab.access.step(&told(before), lab.now).await.unwrap();
    assert!(
        matches!(step, Step::Online(_)),
        "a link from before the session: {step:?}"
    );
    let step = lab.access.step(&told(lab.now), lab.now).await.unwrap();
    assert!(
        matches!(step, Step::Returning { .. }),
        "the gate knows better: {step:?}"
    );
}

async fn nobody_is_sent_a_code_at_a_closed_site(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    lab.access
        .set_site("Vizhinjam bus stand", false, "citizen", "test", lab.now)
        .await
        .unwrap();
    assert_eq!(lab.ask(MAC).await, Started::Refused(Reason::SiteClosed));
    lab.access
        .set_site("Vizhinjam bus stand", true, "citizen", "test", lab.now)
        .await
        .unwrap();
    assert!(matches!(lab.ask(MAC).await, Started::Sent(_)));
}

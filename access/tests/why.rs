//! Explanations: what they say is what happens, and looking changes nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::time::Duration;

use kavadam_access::AccessError;
use kavadam_access::admin::NasSetting;
use kavadam_access::api::*;
use kavadam_access::why::{Whom, Why};
use kavadam_domain::{Mac, Reason};
use lab::{Database, Lab, MAC, MB, NUMBER, OTHER_MAC, cases, granted, plan, refused};

cases! {
    what_is_explained_is_what_a_gate_is_told,
    looking_changes_nothing_but_the_audit,
    a_device_that_may_not_come_back_by_itself_is_told_apart_from_its_owner,
    a_session_leads_to_its_person_its_device_and_its_gate,
    nobody_is_explained_too,
    with_several_gates_and_no_session_a_gate_must_be_named,
    codes_and_portal_logins_are_among_the_facts,
    a_refusal_keeps_what_it_rested_on,
}

async fn explain(lab: &Lab, whom: Whom) -> Why {
    lab.access.explain(&whom, None, "helpdesk", lab.now).await.unwrap()
}

fn number() -> Whom {
    Whom::Number(NUMBER.parse().unwrap())
}

async fn call_check(lab: &Lab, mac: Mac, id: &str) -> Decision {
    lab.authorize(mac, Service::CallCheck, &mac.to_string(), id).await
}

/// Refused by each rule in turn: explained first, then asked for in earnest.
async fn what_is_explained_is_what_a_gate_is_told(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    let grant = lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    lab.pass(Duration::from_secs(40));
    lab.online(OTHER_MAC, "s2").await;
    lab.report(AccountingKind::Start, "s2", 0, 0).await;

    let third = Mac([2, 0, 0, 0, 0, 3]);
    lab.pass(Duration::from_secs(40));
    let ticket = lab.ticket(third).await;
    let why = explain(&lab, Whom::Device(third)).await;
    assert_eq!(why.login, Some(Err(Reason::TooManyDevices(2))));
    assert_eq!(
        refused(lab.logon(third, &ticket, "s3").await),
        Reason::TooManyDevices(2)
    );

    lab.report(AccountingKind::Stop(1), "s2", 0, 10).await;
    lab.report(AccountingKind::Stop(1), "s1", 20 * MB, 10).await;
    let told = explain(&lab, Whom::Device(MAC)).await.comeback.unwrap().unwrap_err();
    assert!(matches!(told, Reason::QuotaUsedUp(Some(_))), "{told:?}");
    assert_eq!(refused(call_check(&lab, MAC, "s4").await), told);

    lab.access
        .set_site("Vizhinjam bus stand", false, "citizen", "test", lab.now)
        .await
        .unwrap();
    assert_eq!(
        explain(&lab, Whom::Device(MAC)).await.comeback,
        Some(Err(Reason::SiteClosed))
    );
    assert_eq!(refused(call_check(&lab, MAC, "s5").await), Reason::SiteClosed);

    lab.block().await;
    assert_eq!(explain(&lab, number()).await.login, Some(Err(Reason::Blocked)));
    assert_eq!(refused(call_check(&lab, MAC, "s6").await), Reason::Blocked);
    assert!(!grant.user_name.is_empty());
}

async fn looking_changes_nothing_but_the_audit(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    lab.report(AccountingKind::Interim, "s1", MB, 10).await;
    lab.pass(Duration::from_secs(5));
    let (before, session) = (lab.used_and_promised().await, lab.session(MAC).await);
    let told = explain(&lab, number()).await;
    assert!(told.login.unwrap().is_ok());
    assert_eq!(lab.used_and_promised().await, before);
    assert_eq!(
        lab.session(MAC).await,
        session,
        "still open, though the rehearsal began another in its place"
    );
    granted(lab.renew(MAC, "s1").await);
    let audits = lab.access.audits(10).await.unwrap();
    let last = &audits[0];
    assert_eq!(
        (last.actor.as_str(), last.action.as_str()),
        ("helpdesk", "subscriber.why")
    );
}

async fn a_device_that_may_not_come_back_by_itself_is_told_apart_from_its_owner(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Stop(1), "s1", 0, 10).await;
    assert!(explain(&lab, number()).await.comeback.unwrap().is_ok());
    lab.pass(Duration::from_hours(15 * 24));
    let why = explain(&lab, number()).await;
    assert_eq!(why.comeback, Some(Err(Reason::UnknownDevice)));
    assert!(why.login.unwrap().is_ok(), "with a code they may come in");
    let device = &why.person.unwrap().devices[0];
    assert!(device.remembered_until.unwrap() < lab.now);
    assert_eq!(refused(call_check(&lab, MAC, "s2").await), Reason::UnknownDevice);
}

async fn a_session_leads_to_its_person_its_device_and_its_gate(database: Database) {
    let lab = Lab::new(database, &plan(20 * MB)).await;
    let grant = lab.online(MAC, "s1").await;
    let why = explain(&lab, Whom::Session(grant.session)).await;
    assert_eq!((why.mac, why.gate.name.as_str()), (Some(MAC), "gate-1"));
    let person = why.person.unwrap();
    assert_eq!((person.number.digits(), person.alias), (NUMBER, grant.user_name));
    assert_eq!(person.sessions[0].granted_octets, grant.limits.max_total_octets);
}

async fn nobody_is_explained_too(database: Database) {
    let lab = Lab::new(database, &plan(20 * MB)).await;
    let why = explain(&lab, number()).await;
    assert_eq!((why.person, why.login, why.comeback), (None, None, None));
    let why = explain(&lab, Whom::Device(MAC)).await;
    assert_eq!((why.person, why.comeback), (None, Some(Err(Reason::UnknownDevice))));
}

async fn with_several_gates_and_no_session_a_gate_must_be_named(database: Database) {
    let lab = Lab::new(database, &plan(20 * MB)).await;
    let other = NasSetting {
        name: "gate-2",
        site: "Vizhinjam bus stand",
        source: "127.0.0.2/32".parse().unwrap(),
        secret: b"a secret of that gate",
        uam_secret: b"a secret of redirects",
        coa_port: 3799,
        coa_host: None,
        profile: "kavadam",
        is_renewing: false,
    };
    lab.access.set_nas(&other, "test", lab.now).await.unwrap();
    let asked = lab.access.explain(&number(), None, "helpdesk", lab.now).await;
    assert!(matches!(asked, Err(AccessError::Invalid(_))));
    let named = lab
        .access
        .explain(&number(), Some("gate-2"), "helpdesk", lab.now)
        .await
        .unwrap();
    assert_eq!(named.gate.name, "gate-2");
    let missing = lab.access.explain(&number(), Some("gate-3"), "helpdesk", lab.now).await;
    assert!(matches!(missing, Err(AccessError::Missing { .. })));
}

async fn codes_and_portal_logins_are_among_the_facts(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    let ticket = lab.ticket(MAC).await;
    let person = explain(&lab, number()).await.person.unwrap();
    assert_eq!(person.code.unwrap().state, "verified");
    assert_eq!(person.ticket.unwrap().used_at, None);
    granted(lab.logon(MAC, &ticket, "s1").await);
    lab.pass(Duration::from_secs(40));
    assert!(matches!(lab.ask(MAC).await, Started::Sent(_)));
    let person = explain(&lab, number()).await.person.unwrap();
    assert_eq!(person.code.unwrap().state, "pending");
    assert!(person.ticket.unwrap().used_at.is_some());
}

fn grounds(decision: Decision) -> Grounds {
    match decision {
        Decision::Reject { grounds, .. } => grounds,
        Decision::Accept(grant) => panic!("accepted: {grant:?}"),
    }
}

/// An hour later the facts are others, and only what was kept says why.
async fn a_refusal_keeps_what_it_rested_on(database: Database) {
    let mut lab = Lab::new(database, &plan(20 * MB)).await;
    for (mac, id) in [(MAC, "s1"), (OTHER_MAC, "s2")] {
        lab.online(mac, id).await;
        lab.report(AccountingKind::Start, id, 0, 0).await;
        lab.pass(Duration::from_secs(40));
    }
    let third = Mac([2, 0, 0, 0, 0, 3]);
    let ticket = lab.ticket(third).await;
    let crowded = grounds(lab.logon(third, &ticket, "s3").await);
    assert_eq!(
        crowded.online,
        [(Some(MAC), lab.nas), (Some(OTHER_MAC), lab.nas)],
        "who was online"
    );
    assert_eq!(crowded.allowance, None);

    lab.report(AccountingKind::Stop(1), "s2", 0, 10).await;
    lab.report(AccountingKind::Stop(1), "s1", 20 * MB, 10).await;
    let used_up = grounds(call_check(&lab, MAC, "s4").await);
    let allowance = used_up.allowance.unwrap();
    assert_eq!(
        (
            allowance.used_octets,
            allowance.promised_octets,
            allowance.total_octets()
        ),
        (20 * MB, 0, Some(20 * MB))
    );
    assert!(used_up.online.is_empty());
    let stranger = Mac([2, 0, 0, 0, 0, 4]);
    assert_eq!(grounds(call_check(&lab, stranger, "s5").await), Grounds::default());
}

//! What administrators do about plans, sites and gates, and what becomes of those who are online, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::time::{Duration, Instant};

use kavadam_access::admin::{NasChange, NasSetting, Tie};
use kavadam_access::api::*;
use kavadam_access::{Access, AccessError, Settings};
use kavadam_domain::{CertificateName, MobileNumber, Plan};
use kavadam_store::NewNas;
use lab::{Database, Lab, MAC, MB, NUMBER, cases, plan};

cases! {
    a_closed_site_ends_its_sessions_and_another_plan_changes_them,
    a_change_of_a_site_is_not_undone_by_a_report_of_that_instant,
    a_change_of_a_plan_is_not_undone_by_a_report_of_that_instant,
    the_gates_of_the_narrowest_range_are_the_candidates,
    two_gates_of_one_source_with_one_secret_are_refused,
    an_exception_has_a_date_and_a_source_of_its_own,
    an_old_secret_lasts_until_its_date_and_with_no_date_not_at_all,
    four_thousand_gates_and_a_stranger_are_looked_up_in_memory,
    a_gate_is_changed_where_told,
    a_certificate_is_one_gates_until_that_gives_it_up_or_ends,
    a_plan_ends_when_nobody_needs_it,
    a_site_ends_when_no_gate_stands_there,
    a_gates_end_ends_its_sessions_with_their_octets,
}

fn number() -> MobileNumber {
    NUMBER.parse().unwrap()
}

async fn ordered(lab: &Lab) -> Vec<OrderAction> {
    lab.orders().await.into_iter().map(|order| order.action).collect()
}

async fn set_site(lab: &Lab, is_open: bool, plan: &str) {
    lab.access
        .set_site("Vizhinjam bus stand", is_open, plan, "test", lab.now)
        .await
        .unwrap();
}

fn gate(name: &'static str, source: &str) -> NasSetting<'static> {
    NasSetting {
        name,
        site: "Vizhinjam bus stand",
        source: source.parse().unwrap(),
        secret: b"a secret of the gate",
        uam_secret: b"a secret of redirects",
        coa_port: 3799,
        coa_host: None,
        profile: "kavadam",
        is_renewing: false,
    }
}

async fn a_closed_site_ends_its_sessions_and_another_plan_changes_them(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let fast = Plan {
        name: "fast".into(),
        down_bits_per_sec: Some(50_000_000),
        ..plan(100 * MB)
    };
    lab.access.set_plan(&fast, "test", lab.now).await.unwrap();
    lab.online(MAC, "s1").await;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    set_site(&lab, true, "citizen").await;
    let orders = ordered(&lab).await;
    match database {
        Database::Sqlite => assert_eq!(orders, [], "nothing changed"),
        // A command that did not reach everybody is given once more.
        Database::Postgres => assert!(matches!(orders[..], [OrderAction::Change(_)]), "{orders:?}"),
    }
    set_site(&lab, true, "fast").await;
    let orders = ordered(&lab).await;
    assert!(
        matches!(&orders[..], [OrderAction::Change(limits)] if limits.down_bits_per_sec == Some(50_000_000)),
        "{orders:?}"
    );
    lab.access
        .set_subscriber_plan(&number(), Some("fast"), "test", lab.now)
        .await
        .unwrap();
    let orders = lab.orders().await;
    assert!(lab.answer(&orders[0], OrderAnswer::Done).await);
    set_site(&lab, true, "citizen").await;
    assert_eq!(ordered(&lab).await, [], "whoever has a plan of their own keeps it");
    set_site(&lab, false, "citizen").await;
    assert_eq!(ordered(&lab).await, [OrderAction::End]);
}

/// A report that has read the session of `s1` and is yet to save it, while the `change` begins; what is ordered after both.
async fn ordered_at_once<F>(lab: &Lab, change: impl FnOnce(Access) -> F) -> Vec<OrderAction>
where
    F: Future<Output = Result<(), AccessError>> + Send + 'static,
{
    let id = lab.online(MAC, "s1").await.session;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    let mut report = lab.store.write().await.unwrap();
    let found = report.session(id).await.unwrap().unwrap();
    report.lock_subscriber(found.subscriber_id).await.unwrap();
    let mut session = report.session(id).await.unwrap().unwrap();
    let change = tokio::spawn(change(lab.access.clone()));
    // Long enough for the change to get as far as the session.
    tokio::time::sleep(Duration::from_millis(300)).await;
    session.down_octets = 5 * MB;
    report.save_session(&session).await.unwrap();
    report.commit().await.unwrap();
    change.await.unwrap().unwrap();
    let after = lab.access.session(id).await.unwrap().unwrap();
    assert_eq!(after.counters.down_octets, 5 * MB, "the report was undone");
    ordered(lab).await
}

async fn a_change_of_a_site_is_not_undone_by_a_report_of_that_instant(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let now = lab.now;
    let orders = ordered_at_once(&lab, |access| async move {
        let set = access.set_site("Vizhinjam bus stand", false, "citizen", "test", now);
        set.await.map(drop)
    });
    assert_eq!(orders.await, [OrderAction::End]);
}

async fn a_change_of_a_plan_is_not_undone_by_a_report_of_that_instant(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let now = lab.now;
    let orders = ordered_at_once(&lab, |access| async move {
        access.set_plan(&plan(200 * MB), "test", now).await.map(drop)
    });
    assert!(matches!(orders.await[..], [OrderAction::Change(_)]));
}

async fn the_gates_of_the_narrowest_range_are_the_candidates(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let set = async |name, source| lab.access.set_nas(&gate(name, source), "test", lab.now).await;
    set("wide", "10.7.0.0/16").await.unwrap();
    set("narrow", "10.7.3.0/24").await.unwrap();
    set("sixth", "2001:db8:7::/48").await.unwrap();
    let beside = NasSetting {
        secret: b"a secret of its own",
        ..gate("beside", "10.7.3.9/24")
    };
    lab.access.set_nas(&beside, "test", lab.now).await.unwrap();
    let at = async |address: &str| {
        let found = lab.access.gates_at(address.parse().unwrap()).await.unwrap();
        found.all().iter().map(|nas| nas.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(at("10.7.3.9").await, ["beside", "narrow"]);
    assert_eq!(at("::ffff:10.7.3.9").await, ["beside", "narrow"]);
    assert_eq!(at("10.7.4.9").await, ["wide"]);
    assert_eq!(at("2001:db8:7:1::9").await, ["sixth"]);
    assert!(at("10.8.0.1").await.is_empty() && at("2001:db8:8::1").await.is_empty());
}

async fn two_gates_of_one_source_with_one_secret_are_refused(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let set = async |name, source| lab.access.set_nas(&gate(name, source), "test", lab.now).await;
    set("wide", "10.7.0.0/16").await.unwrap();
    let problem = set("twin", "10.7.0.9/16").await.unwrap_err();
    assert!(problem.to_string().contains("gate `wide`"), "{problem}");
    set("narrow", "10.7.3.0/24").await.unwrap();
    set("wide", "10.7.0.0/16").await.unwrap();
    let other = NasSetting {
        secret: b"a secret of its own",
        ..gate("twin", "10.7.0.0/16")
    };
    lab.access.set_nas(&other, "test", lab.now).await.unwrap();
    let change = NasChange {
        secret: Some(b"a secret of the gate"),
        ..NasChange::default()
    };
    let problem = lab.access.change_nas("twin", &change, "test", lab.now).await;
    assert!(problem.unwrap_err().to_string().contains("gate `wide`"));
    let away = NasChange {
        secret: Some(b"a third secret of it"),
        old_secret_until: Some(lab.now + Duration::from_hours(1)),
        ..NasChange::default()
    };
    lab.access.change_nas("wide", &away, "test", lab.now).await.unwrap();
    let problem = lab.access.change_nas("twin", &change, "test", lab.now).await;
    assert!(
        problem.is_err(),
        "the old one is the other gate's as long as it is kept"
    );
}

async fn an_exception_has_a_date_and_a_source_of_its_own(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let set = async |setting: &NasSetting<'_>| lab.access.set_nas(setting, "test", lab.now).await;
    set(&gate("old", "10.7.0.1/32")).await.unwrap();
    let except = async |name: &str, until| {
        let change = NasChange {
            unsigned_until: Some(until),
            ..NasChange::default()
        };
        lab.access.change_nas(name, &change, "test", lab.now).await
    };
    let until = lab.now + Duration::from_hours(24);
    except("old", until).await.unwrap();
    let known = async || {
        lab.access
            .nas_by_name("old")
            .await
            .unwrap()
            .unwrap()
            .proof
            .unsigned_until
    };
    assert_eq!(known().await, Some(until));
    let audit = lab.access.audits(9).await.unwrap();
    assert!(
        audit
            .iter()
            .any(|row| row.detail.contains("without Message-Authenticator no → until 20")),
        "{audit:?}"
    );
    let beside = NasSetting {
        secret: b"a secret of its own",
        ..gate("beside", "10.7.0.1/32")
    };
    let problem = set(&beside).await.unwrap_err().to_string();
    assert!(problem.contains("alone at its source"), "{problem}");
    let far = lab.now + Duration::from_hours(400 * 24);
    assert!(except("old", far).await.is_err(), "no exception without an end");
    assert_eq!(known().await, Some(until));
    except("old", lab.now).await.unwrap();
    assert_eq!(known().await, None, "ended at once");
    set(&beside).await.unwrap();
    assert!(except("beside", until).await.is_err());
}

async fn an_old_secret_lasts_until_its_date_and_with_no_date_not_at_all(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    lab.access
        .set_nas(&gate("stand", "10.7.0.1/32"), "test", lab.now)
        .await
        .unwrap();
    let change = async |secret, until| {
        let change = NasChange {
            secret,
            old_secret_until: until,
            ..NasChange::default()
        };
        lab.access.change_nas("stand", &change, "test", lab.now).await
    };
    let valid = async |at| {
        let nas = lab.access.nas_by_name("stand").await.unwrap().unwrap();
        nas.secrets(at).map(|(_, secret)| secret.to_vec()).collect::<Vec<_>>()
    };
    let (first, second, third) = (
        b"a secret of the gate",
        b"the second secret of it",
        b"the third secret of it",
    );
    let until = lab.now + Duration::from_hours(1);
    assert!(change(None, Some(until)).await.is_err(), "there is no old one");
    change(Some(second), Some(until)).await.unwrap();
    assert_eq!(valid(lab.now).await, [second.to_vec(), first.to_vec()]);
    assert_eq!(valid(until).await, [second.to_vec()]);
    change(None, Some(until + Duration::from_hours(1))).await.unwrap();
    assert_eq!(valid(until).await.len(), 2, "put off");
    change(Some(third), None).await.unwrap();
    assert_eq!(valid(lab.now).await, [third.to_vec()]);
    change(Some(second), Some(until)).await.unwrap();
    lab.access.end_nas("stand", "test", lab.now).await.unwrap();
    lab.access
        .set_nas(&gate("stand", "10.7.0.1/32"), "test", lab.now)
        .await
        .unwrap();
    assert_eq!(valid(lab.now).await, [first.to_vec()], "made again, it has no past");
}

async fn four_thousand_gates_and_a_stranger_are_looked_up_in_memory(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let mut tx = lab.store.write().await.unwrap();
    let known = tx.nas(lab.nas).await.unwrap().unwrap();
    for number in 0..4000_u32 {
        let row = NewNas {
            name: format!("stand-{number}"),
            site_id: known.site_id,
            source: format!("10.{}.{}.0/24", number / 256, number % 256).parse().unwrap(),
            secret_sealed: known.secret_sealed.clone(),
            uam_secret_sealed: known.uam_secret_sealed.clone(),
            coa_port: 3799,
            coa_host: None,
            profile: known.profile.clone(),
            is_renewing: false,
        };
        tx.save_nas(&row).await.unwrap();
    }
    tx.commit().await.unwrap();
    // A second centre, which has read nothing yet.
    let access = Access::new(lab.store.clone(), lab.sealer.clone(), Settings::default());
    let at = async |address: &str| access.gates_at(address.parse().unwrap()).await.unwrap();
    assert_eq!(at("10.15.159.1").await.all()[0].name, "stand-3999");
    // Whatever is asked from here on is answered without the database.
    lab.store.close().await;
    let stranger = "192.0.2.1".parse().unwrap();
    let began = Instant::now();
    for _ in 0..20_000 {
        assert!(access.gates_at(stranger).await.unwrap().all().is_empty());
    }
    let each = began.elapsed() / 20_000;
    // Unoptimised and beside other tests; 0.1 µs otherwise.
    assert!(each < Duration::from_micros(20), "{each:?}");
}

async fn a_gate_is_changed_where_told(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let change = NasChange {
        coa_port: Some(1700),
        secret: Some(b"another secret of it"),
        ..NasChange::default()
    };
    lab.access.change_nas("gate-1", &change, "test", lab.now).await.unwrap();
    let nas = lab.access.nas_by_name("gate-1").await.unwrap().unwrap();
    assert_eq!((nas.id, nas.coa_port, nas.site), (lab.nas, 1700, lab.site));
    assert_eq!(nas.secret.as_slice(), b"another secret of it");
    assert_eq!(nas.uam_secret.as_slice(), b"a secret of redirects");
    let short = NasChange {
        uam_secret: Some(b"short"),
        ..NasChange::default()
    };
    assert!(lab.access.change_nas("gate-1", &short, "test", lab.now).await.is_err());
    assert!(matches!(
        lab.access.change_nas("gate-9", &change, "test", lab.now).await,
        Err(AccessError::Missing { kind: "gate", .. })
    ));
}

async fn a_plan_ends_when_nobody_needs_it(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let end = async || lab.access.end_plan("citizen", "test", lab.now).await;
    let other = Plan {
        name: "other".into(),
        ..plan(2 * MB)
    };
    lab.access.set_plan(&other, "test", lab.now).await.unwrap();
    lab.online(MAC, "s1").await;
    let problem = end().await.unwrap_err().to_string();
    assert!(problem.contains("Vizhinjam bus stand"), "{problem}");
    set_site(&lab, true, "other").await;
    lab.access
        .set_subscriber_plan(&number(), Some("citizen"), "test", lab.now)
        .await
        .unwrap();
    let problem = end().await.unwrap_err().to_string();
    assert!(problem.contains("1 subscribers"), "{problem}");
    lab.access
        .set_subscriber_plan(&number(), None, "test", lab.now)
        .await
        .unwrap();
    end().await.unwrap();
    let names: Vec<_> = lab
        .access
        .plans()
        .await
        .unwrap()
        .into_iter()
        .map(|plan| plan.name)
        .collect();
    assert_eq!(names, ["other"]);
    assert!(matches!(end().await, Err(AccessError::Missing { kind: "plan", .. })));
}

async fn a_site_ends_when_no_gate_stands_there(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let end = async || lab.access.end_site("Vizhinjam bus stand", "test", lab.now).await;
    let problem = end().await.unwrap_err().to_string();
    assert!(problem.contains("gate-1"), "{problem}");
    lab.access.end_nas("gate-1", "test", lab.now).await.unwrap();
    end().await.unwrap();
    assert!(lab.access.sites().await.unwrap().is_empty());
    assert!(matches!(end().await, Err(AccessError::Missing { kind: "site", .. })));
}

async fn a_gates_end_ends_its_sessions_with_their_octets(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let id = lab.online(MAC, "s1").await.session;
    lab.report(AccountingKind::Interim, "s1", 5 * MB, 1).await;
    assert_eq!(lab.access.end_nas("gate-1", "test", lab.now).await.unwrap(), 1);
    let session = lab.access.session(id).await.unwrap().unwrap();
    assert_eq!((session.state, session.counters.down_octets), ("ended", 5 * MB));
    assert!(lab.access.nas_by_name("gate-1").await.unwrap().is_none());
    assert!(
        lab.access
            .gates_at("127.0.0.1".parse().unwrap())
            .await
            .unwrap()
            .all()
            .is_empty(),
        "its requests meet silence"
    );
    let view = lab.access.subscriber(&number(), lab.now).await.unwrap().unwrap();
    assert_eq!((view.used_octets, view.leased_octets), (5 * MB, 0));
}

async fn a_certificate_is_one_gates_until_that_gives_it_up_or_ends(database: Database) {
    let lab = Lab::new(database, &plan(100 * MB)).await;
    let set = async |nas: NasSetting<'static>| lab.access.set_nas(&nas, "test", lab.now).await.unwrap();
    let first = set(gate("gate-7", "192.0.2.7/32")).await;
    set(gate("gate-8", "192.0.2.8/32")).await;
    let name = "gate-7.example.org".parse().unwrap();
    let tie = async |gate: &str, to: Option<&CertificateName>| {
        let change = NasChange {
            certificate: Some(to.map_or(Tie::Nothing, Tie::To)),
            ..NasChange::default()
        };
        lab.access.change_nas(gate, &change, "test", lab.now).await
    };
    let known = async || {
        let names = ["urn:other".parse().unwrap(), "gate-7.example.org".parse().unwrap()];
        lab.access
            .nas_by_certificate(&names)
            .await
            .unwrap()
            .map(|nas| nas.name.clone())
    };
    assert_eq!(known().await, None);
    tie("gate-7", Some(&name)).await.unwrap();
    assert_eq!(known().await.as_deref(), Some("gate-7"));
    assert!(matches!(tie("gate-8", Some(&name)).await, Err(AccessError::Invalid(why)) if why.contains("gate-7")));
    assert!(matches!(
        tie("gate-9", Some(&name)).await,
        Err(AccessError::Missing { .. })
    ));
    // A change of something else leaves it.
    assert_eq!(set(gate("gate-7", "192.0.2.77/32")).await, first);
    assert_eq!(known().await.as_deref(), Some("gate-7"));
    lab.access.end_nas("gate-7", "test", lab.now).await.unwrap();
    assert_eq!(known().await, None);
    tie("gate-8", Some(&name)).await.unwrap();
    assert_eq!(known().await.as_deref(), Some("gate-8"));
    tie("gate-8", None).await.unwrap();
    assert_eq!(known().await, None);
}

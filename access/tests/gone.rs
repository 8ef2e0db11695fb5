//! Gates that report a session and say to orders that they do not have it, on both databases.

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
use kavadam_access::{Access, Settings};
use kavadam_domain::gate::Abilities;
use lab::{Database, Lab, MAC, MB, SEEN_AT, cases, plan};

cases! {
    a_session_that_is_reported_and_not_known_is_shown_as_such_and_asked_for_less_and_less_often,
    an_end_that_is_obeyed_in_the_end_leaves_no_trouble_behind,
}

/// A session at a vendor's gate, that is to end.
async fn ending(database: Database) -> Lab {
    let mut lab = Lab::new(database, &plan(400 * MB)).await;
    let mut settings = Settings::default();
    settings.abilities.insert("other".to_owned(), Abilities::ALL);
    lab.access = Access::new(lab.store.clone(), lab.sealer.clone(), settings);
    lab.access.nas_seen(lab.nas, SEEN_AT.parse().unwrap(), lab.now);
    let change = NasChange {
        profile: Some("other"),
        is_renewing: Some(false),
        ..NasChange::default()
    };
    lab.access.change_nas("gate-1", &change, "test", lab.now).await.unwrap();
    lab.online_fixed(MAC, "s1").await;
    lab.report(AccountingKind::Start, "s1", 0, 0).await;
    lab.block().await;
    lab
}

/// Reports each minute for so many, and how often the gate was ordered to end the session, which it says it does not have.
async fn asked_in(lab: &mut Lab, minutes: std::ops::Range<u32>) -> usize {
    let mut asked = 0;
    for minute in minutes {
        lab.pass(Duration::from_mins(1));
        let octets = u64::from(minute) * MB / 100;
        lab.report(AccountingKind::Interim, "s1", octets, minute * 60).await;
        for order in lab.orders().await {
            assert_eq!(order.action, OrderAction::End);
            asked += 1;
            lab.answer(&order, OrderAnswer::SessionGone).await;
        }
    }
    asked
}

async fn a_session_that_is_reported_and_not_known_is_shown_as_such_and_asked_for_less_and_less_often(
    database: Database,
) {
    let mut lab = ending(database).await;
    let first = lab.orders().await.remove(0);
    lab.answer(&first, OrderAnswer::SessionGone).await;
    assert_eq!(asked_in(&mut lab, 1..2).await, 1, "at once: elsewhere it may be known");
    asked_in(&mut lab, 2..20).await;
    let later = asked_in(&mut lab, 20..80).await;
    assert!((10..=12).contains(&later), "each five minutes or so: {later}");
    let shown = async {
        loop {
            let session = lab.session(MAC).await;
            if session.state == "ending" {
                return session;
            }
            lab.pass(Duration::from_mins(1));
            lab.report(AccountingKind::Interim, "s1", MB, 81 * 60).await;
        }
    };
    let trouble = shown.await.trouble.unwrap();
    assert!(trouble.contains("has no such session"), "{trouble}");
}

async fn an_end_that_is_obeyed_in_the_end_leaves_no_trouble_behind(database: Database) {
    let mut lab = ending(database).await;
    asked_in(&mut lab, 1..9).await;
    lab.pass(Duration::from_mins(6));
    lab.report(AccountingKind::Interim, "s1", MB, 900).await;
    lab.pass(Duration::from_mins(6));
    let order = lab.orders().await.remove(0);
    assert!(lab.answer(&order, OrderAnswer::Done).await);
    let session = lab.session(MAC).await;
    assert_eq!((session.state, session.trouble), ("open", None));
    lab.report(AccountingKind::Stop(6), "s1", MB, 901).await;
    assert_eq!(lab.used_and_promised().await, (MB, 0));
}

//! Devices that are online and are asked for again.

use super::*;

cases! {
    a_device_that_is_proven_again_every_minute_keeps_its_one_session,
    a_session_that_begins_in_place_of_another_is_charged_from_nothing_and_can_be_cut,
    a_session_that_begins_after_the_stop_of_the_one_before_is_charged_and_can_be_cut,
    what_goes_on_under_a_newer_class_is_charged_once,
    a_session_whose_successor_never_began_can_be_cut,
    a_session_whose_successor_began_stays_over,
    a_successor_that_begins_late_takes_the_place_back,
    counters_that_are_older_than_their_start_are_charged_once,
}

async fn a_device_that_is_proven_again_every_minute_keeps_its_one_session(database: Database) {
    for manners in ALL {
        let mut gate = Gate::new(database, manners).await;
        let first = gate.begin("x1").await;
        for minute in 2..20 {
            let again = gate.ask("x1").await;
            assert_eq!(again.session, first.session, "{manners:?}");
            gate.pass(60);
            let charged = gate
                .report(AccountingKind::Interim, "x1", u64::from(minute) * MB, minute * 60)
                .await;
            assert_eq!(charged, Accounted::Charged(MB), "{manners:?}");
        }
        gate.is_online_as("x1").await;
        gate.is_cut_as("x1").await;
        assert_eq!(
            gate.lab.access.sessions(&SessionQuery::default()).await.unwrap().len(),
            1
        );
    }
}

async fn a_session_that_begins_in_place_of_another_is_charged_from_nothing_and_can_be_cut(database: Database) {
    for manners in ALL {
        let mut gate = Gate::new(database, manners).await;
        gate.begin("x1").await;
        let mut stop = gate.words(AccountingKind::Stop(1), "x1", 2 * MB, 120);
        gate.pass(60);
        // The Stop of x1 is late.
        gate.begin("x2").await;
        gate.is_online_as("x2").await;
        let (used, promised) = gate.lab.used_and_promised().await;
        assert_eq!(used, 2 * MB);
        assert!(promised <= 20 * MB, "{promised} promised for one device");
        stop.at = gate.lab.now;
        assert_eq!(gate.send(stop).await, Accounted::Charged(MB), "{manners:?}");
        gate.is_online_as("x2").await;
        gate.is_cut_as("x2").await;
        assert_eq!(
            gate.report(AccountingKind::Stop(6), "x2", 2 * MB, 61).await,
            Accounted::Charged(MB)
        );
        assert_eq!(gate.lab.used_and_promised().await, (4 * MB, 0), "{manners:?}");
    }
}

async fn a_session_that_begins_after_the_stop_of_the_one_before_is_charged_and_can_be_cut(database: Database) {
    for manners in ALL {
        let mut gate = Gate::new(database, manners).await;
        gate.begin("x1").await;
        gate.pass(60);
        gate.ask("x2").await;
        gate.report(AccountingKind::Stop(1), "x1", 2 * MB, 120).await;
        assert_eq!(
            gate.report(AccountingKind::Start, "x2", 0, 0).await,
            Accounted::Charged(0),
            "{manners:?}"
        );
        gate.pass(60);
        assert_eq!(
            gate.report(AccountingKind::Interim, "x2", MB, 60).await,
            Accounted::Charged(MB)
        );
        gate.is_online_as("x2").await;
        assert_eq!(gate.used().await, 3 * MB);
        gate.is_cut_as("x2").await;
    }
}

async fn what_goes_on_under_a_newer_class_is_charged_once(database: Database) {
    let mut gate = Gate::new(
        database,
        Manners {
            names: true,
            classes: true,
        },
    )
    .await;
    gate.begin("x1").await;
    gate.pass(600);
    // Its requests have names of their own.
    gate.ask("q2").await;
    gate.pass(60);
    let charged = gate.report(AccountingKind::Interim, "x1", 5 * MB, 720).await;
    assert_eq!(charged, Accounted::Charged(4 * MB));
    gate.is_online_as("x1").await;
    gate.pass(60);
    assert_eq!(
        gate.report(AccountingKind::Stop(1), "x1", 6 * MB, 780).await,
        Accounted::Charged(MB)
    );
    assert_eq!(gate.lab.used_and_promised().await, (6 * MB, 0));
}

async fn a_session_whose_successor_never_began_can_be_cut(database: Database) {
    for manners in [ALL[2], ALL[3]] {
        let mut gate = Gate::new(database, manners).await;
        gate.begin("x1").await;
        gate.pass(30);
        gate.ask_unheard("x2").await;
        gate.pass(30);
        assert_eq!(
            gate.report(AccountingKind::Interim, "x1", 2 * MB, 120).await,
            Accounted::Charged(MB)
        );
        gate.is_online_as("x1").await;
        gate.is_cut_as("x1").await;
    }
}

async fn a_session_whose_successor_began_stays_over(database: Database) {
    for manners in [ALL[2], ALL[3]] {
        let mut gate = Gate::new(database, manners).await;
        gate.begin("x1").await;
        let late = gate.words(AccountingKind::Interim, "x1", 2 * MB, 61);
        gate.pass(2);
        gate.begin("x2").await;
        gate.send(AccountingReport {
            at: gate.lab.now,
            ..late
        })
        .await;
        gate.is_online_as("x2").await;
        assert_eq!(gate.used().await, 3 * MB);
    }
}

async fn a_successor_that_begins_late_takes_the_place_back(database: Database) {
    for manners in [ALL[2], ALL[3]] {
        let mut gate = Gate::new(database, manners).await;
        gate.begin("x1").await;
        let mut late = gate.words(AccountingKind::Interim, "x1", 2 * MB, 61);
        gate.ask("x2").await;
        gate.pass(1);
        late.at = gate.lab.now;
        gate.send(late).await;
        gate.is_online_as("x1").await;
        gate.pass(1);
        gate.report(AccountingKind::Start, "x2", 0, 0).await;
        gate.is_online_as("x2").await;
        assert_eq!(gate.used().await, 2 * MB);
    }
}

/// As a gate that ends and begins its accounting each minute, and does not count anew for it.
async fn counters_that_are_older_than_their_start_are_charged_once(database: Database) {
    for manners in [ALL[0], ALL[1]] {
        let mut gate = Gate::new(database, manners).await;
        gate.begin("x1").await;
        for minute in 2..30 {
            let octets = u64::from(minute) * MB;
            gate.ask("x1").await;
            gate.pass(60);
            gate.report(AccountingKind::Stop(10), "x1", octets, minute * 60).await;
            gate.report(AccountingKind::Start, "x1", 0, 0).await;
            assert_eq!(gate.used().await, octets, "{manners:?}");
        }
    }
}

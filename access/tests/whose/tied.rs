//! What ties a report to its grant.

use super::*;

cases! {
    a_report_is_charged_to_its_grant_however_little_ties_it,
    a_grant_taken_for_unused_is_begun_by_a_name_that_is_nobodys,
    a_person_whose_device_is_not_told_is_known_by_the_user_name,
    a_name_given_again_is_the_new_sessions,
    a_late_word_of_the_session_before_begins_no_other,
    another_devices_report_is_nobodys,
    an_answer_lets_one_session_begin,
    what_begins_long_after_the_answer_is_nobodys,
    all_that_is_told_of_a_session_at_once_is_its,
}

async fn a_report_is_charged_to_its_grant_however_little_ties_it(database: Database) {
    for manners in ALL {
        let mut gate = Gate::new(database, manners).await;
        gate.begin("x1").await;
        gate.is_online_as("x1").await;
        assert!(
            gate.lab.used_and_promised().await.1 > 0,
            "it holds what it was promised"
        );
        gate.pass(60);
        assert_eq!(
            gate.report(AccountingKind::Stop(1), "x1", 3 * MB, 120).await,
            Accounted::Charged(2 * MB)
        );
        assert_eq!(gate.lab.used_and_promised().await, (3 * MB, 0));
        assert_eq!(
            gate.report(AccountingKind::Stop(1), "x1", 3 * MB, 120).await,
            Accounted::Charged(0),
            "a copy"
        );
        assert!(gate.live().await.is_empty());
    }
}

async fn a_grant_taken_for_unused_is_begun_by_a_name_that_is_nobodys(database: Database) {
    for manners in [ALL[0], ALL[1]] {
        let mut gate = Gate::new(database, manners).await;
        gate.ask("x1").await;
        gate.pass(5 * 60);
        assert_eq!(gate.lab.sweep().await, 1, "its Start is lost");
        let charged = gate.report(AccountingKind::Interim, "x1", 3 * MB, 299).await;
        assert_eq!(charged, Accounted::Charged(3 * MB), "{manners:?}");
        gate.is_online_as("x1").await;
        gate.is_cut_as("x1").await;
    }
}

async fn a_person_whose_device_is_not_told_is_known_by_the_user_name(database: Database) {
    let mut gate = Gate::new(database, NEITHER).await;
    gate.ask("x1").await;
    let report = AccountingReport {
        mac: None,
        user_name: Some(NUMBER.to_owned()),
        ..gate.words(AccountingKind::Start, "x1", 0, 0)
    };
    assert_eq!(gate.send(report.clone()).await, Accounted::Charged(0));
    gate.is_online_as("x1").await;
    let other = AccountingReport {
        acct_session_id: "x2".to_owned(),
        ..report
    };
    assert_eq!(gate.send(other).await, Accounted::Unknown, "the person was let in once");
}

async fn a_name_given_again_is_the_new_sessions(database: Database) {
    let mut gate = Gate::new(database, NEITHER).await;
    gate.begin("00000001").await;
    gate.report(AccountingKind::Stop(1), "00000001", 2 * MB, 60).await;
    gate.pass(3_600);
    // Its gate was started anew meanwhile.
    gate.begin("00000001").await;
    gate.is_online_as("00000001").await;
    assert_eq!(gate.used().await, 3 * MB);
}

async fn a_late_word_of_the_session_before_begins_no_other(database: Database) {
    let mut gate = Gate::new(database, NEITHER).await;
    gate.begin("x1").await;
    gate.report(AccountingKind::Stop(1), "x1", MB, 60).await;
    gate.ask("x2").await;
    gate.pass(30);
    let late = gate.report(AccountingKind::Stop(1), "x1", 2 * MB, 61).await;
    assert_eq!(late, Accounted::Charged(MB));
    assert_eq!(gate.live().await[0].state, SessionState::Granted);
    gate.report(AccountingKind::Start, "x2", 0, 0).await;
    gate.is_online_as("x2").await;
}

async fn another_devices_report_is_nobodys(database: Database) {
    let mut gate = Gate::new(database, NEITHER).await;
    gate.ask("x1").await;
    for mac in [OTHER_MAC, Mac([2, 0, 0, 0, 9, 9])] {
        let other = AccountingReport {
            mac: Some(mac),
            ..gate.words(AccountingKind::Start, "x9", 0, 0)
        };
        assert_eq!(gate.send(other).await, Accounted::Unknown);
    }
    gate.report(AccountingKind::Start, "x1", 0, 0).await;
    gate.is_online_as("x1").await;
}

async fn an_answer_lets_one_session_begin(database: Database) {
    let mut gate = Gate::new(database, NEITHER).await;
    gate.begin("x1").await;
    // As of another network of the same controller, which nobody asked us about.
    let foreign = gate.report(AccountingKind::Start, "x2", 0, 0).await;
    assert_eq!(foreign, Accounted::Unknown);
    gate.is_online_as("x1").await;
    gate.ask("x3").await;
    gate.report(AccountingKind::Start, "x3", 0, 0).await;
    assert_eq!(gate.report(AccountingKind::Start, "x4", 0, 0).await, Accounted::Unknown);
    gate.is_online_as("x3").await;
}

async fn what_begins_long_after_the_answer_is_nobodys(database: Database) {
    let mut gate = Gate::new(database, NEITHER).await;
    gate.ask("x1").await;
    gate.pass(3_600);
    gate.lab.sweep().await;
    assert_eq!(gate.report(AccountingKind::Start, "x2", 0, 0).await, Accounted::Unknown);
    assert_eq!(
        gate.report(AccountingKind::Interim, "x2", MB, 60).await,
        Accounted::Unknown
    );
    assert!(gate.live().await.is_empty());
}

async fn all_that_is_told_of_a_session_at_once_is_its(database: Database) {
    let mut gate = Gate::new(database, NEITHER).await;
    gate.ask("x1").await;
    gate.pass(60);
    let told = [
        gate.words(AccountingKind::Stop(1), "x1", 2 * MB, 60),
        gate.words(AccountingKind::Start, "x1", 0, 0),
        gate.words(AccountingKind::Interim, "x1", MB, 30),
    ];
    let told = told.into_iter().map(Question::Account).collect();
    let answers = gate.lab.access.answer(told, gate.lab.now).await;
    let charged: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let expected = [2 * MB, 0, 0].map(|octets| Answer::Accounted(Accounted::Charged(octets)));
    assert_eq!(charged, expected);
}

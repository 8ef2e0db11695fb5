//! Gates that were not heard of for long, or are heard of rarely.

use super::*;

cases! {
    what_goes_on_after_silence_is_charged_once_though_it_was_granted_anew,
    what_began_unheard_and_was_granted_anew_is_charged_once,
    a_gate_that_reports_rarely_is_waited_for_once_that_is_known,
    a_gate_that_does_not_report_is_named,
    whoever_is_blocked_is_cut_where_the_gate_does_not_report,
}

async fn what_goes_on_after_silence_is_charged_once_though_it_was_granted_anew(database: Database) {
    for manners in [ALL[0], ALL[1]] {
        let mut gate = Gate::new(database, manners).await;
        gate.begin("x1").await;
        gate.pass(16 * 60);
        assert_eq!(gate.lab.sweep().await, 1, "no report for so long");
        gate.ask("x1").await;
        gate.pass(5);
        let charged = gate.report(AccountingKind::Interim, "x1", 5 * MB, 17 * 60 + 5).await;
        assert_eq!(charged, Accounted::Charged(4 * MB), "{manners:?}");
        gate.is_online_as("x1").await;
        let copy = gate.report(AccountingKind::Interim, "x1", 5 * MB, 17 * 60 + 5).await;
        assert_eq!(copy, Accounted::Charged(0), "{manners:?}");
        assert_eq!(gate.used().await, 5 * MB);
        gate.is_cut_as("x1").await;
    }
}

async fn what_began_unheard_and_was_granted_anew_is_charged_once(database: Database) {
    let mut gate = Gate::new(database, ALL[1]).await;
    gate.ask("x1").await;
    let start = gate.words(AccountingKind::Start, "x1", 0, 0);
    gate.pass(300);
    let before = gate.words(AccountingKind::Interim, "x1", MB, 300);
    assert_eq!(gate.lab.sweep().await, 1, "both are under way");
    gate.ask("x1").await;
    gate.pass(60);
    assert_eq!(
        gate.report(AccountingKind::Interim, "x1", 2 * MB, 360).await,
        Accounted::Charged(2 * MB)
    );
    assert_eq!(gate.send(start).await, Accounted::Charged(0));
    assert_eq!(gate.send(before).await, Accounted::Charged(0));
    gate.is_online_as("x1").await;
    gate.pass(60);
    assert_eq!(
        gate.report(AccountingKind::Stop(1), "x1", 3 * MB, 420).await,
        Accounted::Charged(MB)
    );
    assert_eq!(gate.lab.used_and_promised().await, (3 * MB, 0));
}

async fn a_gate_that_reports_rarely_is_waited_for_once_that_is_known(database: Database) {
    let mut gate = Gate::new(database, NEITHER).await;
    gate.begin("x1").await;
    gate.pass(16 * 60);
    assert_eq!(gate.lab.sweep().await, 1, "nobody knows");
    gate.report(AccountingKind::Interim, "x1", 2 * MB, 17 * 60).await;
    gate.is_online_as("x1").await;
    gate.pass(40 * 60);
    assert_eq!(gate.lab.sweep().await, 0, "less than three of its intervals");
    gate.pass(9 * 60);
    assert_eq!(gate.lab.sweep().await, 1);
}

async fn a_gate_that_does_not_report_is_named(database: Database) {
    let mut gate = Gate::new(database, NEITHER).await;
    gate.begin("x1").await;
    gate.pass(9 * 60);
    assert_eq!(gate.lab.access.quiet_gates(gate.lab.now).await.unwrap(), []);
    gate.pass(2 * 60);
    let quiet = gate.lab.access.quiet_gates(gate.lab.now).await.unwrap();
    let quiet: Vec<_> = quiet
        .iter()
        .map(|one| (one.name.as_str(), one.unheard, one.online))
        .collect();
    assert_eq!(quiet, [("gate-1", 1, 1)]);
    gate.report(AccountingKind::Interim, "x1", 2 * MB, 660).await;
    assert_eq!(gate.lab.access.quiet_gates(gate.lab.now).await.unwrap(), []);
}

async fn whoever_is_blocked_is_cut_where_the_gate_does_not_report(database: Database) {
    let mut gate = Gate::new(database, NEITHER).await;
    gate.begin("x1").await;
    gate.pass(16 * 60);
    assert_eq!(gate.lab.sweep().await, 1);
    gate.is_cut_as("x1").await;
    gate.pass(60);
    assert_eq!(gate.lab.orders().await, [], "once");
    gate.report(AccountingKind::Stop(6), "x1", 5 * MB, 1_080).await;
    assert_eq!(gate.lab.used_and_promised().await, (5 * MB, 0));
}

//! The file, opened again and again.

use super::*;
use crate::core::tests::{row, wall};
use kavadam_domain::accounting::FreeOctets;

fn changes(reports: Vec<Report>) -> Changes {
    Changes {
        reports,
        ..Changes::default()
    }
}

fn report(id: &str, kind: Kind, octets: u64) -> Report {
    let meter = kavadam_firewall::Meter {
        up_octets: octets,
        ..Default::default()
    };
    row(id).report(kind, meter, 1, wall())
}

async fn bodies(spool: &Spool) -> Vec<(String, Kind, u64)> {
    let waiting = spool.waiting().await.unwrap();
    waiting
        .into_iter()
        .map(|one| (one.report.id, one.report.kind, one.report.up_octets))
        .collect()
}

#[tokio::test]
async fn finds_after_a_crash_what_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.db");
    let spool = Spool::open(&path).await.unwrap();
    let both = Changes {
        reports: vec![report("a", Kind::Start, 0), report("a", Kind::Stop(1), 9)],
        saved: vec![row("a"), row("b")],
        forgotten: vec!["a".into()],
    };
    spool.commit(&both, &[]).await.unwrap();
    // Dropped without closing, as by kill -9; the second opens what the first left, its WAL not folded in.
    std::mem::forget(spool);
    let again = Spool::open(&path).await.unwrap();
    assert_eq!(
        bodies(&again).await,
        [("a".into(), Kind::Start, 0), ("a".into(), Kind::Stop(1), 9)]
    );
    assert_eq!(again.sessions().await.unwrap(), [row("b")]);
}

#[tokio::test]
async fn a_later_report_replaces_an_interim_that_waits_but_not_one_in_flight() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(&dir.path().join("gateway.db")).await.unwrap();
    spool
        .commit(&changes(vec![report("a", Kind::Start, 0)]), &[])
        .await
        .unwrap();
    let first = spool
        .commit(&changes(vec![report("a", Kind::Interim, 1)]), &[])
        .await
        .unwrap();
    spool
        .commit(&changes(vec![report("b", Kind::Interim, 5)]), &[])
        .await
        .unwrap();
    let second = spool
        .commit(&changes(vec![report("a", Kind::Interim, 2)]), &[])
        .await
        .unwrap();
    assert_eq!(second.replaced, [first.waiting[0].id]);
    let third = spool
        .commit(&changes(vec![report("a", Kind::Stop(1), 3)]), &[second.waiting[0].id])
        .await
        .unwrap();
    assert_eq!(third.replaced, [] as [i64; 0]);
    assert_eq!(
        bodies(&spool).await,
        [
            ("a".into(), Kind::Start, 0),
            ("b".into(), Kind::Interim, 5),
            ("a".into(), Kind::Interim, 2),
            ("a".into(), Kind::Stop(1), 3)
        ]
    );
}

#[tokio::test]
async fn a_stop_after_a_reboot_keeps_the_octets_of_the_interim_it_replaces() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.db");
    let spool = Spool::open(&path).await.unwrap();
    let free = Some(FreeOctets { up: 5, down: 60_000 });
    let interim = Report {
        free,
        ..report("a", Kind::Interim, 7_000)
    };
    let before = Changes {
        reports: vec![report("a", Kind::Start, 0), interim],
        saved: vec![row("a")],
        ..Changes::default()
    };
    spool.commit(&before, &[]).await.unwrap();
    // The machine boots: the kernel has no sessions, and no server has answered yet.
    let mut scene = crate::core::tests::Scene::new();
    let commands = scene.core.adopt(Vec::new(), spool.sessions().await.unwrap(), scene.now);
    scene.take(commands);
    let after = Changes {
        reports: scene.reports,
        forgotten: scene.forgotten,
        ..Changes::default()
    };
    spool.commit(&after, &[]).await.unwrap();
    let stop = Kind::Stop(kavadam_domain::session::terminate_cause::NAS_REBOOT);
    assert_eq!(
        bodies(&spool).await,
        [("a".into(), Kind::Start, 0), ("a".into(), stop, 7_000)]
    );
    assert_eq!(spool.waiting().await.unwrap()[1].report.free, free);
}

#[test]
fn a_report_of_a_version_that_did_not_count_what_is_free_is_read() {
    let report = report("a", Kind::Interim, 7_000);
    let mut body = serde_json::to_value(&report).unwrap();
    assert!(body.as_object_mut().unwrap().remove("free").is_some());
    assert_eq!(serde_json::from_value::<Report>(body).unwrap(), report);
}

#[tokio::test]
async fn what_was_delivered_is_gone_and_its_place_is_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.db");
    let spool = Spool::open(&path).await.unwrap();
    let first = spool
        .commit(&changes(vec![report("a", Kind::Start, 0)]), &[])
        .await
        .unwrap();
    spool.delivered(&[first.waiting[0].id]).await.unwrap();
    spool.close().await;
    let spool = Spool::open(&path).await.unwrap();
    assert_eq!(bodies(&spool).await, []);
    let second = spool
        .commit(&changes(vec![report("b", Kind::Start, 0)]), &[])
        .await
        .unwrap();
    assert!(second.waiting[0].id > first.waiting[0].id);
}

#[tokio::test]
async fn what_cannot_be_read_is_parked_and_the_rest_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(&dir.path().join("gateway.db")).await.unwrap();
    let good = Changes {
        reports: vec![report("a", Kind::Start, 0)],
        saved: vec![row("a")],
        ..Changes::default()
    };
    spool.commit(&good, &[]).await.unwrap();
    let torn = "INSERT INTO report (session, is_interim, body) VALUES ('b', 0, '{}');
        INSERT INTO session (id, body) VALUES ('b', '{\"id\":');";
    sqlx::raw_sql(torn).execute(&spool.pool).await.unwrap();
    assert_eq!(bodies(&spool).await.len(), 1);
    assert_eq!(spool.sessions().await.unwrap(), [row("a")]);
    assert_eq!(spool.parked().await.unwrap(), 2);
    assert_eq!(bodies(&spool).await.len(), 1);
    assert_eq!(spool.parked().await.unwrap(), 2, "parked once");
}

#[tokio::test]
async fn counts_what_waits_and_not_what_has_gone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.db");
    let spool = Spool::open(&path).await.unwrap();
    for octets in 0..5 {
        let interim = changes(vec![report("a", Kind::Interim, octets)]);
        spool.commit(&interim, &[]).await.unwrap();
    }
    let other = spool
        .commit(&changes(vec![report("b", Kind::Start, 0)]), &[])
        .await
        .unwrap();
    assert_eq!(spool.count.load(Ordering::Relaxed), 2);
    spool.delivered(&[other.waiting[0].id, 77]).await.unwrap();
    assert_eq!(spool.count.load(Ordering::Relaxed), 1);
    assert_eq!(Spool::open(&path).await.unwrap().count.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn where_too_many_wait_an_interim_takes_the_place_of_the_one_before_and_no_other_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(&dir.path().join("gateway.db")).await.unwrap();
    spool
        .commit(&changes(vec![report("a", Kind::Interim, 1)]), &[])
        .await
        .unwrap();
    spool.count.store(MOST_WAITING + 1, Ordering::Relaxed);
    let reports = vec![report("a", Kind::Interim, 2), report("b", Kind::Interim, 5)];
    let committed = spool.commit(&changes(reports), &[]).await.unwrap();
    assert_eq!((committed.replaced.len(), committed.waiting.len()), (1, 1));
    assert_eq!(bodies(&spool).await, [("a".into(), Kind::Interim, 2)]);
}

#[tokio::test]
async fn refuses_a_file_that_is_no_spool() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gateway.db");
    std::fs::write(&path, "not a database, but long enough to have a header ".repeat(20)).unwrap();
    assert!(matches!(Spool::open(&path).await, Err(SpoolError::Database(_))));
}

//! Reports of sessions that are not ours.

use super::*;

async fn unknown(tx: &mut Tx) -> u64 {
    let kept = tx.unknown_reports_by_nas().await.unwrap();
    kept.iter().map(|row| row.figure).sum()
}

pub async fn the_same_unknown_report_is_kept_once(world: World) {
    let mut tx = world.write().await;
    let report = UnknownReport {
        nas_id: world.nas,
        acct_session_id: "?".into(),
        kind: "stop".into(),
        at: NOW,
        class: None,
        user_name: None,
        mac: Some(MAC),
        ip: None,
        up_octets: u64::MAX,
        down_octets: 1,
        session_secs: 2,
    };
    tx.keep_unknown_report(&report, NOW).await.unwrap();
    tx.keep_unknown_report(&report, later(9)).await.unwrap();
    assert_eq!(unknown(&mut tx).await, 1);
    tx.record_audit("admin", "plan.set", "citizen", "{}", NOW)
        .await
        .unwrap();
    tx.record_audit("admin", "nas.set", "gate-1", "", later(1))
        .await
        .unwrap();
    let audits = tx.audits(1).await.unwrap();
    assert_eq!((audits.len(), audits[0].action.as_str()), (1, "nas.set"));
}

pub async fn unknown_reports_are_bounded_by_number_and_by_time(world: World) {
    let mut tx = world.write().await;
    let report = |at| UnknownReport {
        nas_id: world.nas,
        acct_session_id: "?".into(),
        kind: "interim".into(),
        at,
        class: None,
        user_name: None,
        mac: None,
        ip: None,
        up_octets: 0,
        down_octets: 0,
        session_secs: 0,
    };
    for secs in 0..2_005 {
        tx.keep_unknown_report(&report(later(secs)), later(secs)).await.unwrap();
    }
    let other = tx.save_nas(&gate("gate-2", world.site)).await.unwrap();
    tx.prune_unknown_reports(other).await.unwrap();
    assert_eq!(unknown(&mut tx).await, 2_005, "another's");
    tx.prune_unknown_reports(world.nas).await.unwrap();
    assert_eq!(unknown(&mut tx).await, 2_000);
    assert_eq!(
        tx.delete_unknown_reports(later(5), 10).await.unwrap(),
        0,
        "the newest were kept"
    );
    assert_eq!(tx.delete_unknown_reports(later(2_000), 9_999).await.unwrap(), 1_995);
}

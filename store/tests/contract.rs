//! What the store promises, on both databases: everything the use cases rely on beyond plain reading and writing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kavadam_domain::challenge::{Challenge, ChallengeState};
use kavadam_domain::plan::{AfterQuota, Period, Plan, Window};
use kavadam_domain::quota::Lease;
use kavadam_domain::session::SessionState;
use kavadam_domain::{EntitlementId, Language, LeaseId, Mac, NasId, PlanId, SiteId, SubscriberId, Timestamp};
use kavadam_store::{
    NasProof, NewChallenge, NewNas, NewSession, NewVoucher, OrderKind, SessionListing, Store, TicketRow, Tx,
    UnknownReport,
};

const NOW: Timestamp = Timestamp(1_000_000_000_000);
const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

/// An empty database in the private server of `tests/postgres.sh`.
fn fresh_postgres() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let server = std::env::var("KAVADAM_TEST_POSTGRES")
        .expect("KAVADAM_TEST_POSTGRES is not set: run this as `tests/postgres.sh cargo test`, or `make test`");
    let name = format!(
        "contract_{}_{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let made = Command::new("psql")
        .args([&server, "-qc", &format!("CREATE DATABASE {name}")])
        .status()
        .unwrap();
    assert!(made.success(), "psql could not make a database");
    server.replacen("/postgres?", &format!("/{name}?"), 1)
}

/// Each case as a test on either database.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $case() {
                let dir = tempfile::tempdir().unwrap();
                super::$case(super::World::new(&format!("sqlite:{}", dir.path().join("a.db").display())).await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test] async fn $case() { super::$case(super::World::new(&super::fresh_postgres()).await).await; })*
        }
    };
}

cases! {
    the_seal_check_is_the_first_one_for_good,
    what_was_not_committed_never_happened,
    a_plan_comes_back_as_it_was_saved_and_is_changed_by_name,
    a_reading_transaction_cannot_write,
    whoever_holds_a_subscriber_makes_others_wait,
    a_number_is_one_subscriber_however_often_it_logs_in,
    a_device_is_remembered_with_whoever_logged_in_last,
    a_new_code_supersedes_the_old_and_its_message,
    a_message_is_taken_once_and_again_only_later,
    attempts_are_the_newest_first_and_no_more_than_asked_for,
    a_ticket_is_used_once,
    a_voucher_is_used_once_and_not_after_it_expired,
    figures_stand_still_at_the_largest,
    promises_are_summed_over_open_leases_without_their_debts,
    two_live_sessions_at_a_gate_never_share_a_name,
    a_session_is_found_by_class_at_its_own_gate_only,
    an_end_once_ordered_is_not_softened,
    the_same_unknown_report_is_kept_once,
    what_expired_is_deleted_and_nothing_else,
    what_was_retired_is_offered_no_more_and_stays_on_record,
    gates_may_share_a_source_and_each_keeps_how_it_is_proven,
    the_record_is_listed_by_subscriber_site_and_whether_live,
    unknown_reports_are_bounded_by_number_and_by_time,
    whatever_is_made_in_one_transaction_has_a_number_of_its_own,
}

struct World {
    store: Store,
    plan: Plan,
    site: SiteId,
    nas: NasId,
    subscriber: SubscriberId,
    entitlement: EntitlementId,
}

impl World {
    async fn new(url: &str) -> Self {
        let store = Store::open(url).await.unwrap();
        let mut tx = store.write().await.unwrap();
        let mut plan = Plan {
            id: PlanId(0),
            name: "citizen".into(),
            quota_octets: Some(1 << 60),
            period: Period::Week,
            time_zone: "Asia/Kolkata".into(),
            down_bits_per_sec: Some(u64::from(u32::MAX)),
            up_bits_per_sec: None,
            session_secs: None,
            idle_secs: Some(600),
            max_devices: 2,
            remembered_days: 14,
            after_quota: AfterQuota::Throttle { bits_per_sec: 256_000 },
        };
        plan.id = tx.save_plan(&plan).await.unwrap();
        let site = tx.save_site("Vizhinjam", true, plan.id).await.unwrap();
        let nas = tx.save_nas(&gate("gate-1", site)).await.unwrap();
        let number = "9876543210".parse().unwrap();
        let subscriber = tx
            .ensure_subscriber(&number, "alias", Language::Ml, NOW)
            .await
            .unwrap()
            .id;
        let entitlement = tx.ensure_entitlement(subscriber, plan.id, window()).await.unwrap().id;
        tx.commit().await.unwrap();
        Self {
            store,
            plan,
            site,
            nas,
            subscriber,
            entitlement,
        }
    }

    async fn write(&self) -> Tx {
        self.store.write().await.unwrap()
    }

    fn session(&self, class: u8, name: &str) -> NewSession {
        NewSession {
            class: [class; 16],
            subscriber_id: self.subscriber,
            entitlement_id: self.entitlement,
            lease_id: None,
            nas_id: self.nas,
            site_id: self.site,
            acct_session_id: Some(name.to_owned()),
            mac: Some(MAC),
            ip: Some("2001:db8::1".parse().unwrap()),
            is_renewable: true,
            is_throttled: false,
            granted_at: NOW,
            ends_at: None,
            granted_octets: 7,
        }
    }

    fn challenge(&self, public_id: u8, at: Timestamp) -> NewChallenge {
        NewChallenge {
            public_id: [public_id; 16],
            nas_id: self.nas,
            site_id: self.site,
            mac: MAC,
            ip: "10.80.1.1".parse().unwrap(),
            number: "9876543210".parse().unwrap(),
            language: Language::En,
            resend_at: at + Duration::from_secs(30),
            challenge: Challenge::start(at),
        }
    }
}

fn gate(name: &str, site_id: SiteId) -> NewNas {
    NewNas {
        name: name.into(),
        site_id,
        source: format!("10.{}.0.0/16", name.as_bytes()[name.len() - 1])
            .parse()
            .unwrap(),
        secret_sealed: vec![0, 255],
        uam_secret_sealed: vec![],
        coa_port: 3799,
        coa_host: None,
        profile: "kavadam".into(),
        is_renewing: true,
    }
}

fn window() -> Window {
    Window {
        start: Timestamp(0),
        end: None,
    }
}

fn later(secs: u64) -> Timestamp {
    NOW + Duration::from_secs(secs)
}

async fn what_was_not_committed_never_happened(world: World) {
    let mut tx = world.write().await;
    tx.top_up(world.entitlement, 5).await.unwrap();
    drop(tx);
    let mut tx = world.write().await;
    let found = tx
        .entitlement_of(world.subscriber, world.plan.id, window())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.topped_up_octets, 0);
}

async fn a_plan_comes_back_as_it_was_saved_and_is_changed_by_name(world: World) {
    let mut tx = world.write().await;
    assert_eq!(tx.plan_named("citizen").await.unwrap().unwrap(), world.plan);
    let changed = Plan {
        quota_octets: None,
        after_quota: AfterQuota::Close,
        ..world.plan.clone()
    };
    assert_eq!(tx.save_plan(&changed).await.unwrap(), world.plan.id);
    assert_eq!(tx.plan(world.plan.id).await.unwrap().unwrap(), changed);
    assert_eq!(tx.plans().await.unwrap().len(), 1);
}

async fn a_reading_transaction_cannot_write(world: World) {
    let mut tx = world.store.read().await.unwrap();
    assert!(tx.top_up(world.entitlement, 5).await.is_err());
}

async fn whoever_holds_a_subscriber_makes_others_wait(world: World) {
    // Each reads a figure, gives way, and writes it back one larger: without the lock, some would be lost.
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (store, subscriber, plan) = (world.store.clone(), world.subscriber, world.plan.id);
            tokio::spawn(async move {
                let mut tx = store.write().await.unwrap();
                let mut row = tx.lock_subscriber(subscriber).await.unwrap();
                tokio::task::yield_now().await;
                row.totp_last_step = Some(row.totp_last_step.unwrap_or(0) + 1);
                row.plan_id = Some(plan);
                tx.save_subscriber(&row).await.unwrap();
                tx.commit().await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut tx = world.store.read().await.unwrap();
    assert_eq!(
        tx.subscriber(world.subscriber).await.unwrap().unwrap().totp_last_step,
        Some(20)
    );
}

async fn a_number_is_one_subscriber_however_often_it_logs_in(world: World) {
    let mut tx = world.write().await;
    let number = "9876543210".parse().unwrap();
    let again = tx
        .ensure_subscriber(&number, "another", Language::En, later(9))
        .await
        .unwrap();
    assert_eq!(
        (again.id, again.alias.as_str(), again.created_at),
        (world.subscriber, "alias", NOW)
    );
}

async fn a_device_is_remembered_with_whoever_logged_in_last(world: World) {
    let mut tx = world.write().await;
    let number = "9876543211".parse().unwrap();
    let other = tx
        .ensure_subscriber(&number, "other", Language::En, NOW)
        .await
        .unwrap()
        .id;
    tx.remember_device(world.subscriber, MAC, Some(later(100)), NOW)
        .await
        .unwrap();
    tx.pause_device(world.subscriber, MAC, true).await.unwrap();
    assert!(tx.remembered_device(MAC, NOW).await.unwrap().unwrap().is_paused);
    tx.remember_device(other, MAC, Some(later(50)), later(1)).await.unwrap();
    let found = tx.remembered_device(MAC, later(2)).await.unwrap().unwrap();
    assert_eq!((found.subscriber_id, found.is_paused), (other, false));
    assert_eq!(
        tx.remembered_device(MAC, later(50)).await.unwrap(),
        None,
        "not with the first again"
    );
    assert!(tx.device(other, MAC).await.unwrap().is_some());
    tx.forget_device(MAC).await.unwrap();
    assert_eq!(tx.remembered_device(MAC, NOW).await.unwrap(), None);
    assert_eq!(tx.device(other, MAC).await.unwrap(), None);
}

async fn a_new_code_supersedes_the_old_and_its_message(world: World) {
    let mut tx = world.write().await;
    let first = tx.start_challenge(&world.challenge(1, NOW), NOW).await.unwrap();
    let second = tx.start_challenge(&world.challenge(2, NOW), later(31)).await.unwrap();
    assert_eq!(
        tx.lock_challenge(first).await.unwrap().unwrap().state,
        ChallengeState::Superseded
    );
    let last = tx.last_challenge(world.site, MAC).await.unwrap().unwrap();
    assert_eq!(
        (last.id, last.state, last.public_id),
        (second, ChallengeState::Pending, [2; 16])
    );
    assert_eq!(
        tx.take_sms(later(40), later(60)).await.unwrap().unwrap().challenge_id,
        second
    );
    assert_eq!(
        tx.take_sms(later(40), later(60)).await.unwrap(),
        None,
        "the first is not sent any more"
    );
}

async fn a_message_is_taken_once_and_again_only_later(world: World) {
    let mut tx = world.write().await;
    tx.start_challenge(&world.challenge(1, NOW), NOW).await.unwrap();
    assert_eq!(tx.next_sms_at().await.unwrap(), Some(NOW));
    let taken = tx.take_sms(NOW, later(10)).await.unwrap().unwrap();
    assert_eq!((taken.attempts, taken.public_id), (1, [1; 16]));
    assert_eq!(tx.take_sms(later(9), later(99)).await.unwrap(), None);
    let again = tx.take_sms(later(10), later(20)).await.unwrap().unwrap();
    assert_eq!((again.id, again.attempts), (taken.id, 2));
    tx.postpone_sms(taken.id, later(30), "busy").await.unwrap();
    assert_eq!(tx.next_sms_at().await.unwrap(), Some(later(30)));
    tx.finish_sms(taken.id, Some(later(30)), "402").await.unwrap();
    tx.postpone_sms(taken.id, later(40), "late").await.unwrap();
    assert_eq!(tx.next_sms_at().await.unwrap(), None, "sent stays sent");
}

async fn attempts_are_the_newest_first_and_no_more_than_asked_for(world: World) {
    let mut tx = world.write().await;
    for secs in [5, 1, 3] {
        tx.record_attempt("number", b"key", later(secs)).await.unwrap();
    }
    tx.record_attempt("device", b"key", later(9)).await.unwrap();
    assert_eq!(
        tx.attempts("number", b"key", NOW, 2).await.unwrap(),
        [later(5), later(3)]
    );
    assert_eq!(
        tx.attempts("number", b"key", later(3), 9).await.unwrap(),
        [later(5)],
        "after, not at"
    );
    assert!(tx.attempts("number", b"other", NOW, 9).await.unwrap().is_empty());
}

async fn a_ticket_is_used_once(world: World) {
    let mut tx = world.write().await;
    let ticket = TicketRow {
        public_id: [9; 16],
        subscriber_id: world.subscriber,
        nas_id: world.nas,
        mac: MAC,
        expires_at: later(60),
        used_at: None,
    };
    tx.add_ticket(&ticket).await.unwrap();
    assert_eq!(tx.ticket(&[9; 16]).await.unwrap(), Some(ticket));
    assert!(tx.use_ticket(&[9; 16], later(1)).await.unwrap());
    assert!(!tx.use_ticket(&[9; 16], later(1)).await.unwrap());
    assert!(!tx.use_ticket(&[8; 16], later(1)).await.unwrap());
}

async fn a_voucher_is_used_once_and_not_after_it_expired(world: World) {
    let mut tx = world.write().await;
    let voucher = |code_hash, expires_at| NewVoucher {
        code_hash,
        label: "Akshaya 7".into(),
        octets: Some(5),
        plan_id: None,
        expires_at,
    };
    tx.add_voucher(&voucher([1; 32], None), NOW).await.unwrap();
    tx.add_voucher(&voucher([2; 32], Some(later(10))), NOW).await.unwrap();
    assert_eq!(
        tx.use_voucher(&[2; 32], world.subscriber, later(10)).await.unwrap(),
        None
    );
    let used = tx
        .use_voucher(&[1; 32], world.subscriber, later(10))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((used.octets, used.used_by), (Some(5), Some(world.subscriber)));
    assert_eq!(
        tx.use_voucher(&[1; 32], world.subscriber, later(10)).await.unwrap(),
        None
    );
    assert_eq!(tx.vouchers(Some("Akshaya 7"), 1).await.unwrap().len(), 1);
    assert_eq!(tx.vouchers(None, 9).await.unwrap().len(), 2);
    assert_eq!(tx.vouchers(Some("another"), 9).await.unwrap(), []);
    let doubled = tx.add_voucher(&voucher([1; 32], None), NOW).await;
    assert!(doubled.unwrap_err().is_conflict());
}

async fn lease(tx: &mut Tx, world: &World, granted_octets: u64, used_octets: u64) -> LeaseId {
    let lease = Lease {
        granted_octets,
        used_octets,
    };
    tx.add_lease(world.entitlement, world.nas, true, lease)
        .await
        .unwrap()
        .id
}

async fn figures_stand_still_at_the_largest(world: World) {
    let mut tx = world.write().await;
    let lease = tx
        .add_lease(world.entitlement, world.nas, true, Lease::default())
        .await
        .unwrap();
    for octets in [u64::MAX, 5, u64::MAX] {
        tx.charge(world.entitlement, Some(lease.id), octets).await.unwrap();
        tx.top_up(world.entitlement, octets).await.unwrap();
        tx.extend_lease(lease.id, octets, octets).await.unwrap();
    }
    let most = i64::MAX as u64;
    let lease = tx.lease(lease.id).await.unwrap().unwrap();
    assert_eq!((lease.granted_octets, lease.used_octets), (most, most));
    let found = tx
        .entitlement_of(world.subscriber, world.plan.id, window())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.used_octets, found.topped_up_octets), (most, most));
}

async fn promises_are_summed_over_open_leases_without_their_debts(world: World) {
    let mut tx = world.write().await;
    assert_eq!(tx.promised_octets(world.entitlement).await.unwrap(), 0);
    let one = lease(&mut tx, &world, 100, 40).await;
    lease(&mut tx, &world, 50, 80).await;
    assert_eq!(
        tx.promised_octets(world.entitlement).await.unwrap(),
        60,
        "an overrun is no promise taken back"
    );
    tx.charge(world.entitlement, Some(one), 10).await.unwrap();
    tx.extend_lease(one, 30, 5).await.unwrap();
    assert_eq!(tx.promised_octets(world.entitlement).await.unwrap(), 75);
    tx.close_lease(one).await.unwrap();
    assert_eq!(tx.promised_octets(world.entitlement).await.unwrap(), 0);
    let found = tx
        .ensure_entitlement(world.subscriber, world.plan.id, window())
        .await
        .unwrap();
    assert_eq!((found.id, found.used_octets), (world.entitlement, 10));
}

async fn two_live_sessions_at_a_gate_never_share_a_name(world: World) {
    let mut tx = world.write().await;
    let first = tx.add_session(&world.session(1, "0001")).await.unwrap();
    let mut session = tx.session(first).await.unwrap().unwrap();
    session.state = SessionState::Ended;
    tx.save_session(&session).await.unwrap();
    let second = tx.add_session(&world.session(2, "0001")).await.unwrap();
    let found = tx.session_at(world.nas, None, Some("0001")).await.unwrap().unwrap();
    assert_eq!(found.id, second, "the last of that name");
    // Last, for a failed statement ends a transaction on PostgreSQL.
    assert!(
        tx.add_session(&world.session(3, "0001"))
            .await
            .unwrap_err()
            .is_conflict()
    );
}

async fn a_session_is_found_by_class_at_its_own_gate_only(world: World) {
    let mut tx = world.write().await;
    let other = tx.save_nas(&gate("gate-2", world.site)).await.unwrap();
    let id = tx.add_session(&world.session(1, "0001")).await.unwrap();
    assert_eq!(
        tx.session_at(world.nas, Some(&[1; 16]), None)
            .await
            .unwrap()
            .unwrap()
            .id,
        id
    );
    assert_eq!(tx.session_at(other, Some(&[1; 16]), Some("0001")).await.unwrap(), None);
    assert_eq!(
        tx.session_at(world.nas, Some(b"not ours"), Some("0001"))
            .await
            .unwrap()
            .unwrap()
            .id,
        id
    );
}

async fn an_end_once_ordered_is_not_softened(world: World) {
    let mut tx = world.write().await;
    let id = tx.add_session(&world.session(1, "0001")).await.unwrap();
    let mut session = tx.session(id).await.unwrap().unwrap();
    session.order(OrderKind::End, NOW);
    tx.save_session(&session).await.unwrap();
    assert_eq!(tx.order_change_on_plan(world.plan.id, NOW).await.unwrap(), 0);
    session.order(OrderKind::Change, NOW);
    assert_eq!(session.order_action, Some(OrderKind::End));
    assert_eq!(tx.ordered_sessions(later(1), 9).await.unwrap(), [session.clone()]);
    session.settle_order();
    tx.save_session(&session).await.unwrap();
    assert!(tx.ordered_sessions(later(1), 9).await.unwrap().is_empty());
    assert_eq!(
        tx.order_change_on_plan(world.plan.id, NOW).await.unwrap(),
        1,
        "by the site's plan"
    );
}

async fn the_same_unknown_report_is_kept_once(world: World) {
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
    assert_eq!(tx.unknown_report_count().await.unwrap(), 1);
    tx.record_audit("admin", "plan.set", "citizen", "{}", NOW)
        .await
        .unwrap();
    tx.record_audit("admin", "nas.set", "gate-1", "", later(1))
        .await
        .unwrap();
    let audits = tx.audits(1).await.unwrap();
    assert_eq!((audits.len(), audits[0].action.as_str()), (1, "nas.set"));
}

async fn what_expired_is_deleted_and_nothing_else(world: World) {
    let mut tx = world.write().await;
    tx.start_challenge(&world.challenge(1, NOW), NOW).await.unwrap();
    tx.record_attempt("number", b"key", NOW).await.unwrap();
    assert_eq!(tx.delete_expired(NOW).await.unwrap(), 0);
    assert_eq!(
        tx.delete_expired(later(601)).await.unwrap(),
        2,
        "the code, with its message, and the attempt"
    );
    assert_eq!(tx.next_sms_at().await.unwrap(), None);
    assert!(tx.subscriber(world.subscriber).await.unwrap().is_some());
}

async fn what_was_retired_is_offered_no_more_and_stays_on_record(world: World) {
    let mut tx = world.write().await;
    let session = tx.add_session(&world.session(1, "0001")).await.unwrap();
    tx.retire_nas(world.nas).await.unwrap();
    tx.retire_site(world.site).await.unwrap();
    tx.retire_plan(world.plan.id).await.unwrap();
    assert!(tx.nases().await.unwrap().is_empty());
    assert!(tx.sites().await.unwrap().is_empty() && tx.site_named("Vizhinjam").await.unwrap().is_none());
    assert!(tx.plans().await.unwrap().is_empty() && tx.plan_named("citizen").await.unwrap().is_none());
    let listing = tx.session_listing(session).await.unwrap().unwrap();
    assert_eq!((listing.nas.as_str(), listing.site.as_str()), ("gate-1", "Vizhinjam"));
    assert_eq!(tx.save_plan(&world.plan).await.unwrap(), world.plan.id);
    assert_eq!(
        tx.save_site("Vizhinjam", true, world.plan.id).await.unwrap(),
        world.site
    );
    assert_eq!(tx.save_nas(&gate("gate-1", world.site)).await.unwrap(), world.nas);
    assert_eq!(tx.plans().await.unwrap().len(), 1, "made again, it is the same one");
    assert_eq!(
        (tx.sites().await.unwrap().len(), tx.nases().await.unwrap().len()),
        (1, 1)
    );
}

async fn gates_may_share_a_source_and_each_keeps_how_it_is_proven(world: World) {
    let twin = NewNas {
        name: "gate-2".into(),
        ..gate("gate-1", world.site)
    };
    let proof = NasProof {
        old_secret_sealed: Some(vec![1, 2, 3]),
        old_secret_until: Some(NOW),
        unsigned_until: Some(NOW + Duration::from_secs(1)),
    };
    let mut tx = world.write().await;
    let twin_id = tx.save_nas(&twin).await.unwrap();
    tx.save_nas_proof(twin_id, &proof).await.unwrap();
    tx.save_nas(&twin).await.unwrap();
    let found = tx.nas(twin_id).await.unwrap().unwrap();
    assert_eq!(found.proof(), proof, "saving the rest leaves it");
    assert_eq!(tx.nas(world.nas).await.unwrap().unwrap().proof(), NasProof::default());
    tx.save_nas_proof(twin_id, &NasProof::default()).await.unwrap();
    let found = tx.nas(twin_id).await.unwrap().unwrap();
    assert_eq!(found.proof(), NasProof::default());
}

async fn the_record_is_listed_by_subscriber_site_and_whether_live(world: World) {
    let mut tx = world.write().await;
    let number = "9876543211".parse().unwrap();
    let other = tx.ensure_subscriber(&number, "other", Language::En, NOW).await.unwrap();
    let first = tx.add_session(&world.session(1, "0001")).await.unwrap();
    let second = tx.add_session(&world.session(2, "0002")).await.unwrap();
    let theirs = NewSession {
        subscriber_id: other.id,
        ..world.session(3, "0003")
    };
    let third = tx.add_session(&theirs).await.unwrap();
    let mut session = tx.session(second).await.unwrap().unwrap();
    session.state = SessionState::Ended;
    tx.save_session(&session).await.unwrap();
    let last = tx.last_sessions(None, 1).await.unwrap();
    assert_eq!(
        (last[0].nas.as_str(), last[0].site.as_str(), last[0].number.digits()),
        ("gate-1", "Vizhinjam", "9876543211")
    );
    let ids = |rows: Vec<SessionListing>| rows.into_iter().map(|row| row.session.id).collect::<Vec<_>>();
    let (who, here) = (world.subscriber, Some(world.site));
    for (site, is_live, most, expected) in [
        (None, false, 9, vec![second, first]),
        (here, false, 9, vec![second, first]),
        (None, true, 9, vec![first]),
        (None, false, 1, vec![second]),
        (Some(SiteId(99)), false, 9, vec![]),
    ] {
        let found = tx.sessions_of(who, site, is_live, most).await.unwrap();
        assert_eq!(ids(found), expected, "{site:?} {is_live} {most}");
    }
    for site in [None, here] {
        assert_eq!(ids(tx.live_sessions(site, 9).await.unwrap()), [third, first]);
        assert_eq!(ids(tx.last_sessions(site, 2).await.unwrap()), [third, second]);
    }
    assert!(tx.live_sessions(Some(SiteId(99)), 9).await.unwrap().is_empty());
    assert!(tx.last_sessions(Some(SiteId(99)), 9).await.unwrap().is_empty());
    assert_eq!(
        tx.last_session_of(world.subscriber).await.unwrap().map(|row| row.id),
        Some(second)
    );
}

async fn unknown_reports_are_bounded_by_number_and_by_time(world: World) {
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
    assert_eq!(tx.unknown_report_count().await.unwrap(), 2_000);
    assert_eq!(
        tx.delete_unknown_reports(later(5)).await.unwrap(),
        0,
        "the newest were kept"
    );
    assert_eq!(tx.delete_unknown_reports(later(2_000)).await.unwrap(), 1_995);
}

async fn the_seal_check_is_the_first_one_for_good(world: World) {
    let mut tx = world.write().await;
    assert_eq!(tx.seal_check().await.unwrap(), None);
    tx.add_seal_check(b"first").await.unwrap();
    tx.add_seal_check(b"second").await.unwrap();
    assert_eq!(tx.seal_check().await.unwrap(), Some(b"first".to_vec()));
    tx.commit().await.unwrap();
}

async fn whatever_is_made_in_one_transaction_has_a_number_of_its_own(world: World) {
    // More than are taken from the database at once.
    const MANY: u32 = 1300;
    let mut tx = world.store.write_many(0).await.unwrap();
    tx.lock_subscriber(world.subscriber).await.unwrap();
    let mut numbers = std::collections::HashSet::new();
    for number in 0..MANY {
        let lease = tx
            .add_lease(world.entitlement, world.nas, false, Lease::default())
            .await
            .unwrap();
        let mut new = NewSession {
            lease_id: Some(lease.id),
            ..world.session(1, &format!("{number:08x}"))
        };
        new.class[..4].copy_from_slice(&number.to_be_bytes());
        let id = tx.add_session(&new).await.unwrap();
        assert!(numbers.insert((id, lease.id)));
    }
    tx.commit().await.unwrap();
    let mut tx = world.store.write_many(0).await.unwrap();
    let live = tx.live_sessions_of(world.subscriber).await.unwrap();
    let found: std::collections::HashSet<_> = live.iter().map(|row| (row.id, row.lease_id.unwrap())).collect();
    assert_eq!(found, numbers);
}

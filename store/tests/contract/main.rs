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
    DueOrder, NasProof, NewChallenge, NewNas, NewSession, NewVoucher, OrderKind, SessionListing, SessionRow, Store,
    TicketRow, Tx, UnknownReport,
};

mod ahead;
mod away;
mod logins;
mod quota;
#[path = "../relay/mod.rs"]
mod relay;
mod reports;
mod sessions;
mod trust;

use logins::*;
use quota::*;
use reports::*;
use sessions::*;

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
    a_message_that_a_clock_ahead_put_off_is_sent_now,
    a_ticket_is_used_once,
    a_voucher_is_used_once_and_not_after_it_expired,
    figures_stand_still_at_the_largest,
    promises_are_summed_over_open_leases_without_their_debts,
    two_live_sessions_at_a_gate_never_share_a_name,
    no_live_session_is_given_the_name_of_another,
    what_comes_back_finds_its_name_taken,
    what_is_over_is_found_by_its_name_with_whoever_had_it,
    a_gates_live_sessions_are_all_told_those_of_this_transaction_too,
    a_session_is_found_by_class_at_its_own_gate_only,
    an_end_once_ordered_is_not_softened,
    a_plan_that_changes_reaches_more_than_one_portion_of_those_online,
    an_order_kept_for_a_session_that_is_over_waits_for_nobody,
    a_device_is_looked_for_among_the_last_sessions_of_its_owner,
    of_each_gate_the_orders_due_longest_are_told_whatever_is_due_at_others,
    the_same_unknown_report_is_kept_once,
    what_expired_is_deleted_and_nothing_else,
    of_very_much_that_expired_the_oldest_is_deleted_first,
    what_was_retired_is_offered_no_more_and_stays_on_record,
    gates_may_share_a_source_and_each_keeps_how_it_is_proven,
    the_record_is_listed_by_subscriber_site_and_whether_live,
    unknown_reports_are_bounded_by_number_and_by_time,
    whatever_is_made_in_one_transaction_has_a_number_of_its_own,
    whatever_changes_of_a_session_is_written,
    what_live_sessions_used_is_whole_for_every_reader,
    nothing_is_pending_under_a_lease_that_is_closed_or_changed,
    whoever_asks_at_once_for_a_period_gets_the_same_one_and_loses_no_top_up,
    a_top_up_of_somebody_not_held_waits_for_whoever_holds_them,
    a_lease_is_closed_and_opened_with_those_before_it,
    numbers_given_out_in_two_places_are_never_the_same,
    what_may_wait_for_the_database_is_small_enough_to_be_moved_about,
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
            filter: Some("minors".parse().unwrap()),
            class: Some("free".parse().unwrap()),
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
            nonce: [class; 8],
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
    assert_eq!(*tx.plan(world.plan.id).await.unwrap().unwrap(), changed);
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

async fn what_was_retired_is_offered_no_more_and_stays_on_record(world: World) {
    let mut tx = world.write().await;
    let session = tx.add_session(&world.session(1, "0001")).await.unwrap().id;
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
        is_ms_chap_allowed: true,
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

async fn the_seal_check_is_the_first_one_for_good(world: World) {
    let mut tx = world.write().await;
    assert_eq!(tx.seal_check().await.unwrap(), None);
    tx.add_seal_check(b"first").await.unwrap();
    tx.add_seal_check(b"second").await.unwrap();
    assert_eq!(tx.seal_check().await.unwrap(), Some(b"first".to_vec()));
    tx.commit().await.unwrap();
}

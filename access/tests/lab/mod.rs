//! A centre with one site and one gate, on either database, whose time is moved by hand.

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "each file of tests uses its own part"
)]

pub mod gates;
pub mod others;

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kavadam_access::admin::{NasSetting, SessionQuery};
use kavadam_access::api::*;
use kavadam_access::sweep::Round;
use kavadam_access::{Access, Sealer, Settings};
use kavadam_domain::plan::{AfterQuota, Period};
use kavadam_domain::{Language, Mac, NasId, Plan, PlanId, Reason, SiteId, Timestamp, challenge};
use kavadam_store::Store;
use zeroize::Zeroizing;

pub const MB: u64 = 1_000_000;
pub const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub const OTHER_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
/// Where the gate is heard from.
pub const SEEN_AT: &str = "127.0.0.1:40000";
pub const NUMBER: &str = "9876543210";

#[derive(Clone, Copy)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// An empty database in the private server of `tests/postgres.sh`.
fn fresh_postgres() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let server = std::env::var("KAVADAM_TEST_POSTGRES")
        .expect("KAVADAM_TEST_POSTGRES is not set: run this as `tests/postgres.sh cargo test`, or `make test`");
    let name = format!("flows_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
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
            $(#[tokio::test] async fn $case() { super::$case(crate::lab::Database::Sqlite).await; })*
        }
        mod postgres {
            $(#[tokio::test] async fn $case() { super::$case(crate::lab::Database::Postgres).await; })*
        }
    };
}

pub(crate) use cases;

pub struct Lab {
    pub url: String,
    pub access: Access,
    pub store: Store,
    pub sealer: Sealer,
    pub nas: NasId,
    pub site: SiteId,
    pub now: Timestamp,
    pub up_since: Timestamp,
    _dir: tempfile::TempDir,
}

pub fn plan(quota_octets: u64) -> Plan {
    Plan {
        id: PlanId(0),
        name: "citizen".into(),
        quota_octets: Some(quota_octets),
        period: Period::Day,
        time_zone: "Asia/Kolkata".into(),
        down_bits_per_sec: Some(10_000_000),
        up_bits_per_sec: Some(10_000_000),
        session_secs: Some(14_400),
        idle_secs: Some(600),
        max_devices: 2,
        remembered_days: 14,
        after_quota: AfterQuota::Close,
        filter: None,
        class: None,
    }
}

impl Lab {
    pub async fn new(database: Database, plan: &Plan) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = match database {
            Database::Sqlite => format!("sqlite:{}", dir.path().join("kavadam.db").display()),
            Database::Postgres => fresh_postgres(),
        };
        let store = Store::open(&url).await.unwrap();
        let sealer = Sealer::new([5; 32]);
        let access = Access::new(store.clone(), sealer.clone(), Settings::default());
        let noon: jiff::Timestamp = "2026-11-24T06:30:00Z".parse().unwrap();
        let now = Timestamp(noon.as_microsecond());
        access.set_plan(plan, "test", now).await.unwrap();
        let site = access
            .set_site("Vizhinjam bus stand", true, "citizen", "test", now)
            .await
            .unwrap();
        let nas = NasSetting {
            name: "gate-1",
            site: "Vizhinjam bus stand",
            source: "127.0.0.1/32".parse().unwrap(),
            secret: b"a secret of the gate",
            uam_secret: b"a secret of redirects",
            coa_port: 3799,
            coa_host: None,
            profile: "kavadam",
            is_renewing: true,
        };
        let nas = access.set_nas(&nas, "test", now).await.unwrap();
        access.nas_seen(nas, SEEN_AT.parse().unwrap(), now);
        Self {
            url,
            access,
            store,
            sealer,
            nas,
            site,
            now,
            up_since: now,
            _dir: dir,
        }
    }

    pub fn visit(&self, mac: Mac) -> Visit {
        Visit {
            nas: self.nas,
            site: self.site,
            mac,
            ip: "10.80.1.1".parse().unwrap(),
            is_seen: true,
            language: Language::En,
            offline_at: None,
        }
    }

    pub fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    pub async fn code(&self, mac: Mac) -> String {
        let mut tx = self.store.read().await.unwrap();
        let row = tx.last_challenge(self.site, mac).await.unwrap().unwrap();
        challenge::code(self.sealer.code_secret(&row.public_id).as_slice())
    }

    pub async fn ask(&self, mac: Mac) -> Started {
        self.access
            .start_login(&self.visit(mac), NUMBER, true, self.now)
            .await
            .unwrap()
    }

    /// Enters a code; why it was refused.
    pub async fn enter(&self, mac: Mac, code: &str) -> Option<Reason> {
        let outcome = self.access.verify_code(&self.visit(mac), code, self.now).await.unwrap();
        match outcome {
            Verified::Ticket(_) => None,
            Verified::Refused(reason) => Some(reason),
        }
    }

    pub async fn ticket(&self, mac: Mac) -> Ticket {
        assert!(matches!(self.ask(mac).await, Started::Sent(_)));
        let code = self.code(mac).await;
        match self
            .access
            .verify_code(&self.visit(mac), &code, self.now)
            .await
            .unwrap()
        {
            Verified::Ticket(ticket) => ticket,
            Verified::Refused(reason) => panic!("refused: {reason:?}"),
        }
    }

    pub async fn authorize(&self, mac: Mac, service: Service, name: &str, id: &str) -> Decision {
        self.authorize_as(mac, service, name, id, true).await
    }

    /// At a gate that renews its leases, or one that only takes a limit.
    pub async fn authorize_as(&self, mac: Mac, service: Service, name: &str, id: &str, renews: bool) -> Decision {
        let request = AuthorizeRequest {
            nas: self.nas,
            user_name: name.to_owned(),
            service,
            mac: Some(mac),
            ip: Some("10.80.1.1".parse().unwrap()),
            acct_session_id: Some(id.to_owned()),
            class: None,
            wants_cui: renews,
            seen: Seen::default(),
        };
        self.access.authorize(request, self.now).await.unwrap()
    }

    pub async fn logon(&self, mac: Mac, ticket: &Ticket, id: &str) -> Decision {
        let proof = Proof::Pap(Zeroizing::new(ticket.password.as_bytes().to_vec()));
        self.authorize(mac, Service::Login(proof), &ticket.user_name, id).await
    }

    pub async fn online(&self, mac: Mac, id: &str) -> Grant {
        let ticket = self.ticket(mac).await;
        granted(self.logon(mac, &ticket, id).await)
    }

    pub async fn renew(&self, mac: Mac, id: &str) -> Decision {
        self.authorize(mac, Service::Renewal, "", id).await
    }

    /// The orders that go out now.
    pub async fn orders(&self) -> Vec<Order> {
        let mut orders = Vec::new();
        for (session, _) in self.access.due_orders(self.now).await.unwrap() {
            orders.extend(self.access.decide_order(session, self.now).await.unwrap());
        }
        orders
    }

    /// Whether the gate is asked for nothing more.
    pub async fn answer(&self, order: &Order, answer: OrderAnswer) -> bool {
        self.access.order_answered(order, answer, self.now).await.unwrap()
    }

    pub async fn sweep(&self) -> u32 {
        self.access
            .sweep(&mut Round::default(), self.up_since, self.now)
            .await
            .unwrap()
    }

    /// The last session of a device, as an administrator sees it.
    pub async fn session(&self, mac: Mac) -> SessionView {
        let all = self.access.sessions(&SessionQuery::default()).await.unwrap();
        all.into_iter().find(|session| session.mac == Some(mac)).unwrap()
    }

    /// Octets used, and promised to gates, in the present period.
    pub async fn used_and_promised(&self) -> (u64, u64) {
        let view = self.access.subscriber(&NUMBER.parse().unwrap(), self.now).await;
        let view = view.unwrap().unwrap();
        (view.used_octets, view.leased_octets)
    }

    /// Online at a gate that only takes a limit.
    pub async fn online_fixed(&self, mac: Mac, id: &str) -> Grant {
        let ticket = self.ticket(mac).await;
        let proof = Proof::Pap(Zeroizing::new(ticket.password.as_bytes().to_vec()));
        let service = Service::Login(proof);
        granted(self.authorize_as(mac, service, &ticket.user_name, id, false).await)
    }

    pub async fn top_up(&self, octets: u64) {
        let number = NUMBER.parse().unwrap();
        self.access.top_up(&number, octets, "test", self.now).await.unwrap();
    }

    pub async fn block(&self) {
        let number = NUMBER.parse().unwrap();
        self.access.block(&number, true, "test", self.now).await.unwrap();
    }

    pub async fn report(&self, kind: AccountingKind, id: &str, octets: u64, secs: u32) -> Accounted {
        let report = AccountingReport {
            // As typed: it tells whose the session is, where it is over.
            user_name: Some(NUMBER.to_owned()),
            ..self.words(kind, id, None, octets, secs)
        };
        self.account(report).await
    }
}

pub fn granted(decision: Decision) -> Grant {
    match decision {
        Decision::Accept(grant) => grant,
        Decision::Reject { reason, .. } => panic!("refused: {reason:?}"),
    }
}

pub fn refused(decision: Decision) -> Reason {
    match decision {
        Decision::Reject { reason, .. } => reason,
        Decision::Accept(grant) => panic!("accepted: {grant:?}"),
    }
}

//! Whose a report is: gates that name what they ask for or do not, give Class back or do not, ask once or again while the device is online.
//! On both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod again;
#[path = "../lab/mod.rs"]
mod lab;
mod silent;
mod tied;

use std::time::Duration;

use kavadam_access::admin::SessionQuery;
use kavadam_access::api::*;
use kavadam_access::batch::{Answer, Question};
use kavadam_domain::Mac;
use kavadam_domain::gate::Abilities;
use kavadam_domain::session::SessionState;
use kavadam_store::SessionRow;
use lab::{Database, Lab, MAC, MB, NUMBER, OTHER_MAC, cases, plan};

/// What a gate says.
#[derive(Debug, Clone, Copy)]
struct Manners {
    /// Acct-Session-Id in Access-Request.
    names: bool,
    /// Class in reports.
    classes: bool,
}

const ALL: [Manners; 4] = [
    Manners {
        names: false,
        classes: false,
    },
    Manners {
        names: false,
        classes: true,
    },
    Manners {
        names: true,
        classes: false,
    },
    Manners {
        names: true,
        classes: true,
    },
];
/// As pfSense.
const NEITHER: Manners = ALL[0];

struct Gate {
    lab: Lab,
    manners: Manners,
    class: Vec<u8>,
}

impl Gate {
    async fn new(database: Database, manners: Manners) -> Self {
        let lab = Lab::at_a_vendors(database, &plan(40 * MB), Abilities::ALL, None).await;
        // Remembered from now on.
        lab.ticket(MAC).await;
        Self {
            lab,
            manners,
            class: Vec::new(),
        }
    }

    fn pass(&mut self, secs: u64) {
        self.lab.pass(Duration::from_secs(secs));
    }

    /// For a session of that name, or that will have it.
    async fn ask(&mut self, name: &str) -> Grant {
        let grant = self.ask_unheard(name).await;
        self.class.clone_from(&grant.class);
        grant
    }

    /// The answer is lost.
    async fn ask_unheard(&self, name: &str) -> Grant {
        let name = self.manners.names.then(|| name.to_owned());
        self.lab.call_check(MAC, name, Seen::default()).await
    }

    fn words(&self, kind: AccountingKind, name: &str, octets: u64, secs: u32) -> AccountingReport {
        AccountingReport {
            class: self.manners.classes.then(|| self.class.clone()),
            ..self.lab.words(kind, name, Some(MAC), octets, secs)
        }
    }

    async fn send(&self, report: AccountingReport) -> Accounted {
        self.lab.account(report).await
    }

    async fn report(&self, kind: AccountingKind, name: &str, octets: u64, secs: u32) -> Accounted {
        self.send(self.words(kind, name, octets, secs)).await
    }

    /// A minute online, with a megabyte.
    async fn begin(&mut self, name: &str) -> Grant {
        let grant = self.ask(name).await;
        assert_eq!(
            self.report(AccountingKind::Start, name, 0, 0).await,
            Accounted::Charged(0)
        );
        self.pass(60);
        let charged = self.report(AccountingKind::Interim, name, MB, 60).await;
        assert_eq!(charged, Accounted::Charged(MB), "{:?}", self.manners);
        grant
    }

    async fn live(&self) -> Vec<SessionRow> {
        let mut tx = self.lab.store.read().await.unwrap();
        tx.live_sessions_at(self.lab.nas).await.unwrap()
    }

    /// That one and no other.
    async fn is_online_as(&self, name: &str) {
        let live = self.live().await;
        let names: Vec<_> = live
            .iter()
            .map(|one| (one.state, one.acct_session_id.as_deref()))
            .collect();
        assert_eq!(names, [(SessionState::Open, Some(name))], "{:?}", self.manners);
    }

    /// Its gate is told to end it, by that name.
    async fn is_cut_as(&self, name: &str) {
        self.lab.block().await;
        let ends = self.lab.orders().await;
        let ends: Vec<_> = ends
            .iter()
            .map(|one| (&one.action, one.acct_session_id.as_str()))
            .collect();
        assert_eq!(ends, [(&OrderAction::End, name)], "{:?}", self.manners);
    }

    async fn used(&self) -> u64 {
        self.lab.used_and_promised().await.0
    }
}

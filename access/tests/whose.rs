//! Whose a report is: gates that name what they ask for or do not, give Class back or do not, ask once or again while the device is online.
//! On both databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod lab;

use std::time::Duration;

use kavadam_access::admin::{NasChange, SessionQuery};
use kavadam_access::api::*;
use kavadam_access::batch::{Answer, Question};
use kavadam_access::{Access, Settings};
use kavadam_domain::Mac;
use kavadam_domain::gate::Abilities;
use kavadam_domain::session::SessionState;
use kavadam_store::SessionRow;
use lab::{Database, Lab, MAC, MB, NUMBER, OTHER_MAC, SEEN_AT, cases, granted, plan};

cases! {
    a_report_is_charged_to_its_grant_however_little_ties_it,
    a_device_that_is_proven_again_every_minute_keeps_its_one_session,
    a_session_that_begins_in_place_of_another_is_charged_from_nothing_and_can_be_cut,
    a_session_that_begins_after_the_stop_of_the_one_before_is_charged_and_can_be_cut,
    what_goes_on_after_silence_is_charged_once_though_it_was_granted_anew,
    what_goes_on_under_a_newer_class_is_charged_once,
    a_session_whose_successor_never_began_can_be_cut,
    a_session_whose_successor_began_stays_over,
    a_successor_that_begins_late_takes_the_place_back,
    what_began_unheard_and_was_granted_anew_is_charged_once,
    all_that_is_told_of_a_session_at_once_is_its,
    a_grant_taken_for_unused_is_begun_by_a_name_that_is_nobodys,
    a_person_whose_device_is_not_told_is_known_by_the_user_name,
    a_name_given_again_is_the_new_sessions,
    a_late_word_of_the_session_before_begins_no_other,
    another_devices_report_is_nobodys,
    an_answer_lets_one_session_begin,
    what_begins_long_after_the_answer_is_nobodys,
    counters_that_are_older_than_their_start_are_charged_once,
    a_gate_that_reports_rarely_is_waited_for_once_that_is_known,
    a_gate_that_does_not_report_is_named,
    whoever_is_blocked_is_cut_where_the_gate_does_not_report,
}

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
        let mut lab = Lab::new(database, &plan(40 * MB)).await;
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
        let request = AuthorizeRequest {
            nas: self.lab.nas,
            user_name: MAC.to_string(),
            service: Service::CallCheck,
            mac: Some(MAC),
            ip: None,
            acct_session_id: self.manners.names.then(|| name.to_owned()),
            class: None,
            wants_cui: false,
            seen: Seen::default(),
        };
        granted(self.lab.access.authorize(request, self.lab.now).await.unwrap())
    }

    fn words(&self, kind: AccountingKind, name: &str, octets: u64, secs: u32) -> AccountingReport {
        AccountingReport {
            nas: self.lab.nas,
            from: None,
            kind,
            acct_session_id: name.to_owned(),
            class: self.manners.classes.then(|| self.class.clone()),
            user_name: None,
            mac: Some(MAC),
            ip: None,
            ports: None,
            free: None,
            counters: Counters {
                down_octets: octets,
                session_secs: secs,
                ..Counters::default()
            },
            at: self.lab.now,
        }
    }

    async fn send(&self, report: AccountingReport) -> Accounted {
        self.lab.access.account(report, self.lab.now).await.unwrap()
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

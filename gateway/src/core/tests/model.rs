//! Whatever happens in whatever order: what must always hold.

use std::collections::HashMap;

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Event {
    LogOn(u8),
    LogOff(u8),
    Flow(u8, u64),
    Pass(u16),
    Answer(u8),
    /// After so many more commits, deeds and answers.
    Crash(u8),
    /// No crash is due any more.
    Live,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (1..5_u8).prop_map(Event::LogOn),
        1 => (1..5_u8).prop_map(Event::LogOff),
        4 => (1..5_u8, 0..8 * MB).prop_map(|(n, octets)| Event::Flow(n, octets)),
        3 => (0..20_000_u16).prop_map(Event::Pass),
        4 => any::<u8>().prop_map(Event::Answer),
        2 => (0..8_u8).prop_map(Event::Crash),
    ]
}

/// A server that grants so much in all, and what it granted to whom.
#[derive(Default)]
struct Server {
    left: u64,
    granted: HashMap<String, u64>,
    in_all: u64,
}

impl Server {
    fn answer(&mut self, scene: &mut Scene, whim: u8) {
        let Some((ask, request)) = scene.asked.pop() else {
            return;
        };
        let id = request.acct_session_id.unwrap();
        let more = self.left.min(3 * MB);
        let answer = match whim % 8 {
            0 => Answer::Silent,
            _ if more < super::super::USED_UP_BELOW_OCTETS => Answer::Reject(None),
            _ => {
                self.left -= more;
                self.in_all += more;
                let granted = self.granted.entry(id).or_default();
                *granted += more;
                let mut grant = lease(*granted);
                grant.limits.filter = match whim / 8 % 4 {
                    0 => "minors".parse().ok(),
                    1 => "nobodys".parse().ok(),
                    _ => None,
                };
                Answer::Accept(Box::new(grant))
            }
        };
        scene.handle(Input::Answered(ask, answer));
    }
}

/// Another process takes over.
fn restart(scene: &mut Scene, rows: Vec<SessionRow>) {
    let settings = Settings {
        interim: Duration::from_mins(1),
        called_station_id: String::new(),
        seed: rand::random(),
    };
    scene.core = Core::new(settings, scene.kernel.clone());
    scene.asked.clear();
    (scene.is_dead, scene.steps_to_live) = (false, None);
    let commands = scene.core.adopt(scene.kernel.found(), rows, scene.now);
    scene.take(commands);
}

proptest! {
    #[test]
    fn never_carries_more_than_was_granted_and_reports_every_octet_once(
        quota in 0..40 * MB, events in prop::collection::vec(event(), 1..120),
    ) {
        let mut scene = Scene::new();
        scene.kernel.state().filters.insert("minors".parse().unwrap());
        let mut server = Server { left: quota, ..Server::default() };
        let mut carried = 0;
        let mut rows: HashMap<String, SessionRow> = HashMap::new();
        let mut furthest: HashMap<String, u64> = HashMap::new();
        let end = [Event::Live, Event::LogOff(1), Event::LogOff(2), Event::LogOff(3), Event::LogOff(4), Event::Pass(2_000)];
        for event in events.into_iter().chain(end) {
            // What the kernel did not hear before the process ended it is told by the next within a second.
            let is_settled = matches!(event, Event::Pass(1_000..));
            match event {
                Event::LogOn(n) => _ = scene.log_on(n),
                Event::LogOff(n) => scene.handle(Input::Logoff(mac(n), None)),
                Event::Flow(n, octets) => carried += scene.flow(n, octets),
                Event::Pass(millis) => scene.pass(Duration::from_millis(millis.into())),
                Event::Answer(whim) => server.answer(&mut scene, whim),
                Event::Live => scene.steps_to_live = None,
                Event::Crash(steps) => scene.steps_to_live = Some(steps),
            }
            for row in scene.saved.drain(..) {
                rows.insert(row.id.clone(), row);
            }
            for id in scene.forgotten.drain(..) {
                rows.remove(&id);
            }
            if scene.is_dead || scene.steps_to_live == Some(0) {
                restart(&mut scene, rows.values().cloned().collect());
                for row in scene.saved.drain(..) {
                    rows.insert(row.id.clone(), row);
                }
                for id in scene.forgotten.drain(..) {
                    rows.remove(&id);
                }
            }
            for row in rows.values().filter(|row| is_settled && !row.is_stopped && scene.kernel.is_flowing(row.mac)) {
                prop_assert_eq!(scene.kernel.filter_of(row.mac), row.limits.filter);
                prop_assert_ne!(row.limits.filter, "nobodys".parse().ok());
            }
            for report in scene.reports.drain(..) {
                let so_far = furthest.entry(report.id).or_default();
                *so_far = report.down_octets.max(*so_far);
            }
            prop_assert!(carried <= server.in_all, "{carried} carried, {} granted", server.in_all);
            prop_assert!(server.in_all <= quota);
        }
        prop_assert_eq!(scene.kernel.state().sessions.len(), 0, "everybody logged off");
        prop_assert_eq!(rows.len(), 0);
        prop_assert_eq!(furthest.values().sum::<u64>(), carried);
    }
}

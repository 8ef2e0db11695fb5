//! How much flows, session by session, as long as somebody looks.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use kavadam_firewall::{Layout, SeenSession, Slot, View};
use serde_json::{Value, json};

use super::super::{print, say, table};
use super::addresses::Addresses;
use super::{name, standing};
use crate::cli::GateTop;
use crate::units::{show_octets, show_rate};

/// Between two readings of the meters.
const EVERY: Duration = Duration::from_secs(1);
/// Between two looks at who is there, which cost more, so many readings.
const LOOK_EVERY: u32 = 10;
/// Upper left corner, and nothing on the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// How much flows, until interrupted or once.
pub fn top(layout: &Layout, wanted: &GateTop) -> anyhow::Result<()> {
    let mut view = standing(layout)?;
    let mut sessions = Rc::from(view.sessions()?);
    let mut addresses = Addresses::look(&mut view, layout)?;
    let mut before = Reading::take(&mut view, &sessions)?;
    for reading in 1_u32.. {
        std::thread::sleep(EVERY);
        if reading.is_multiple_of(LOOK_EVERY) {
            sessions = Rc::from(view.sessions()?);
            addresses = Addresses::look(&mut view, layout)?;
        }
        let now = Reading::take(&mut view, &sessions)?;
        let since = Since::new(&before, &now, wanted.whole);
        if wanted.output.json {
            print(true, &since.json(wanted.most, &addresses.json()), Vec::new)?;
        } else {
            let clear = if wanted.once || !std::io::stdout().is_terminal() {
                ""
            } else {
                CLEAR
            };
            let mut lines = since.lines(wanted.most);
            lines.splice(1..1, addresses.lines());
            say(&format!("{clear}{}", lines.join("\n")))?;
        }
        if wanted.once {
            return Ok(());
        }
        before = now;
    }
    Ok(())
}

/// All meters at one time.
struct Reading {
    at: Instant,
    sessions: Rc<[SeenSession]>,
    octets: HashMap<Slot, (u64, u64)>,
}

impl Reading {
    fn take(view: &mut View, sessions: &Rc<[SeenSession]>) -> anyhow::Result<Self> {
        let slots: Vec<Slot> = sessions.iter().map(|one| one.session.slot).collect();
        Ok(Self {
            at: Instant::now(),
            octets: view.octets(&slots)?,
            sessions: Rc::clone(sessions),
        })
    }
}

/// What happened between two readings.
struct Since {
    opened: usize,
    closed: usize,
    used_up: usize,
    rows: Vec<Row>,
}

/// One session; octets a second.
struct Row {
    device: String,
    slot: Slot,
    up: f64,
    down: f64,
    used: String,
}

impl Since {
    fn new(before: &Reading, now: &Reading, is_whole: bool) -> Self {
        let secs = now.at.saturating_duration_since(before.at).as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "octets of a second")]
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / secs;
        let row = |seen: &SeenSession| {
            let one = &seen.session;
            let (up, down) = now.octets.get(&one.slot).copied().unwrap_or_default();
            let old = before.octets.get(&one.slot).copied().unwrap_or_default();
            let quota = one.pool_limit_octets.map_or("unlimited".to_owned(), show_octets);
            Row {
                device: name(one.mac, is_whole),
                slot: one.slot,
                up: rate(up, old.0),
                down: rate(down, old.1),
                used: format!("{} of {quota}", show_octets(one.pool_used_octets)),
            }
        };
        let mut rows: Vec<Row> = now.sessions.iter().map(row).collect();
        rows.sort_by(|a, b| (b.up + b.down).total_cmp(&(a.up + a.down)).then(a.slot.cmp(&b.slot)));
        let missing =
            |from: &Reading, of: &Reading| from.octets.keys().filter(|slot| !of.octets.contains_key(slot)).count();
        Self {
            opened: missing(now, before),
            closed: missing(before, now),
            used_up: now.sessions.iter().filter(|one| one.is_used_up).count(),
            rows,
        }
    }

    fn sums(&self) -> (f64, f64) {
        self.rows
            .iter()
            .fold((0.0, 0.0), |(up, down), row| (up + row.up, down + row.down))
    }

    fn lines(&self, most: usize) -> Vec<String> {
        let (up, down) = self.sums();
        let mut lines = vec![
            format!(
                "{} sessions, {} used up; up {}, down {}; {} opened, {} closed since the last look",
                self.rows.len(),
                self.used_up,
                speed(up),
                speed(down),
                self.opened,
                self.closed
            ),
            String::new(),
        ];
        let rows = self.rows.iter().take(most);
        lines.extend(table(
            ["SLOT", "DEVICE", "UP", "DOWN", "USED"],
            rows.map(|row| {
                [
                    row.slot.0.to_string(),
                    row.device.clone(),
                    speed(row.up),
                    speed(row.down),
                    row.used.clone(),
                ]
            })
            .collect(),
        ));
        if self.rows.len() > most {
            lines.push(format!("and {} more, less busy", self.rows.len() - most));
        }
        lines
    }

    fn json(&self, most: usize, addresses: &Value) -> Value {
        let (up, down) = self.sums();
        let rows = self.rows.iter().take(most).map(|row| {
            json!({ "slot": row.slot.0, "mac": row.device, "up_octets_per_sec": row.up, "down_octets_per_sec": row.down })
        });
        json!({ "sessions": self.rows.len(), "used_up": self.used_up, "opened": self.opened, "closed": self.closed,
            "up_octets_per_sec": up, "down_octets_per_sec": down, "busiest": rows.collect::<Vec<_>>(),
            "addresses": addresses })
    }
}

fn speed(octets_per_sec: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate, never negative"
    )]
    show_rate(Some((octets_per_sec * 8.0).round() as u64))
}

#[cfg(test)]
mod tests {
    use super::super::tests::session;
    use super::*;

    fn reading(start: Instant, secs: u64, octets: &[(u32, u64, u64)]) -> Reading {
        Reading {
            at: start + Duration::from_secs(secs),
            sessions: octets.iter().map(|(slot, ..)| session(*slot, 1000)).collect(),
            octets: octets
                .iter()
                .map(|(slot, up, down)| (Slot(*slot), (*up, *down)))
                .collect(),
        }
    }

    #[test]
    fn the_busiest_come_first_and_rates_are_of_the_time_between() {
        let start = Instant::now();
        let (before, now) = (
            reading(start, 0, &[(1, 0, 0), (2, 0, 0), (3, 9, 9)]),
            reading(start, 2, &[(1, 1000, 0), (2, 0, 250_000), (4, 0, 0)]),
        );
        let since = Since::new(&before, &now, false);
        let lines = since.lines(2);
        assert!(
            lines[0].starts_with("3 sessions, 0 used up; up 4 kbit/s, down 1 Mbit/s; 1 opened, 1 closed"),
            "{}",
            lines[0]
        );
        assert!(
            lines[3].starts_with("2     02-00-00-xx-xx-xx  0 bit/s   1 Mbit/s"),
            "{}",
            lines[3]
        );
        assert_eq!(lines.last().unwrap(), "and 1 more, less busy");
    }
}

//! Sessions, and who changed what.

use std::time::Duration;

use kavadam_access::admin::SessionQuery;
use kavadam_access::api::SessionView;
use kavadam_domain::accounting::FreeOctets;
use kavadam_domain::{Mac, MobileNumber, PortRange, SessionId, Timestamp};
use kavadam_store::AuditRow;
use serde_json::{Value, json};

use super::{Desk, ago, missing, print, say, sheet, span, table};
use crate::cli::{AuditCommand, SessionCommand};
use crate::units::show_octets;

impl Desk {
    pub(super) async fn session(&self, command: SessionCommand) -> anyhow::Result<()> {
        match command {
            SessionCommand::List {
                open,
                number,
                site,
                most,
                output,
            } => {
                let query = SessionQuery {
                    is_live: open,
                    number,
                    site,
                    most: Some(most),
                };
                let sessions = self.access.sessions(&query).await?;
                self.print_sessions(&sessions, output.json)
            }
            SessionCommand::Behind { endpoint, at, output } => {
                let at = at.unwrap_or(self.now);
                let sessions = self
                    .access
                    .sessions_behind((*endpoint.ip()).into(), endpoint.port(), at)
                    .await?;
                if sessions.is_empty() && !output.json {
                    return say(&format!(
                        "no session was behind {endpoint} then: either nobody was, or its gate gives no device ports of its own (gateway.nat)"
                    ));
                }
                self.print_sessions(&sessions, output.json)
            }
            SessionCommand::Show { id, output } => {
                let session = self.find_session(id).await?;
                print(output.json, &session_json(&session), || self.session_sheet(&session))
            }
            SessionCommand::End { id, output } => {
                let is_ending = self.access.end_session(SessionId(id), &self.actor, self.now).await?;
                if output.json {
                    return print(true, &session_json(&self.find_session(id).await?), Vec::new);
                }
                let what = if !is_ending {
                    "had ended already"
                } else if self.can_end(id).await? {
                    "is being ended"
                } else {
                    "cannot be cut: its gate takes no such order, and it goes on to its own end"
                };
                say(&format!("session {id} {what}"))
            }
        }
    }

    fn print_sessions(&self, sessions: &[SessionView], is_json: bool) -> anyhow::Result<()> {
        print(is_json, &sessions.iter().map(session_json).collect(), || {
            table(
                [
                    "ID", "NUMBER", "SITE", "GATE", "STATE", "BEGAN", "TIME", "DATA", "TROUBLE",
                ],
                sessions.iter().map(|session| self.session_row(session)).collect(),
            )
        })
    }

    async fn find_session(&self, id: i64) -> anyhow::Result<SessionView> {
        let found = self.access.session(SessionId(id)).await?;
        Ok(found.ok_or_else(|| missing("session", &id.to_string()))?)
    }

    /// Whether the session's gate ends one when told to.
    async fn can_end(&self, id: i64) -> anyhow::Result<bool> {
        let session = self.find_session(id).await?;
        let gates = self.access.nases().await?;
        let gate = gates.iter().find(|gate| gate.name == session.nas);
        Ok(gate.is_none_or(|gate| self.profiles.get(&gate.profile).abilities().is_cut))
    }

    fn session_row(&self, session: &SessionView) -> [String; 9] {
        let octets = session.counters.up_octets.saturating_add(session.counters.down_octets);
        [
            session.id.to_string(),
            session.number.masked(),
            session.site.clone(),
            session.nas.clone(),
            session.state.to_owned(),
            ago(self.now, session.started_at),
            span(Duration::from_secs(session.counters.session_secs.into())),
            show_octets(octets),
            session.trouble.clone().unwrap_or_default(),
        ]
    }

    fn session_sheet(&self, session: &SessionView) -> Vec<String> {
        let [id, number, site, nas, state, began, time, _, trouble] = self.session_row(session);
        let mut sides = vec![
            ("session", id),
            ("number", number),
            ("device", session.mac.map_or("unknown".to_owned(), Mac::masked)),
            ("site", site),
            ("gate", nas),
            ("state", state),
            ("began", began),
            ("time", time),
            ("up", show_octets(session.counters.up_octets)),
            ("down", show_octets(session.counters.down_octets)),
        ];
        if let Some(FreeOctets { up, down }) = session.free {
            sides.push(("free up", show_octets(up)));
            sides.push(("free down", show_octets(down)));
        }
        for (name, told) in [("network", &session.ssid), ("access point", &session.access_point)] {
            if let Some(told) = told {
                sides.push((name, told.clone()));
            }
        }
        if let Some(PortRange { address, first, last }) = session.ports {
            sides.push(("public ports", format!("{address}, {first} to {last}")));
        }
        if let Some(at) = session.ended_at {
            sides.push(("ended", ago(self.now, at)));
        }
        if let Some(cause) = session.terminate_cause {
            sides.push(("cause", cause.to_string()));
        }
        if session.trouble.is_some() {
            sides.push(("trouble", trouble));
        }
        sheet(&sides)
    }

    pub(super) async fn audit(&self, command: AuditCommand) -> anyhow::Result<()> {
        let AuditCommand::List { most, output } = command;
        let acts = self.access.audits(most).await?;
        let json = acts.iter().map(|act| {
            json!({
                "at": act.at.as_secs(), "actor": act.actor, "action": act.action, "subject": subject(act),
                "detail": act.detail,
            })
        });
        print(output.json, &json.collect(), || {
            let row = |act: &AuditRow| {
                [
                    ago(self.now, act.at),
                    act.actor.clone(),
                    act.action.clone(),
                    subject(act),
                    act.detail.clone(),
                ]
            };
            table(["WHEN", "WHO", "WHAT", "TO", "HOW"], acts.iter().map(row).collect())
        })
    }
}

/// What an act was done to; a number masked.
fn subject(act: &AuditRow) -> String {
    match act.subject.parse::<MobileNumber>() {
        Ok(number) if act.action.starts_with("subscriber.") => number.masked(),
        _ => act.subject.clone(),
    }
}

fn session_json(session: &SessionView) -> Value {
    json!({
        "id": session.id.0, "number": session.number.masked(), "mac": session.mac.map(Mac::masked),
        "nas": session.nas, "site": session.site, "state": session.state,
        "started_at": session.started_at.as_secs(), "ended_at": session.ended_at.map(Timestamp::as_secs),
        "terminate_cause": session.terminate_cause,
        "up_octets": session.counters.up_octets, "down_octets": session.counters.down_octets,
        "session_secs": session.counters.session_secs, "trouble": session.trouble,
        "ssid": session.ssid, "access_point": session.access_point,
        "public_address": session.ports.map(|ports| ports.address), "first_port": session.ports.map(|ports| ports.first),
        "last_port": session.ports.map(|ports| ports.last),
        "free_up_octets": session.free.map(|free| free.up), "free_down_octets": session.free.map(|free| free.down),
    })
}

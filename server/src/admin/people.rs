//! Subscribers, their sessions, vouchers.

use kavadam_access::admin::SessionQuery;
use kavadam_access::api::SessionView;
use kavadam_domain::{MobileNumber, SessionId, Timestamp};
use serde_json::{Value, json};

use super::{Desk, ago, missing, print, say, span};
use crate::authenticator;
use crate::cli::{SessionCommand, SubscriberCommand, VoucherCommand};
use crate::units::show_octets;

/// Vouchers listed at most.
const MOST_VOUCHERS: u32 = 10_000;

impl Desk {
    pub(super) async fn subscriber(&self, command: SubscriberCommand) -> anyhow::Result<()> {
        match command {
            SubscriberCommand::Show { number, output } => {
                let found = self.access.subscriber(&number, self.now).await?;
                let who = found.ok_or_else(|| missing("subscriber", &number.masked()))?;
                let json = json!({
                    "number": who.number.masked(), "plan": who.plan.as_ref().map(|plan| &plan.name), "is_blocked": who.is_blocked,
                    "has_authenticator": who.has_authenticator,
                    "used_octets": who.used_octets, "leased_octets": who.leased_octets,
                    "topped_up_octets": who.topped_up_octets, "quota_octets": who.plan.as_ref().and_then(|plan| plan.quota_octets),
                    "devices": who.devices.iter().map(|(mac, until)| json!({
                        "mac": mac.masked(), "remembered_until": until.map(Timestamp::as_secs),
                    })).collect::<Vec<_>>(),
                });
                print(output.json, &json, || {
                    let quota = who
                        .plan
                        .as_ref()
                        .and_then(|plan| plan.quota_octets)
                        .map(|quota| quota.saturating_add(who.topped_up_octets));
                    let mut lines = vec![format!(
                        "{}  plan {}{}",
                        who.number.masked(),
                        who.plan.as_ref().map_or("none yet", |plan| plan.name.as_str()),
                        if who.is_blocked { "  BLOCKED" } else { "" }
                    )];
                    let of = quota.map_or_else(String::new, |quota| format!(" of {}", show_octets(quota)));
                    if who.has_authenticator {
                        lines.push("has an authenticator app".to_owned());
                    }
                    lines.push(format!(
                        "used {}{of}, {} held by gates",
                        show_octets(who.used_octets),
                        show_octets(who.leased_octets)
                    ));
                    lines.extend(who.devices.iter().map(|(mac, until)| match until {
                        Some(until) if *until > self.now => {
                            format!("device {}  remembered {}", mac.masked(), span(until.since(self.now)))
                        }
                        _ => format!("device {}  not remembered", mac.masked()),
                    }));
                    lines
                })
            }
            SubscriberCommand::Block { number } => {
                self.access.block(&number, true, &self.actor, self.now).await?;
                say(&format!("{} is blocked; its sessions end", number.masked()))
            }
            SubscriberCommand::Unblock { number } => {
                self.access.block(&number, false, &self.actor, self.now).await?;
                say(&format!("{} may come in again", number.masked()))
            }
            SubscriberCommand::Enrol { number } => {
                let secret = self.access.enrol_authenticator(&number, &self.actor, self.now).await?;
                say(&authenticator::invitation(&number, &secret)?)
            }
            SubscriberCommand::Unenrol { number } => {
                let had = self.access.forget_authenticator(&number, &self.actor, self.now).await?;
                let what = if had {
                    "has no authenticator app any more"
                } else {
                    "had no authenticator app"
                };
                say(&format!("{} {what}", number.masked()))
            }
            SubscriberCommand::TopUp { number, octets } => {
                self.access.top_up(&number, octets, &self.actor, self.now).await?;
                say(&format!(
                    "{} has {} more in this period",
                    number.masked(),
                    show_octets(octets)
                ))
            }
            SubscriberCommand::Plan { number, plan, .. } => {
                self.access
                    .set_subscriber_plan(&number, plan.as_deref(), &self.actor, self.now)
                    .await?;
                say(&format!(
                    "{} has {}",
                    number.masked(),
                    plan.map_or("the site's plan".to_owned(), |plan| format!("plan {plan}"))
                ))
            }
        }
    }

    pub(super) async fn session(&self, command: SessionCommand) -> anyhow::Result<()> {
        match command {
            SessionCommand::List { open, number, output } => {
                let query = SessionQuery {
                    is_live: open,
                    number,
                    ..SessionQuery::default()
                };
                let sessions = self.access.sessions(&query).await?;
                print(output.json, &sessions.iter().map(session_json).collect(), || {
                    sessions.iter().map(|session| session_line(session, self.now)).collect()
                })
            }
            SessionCommand::Show { id, output } => {
                let found = self.access.session(SessionId(id)).await?;
                let session = found.ok_or_else(|| missing("session", &id.to_string()))?;
                print(output.json, &session_json(&session), || {
                    vec![session_line(&session, self.now)]
                })
            }
            SessionCommand::End { id } => {
                if self.access.session(SessionId(id)).await?.is_none() {
                    return Err(missing("session", &id.to_string()).into());
                }
                if self.access.end_session(SessionId(id), &self.actor, self.now).await? {
                    say(&format!("session {id} is being ended"))
                } else {
                    say(&format!("session {id} had ended already"))
                }
            }
        }
    }

    pub(super) async fn voucher(&self, command: VoucherCommand) -> anyhow::Result<()> {
        match command {
            VoucherCommand::Create {
                octets,
                count,
                expires,
                label,
            } => {
                let expires_at = expires.map(|span| self.now + span);
                let codes = self
                    .access
                    .create_vouchers(count, octets, &label, expires_at, &self.actor, self.now)
                    .await?;
                codes.iter().try_for_each(|code| say(code))
            }
            VoucherCommand::List { label, output } => {
                let vouchers = self.access.vouchers(label.as_deref(), MOST_VOUCHERS).await?;
                let json = vouchers.iter().map(|voucher| {
                    json!({
                        "id": voucher.id, "label": voucher.label, "octets": voucher.octets,
                        "created_at": voucher.created_at.as_secs(),
                        "expires_at": voucher.expires_at.map(Timestamp::as_secs),
                        "used_at": voucher.used_at.map(Timestamp::as_secs),
                    })
                });
                print(output.json, &json.collect(), || {
                    let state = |used: bool| if used { "used" } else { "not used" };
                    vouchers
                        .iter()
                        .map(|v| {
                            format!(
                                "{}  {}  {}  {}",
                                v.id,
                                v.label,
                                show_octets(v.octets.unwrap_or(0)),
                                state(v.used_at.is_some())
                            )
                        })
                        .collect()
                })
            }
        }
    }
}

fn session_json(session: &SessionView) -> Value {
    json!({
        "id": session.id.0, "number": session.number.masked(), "mac": session.mac.map(kavadam_domain::Mac::masked),
        "nas": session.nas, "site": session.site, "state": session.state,
        "started_at": session.started_at.as_secs(), "ended_at": session.ended_at.map(Timestamp::as_secs),
        "terminate_cause": session.terminate_cause,
        "up_octets": session.counters.up_octets, "down_octets": session.counters.down_octets,
        "session_secs": session.counters.session_secs, "trouble": session.trouble,
    })
}

fn session_line(session: &SessionView, now: Timestamp) -> String {
    let octets = session.counters.up_octets.saturating_add(session.counters.down_octets);
    let trouble = session
        .trouble
        .as_ref()
        .map_or_else(String::new, |trouble| format!("  {trouble}"));
    format!(
        "{}  {}  {}  {}  {}  since {}  {}{trouble}",
        session.id,
        number(&session.number),
        session.site,
        session.nas,
        session.state,
        ago(now, session.started_at),
        show_octets(octets)
    )
}

fn number(number: &MobileNumber) -> String {
    number.masked()
}

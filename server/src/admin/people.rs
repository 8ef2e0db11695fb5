//! Subscribers.

use data_encoding::BASE32_NOPAD;
use kavadam_access::admin::SubscriberLine;
use kavadam_access::api::SubscriberView;
use kavadam_domain::{MobileNumber, Timestamp};
use serde_json::{Value, json};

use super::{Desk, ago, missing, print, say, sheet, span, table};
use crate::authenticator;
use crate::cli::{Output, SubscriberCommand};
use crate::units::show_octets;

impl Desk {
    pub(super) async fn subscriber(&self, command: SubscriberCommand) -> anyhow::Result<()> {
        let (access, actor, now) = (&self.access, self.actor.as_str(), self.now);
        match command {
            SubscriberCommand::List { most, output } => self.list_people(most, output).await,
            SubscriberCommand::Show { number, output } => self.show_person(&number, None, output).await,
            SubscriberCommand::Block { number, output } => {
                access.block(&number, true, actor, now).await?;
                self.show_person(&number, Some("is blocked; its sessions end"), output)
                    .await
            }
            SubscriberCommand::Unblock { number, output } => {
                access.block(&number, false, actor, now).await?;
                self.show_person(&number, Some("may come in again"), output).await
            }
            SubscriberCommand::Enrol { number, output } => {
                let secret = access.enrol_authenticator(&number, actor, now).await?;
                if output.json {
                    let key = BASE32_NOPAD.encode(&secret);
                    return print(true, &json!({ "number": number.masked(), "key": key }), Vec::new);
                }
                say(&authenticator::invitation(&number, &secret)?)
            }
            SubscriberCommand::Unenrol { number, output } => {
                let what = if access.forget_authenticator(&number, actor, now).await? {
                    "has no authenticator app any more"
                } else {
                    "had no authenticator app"
                };
                self.show_person(&number, Some(what), output).await
            }
            SubscriberCommand::TopUp { number, octets, output } => {
                access.top_up(&number, octets, actor, now).await?;
                let what = format!("has {} more in this period", show_octets(octets));
                self.show_person(&number, Some(&what), output).await
            }
            SubscriberCommand::Plan {
                number, plan, output, ..
            } => {
                access.set_subscriber_plan(&number, plan.as_deref(), actor, now).await?;
                let what = plan.map_or("has the site's plan".to_owned(), |plan| format!("has plan {plan}"));
                self.show_person(&number, Some(&what), output).await
            }
            SubscriberCommand::End { number, output } => {
                let ending = access.end_sessions_of(&number, actor, now).await?;
                let what = format!("is sent away: {ending} sessions are being ended");
                self.show_person(&number, Some(&what), output).await
            }
        }
    }

    async fn list_people(&self, most: u32, output: Output) -> anyhow::Result<()> {
        let people = self.access.subscribers(most).await?;
        let json = people.iter().map(|line| {
            json!({
                "number": line.number.masked(), "own_plan": line.own_plan, "is_blocked": line.is_blocked,
                "has_authenticator": line.has_authenticator, "created_at": line.created_at.as_secs(),
            })
        });
        let row = |line: &SubscriberLine| {
            [
                line.number.masked(),
                line.own_plan.clone().unwrap_or_else(|| "the site's".to_owned()),
                if line.is_blocked { "blocked" } else { "welcome" }.to_owned(),
                if line.has_authenticator { "yes" } else { "no" }.to_owned(),
                ago(self.now, line.created_at),
            ]
        };
        print(output.json, &json.collect(), || {
            table(
                ["NUMBER", "PLAN", "STATE", "APP", "FIRST SEEN"],
                people.iter().map(row).collect(),
            )
        })
    }

    /// As JSON the person as they are now; for people what was `done`, or the person if nothing was.
    async fn show_person(&self, number: &MobileNumber, done: Option<&str>, output: Output) -> anyhow::Result<()> {
        if let (Some(done), false) = (done, output.json) {
            return say(&format!("{} {done}", number.masked()));
        }
        let found = self.access.subscriber(number, self.now).await?;
        let who = found.ok_or_else(|| missing("subscriber", &number.masked()))?;
        print(output.json, &person_json(&who), || self.person_sheet(&who))
    }

    fn person_sheet(&self, who: &SubscriberView) -> Vec<String> {
        let plan = who.plan.as_ref();
        let quota = plan
            .and_then(|plan| plan.quota_octets)
            .map(|quota| quota.saturating_add(who.topped_up_octets));
        let of = quota.map_or_else(String::new, |quota| format!(" of {}", show_octets(quota)));
        let mut sides = vec![
            ("number", who.number.masked()),
            ("state", if who.is_blocked { "blocked" } else { "welcome" }.to_owned()),
            ("plan", plan.map_or("none yet".to_owned(), |plan| plan.name.clone())),
            ("used", format!("{}{of}", show_octets(who.used_octets))),
            ("held by gates", show_octets(who.leased_octets)),
            ("topped up", show_octets(who.topped_up_octets)),
            (
                "app",
                if who.has_authenticator { "enrolled" } else { "none" }.to_owned(),
            ),
        ];
        sides.extend(who.devices.iter().map(|(mac, until)| {
            let how = match until {
                Some(until) if *until > self.now => format!("remembered {}", span(until.since(self.now))),
                _ => "needs a code".to_owned(),
            };
            ("device", format!("{}  {how}", mac.masked()))
        }));
        sheet(&sides)
    }
}

fn person_json(who: &SubscriberView) -> Value {
    let plan = who.plan.as_ref();
    json!({
        "number": who.number.masked(), "plan": plan.map(|plan| &plan.name), "is_blocked": who.is_blocked,
        "has_authenticator": who.has_authenticator,
        "used_octets": who.used_octets, "leased_octets": who.leased_octets,
        "topped_up_octets": who.topped_up_octets, "quota_octets": plan.and_then(|plan| plan.quota_octets),
        "devices": who.devices.iter().map(|(mac, until)| json!({
            "mac": mac.masked(), "remembered_until": until.map(Timestamp::as_secs),
        })).collect::<Vec<_>>(),
    })
}

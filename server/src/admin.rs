//! The administrator's commands: parse, one use case, print.

use std::io::Write as _;
use std::time::Duration;

use anyhow::bail;
use kavadam_access::admin::{NasSetting, SessionQuery};
use kavadam_access::api::SessionView;
use kavadam_access::{Access, AccessError};
use kavadam_domain::plan::{AfterQuota, Period};
use kavadam_domain::{MobileNumber, Plan, PlanId, SessionId, Timestamp};
use serde_json::{Value, json};

use crate::cli::{
    Command, NasCommand, PlanCommand, PlanSettings, SessionCommand, SiteCommand, SubscriberCommand, VoucherCommand,
};
use crate::config::{Config, read_secret};
use crate::units::{show_octets, show_rate};
use crate::{authenticator, centre, clock};

/// Vouchers listed at most.
const MOST_VOUCHERS: u32 = 10_000;

/// Carries out an administrator's command on the configured database; the server may be running.
///
/// # Errors
/// The message is for the administrator.
pub async fn execute(config: &Config, command: Command) -> anyhow::Result<()> {
    if !config.file.role.has_centre() {
        bail!("this configuration has no centre: run the command where the database is");
    }
    let access = centre::open(config).await?;
    let desk = Desk {
        access,
        actor: actor(),
        now: clock::now(),
    };
    match command {
        Command::Plan(command) => desk.plan(command).await,
        Command::Site(command) => desk.site(command).await,
        Command::Nas(command) => desk.nas(command).await,
        Command::Subscriber(command) => desk.subscriber(command).await,
        Command::Session(command) => desk.session(command).await,
        Command::Voucher(command) => desk.voucher(command).await,
        _ => Ok(()),
    }
}

/// Who is at the keyboard, for the audit.
fn actor() -> String {
    let name = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    format!("cli:{}", name.unwrap_or_else(|_| "unknown".to_owned()))
}

struct Desk {
    access: Access,
    actor: String,
    now: Timestamp,
}

impl Desk {
    async fn plan(&self, command: PlanCommand) -> anyhow::Result<()> {
        match command {
            PlanCommand::List(output) => {
                let plans = self.access.plans().await?;
                print(output.json, &Value::from_iter(plans.iter().map(plan_json)), || {
                    plans.iter().map(plan_line).collect()
                })
            }
            PlanCommand::Show { name, output } => {
                let plan = self.find_plan(&name).await?.ok_or_else(|| missing("plan", &name))?;
                print(output.json, &plan_json(&plan), || vec![plan_line(&plan)])
            }
            PlanCommand::Set(settings) => {
                let plan = self
                    .find_plan(&settings.name)
                    .await?
                    .unwrap_or_else(|| new_plan(&settings.name));
                let plan = change(plan, &settings)?;
                self.access.set_plan(&plan, &self.actor, self.now).await?;
                say(&plan_line(&plan))
            }
        }
    }

    async fn find_plan(&self, name: &str) -> anyhow::Result<Option<Plan>> {
        Ok(self.access.plans().await?.into_iter().find(|plan| plan.name == name))
    }

    async fn site(&self, command: SiteCommand) -> anyhow::Result<()> {
        match command {
            SiteCommand::List(output) => {
                let sites = self.access.sites().await?;
                let json = sites
                    .iter()
                    .map(|s| json!({ "name": s.name, "is_open": s.is_open, "plan": s.plan }));
                print(output.json, &Value::from_iter(json), || {
                    let line = |s: &kavadam_access::admin::SiteView| {
                        format!(
                            "{}  {}  plan {}",
                            s.name,
                            if s.is_open { "open" } else { "closed" },
                            s.plan
                        )
                    };
                    sites.iter().map(line).collect()
                })
            }
            SiteCommand::Set { name, plan, closed } => {
                self.access
                    .set_site(&name, !closed, &plan, &self.actor, self.now)
                    .await?;
                say(&format!(
                    "{name}  {}  plan {plan}",
                    if closed { "closed" } else { "open" }
                ))
            }
        }
    }

    async fn nas(&self, command: NasCommand) -> anyhow::Result<()> {
        match command {
            NasCommand::List(output) => {
                let nases = self.access.nases().await?;
                let json = nases.iter().map(|nas| {
                    json!({
                        "name": nas.name, "site": nas.site, "source": nas.source.to_string(), "coa_port": nas.coa_port,
                        "last_address": nas.last_seen.map(|(address, _)| address.to_string()),
                        "last_seen_at": nas.last_seen.map(|(_, at)| at.as_secs()),
                    })
                });
                print(output.json, &Value::from_iter(json), || {
                    let seen = |nas: &kavadam_access::admin::NasView| match nas.last_seen {
                        Some((address, at)) => format!("seen from {address} {} ago", ago(self.now, at)),
                        None => "never seen".to_owned(),
                    };
                    nases
                        .iter()
                        .map(|n| format!("{}  {}  {}  {}", n.name, n.site, n.source, seen(n)))
                        .collect()
                })
            }
            NasCommand::Set {
                name,
                site,
                source,
                secret_file,
                uam_secret_file,
                coa_port,
            } => {
                let (secret, uam_secret) = (read_secret(&secret_file)?, read_secret(&uam_secret_file)?);
                let nas = NasSetting {
                    name: &name,
                    site: &site,
                    source,
                    secret: secret.as_bytes(),
                    uam_secret: uam_secret.as_bytes(),
                    coa_port,
                };
                self.access.set_nas(&nas, &self.actor, self.now).await?;
                say(&format!("{name}  {site}  {source}"))
            }
        }
    }

    async fn subscriber(&self, command: SubscriberCommand) -> anyhow::Result<()> {
        match command {
            SubscriberCommand::Show { number, output } => {
                let found = self.access.subscriber(&number, self.now).await?;
                let who = found.ok_or_else(|| missing("subscriber", &number.masked()))?;
                let json = json!({
                    "number": who.number.masked(), "plan": who.plan.name, "is_blocked": who.is_blocked,
                    "has_authenticator": who.has_authenticator,
                    "used_octets": who.used_octets, "leased_octets": who.leased_octets,
                    "topped_up_octets": who.topped_up_octets, "quota_octets": who.plan.quota_octets,
                    "devices": who.devices.iter().map(|(mac, until)| json!({
                        "mac": mac.masked(), "remembered_until": until.map(Timestamp::as_secs),
                    })).collect::<Vec<_>>(),
                });
                print(output.json, &json, || {
                    let quota = who
                        .plan
                        .quota_octets
                        .map(|quota| quota.saturating_add(who.topped_up_octets));
                    let mut lines = vec![format!(
                        "{}  plan {}{}",
                        who.number.masked(),
                        who.plan.name,
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

    async fn session(&self, command: SessionCommand) -> anyhow::Result<()> {
        match command {
            SessionCommand::List { open, number, output } => {
                let query = SessionQuery {
                    is_live: open,
                    number,
                    ..SessionQuery::default()
                };
                let sessions = self.access.sessions(&query).await?;
                print(
                    output.json,
                    &Value::from_iter(sessions.iter().map(session_json)),
                    || sessions.iter().map(|session| session_line(session, self.now)).collect(),
                )
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
                match self.access.end_session(SessionId(id), &self.actor, self.now).await? {
                    true => say(&format!("session {id} is being ended")),
                    false => say(&format!("session {id} had ended already")),
                }
            }
        }
    }

    async fn voucher(&self, command: VoucherCommand) -> anyhow::Result<()> {
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
                print(output.json, &Value::from_iter(json), || {
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

fn missing(kind: &'static str, name: &str) -> AccessError {
    AccessError::Missing {
        kind,
        name: name.to_owned(),
    }
}

/// What a plan is unless said otherwise.
fn new_plan(name: &str) -> Plan {
    Plan {
        id: PlanId(0),
        name: name.to_owned(),
        quota_octets: None,
        period: Period::Day,
        time_zone: "Asia/Kolkata".to_owned(),
        down_bits_per_sec: None,
        up_bits_per_sec: None,
        session_secs: None,
        idle_secs: Some(600),
        max_devices: 1,
        remembered_days: 14,
        after_quota: AfterQuota::Close,
    }
}

fn change(mut plan: Plan, settings: &PlanSettings) -> anyhow::Result<Plan> {
    let secs = |span: Duration| u32::try_from(span.as_secs());
    if let Some(quota) = settings.quota {
        plan.quota_octets = quota.0;
    }
    if let Some(period) = settings.period {
        plan.period = period.into();
    }
    if let Some(zone) = &settings.time_zone {
        plan.time_zone.clone_from(zone);
    }
    if let Some(down) = settings.down {
        plan.down_bits_per_sec = down.0;
    }
    if let Some(up) = settings.up {
        plan.up_bits_per_sec = up.0;
    }
    if let Some(time) = settings.session_time {
        plan.session_secs = time.0.map(secs).transpose()?;
    }
    if let Some(time) = settings.idle_time {
        plan.idle_secs = time.0.map(secs).transpose()?;
    }
    if let Some(devices) = settings.devices {
        plan.max_devices = devices;
    }
    if let Some(remember) = settings.remember {
        if !remember.as_secs().is_multiple_of(86_400) {
            bail!("--remember takes whole days, such as 14d");
        }
        plan.remembered_days = u32::try_from(remember.as_secs() / 86_400)?;
    }
    if let Some(after) = settings.after_quota {
        plan.after_quota = after;
    }
    Ok(plan)
}

fn plan_json(plan: &Plan) -> Value {
    let throttle = match plan.after_quota {
        AfterQuota::Close => None,
        AfterQuota::Throttle { bits_per_sec } => Some(bits_per_sec),
    };
    json!({
        "name": plan.name, "quota_octets": plan.quota_octets, "period": plan.period, "time_zone": plan.time_zone,
        "down_bits_per_sec": plan.down_bits_per_sec, "up_bits_per_sec": plan.up_bits_per_sec,
        "session_secs": plan.session_secs, "idle_secs": plan.idle_secs, "max_devices": plan.max_devices,
        "remembered_days": plan.remembered_days, "throttle_bits_per_sec": throttle,
    })
}

fn plan_line(plan: &Plan) -> String {
    let period = match plan.period {
        Period::Day => "a day",
        Period::Week => "a week",
        Period::Month => "a month",
        Period::Once => "once",
    };
    let quota = plan.quota_octets.map_or_else(
        || "no quota".to_owned(),
        |quota| format!("{} {period}", show_octets(quota)),
    );
    let after = match plan.after_quota {
        AfterQuota::Close => "then closed".to_owned(),
        AfterQuota::Throttle { bits_per_sec } => format!("then {}", show_rate(Some(bits_per_sec))),
    };
    format!(
        "{}  {quota}, {after}  down {} up {}  {} devices  remembered {} days",
        plan.name,
        show_rate(plan.down_bits_per_sec),
        show_rate(plan.up_bits_per_sec),
        plan.max_devices,
        plan.remembered_days
    )
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

fn ago(now: Timestamp, at: Timestamp) -> String {
    span(now.since(at))
}

/// In its largest whole unit.
fn span(span: Duration) -> String {
    match span.as_secs() {
        secs @ 0..120 => format!("{secs} s"),
        secs @ 120..7200 => format!("{} min", secs / 60),
        secs @ 7200..172_800 => format!("{} h", secs / 3600),
        secs => format!("{} days", secs / 86_400),
    }
}

/// As JSON, or as lines for people.
fn print(is_json: bool, json: &Value, lines: impl FnOnce() -> Vec<String>) -> anyhow::Result<()> {
    if is_json {
        return say(&serde_json::to_string_pretty(json)?);
    }
    lines().iter().try_for_each(|line| say(line))
}

/// A reader that went away is no failure.
fn say(line: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

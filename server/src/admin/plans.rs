//! Plans.

use std::time::Duration;

use anyhow::{anyhow, bail};
use kavadam_domain::plan::{AfterQuota, InvalidPlan, Period};
use kavadam_domain::{Plan, PlanId};
use serde_json::{Value, json};

use super::{Desk, ended, missing, print, print_set, sheet, table, units_of};
use crate::cli::{PlanCommand, PlanSettings};
use crate::units::{show_octets, show_rate};

impl Desk {
    pub(super) async fn plan(&self, command: PlanCommand) -> anyhow::Result<()> {
        match command {
            PlanCommand::List(output) => {
                let plans = self.access.plans().await?;
                print(output.json, &plans.iter().map(plan_json).collect(), || {
                    plan_table(&plans)
                })
            }
            PlanCommand::Show { name, output } => {
                let plan = self.find_plan(&name).await?.ok_or_else(|| missing("plan", &name))?;
                print(output.json, &plan_json(&plan), || plan_sheet(&plan))
            }
            PlanCommand::Set(settings) => {
                let known = self.find_plan(&settings.name).await?;
                let is_new = known.is_none();
                let plan = change(known.unwrap_or_else(|| new_plan(&settings.name)), &settings)?;
                plan.validate().map_err(|error| told(&error))?;
                self.access.set_plan(&plan, &self.actor, self.now).await?;
                let what = format!("plan {}", plan.name);
                print_set(settings.output.json, (&what, is_new), plan_json(&plan), || {
                    plan_sheet(&plan)
                })
            }
            PlanCommand::End { name, output } => {
                let plan = self.find_plan(&name).await?.ok_or_else(|| missing("plan", &name))?;
                self.access.end_plan(&name, &self.actor, self.now).await?;
                print(output.json, &ended(plan_json(&plan)), || {
                    vec![format!("plan {name} is offered no more")]
                })
            }
        }
    }

    async fn find_plan(&self, name: &str) -> anyhow::Result<Option<Plan>> {
        Ok(self.access.plans().await?.into_iter().find(|plan| plan.name == name))
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
        filter: None,
        class: None,
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
    if let Some(filter) = settings.filter {
        plan.filter = filter.0;
    }
    if let Some(class) = settings.class {
        plan.class = class.0;
    }
    Ok(plan)
}

/// What would be right, as it is written on the command line.
fn told(error: &InvalidPlan) -> anyhow::Error {
    let InvalidPlan::Limit { field, .. } = error else {
        return anyhow!("{error}");
    };
    anyhow!(match *field {
        "quota_octets" => "--quota: 1MiB to 1152921TB, or none",
        "down_bits_per_sec" => "--down: 8kbit to 4Gbit, or none",
        "up_bits_per_sec" => "--up: 8kbit to 4Gbit, or none",
        "throttle_bits_per_sec" => "--after-quota: throttle:8kbit to throttle:4Gbit, or close",
        "session_secs" => "--session-time: 1m to 365d, or none",
        "idle_secs" => "--idle-time: 30s to 1d, or none",
        "max_devices" => "--devices: 1 to 100",
        "remembered_days" => "--remember: 0d to 366d",
        _ => return anyhow!("{error}"),
    })
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
        "filter": plan.filter, "class": plan.class,
    })
}

/// Quota with its period, and what comes after it.
fn allowance(plan: &Plan) -> (String, String) {
    let period = match plan.period {
        Period::Day => "a day",
        Period::Week => "a week",
        Period::Month => "a month",
        Period::Once => "once",
    };
    let quota = plan
        .quota_octets
        .map_or_else(|| "none".to_owned(), |quota| format!("{} {period}", show_octets(quota)));
    let after = match plan.after_quota {
        AfterQuota::Close => "closed".to_owned(),
        AfterQuota::Throttle { bits_per_sec } => show_rate(Some(bits_per_sec)),
    };
    (quota, after)
}

fn named(name: Option<impl ToString>) -> String {
    name.map_or_else(|| "none".to_owned(), |name| name.to_string())
}

fn plan_table(plans: &[Plan]) -> Vec<String> {
    let row = |plan: &Plan| {
        let (quota, after) = allowance(plan);
        [
            plan.name.clone(),
            quota,
            after,
            show_rate(plan.down_bits_per_sec),
            show_rate(plan.up_bits_per_sec),
            plan.max_devices.to_string(),
            format!("{} days", plan.remembered_days),
            named(plan.filter),
            named(plan.class),
        ]
    };
    table(
        [
            "PLAN",
            "QUOTA",
            "THEN",
            "DOWN",
            "UP",
            "DEVICES",
            "REMEMBERED",
            "FILTER",
            "CLASS",
        ],
        plans.iter().map(row).collect(),
    )
}

fn plan_sheet(plan: &Plan) -> Vec<String> {
    let (quota, after) = allowance(plan);
    let exact = |secs: u32| units_of(Duration::from_secs(secs.into()), 4);
    let time = |secs: Option<u32>| secs.map_or("unlimited".to_owned(), exact);
    sheet(&[
        ("plan", plan.name.clone()),
        ("quota", quota),
        ("then", after),
        ("time zone", plan.time_zone.clone()),
        ("down", show_rate(plan.down_bits_per_sec)),
        ("up", show_rate(plan.up_bits_per_sec)),
        ("session time", time(plan.session_secs)),
        ("idle time", time(plan.idle_secs)),
        ("devices", plan.max_devices.to_string()),
        ("remembered", format!("{} days", plan.remembered_days)),
        ("filter", named(plan.filter)),
        ("class", named(plan.class)),
    ])
}

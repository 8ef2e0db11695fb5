//! Sites and gates.

use anyhow::{Context as _, bail};
use kavadam_access::admin::{NasChange, NasSetting, NasView, SiteView, Tie};
use kavadam_domain::Timestamp;
use kavadam_domain::gate::OWN_PROFILE;
use serde_json::{Value, json};

use super::{Desk, ago, ended, missing, print, print_set, sheet, table};
use crate::cli::{NasCommand, NasSettings, SiteCommand, SiteSettings};

impl Desk {
    pub(super) async fn site(&self, command: SiteCommand) -> anyhow::Result<()> {
        match command {
            SiteCommand::List(output) => {
                let nases = self.access.nases().await?;
                let sites = self.access.sites().await?;
                let json = sites.iter().map(|site| site_json(site, &gates_at(site, &nases)));
                let row = |site: &SiteView| {
                    let gates = gates_at(site, &nases).len().to_string();
                    [site.name.clone(), state(site), site.plan.clone(), gates]
                };
                print(output.json, &json.collect(), || {
                    table(["SITE", "STATE", "PLAN", "GATES"], sites.iter().map(row).collect())
                })
            }
            SiteCommand::Show { name, output } => self.show_site(&name, None, output.json).await,
            SiteCommand::Set(settings) => self.set_site(&settings).await,
            SiteCommand::End { name, output } => {
                let site = self.find_site(&name).await?.ok_or_else(|| missing("site", &name))?;
                self.access.end_site(&name, &self.actor, self.now).await?;
                print(output.json, &ended(site_json(&site, &[])), || {
                    vec![format!("site {name} is removed")]
                })
            }
        }
    }

    async fn set_site(&self, settings: &SiteSettings) -> anyhow::Result<()> {
        let name = settings.name.as_str();
        let known = self.find_site(name).await?;
        let plan = settings.plan.clone().or(known.as_ref().map(|site| site.plan.clone()));
        let plan = plan.with_context(|| {
            format!(
                "there is no site `{name}` yet, and a new one needs --plan (`kavadam site list` names those there are)"
            )
        })?;
        let is_open = settings.open || (!settings.closed && known.as_ref().is_none_or(|site| site.is_open));
        self.access
            .set_site(name, is_open, &plan, &self.actor, self.now)
            .await?;
        self.show_site(name, Some(known.is_none()), settings.output.json).await
    }

    /// `is_new` where it was just set.
    async fn show_site(&self, name: &str, is_new: Option<bool>, is_json: bool) -> anyhow::Result<()> {
        let site = self.find_site(name).await?.ok_or_else(|| missing("site", name))?;
        let nases = self.access.nases().await?;
        let gates = gates_at(&site, &nases);
        let lines = || {
            sheet(&[
                ("site", site.name.clone()),
                ("state", state(&site)),
                ("plan", site.plan.clone()),
                ("gates", gates.join(", ")),
            ])
        };
        let json = site_json(&site, &gates);
        match is_new {
            Some(is_new) => print_set(is_json, (&format!("site {name}"), is_new), json, lines),
            None => print(is_json, &json, lines),
        }
    }

    async fn find_site(&self, name: &str) -> anyhow::Result<Option<SiteView>> {
        Ok(self.access.sites().await?.into_iter().find(|site| site.name == name))
    }

    pub(super) async fn nas(&self, command: NasCommand) -> anyhow::Result<()> {
        match command {
            NasCommand::List(output) => {
                let nases = self.access.nases().await?;
                // Counting reports takes its time, and the table has no column for it.
                let unowned = if output.json {
                    self.access.unowned_reports_kept().await?
                } else {
                    Vec::new()
                };
                let counted = |nas| counted(nas, &unowned).1;
                print(output.json, &nases.iter().map(counted).collect(), || {
                    table(
                        ["GATE", "SITE", "SOURCE", "VENDOR", "ORDERS TO", "RENEWS", "LAST SEEN"],
                        nases.iter().map(|nas| self.nas_sides(nas)).collect(),
                    )
                })
            }
            NasCommand::Show { name, output } => self.show_nas(&name, None, output.json).await,
            NasCommand::Vendors { print, output } => self.vendors(print.as_deref(), output),
            NasCommand::Set(settings) => {
                let is_new = self.set_nas(&settings).await?;
                self.show_nas(&settings.name, Some(is_new), settings.output.json).await
            }
            NasCommand::End { name, output } => {
                let nas = self.find_nas(&name).await?.ok_or_else(|| missing("gate", &name))?;
                let sessions = self.access.end_nas(&name, &self.actor, self.now).await?;
                print(output.json, &ended(nas_json(&nas)), || {
                    vec![format!(
                        "gate {name} is known no more; {sessions} sessions ended with it"
                    )]
                })
            }
        }
    }

    /// Whether it is new.
    async fn set_nas(&self, settings: &NasSettings) -> anyhow::Result<bool> {
        let name = settings.name.as_str();
        let read = |file: &Option<std::path::PathBuf>| file.as_deref().map(|file| self.secrets.read(file)).transpose();
        let (secret, uam_secret) = (read(&settings.secret_file)?, read(&settings.uam_secret_file)?);
        let change = NasChange {
            site: settings.site.as_deref(),
            source: settings.source,
            secret: secret.as_ref().map(|secret| secret.as_bytes()),
            old_secret_until: settings.old_secret_until,
            unsigned_until: settings.no_message_authenticator_until,
            is_ms_chap_allowed: settings.ms_chap,
            uam_secret: uam_secret.as_ref().map(|secret| secret.as_bytes()),
            coa_port: settings.coa_port,
            coa_host: settings.coa_host.as_deref(),
            profile: settings.vendor.as_deref(),
            is_renewing: settings.renews,
            certificate: settings
                .certificate_name
                .as_ref()
                .map(|name| name.0.as_ref().map_or(Tie::Nothing, Tie::To)),
        };
        if self.find_nas(name).await?.is_some() {
            self.access.change_nas(name, &change, &self.actor, self.now).await?;
            return Ok(false);
        }
        if change.old_secret_until.is_some() {
            bail!("a new gate has no old secret");
        }
        let needed = || {
            format!(
                "there is no gate `{name}` yet, and a new one needs --site, --source, --secret-file and --uam-secret-file"
            )
        };
        let profile = change.profile.unwrap_or(OWN_PROFILE);
        let nas = NasSetting {
            name,
            site: change.site.with_context(needed)?,
            source: change.source.with_context(needed)?,
            secret: change.secret.with_context(needed)?,
            uam_secret: change.uam_secret.with_context(needed)?,
            coa_port: change.coa_port.unwrap_or(self.profiles.get(profile).coa_port()),
            coa_host: change.coa_host.filter(|host| !host.is_empty()),
            profile,
            is_renewing: change.is_renewing.unwrap_or(false),
        };
        self.access.make_nas(&nas, &change, &self.actor, self.now).await?;
        Ok(true)
    }

    /// `is_new` where it was just set.
    async fn show_nas(&self, name: &str, is_new: Option<bool>, is_json: bool) -> anyhow::Result<()> {
        let nas = self.find_nas(name).await?.ok_or_else(|| missing("gate", name))?;
        if let Some(is_new) = is_new {
            // Not counting reports: that may take too long, and what was set is set.
            let what = format!("gate {name}");
            return print_set(is_json, (&what, is_new), nas_json(&nas), || self.nas_sheet(&nas, 0));
        }
        let unowned = self.access.unowned_reports_kept().await?;
        let (unowned, json) = counted(&nas, &unowned);
        print(is_json, &json, || self.nas_sheet(&nas, unowned))
    }

    fn nas_sheet(&self, nas: &NasView, unowned: u64) -> Vec<String> {
        let [name, site, source, vendor, orders, renews, seen] = self.nas_sides(nas);
        let certificate = nas
            .certificate_name
            .as_ref()
            .map_or("none".to_owned(), ToString::to_string);
        let mut sides = vec![
            ("gate", name),
            ("site", site),
            ("source", source),
            ("vendor", vendor),
            ("orders to", orders),
            ("renews leases", renews),
            ("certificate", certificate),
            ("last seen", seen),
            ("old secret valid", until(nas.old_secret_until, self.now)),
            ("without Message-Authenticator", until(nas.unsigned_until, self.now)),
            (
                "MS-CHAPv2",
                if nas.is_ms_chap_allowed { "yes" } else { "no" }.to_owned(),
            ),
        ];
        if unowned > 0 {
            sides.push(("reports of no session", unowned.to_string()));
        }
        let cannot = self.cannot(&nas.profile);
        if !cannot.is_empty() {
            sides.push(("cannot", cannot));
        }
        sheet(&sides)
    }

    async fn find_nas(&self, name: &str) -> anyhow::Result<Option<NasView>> {
        Ok(self.access.nases().await?.into_iter().find(|nas| nas.name == name))
    }

    /// Where it takes orders.
    fn orders_to(&self, nas: &NasView) -> String {
        let ports = self.profiles.get(&nas.profile).ports_of(nas.coa_port);
        let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
        let ports = ports.join(" or ");
        match &nas.coa_host {
            Some(host) => format!("{host}, port {ports}"),
            None => format!("port {ports}"),
        }
    }

    fn nas_sides(&self, nas: &NasView) -> [String; 7] {
        let seen = nas.last_seen.map_or("never".to_owned(), |(address, at)| {
            format!("{} from {address}", ago(self.now, at))
        });
        [
            nas.name.clone(),
            nas.site.clone(),
            nas.source.to_string(),
            nas.profile.clone(),
            self.orders_to(nas),
            if nas.is_renewing { "yes" } else { "no" }.to_owned(),
            seen,
        ]
    }
}

fn state(site: &SiteView) -> String {
    if site.is_open { "open" } else { "closed" }.to_owned()
}

fn gates_at<'a>(site: &SiteView, nases: &'a [NasView]) -> Vec<&'a str> {
    let there = nases.iter().filter(|nas| nas.site == site.name);
    there.map(|nas| nas.name.as_str()).collect()
}

fn site_json(site: &SiteView, gates: &[&str]) -> Value {
    json!({ "name": site.name, "is_open": site.is_open, "plan": site.plan, "nases": gates })
}

/// Until when, for something that ends by itself.
fn until(end: Option<Timestamp>, now: Timestamp) -> String {
    match end.and_then(Timestamp::to_jiff) {
        None => "no".to_owned(),
        Some(at) if end > Some(now) => format!("until {at:.0}"),
        Some(at) => format!("no more since {at:.0}"),
    }
}

fn nas_json(nas: &NasView) -> Value {
    json!({
        "name": nas.name, "site": nas.site, "source": nas.source.to_string(), "coa_port": nas.coa_port,
        "coa_host": nas.coa_host, "vendor": nas.profile, "is_renewing": nas.is_renewing,
        "old_secret_until": nas.old_secret_until.map(Timestamp::as_secs),
        "no_message_authenticator_until": nas.unsigned_until.map(Timestamp::as_secs),
        "is_ms_chap_allowed": nas.is_ms_chap_allowed,
        "certificate_name": nas.certificate_name.as_ref().map(ToString::to_string),
        "last_address": nas.last_seen.map(|(address, _)| address.to_string()),
        "last_seen_at": nas.last_seen.map(|(_, at)| at.as_secs()),
    })
}

/// With its reports of no session, and how many there are.
fn counted(nas: &NasView, unowned: &[(String, u64)]) -> (u64, Value) {
    let unowned = unowned.iter().find(|(of, _)| *of == nas.name);
    let unowned = unowned.map_or(0, |(_, count)| *count);
    let mut json = nas_json(nas);
    if let Some(keys) = json.as_object_mut() {
        keys.insert("unowned_reports".to_owned(), unowned.into());
    }
    (unowned, json)
}

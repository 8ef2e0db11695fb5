//! Sites and gates.

use kavadam_access::admin::NasSetting;
use serde_json::json;

use super::{Desk, ago, print, say};
use crate::cli::{NasCommand, SiteCommand};

impl Desk {
    pub(super) async fn site(&self, command: SiteCommand) -> anyhow::Result<()> {
        match command {
            SiteCommand::List(output) => {
                let sites = self.access.sites().await?;
                let json = sites
                    .iter()
                    .map(|s| json!({ "name": s.name, "is_open": s.is_open, "plan": s.plan }));
                print(output.json, &json.collect(), || {
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

    pub(super) async fn nas(&self, command: NasCommand) -> anyhow::Result<()> {
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
                print(output.json, &json.collect(), || {
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
                let (secret, uam_secret) = (self.secrets.read(&secret_file)?, self.secrets.read(&uam_secret_file)?);
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
}

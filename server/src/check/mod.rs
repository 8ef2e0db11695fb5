//! Everything that would keep it from running, each with its remedy.

mod addresses;
mod advertised;
mod blocklists;
mod certificates;
mod classes;
mod gates;
mod lans;
mod machine;
mod portal;
mod ports;
mod prefixes;
mod readable;
mod settings;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use kavadam_access::Access;

use crate::centre::{self, Looked, Unopened};
use crate::config::Config;

/// Looks, prints, and fails if something must be put right.
pub async fn check(path: &Path) -> ExitCode {
    let mut findings = Findings::default();
    machine::check_shut(&mut findings);
    let correct = format!("correct {}", path.display());
    match Config::examine(path) {
        Err(problem) => {
            findings.bad(&problem.to_string(), &correct);
            lans::look_at_own(path, &mut findings);
            lans::look(path, None, &mut findings);
        }
        Ok((config, mut problems)) => {
            problems.extend(config.secret_problems());
            for problem in problems {
                findings.bad(&problem.to_string(), &correct);
            }
            lans::look_at_own(path, &mut findings);
            look(&config, path, &mut findings).await;
        }
    }
    findings.print()
}

async fn look(config: &Config, path: &Path, findings: &mut Findings) {
    machine::check_state(&config.file.state_dir, findings);
    let unreadable = readable::look(config, path, findings);
    if config.file.role.has_centre() {
        look_at_database(config, findings).await;
    }
    let gateway = config.file.role.has_gateway().then(|| config.gateway_outline());
    if let Some(gateway) = &gateway {
        match gateway {
            Ok(gateway) => {
                for problem in kavadam_gateway::check(gateway) {
                    findings.bad(&problem.what, &problem.remedy);
                }
                blocklists::look("gateway.blocked", &gateway.blocked.files, findings);
                for (name, filter) in &gateway.filters {
                    blocklists::look(&format!("gateway.filters.{name}"), &filter.files, findings);
                }
                ports::look_at_public_addresses(gateway, findings);
                prefixes::look(&gateway.layout(), findings);
                addresses::look(&gateway.dnsmasq, findings);
                advertised::look(config, gateway, findings);
                portal::look(config, gateway, findings);
                if gateway.api.is_none() {
                    findings
                        .note("the captive portal API (RFC 8908) is off: devices find the portal by being redirected");
                }
                // Under a name that nobody has: the gate's own table is closed to others as long as the gateway runs.
                let table = format!("kavadam-check-{}", std::process::id());
                let tried = kavadam_firewall::Layout {
                    table,
                    ..gateway.layout()
                };
                check_kernel(
                    &kavadam_firewall::ruleset::text(&tried),
                    gateway.lan6.is_some(),
                    gateway.max_sessions,
                    findings,
                );
            }
            Err(error) => findings.bad(&format!("{error:#}"), "see [gateway]"),
        }
    }
    if config.metrics_listen.is_some() && !config.file.role.has_radius() {
        findings.note("metrics.listen plays no part here: the process with the RADIUS server tells figures");
    }
    lans::look(path, gateway.and_then(Result::ok).as_ref(), findings);
    certificates::look(config, &unreadable, findings);
    ports::look(config, path, findings);
    machine::check_time(findings);
}

async fn look_at_database(config: &Config, findings: &mut Findings) {
    let access = match centre::look(config).await {
        Ok(Looked::Here(access)) => access,
        Ok(Looked::Nothing) => {
            return findings.good("there is no database yet, or nothing in it: the first start makes it");
        }
        Ok(Looked::Older) => {
            return findings.note(
                "the database is as an older version left it: the next start brings it up to date, so back it up before",
            );
        }
        Err(error) => {
            return match error.downcast_ref::<Unopened>() {
                Some(error) => findings.bad(&error.what, error.remedy),
                None => findings.bad(&format!("{error:#}"), "see state_dir, secrets and database"),
            };
        }
    };
    match access.plans().await {
        Ok(plans) => {
            findings.good("the database answers, and the master key is its own");
            if config.file.role.has_gateway() {
                blocklists::look_at_plans(&plans, &config.file.gateway.filters, findings);
                classes::look_at_plans(&plans, &config.file.gateway.uplink.classes, findings);
            }
            gates::look(&access, findings).await;
            look_at_gates(config, &access, findings).await;
        }
        Err(error) => findings.bad(&format!("the database does not answer: {error}"), "see database.url"),
    }
    access.close().await;
}

/// Gates whose vendor is not known here, and sessions that go on against what was asked of their gates.
async fn look_at_gates(config: &Config, access: &Access, findings: &mut Findings) {
    if !config.file.radius.profiles.as_os_str().is_empty() {
        let known = config.profiles.iter().count();
        findings.good(&format!(
            "{known} vendors' gates are known, with those of radius.profiles"
        ));
    }
    let Ok(gates) = access.nases().await else { return };
    portal::look_at_others(config, &gates, findings);
    for gate in gates {
        if !config.profiles.knows(&gate.profile) {
            findings.bad(
                &format!("the gate `{}` is of the vendor `{}`, of whom there is no profile", gate.name, gate.profile),
                "put the profile back into the directory of radius.profiles, or `kavadam nas set --vendor` another (`kavadam nas vendors`)",
            );
        } else if !config.profiles.get(&gate.profile).abilities().is_cut {
            findings.note(&format!(
                "the gate `{}` ({}) takes no order to end a session: each goes on to its own end",
                gate.name, gate.profile
            ));
        }
    }
    if let Ok(troubled @ 1..) = access.troubled_sessions().await {
        findings.unsure(&format!(
            "{troubled} sessions go on although their gates were asked to end or change them: `kavadam session list --open` says why"
        ));
    }
}

/// The kernel's settings, and whether it takes our rules (`nft --check` changes nothing).
fn check_kernel(rules: &str, has_ipv6: bool, max_sessions: u32, findings: &mut Findings) {
    settings::look(
        has_ipv6,
        max_sessions,
        |path| std::fs::read_to_string(path).ok(),
        findings,
    );
    let nft = Command::new("nft")
        .args(["--check", "-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut nft) = nft else {
        return findings.bad("nft is not installed", "apt-get install nftables");
    };
    let written = nft.stdin.take().map(|mut stdin| stdin.write_all(rules.as_bytes()));
    match (written, nft.wait_with_output()) {
        (Some(Ok(())), Ok(output)) if output.status.success() => findings.good("the kernel takes our rules"),
        (_, Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let line = said.lines().next().unwrap_or("no reason given");
            findings.bad(
                &format!("nft refuses our rules: {line}"),
                "run this as root, on Linux 5.12 or newer with nftables (CONFIG_NF_TABLES_INET, NFT_QUOTA, NFT_LIMIT, NFT_CT)",
            );
        }
        (_, Err(error)) => findings.bad(&format!("nft does not run: {error}"), "apt-get install nftables"),
    }
}

#[derive(Default)]
struct Findings {
    lines: Vec<String>,
    bad: usize,
}

impl Findings {
    fn good(&mut self, what: &str) {
        self.lines.push(format!("ok       {what}"));
    }

    fn note(&mut self, what: &str) {
        self.lines.push(format!("note     {what}"));
    }

    fn unsure(&mut self, what: &str) {
        self.lines.push(format!("unsure   {what}"));
    }

    fn bad(&mut self, what: &str, remedy: &str) {
        self.bad += 1;
        self.lines.push(format!("PROBLEM  {what}\n         → {remedy}"));
    }

    fn print(self) -> ExitCode {
        let mut out = std::io::stdout();
        // A reader that went away is no failure.
        let _ = self.lines.iter().try_for_each(|line| writeln!(out, "{line}"));
        if self.bad == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

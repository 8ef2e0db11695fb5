//! What the audit says of a thing that was made or changed.

use kavadam_domain::plan::{AfterQuota, Period};
use kavadam_domain::{CertificateName, Plan, Timestamp};
use kavadam_store::{NasProof, NasRow, NewNas, SiteRow};

use crate::Sealer;
use crate::seal::SealError;

/// A side of a thing, and how it is set.
pub(super) type Side = (&'static str, String);

/// Of a new thing what it has, of another what was and what is.
pub(super) fn difference(before: Option<&[Side]>, after: &[Side]) -> String {
    let Some(before) = before else {
        let has = after.iter().filter(|(_, value)| value != "none" && value != "no");
        let all: Vec<String> = has.map(|(name, value)| format!("{name} {value}")).collect();
        return format!("new: {}", all.join(", "));
    };
    let both = before.iter().zip(after);
    let changed = both.filter(|(was, is)| was != is);
    let told: Vec<String> = changed
        .map(|((name, was), (_, is))| format!("{name} {was} → {is}"))
        .collect();
    if told.is_empty() {
        "as before".to_owned()
    } else {
        told.join(", ")
    }
}

pub(super) fn of_plan(plan: &Plan) -> Vec<Side> {
    let some = |value: Option<u64>, unit| value.map_or("none".to_owned(), |value| format!("{value} {unit}"));
    let name = |name: Option<String>| name.unwrap_or_else(|| "none".to_owned());
    let period = match plan.period {
        Period::Day => "day",
        Period::Week => "week",
        Period::Month => "month",
        Period::Once => "once",
    };
    let after = match plan.after_quota {
        AfterQuota::Close => "close".to_owned(),
        AfterQuota::Throttle { bits_per_sec } => format!("throttle {bits_per_sec} bit/s"),
    };
    vec![
        ("quota", some(plan.quota_octets, "octets")),
        ("period", period.to_owned()),
        ("time zone", plan.time_zone.clone()),
        ("down", some(plan.down_bits_per_sec, "bit/s")),
        ("up", some(plan.up_bits_per_sec, "bit/s")),
        ("session time", some(plan.session_secs.map(u64::from), "s")),
        ("idle time", some(plan.idle_secs.map(u64::from), "s")),
        ("devices", plan.max_devices.to_string()),
        ("remembered", format!("{} days", plan.remembered_days)),
        ("then", after),
        ("filter", name(plan.filter.map(|name| name.to_string()))),
        ("class", name(plan.class.map(|name| name.to_string()))),
    ]
}

pub(super) fn of_site(is_open: bool, plan: &str) -> Vec<Side> {
    let state = if is_open { "open" } else { "closed" };
    vec![("state", state.to_owned()), ("plan", plan.to_owned())]
}

pub(super) fn of_certificate(name: Option<&CertificateName>) -> Vec<Side> {
    vec![("certificate", name.map_or("none".to_owned(), ToString::to_string))]
}

/// A gate as it was, if it was there, and as it is; of its secrets no more than that they are new.
///
/// # Errors
/// A secret does not open.
pub(super) fn of_nas(
    before: Option<&NasRow>,
    after: &NewNas,
    proof: &NasProof,
    sites: &[SiteRow],
    sealer: &Sealer,
) -> Result<String, SealError> {
    let site = |id| sites.iter().find(|site| site.id == id);
    let site = |id| site(id).map_or_else(String::new, |site| format!("`{}`", site.name));
    let is = sides(site(after.site_id), after, proof);
    let Some(known) = before else {
        return Ok(difference(None, &is));
    };
    let was = NewNas {
        name: known.name.clone(),
        site_id: known.site_id,
        source: known.source,
        secret_sealed: Vec::new(),
        uam_secret_sealed: Vec::new(),
        coa_port: known.coa_port,
        coa_host: known.coa_host.clone(),
        profile: known.profile.clone(),
        is_renewing: known.is_renewing,
    };
    let was = sides(site(known.site_id), &was, &known.proof());
    let mut told = vec![difference(Some(&was), &is)];
    for (what, was, is) in [
        ("new secret", &known.secret_sealed, &after.secret_sealed),
        ("new UAM secret", &known.uam_secret_sealed, &after.uam_secret_sealed),
    ] {
        if was != is && sealer.open(was)? != sealer.open(is)? {
            told.push(what.to_owned());
        }
    }
    if told.len() > 1 {
        told.retain(|part| part != "as before");
    }
    Ok(told.join(", "))
}

fn sides(site: String, nas: &NewNas, proof: &NasProof) -> Vec<Side> {
    let until = |end: Option<Timestamp>| {
        let end = end.and_then(Timestamp::to_jiff);
        end.map_or("no".to_owned(), |end| format!("until {end:.0}"))
    };
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    vec![
        ("site", site),
        ("source", nas.source.to_string()),
        ("vendor", nas.profile.clone()),
        ("CoA port", nas.coa_port.to_string()),
        ("CoA host", nas.coa_host.clone().unwrap_or_else(|| "none".to_owned())),
        ("renews", yes(nas.is_renewing)),
        ("old secret valid", until(proof.old_secret_until)),
        ("without Message-Authenticator", until(proof.unsigned_until)),
        ("MS-CHAPv2", yes(proof.is_ms_chap_allowed)),
    ]
}

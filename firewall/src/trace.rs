//! Why a device is where it is: what its packets meet, in that order, and what would change it.
//!
//! The rules are those of `docs/enforcement.md`; this says which of them hold for one device.

mod state;

use std::net::Ipv4Addr;
use std::time::Duration;

use kavadam_domain::Mac;

pub use state::DeviceState;

use crate::gate::{SeenDevice, SeenSession, Stay};
use crate::session::SessionState;

/// A rule that was asked, and the fact that answered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Chain or set of the table, as `nft` shows it.
    pub rule: &'static str,
    /// What holds there for the device.
    pub fact: String,
}

/// The answer to "why".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Where it is.
    pub state: DeviceState,
    /// How it comes there.
    pub steps: Vec<Step>,
    /// What would bring it further.
    pub next: String,
}

impl Trace {
    /// Of what the kernel knows. `is_strict`: who has no lease is not heard.
    #[must_use]
    pub fn of(device: &SeenDevice, is_strict: bool) -> Self {
        let mut steps = vec![auth("auth4", "IPv4", device.auth4), auth("auth6", "IPv6", device.auth6)];
        let is_known = device.auth4.is_some() || device.auth6.is_some();
        let state = match &device.session {
            Some(seen) if is_known => {
                steps.extend(limits(seen));
                let elsewhere = speaks_from_elsewhere(device, seen);
                let is_elsewhere = elsewhere.is_some();
                steps.extend(elsewhere);
                match (is_elsewhere, seen.is_used_up) {
                    (true, _) => DeviceState::Misaddressed,
                    (false, true) => DeviceState::UsedUp,
                    (false, false) => DeviceState::Online,
                }
            }
            other => {
                if let Some(seen) = other {
                    steps.push(ended(seen));
                }
                steps.extend(before_login(device, is_strict));
                match other {
                    Some(seen) if matches!(seen.session.state, SessionState::Online { .. }) => {
                        DeviceState::Misaddressed
                    }
                    Some(_) => DeviceState::Expired,
                    None if is_strict && device.leases.is_empty() && device.may_use_ipv6.is_none() => {
                        DeviceState::Unheard
                    }
                    None => DeviceState::Stranger,
                }
            }
        };
        steps.extend(held(device));
        Self {
            state,
            steps,
            next: state.next().to_owned(),
        }
    }
}

fn auth(rule: &'static str, family: &str, found: Option<(crate::Slot, Stay)>) -> Step {
    let fact = found.map_or_else(
        || format!("its {family} packets belong to no session"),
        |(slot, stay)| format!("its {family} packets belong to {slot}{}", for_another(stay)),
    );
    Step { rule, fact }
}

/// In the order in which a packet meets them.
fn limits(seen: &SeenSession) -> Vec<Step> {
    let session = &seen.session;
    let speed = |octets: Option<u64>| {
        octets.map_or("no limit".to_owned(), |octets| {
            format!("{} bit/s", grouped(octets.saturating_mul(8)))
        })
    };
    let limit = session
        .pool_limit_octets
        .map_or("no limit".to_owned(), |limit| format!("{} octets", grouped(limit)));
    let meter = &session.meter;
    let step = |rule, fact| Step { rule, fact };
    let filter = session.filter.map(|name| {
        let fact = format!("where it may go is asked of the filter {name} too, once for each connection");
        step("filtered", fact)
    });
    let limits = [
        step(
            "lim_up",
            format!("speed towards the internet: {}", speed(seen.up_octets_per_sec)),
        ),
        step(
            "lim_down",
            format!("speed towards the device: {}", speed(seen.down_octets_per_sec)),
        ),
        step(
            "total",
            format!(
                "{} has used {} octets of {limit}",
                session.pool,
                grouped(session.pool_used_octets)
            ),
        ),
        step(
            "cnt_up",
            format!(
                "{} octets in {} packets went up",
                grouped(meter.up_octets),
                grouped(meter.up_packets)
            ),
        ),
        step(
            "cnt_down",
            format!(
                "{} octets in {} packets came down",
                grouped(meter.down_octets),
                grouped(meter.down_packets)
            ),
        ),
    ];
    let class = session.class.map(|name| {
        let fact = match &seen.queue {
            Some(queue) => format!("where the line is full it waits in queue {queue}, of the class {name}"),
            None => format!(
                "its class {name} is not among this gate's: where the line is full it waits as those without one"
            ),
        };
        step("classed", fact)
    });
    let free = meter.free.map(|free| {
        let went = format!("{} octets went up free of charge", grouped(free.up));
        let came = format!("{} octets came down free of charge", grouped(free.down));
        [step("cnt_free_up", went), step("cnt_free_down", came)]
    });
    let free = free.into_iter().flatten();
    filter.into_iter().chain(limits).chain(class).chain(free).collect()
}

/// Its IPv4 packets are a stranger's then, whatever its IPv6 packets are. A device without a lease has no IPv4 address, or a fixed one.
fn speaks_from_elsewhere(device: &SeenDevice, seen: &SeenSession) -> Option<Step> {
    let leased: Vec<Ipv4Addr> = device.leases.iter().map(|(ipv4, _)| *ipv4).collect();
    if leased.is_empty() || seen.session.ipv4.is_some_and(|own| leased.contains(&own)) {
        return None;
    }
    let own = seen
        .session
        .ipv4
        .map_or("no IPv4 address".to_owned(), |own| own.to_string());
    let now = leased.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Some(Step {
        rule: "leases",
        fact: format!("its session is for {own}, and DHCP has given it {now}"),
    })
}

fn ended(seen: &SeenSession) -> Step {
    let slot = seen.session.slot;
    let fact = match seen.session.state {
        SessionState::Expired => format!("{slot} has come to its end and waits for the gateway to close it"),
        SessionState::Online { .. } => format!("{slot} is there, but no address leads to it"),
    };
    Step { rule: "total", fact }
}

fn before_login(device: &SeenDevice, is_strict: bool) -> Vec<Step> {
    let step = |rule, fact| Step { rule, fact };
    if !is_strict {
        return vec![step("stranger", "everybody is heard here (strict = false)".to_owned())];
    }
    let mut steps: Vec<Step> = device
        .leases
        .iter()
        .map(|(ipv4, stay)| step("leases", format!("it may speak from {ipv4}{}", for_another(*stay))))
        .collect();
    if steps.is_empty() {
        steps.push(step(
            "leases",
            "it has no DHCP lease: what it sends over IPv4 is dropped".to_owned(),
        ));
    }
    steps.push(step(
        "lease_macs",
        device
            .may_use_ipv6
            .map_or("without a lease it is not heard over IPv6 either".to_owned(), |stay| {
                format!("it may speak over IPv6{}", for_another(stay))
            }),
    ));
    if !device.leases.is_empty() {
        let fact = "HTTP is led to the portal, DNS is answered here and slowly, the walled garden is open, the rest is refused at once";
        steps.push(step("stranger", fact.to_owned()));
    }
    steps
}

/// Over IPv6: from where nobody else is heard, and from where it is not.
fn held(device: &SeenDevice) -> Vec<Step> {
    let own = device.holds.iter().map(|(address, stay)| Step {
        rule: "held6",
        fact: format!(
            "it holds {address}{}: nobody else is heard from there",
            for_another(*stay)
        ),
    });
    let of_others = device.held_by_others.iter().map(|(address, holder)| Step {
        rule: "held6",
        fact: format!(
            "{address} is held by {}: what it sends from there is dropped",
            holder.map_or_else(|| "another device".to_owned(), Mac::masked)
        ),
    });
    own.chain(of_others).collect()
}

fn for_another(stay: Stay) -> String {
    stay.map_or_else(
        || ", until it is taken away".to_owned(),
        |left| format!(", for another {}", time(left)),
    )
}

/// Hours, minutes and seconds, the two largest that are there.
fn time(span: Duration) -> String {
    let secs = span.as_secs();
    match (secs / 3600, secs / 60 % 60, secs % 60) {
        (0, 0, secs) => format!("{secs} s"),
        (0, minutes, secs) => format!("{minutes} min {secs} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;

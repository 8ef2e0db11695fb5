//! Why a device is where it is: what its packets meet, in that order, and what would change it.
//!
//! The rules are those of `docs/enforcement.md`; this says which of them hold for one device.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::gate::{SeenDevice, SeenSession, Stay};
use crate::session::SessionState;

/// Where a device is, as in `docs/enforcement.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceState {
    /// It may ask for an address, and nothing else.
    Unheard,
    /// It sees the portal and the walled garden.
    Stranger,
    /// Its packets pass.
    Online,
    /// They would, but the quota is used up.
    UsedUp,
    /// It has a session, but speaks from an address that is not the session's.
    Misaddressed,
    /// They did until its time was up; the session waits to be closed.
    Expired,
}

impl DeviceState {
    /// One word, for programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unheard => "unheard",
            Self::Stranger => "stranger",
            Self::Online => "online",
            Self::UsedUp => "used_up",
            Self::Misaddressed => "misaddressed",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unheard => "unheard: only DHCP and neighbour discovery are answered",
            Self::Stranger => "a stranger: it sees the portal and the walled garden",
            Self::Online => "online",
            Self::UsedUp => "online, but its quota is used up: nothing passes",
            Self::Misaddressed => "misaddressed: it has a session, but not for the IPv4 address it has now",
            Self::Expired => "expired: its time is up and nothing passes",
        })
    }
}

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
        Self {
            state,
            steps,
            next: next(state).to_owned(),
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
    filter.into_iter().chain(limits).chain(class).collect()
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

const fn next(state: DeviceState) -> &'static str {
    match state {
        DeviceState::Unheard => {
            "It has to ask for an address: leave the Wi-Fi and join again. If that does not help, see whether dnsmasq runs \
             (`systemctl status kavadam-dnsmasq`), and whether the device has a fixed address, which needs an entry of its own."
        }
        DeviceState::Stranger => {
            "Its person has to log in: any page over http:// leads to the portal. If they just did, ask the centre: `kavadam why`."
        }
        DeviceState::Online => {
            "Nothing is in its way here. If a page does not open, look at DNS and the uplink (`kavadam check`); if it is slow, at the plan's speed."
        }
        DeviceState::UsedUp => {
            "It goes on as soon as its quota is raised (`kavadam subscriber top-up`), or at the next period after a new login."
        }
        DeviceState::Misaddressed => {
            "The gateway gives its session the new address when DHCP tells of it: does it run, and dnsmasq (`systemctl status kavadam kavadam-dnsmasq`)? \
             If so, leave the Wi-Fi and join again."
        }
        DeviceState::Expired => {
            "The gateway closes it within seconds if it runs (`systemctl status kavadam`); then its person may log in again."
        }
    }
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
mod tests {
    use std::net::Ipv4Addr;

    use kavadam_domain::Mac;

    use super::*;
    use crate::session::{AdoptedSession, Meter, PoolKey, Slot};

    fn unknown() -> SeenDevice {
        SeenDevice {
            mac: Mac([2, 0, 0, 0, 0, 1]),
            leases: Vec::new(),
            may_use_ipv6: None,
            auth4: None,
            auth6: None,
            session: None,
        }
    }

    fn leased() -> SeenDevice {
        SeenDevice {
            leases: vec![(Ipv4Addr::new(10, 80, 0, 11), Some(Duration::from_secs(90)))],
            may_use_ipv6: Some(Some(Duration::from_secs(90))),
            ..unknown()
        }
    }

    /// Of a limit of 40,000,000: the next packet did not fit.
    const USED_UP: u64 = 39_999_400;

    fn with_session(used: u64, state: SessionState) -> SeenDevice {
        let is_online = state != SessionState::Expired;
        let session = AdoptedSession {
            slot: Slot(7),
            mac: unknown().mac,
            ipv4: Some(Ipv4Addr::new(10, 80, 0, 11)),
            label: Vec::new(),
            filter: None,
            class: None,
            state,
            meter: Meter {
                up_octets: 1_234_567,
                up_packets: 1000,
                ..Meter::default()
            },
            pool: PoolKey(3),
            pool_limit_octets: Some(40_000_000),
            pool_used_octets: used,
        };
        SeenDevice {
            auth4: is_online.then_some((Slot(7), Some(Duration::from_secs(3700)))),
            session: Some(SeenSession {
                session,
                up_octets_per_sec: Some(1_250_000),
                down_octets_per_sec: None,
                queue: None,
                is_used_up: used >= USED_UP,
            }),
            ..leased()
        }
    }

    const ONLINE: SessionState = SessionState::Online {
        remaining: Some(Duration::from_secs(3700)),
    };

    fn facts(device: &SeenDevice) -> (DeviceState, String) {
        let trace = Trace::of(device, true);
        let steps: Vec<String> = trace
            .steps
            .iter()
            .map(|step| format!("{}: {}", step.rule, step.fact))
            .collect();
        (trace.state, steps.join("\n"))
    }

    #[test]
    fn who_has_no_lease_is_unheard_unless_everybody_is_heard() {
        let (state, steps) = facts(&unknown());
        assert_eq!(state, DeviceState::Unheard);
        assert!(steps.contains("leases: it has no DHCP lease"), "{steps}");
        assert_eq!(Trace::of(&unknown(), false).state, DeviceState::Stranger);
    }

    #[test]
    fn who_has_a_lease_is_a_stranger_until_login() {
        let (state, steps) = facts(&leased());
        assert_eq!(state, DeviceState::Stranger);
        assert!(
            steps.contains("may speak from 10.80.0.11, for another 1 min 30 s"),
            "{steps}"
        );
        assert!(
            steps.contains("auth4: its IPv4 packets belong to no session"),
            "{steps}"
        );
    }

    #[test]
    fn who_is_online_meets_speed_quota_and_meters_in_that_order() {
        let (state, steps) = facts(&with_session(39_999_000, ONLINE));
        assert_eq!(state, DeviceState::Online);
        let rules: Vec<&str> = steps.lines().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(
            rules,
            ["auth4", "auth6", "lim_up", "lim_down", "total", "cnt_up", "cnt_down"]
        );
        for part in [
            "belong to slot 7, for another 1 h 1 min",
            "towards the internet: 10,000,000 bit/s",
            "towards the device: no limit",
            "pool 3 has used 39,999,000 octets of 40,000,000 octets",
            "1,234,567 octets in 1,000 packets went up",
        ] {
            assert!(steps.contains(part), "{part}: {steps}");
        }
    }

    #[test]
    fn a_filter_is_met_before_the_limits() {
        let mut filtered = with_session(0, ONLINE);
        if let Some(seen) = &mut filtered.session {
            seen.session.filter = Some("minors".parse().unwrap());
        }
        let (_, steps) = facts(&filtered);
        assert!(
            steps.contains("filtered: where it may go is asked of the filter minors too"),
            "{steps}"
        );
        assert!(steps.find("filtered:") < steps.find("lim_up:"), "{steps}");
    }

    #[test]
    fn a_full_pool_is_used_up_and_an_ended_session_expired() {
        assert_eq!(facts(&with_session(USED_UP, ONLINE)).0, DeviceState::UsedUp);
        let (state, steps) = facts(&with_session(0, SessionState::Expired));
        assert_eq!(state, DeviceState::Expired);
        assert!(steps.contains("total: slot 7 has come to its end"), "{steps}");
    }

    /// DHCP gave it another one since.
    fn with_another_address() -> SeenDevice {
        SeenDevice {
            leases: vec![(Ipv4Addr::new(10, 80, 0, 99), None)],
            auth4: None,
            auth6: Some((Slot(7), None)),
            ..with_session(1, ONLINE)
        }
    }

    #[test]
    fn a_session_for_another_address_is_not_called_online_or_expired() {
        let (state, steps) = facts(&with_another_address());
        assert_eq!(state, DeviceState::Misaddressed);
        assert!(
            steps.contains("its session is for 10.80.0.11, and DHCP has given it 10.80.0.99"),
            "{steps}"
        );
        let unreachable = SeenDevice {
            auth6: None,
            ..with_another_address()
        };
        assert_eq!(facts(&unreachable).0, DeviceState::Misaddressed);
        let fixed = SeenDevice {
            leases: Vec::new(),
            ..with_session(1, ONLINE)
        };
        assert_eq!(
            facts(&fixed).0,
            DeviceState::Online,
            "an address of its own choice is no other one"
        );
    }

    #[test]
    fn every_state_says_what_to_do_next() {
        for device in [
            unknown(),
            leased(),
            with_session(1, ONLINE),
            with_session(USED_UP, ONLINE),
            with_another_address(),
        ] {
            assert!(Trace::of(&device, true).next.len() > 40);
        }
    }
}

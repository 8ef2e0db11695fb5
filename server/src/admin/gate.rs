//! The gate in the kernel, as people look at it: who is online, how much flows, and why a device is where it is.

mod addresses;
mod flow;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use kavadam_domain::{Mac, MobileNumber};
use kavadam_firewall::{Layout, SeenSession, SessionState, Step, Trace, Uncharged, View, shut};
use kavadam_gateway::{Known, Standing};
use serde_json::{Value, json};

use super::{print, span, table};
use crate::cli::{GateShow, GateTrace};
use crate::units::{show_octets, show_rate};
use crate::watch;
pub use flow::top;

/// Of a machine that is shut.
const SHUT: &str = "Nothing is forwarded, to anybody (table inet kavadam-shut): a gate could not be closed. Remedy: kavadam check, then systemctl \
                    restart kavadam-closed kavadam";

/// Who is online.
pub fn show(layout: &Layout, socket: &Path, wanted: &GateShow) -> anyhow::Result<()> {
    let mut view = standing(layout)?;
    let known = watch::gate::sessions(socket)?;
    let known = known.map(|all| all.into_iter().map(|one| (one.mac, one)).collect::<HashMap<_, _>>());
    let (sessions, rogues, uncharged) = (view.sessions()?, view.rogues()?, view.uncharged()?);
    let pool = addresses::Addresses::look(&mut view, layout)?;
    let is_shut = shut::is_shut()?;
    let of = |seen: &SeenSession| known.as_ref().and_then(|known| known.get(&seen.session.mac));
    let told = json!({ "sessions": sessions_json(&sessions, of, wanted), "session_count": sessions.len(),
        "refused_frames": rogues.iter().copied().collect::<BTreeMap<_, _>>(),
        "free_up_octets": uncharged.up_octets, "free_down_octets": uncharged.down_octets,
        "blocked_packets": uncharged.blocked_packets, "shut": is_shut, "addresses": pool.json() });
    print(wanted.output.json, &told, || {
        let mut lines = lines(&sessions, of, wanted);
        if is_shut {
            lines.push(SHUT.to_owned());
        }
        if known.is_none() {
            lines.push(
                "no gateway runs: who the people are, and how long they have been idle, is known to it alone"
                    .to_owned(),
            );
        }
        if uncharged != Uncharged::default() {
            lines.push(format!(
                "charged to nobody: {} up, {} down; refused as blocked: {} packets",
                show_octets(uncharged.up_octets),
                show_octets(uncharged.down_octets),
                uncharged.blocked_packets
            ));
        }
        lines.extend(pool.lines());
        let refused = rogues.iter().filter(|(_, frames)| *frames > 0);
        lines.extend(refused.map(|(what, frames)| {
            format!(
                "refused frames at {}: {frames} {}",
                layout.lan_if,
                what.replace('_', " ")
            )
        }));
        lines
    })
}

/// Why a device is where it is.
pub fn trace(layout: &Layout, socket: &Path, wanted: &GateTrace) -> anyhow::Result<()> {
    let device = standing(layout)?.device(wanted.mac)?;
    let mut trace = Trace::of(&device, layout.strict);
    let told = watch::gate::device(socket, wanted.mac)?;
    trace.steps.push(Step {
        rule: "the gateway",
        fact: told.as_ref().map_or("does not run".to_owned(), fact),
    });
    trace.steps.extend(told.iter().flat_map(as_if_two));
    let steps: Vec<Value> = trace
        .steps
        .iter()
        .map(|step| json!({ "rule": step.rule, "fact": step.fact }))
        .collect();
    let told = json!({ "state": trace.state.word(), "steps": steps, "next": trace.next,
        "slot": device.session.as_ref().map(|one| one.session.slot.0) });
    print(wanted.output.json, &told, || {
        let mut lines = vec![format!("{} is {}", wanted.mac, trace.state), String::new()];
        lines.extend(table(
            ["RULE", "FACT"],
            trace
                .steps
                .iter()
                .map(|step| [step.rule.to_owned(), step.fact.clone()])
                .collect(),
        ));
        lines.extend([String::new(), format!("Next: {}", trace.next)]);
        lines
    })
}

/// What speaks for two devices of this hardware address.
fn as_if_two(standing: &Standing) -> impl Iterator<Item = Step> {
    let ports = standing.seen_in_turns_at.join(" and ");
    let bridge = (!ports.is_empty()).then(|| Step {
        rule: "the bridge",
        fact: format!("it is seen in turns at {ports}: another device may have taken its address"),
    });
    let dhcp = standing.asks_in_turns.then(|| Step {
        rule: "DHCP",
        fact: "it asks for its address in two ways in turns: another device may have taken its address".to_owned(),
    });
    bridge.into_iter().chain(dhcp)
}

/// What the running gateway says of a device.
fn fact(standing: &Standing) -> String {
    match standing {
        Standing { known: Some(known), .. } if known.is_ending => {
            "its session is ending: the last report is on its way".to_owned()
        }
        Standing { known: Some(known), .. } => format!(
            "has its session, idle for {}",
            span(Duration::from_secs(known.idle_secs))
        ),
        Standing { is_asking: true, .. } => "a RADIUS server is being asked about it".to_owned(),
        Standing {
            refused_for_secs: Some(secs),
            ..
        } => format!(
            "it was not let in a moment ago, as not remembered or for want of an answer; asked again in {secs} s at the earliest"
        ),
        Standing { .. } => "knows of no session, and was not asked of late".to_owned(),
    }
}

fn standing(layout: &Layout) -> anyhow::Result<View> {
    let mut view = View::open(layout)?;
    if !view.is_standing()? {
        if shut::is_shut()? {
            bail!("the gate does not stand here. {SHUT}");
        }
        bail!(
            "the gate does not stand here: nothing is kept from the internet. Remedy: systemctl start kavadam-closed kavadam"
        );
    }
    Ok(view)
}

fn name(mac: Mac, is_whole: bool) -> String {
    if is_whole { mac.to_string() } else { mac.masked() }
}

fn word(seen: &SeenSession) -> &'static str {
    match seen.session.state {
        SessionState::Expired => "expired",
        SessionState::Online { .. } if seen.is_used_up => "used up",
        SessionState::Online { .. } => "online",
    }
}

const fn left(seen: &SeenSession) -> Option<Duration> {
    match seen.session.state {
        SessionState::Online { remaining } => remaining,
        SessionState::Expired => None,
    }
}

fn bits(octets_per_sec: Option<u64>) -> Option<u64> {
    octets_per_sec.map(|octets| octets.saturating_mul(8))
}

/// A User-Name may be anything, a mobile number too.
fn person(known: Option<&Known>, is_whole: bool) -> Option<String> {
    let name = known?.person.as_ref()?;
    match name.parse::<MobileNumber>() {
        Ok(number) if !is_whole => Some(number.masked()),
        _ => match name.parse::<Mac>() {
            Ok(mac) if !is_whole => Some(mac.masked()),
            _ => Some(name.clone()),
        },
    }
}

/// One that this gate has not is told as such.
fn class(seen: &SeenSession) -> String {
    match (seen.session.class, &seen.queue) {
        (None, _) => "–".to_owned(),
        (Some(name), Some(_)) => name.to_string(),
        (Some(name), None) => format!("{name} (not here)"),
    }
}

fn session_json(seen: &SeenSession, known: Option<&Known>, is_whole: bool) -> Value {
    let one = &seen.session;
    json!({
        "person": person(known, is_whole), "idle_secs": known.map(|known| known.idle_secs),
        "slot": one.slot.0, "mac": name(one.mac, is_whole), "ipv4": is_whole.then_some(one.ipv4), "state": word(seen),
        "up_octets": one.meter.up_octets, "down_octets": one.meter.down_octets, "pool": one.pool.0,
        "filter": one.filter, "class": one.class, "queue": seen.queue, "quota_octets": one.pool_limit_octets, "used_octets": one.pool_used_octets,
        "free_up_octets": one.meter.free.map(|free| free.up), "free_down_octets": one.meter.free.map(|free| free.down),
        "up_bits_per_sec": bits(seen.up_octets_per_sec), "down_bits_per_sec": bits(seen.down_octets_per_sec),
        "seconds_left": left(seen).map(|left| left.as_secs()),
    })
}

/// As many as are wanted.
fn sessions_json<'a>(
    sessions: &'a [SeenSession],
    known: impl Fn(&'a SeenSession) -> Option<&'a Known>,
    wanted: &GateShow,
) -> Vec<Value> {
    let shown = sessions.iter().take(wanted.most);
    shown.map(|one| session_json(one, known(one), wanted.whole)).collect()
}

fn lines<'a>(
    sessions: &'a [SeenSession],
    known: impl Fn(&'a SeenSession) -> Option<&'a Known>,
    wanted: &GateShow,
) -> Vec<String> {
    let row = |seen: &'a SeenSession| {
        let (one, known) = (&seen.session, known(seen));
        let idle = known.map(|known| Duration::from_secs(known.idle_secs));
        let address = one
            .ipv4
            .filter(|_| wanted.whole)
            .map_or("–".to_owned(), |ipv4| ipv4.to_string());
        let quota = one.pool_limit_octets.map_or("unlimited".to_owned(), show_octets);
        [
            one.slot.0.to_string(),
            name(one.mac, wanted.whole),
            address,
            person(known, wanted.whole).unwrap_or_else(|| "–".to_owned()),
            word(seen).to_owned(),
            idle.map_or("–".to_owned(), span),
            show_octets(one.meter.up_octets),
            show_octets(one.meter.down_octets),
            format!("{} of {quota}", show_octets(one.pool_used_octets)),
            one.meter.free.map_or("–".to_owned(), |free| {
                format!("{} / {}", show_octets(free.up), show_octets(free.down))
            }),
            format!(
                "{} / {}",
                show_rate(bits(seen.up_octets_per_sec)),
                show_rate(bits(seen.down_octets_per_sec))
            ),
            left(seen).map_or("–".to_owned(), span),
            one.filter.map_or("–".to_owned(), |name| name.to_string()),
            class(seen),
        ]
    };
    let heads = [
        "SLOT",
        "DEVICE",
        "ADDRESS",
        "PERSON",
        "STATE",
        "IDLE",
        "UP",
        "DOWN",
        "USED",
        "FREE UP / DOWN",
        "SPEED UP / DOWN",
        "ENDS IN",
        "FILTER",
        "CLASS",
    ];
    let mut lines = table(heads, sessions.iter().take(wanted.most).map(row).collect());
    if sessions.len() > wanted.most {
        lines.push(format!("and {} more (--most)", sessions.len() - wanted.most));
    }
    let count = |wanted: &str| sessions.iter().filter(|one| word(one) == wanted).count();
    lines.extend([
        String::new(),
        format!(
            "{} online, {} used up, {} expired",
            count("online"),
            count("used up"),
            count("expired")
        ),
    ]);
    lines
}

#[cfg(test)]
mod tests {
    use kavadam_firewall::{AdoptedSession, Meter, PoolKey, Slot};

    use super::*;

    pub fn session(slot: u32, used: u64) -> SeenSession {
        SeenSession {
            session: AdoptedSession {
                slot: Slot(slot),
                mac: Mac([2, 0, 0, 0, 0, 7]),
                ipv4: Some([10, 80, 0, 7].into()),
                label: Vec::new(),
                filter: None,
                class: None,
                state: SessionState::Online {
                    remaining: Some(Duration::from_mins(5)),
                },
                meter: Meter {
                    up_octets: 1000,
                    ..Meter::default()
                },
                pool: PoolKey(slot),
                pool_limit_octets: Some(5000),
                pool_used_octets: used,
            },
            up_octets_per_sec: Some(125_000),
            down_octets_per_sec: None,
            queue: None,
            is_used_up: used >= 4000,
        }
    }

    #[test]
    fn no_more_are_shown_than_are_wanted_to_people_and_programs() {
        let sessions = [session(1, 0), session(2, 0)];
        let shown = |most| {
            let wanted = GateShow {
                most,
                whole: false,
                output: crate::cli::Output { json: true },
            };
            let lines = lines(&sessions, |_| None, &wanted).join("\n");
            (
                sessions_json(&sessions, |_| None, &wanted).len(),
                lines.contains("and 1 more"),
            )
        };
        assert_eq!((shown(1), shown(2)), ((1, true), (2, false)));
    }

    #[test]
    fn nobody_is_named_in_full_unless_asked_for() {
        let wanted = |whole| GateShow {
            most: 10,
            whole,
            output: crate::cli::Output { json: false },
        };
        let known = Known {
            mac: Mac([0; 6]),
            id: "s-1".into(),
            person: Some("9876543210".into()),
            idle_secs: 65,
            is_ending: false,
        };
        let text = |whole| lines(&[session(1, 4500)], |_| Some(&known), &wanted(whole)).join("\n");
        assert!(text(true).contains("02-00-00-00-00-07  10.80.0.7"), "{}", text(true));
        assert!(
            !text(false).contains("00-07") && !text(false).contains("10.80"),
            "{}",
            text(false)
        );
        assert!(
            text(false).contains("used up") && text(false).contains("4.5 kB of 5 kB"),
            "{}",
            text(false)
        );
        assert!(
            !text(false).contains("9876543210"),
            "a name that is a number is masked: {}",
            text(false)
        );
        assert!(
            text(true).contains("9876543210") && text(true).contains("65 s"),
            "{}",
            text(true)
        );
    }
}

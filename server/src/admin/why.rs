//! Why somebody is let in or refused, for a helpdesk.

use std::collections::HashSet;
use std::path::Path;

use kavadam_access::why::{Answer, DeviceFacts, Person, SessionFacts, Whom, Why};
use kavadam_domain::{Language, Limits, Mac, Reason, SessionId, Timestamp};
use serde_json::{Value, json};

use super::{Desk, ago, print, sheet, span};
use crate::cli::{Who, WhyQuestion};
use crate::units::show_octets;
use crate::watch::ask;
use crate::watch::socket::Line;

impl Desk {
    pub(super) async fn why(&self, question: WhyQuestion, socket: &Path) -> anyhow::Result<()> {
        let whom = match question.who {
            Who::Number(number) => Whom::Number(number),
            Who::Device(mac) => Whom::Device(mac),
            Who::Session(id) => Whom::Session(SessionId(id)),
        };
        let gate = question.gate.as_deref();
        let why = self.access.explain(&whom, gate, &self.actor, self.now).await?;
        let answers = last_answers(&whom, &why, socket)?;
        let gates = self.access.overview().await?.gates;
        let name_of = |nas: i64| {
            let found = gates.iter().find(|gate| gate.id.0 == nas);
            found.map_or_else(|| "a gate that is gone".to_owned(), |gate| gate.name.clone())
        };
        let telling = Telling {
            whom: &whom,
            why: &why,
            answers: answers.as_deref(),
            name_of: &name_of,
            now: self.now,
            is_personal: question.show_personal,
        };
        print(question.output.json, &telling.json(), || telling.lines())
    }
}

/// Under every name they may have gone by at a gate.
fn last_answers(whom: &Whom, why: &Why, socket: &Path) -> anyhow::Result<Option<Vec<Line>>> {
    let mut names = Vec::new();
    let mut macs = Vec::new();
    match whom {
        Whom::Number(number) => names.push(number.digits().to_owned()),
        Whom::Device(mac) => macs.push(mac.to_string()),
        Whom::Session(_) => {}
    }
    if let Some(person) = &why.person {
        names.extend([person.number.digits().to_owned(), person.alias.clone()]);
        macs.extend(person.devices.iter().map(|device| device.mac.to_string()));
    }
    ask::answers(socket, names, macs)
}

struct Telling<'a> {
    whom: &'a Whom,
    why: &'a Why,
    /// `None`: no process runs.
    answers: Option<&'a [Line]>,
    name_of: &'a dyn Fn(i64) -> String,
    now: Timestamp,
    is_personal: bool,
}

impl Telling<'_> {
    fn lines(&self) -> Vec<String> {
        let why = self.why;
        let mut lines = vec![format!("{} at {} ({})", self.who(), why.gate.name, why.gate.site)];
        if why.person.is_none() {
            lines.push("Nobody of that number or device ever logged in here.".to_owned());
        }
        if let Some(answer) = &why.login {
            lines.extend(verdict("A login with the right code", answer));
        }
        if let (Some(mac), Some(answer)) = (why.mac, &why.comeback) {
            lines.extend(verdict(
                &format!("Device {} coming back by itself", self.mac(mac)),
                answer,
            ));
        }
        if let Some(person) = &why.person {
            lines.extend([String::new(), "Facts".to_owned()]);
            lines.extend(indented(sheet(&self.facts(person))));
        }
        lines.extend(self.answer_lines());
        lines
    }

    fn facts(&self, person: &Person) -> Vec<(&'static str, String)> {
        let gate = &self.why.gate;
        let (plan, allowance) = (&person.plan, &person.allowance);
        let whose = if person.is_own_plan { "their own" } else { "the site's" };
        let mut facts = vec![
            (
                "number",
                if person.is_blocked {
                    "BLOCKED by an administrator"
                } else {
                    "welcome"
                }
                .to_owned(),
            ),
            (
                "site",
                format!("{}, {}", gate.site, if gate.is_site_open { "open" } else { "CLOSED" }),
            ),
            (
                "gate last heard",
                gate.seen_at.map_or("never".to_owned(), |at| ago(self.now, at)),
            ),
            ("plan", format!("{} ({whose})", plan.name)),
        ];
        match allowance.total_octets() {
            None => facts.push(("data", format!("{} used, no limit", show_octets(allowance.used_octets)))),
            Some(total) => facts.extend([
                (
                    "data",
                    format!("{} used of {}", show_octets(allowance.used_octets), show_octets(total)),
                ),
                ("promised to gates", show_octets(allowance.promised_octets)),
                ("free to promise", show_octets(allowance.free_octets().unwrap_or(0))),
            ]),
        }
        facts.push((
            "next period",
            person
                .period_left
                .map_or("none: once for all".to_owned(), |left| format!("in {}", span(left))),
        ));
        // As the rule counts them: a device with several sessions is one, a session of an unknown device another.
        let known: HashSet<Mac> = person.sessions.iter().filter_map(|session| session.mac).collect();
        let online = known.len() + person.sessions.iter().filter(|session| session.mac.is_none()).count();
        facts.push(("devices online", format!("{online} of {}", plan.max_devices)));
        facts.extend(person.sessions.iter().map(|session| ("session", self.session(session))));
        facts.extend(person.devices.iter().map(|device| ("device", self.device(device))));
        if let Some(code) = &person.code {
            let sent = code
                .sent_at
                .map_or("not sent yet".to_owned(), |at| format!("sent {}", ago(self.now, at)));
            let left = match (code.state, code.expires_at > self.now) {
                ("pending", true) => format!("good for {}", span(code.expires_at.since(self.now))),
                ("pending", false) => "expired".to_owned(),
                (state, _) => state.to_owned(),
            };
            facts.push(("last code", format!("{left}, {} tries left, {sent}", code.tries_left)));
        }
        if let Some(ticket) = &person.ticket {
            let state = match ticket.used_at {
                Some(at) => format!("used {}", ago(self.now, at)),
                None if ticket.expires_at > self.now => "not used yet".to_owned(),
                None => format!("expired unused {}", ago(self.now, ticket.expires_at)),
            };
            facts.push((
                "last portal login",
                format!("at {} for {}: {state}", ticket.nas, self.mac(ticket.mac)),
            ));
        }
        facts
    }

    fn session(&self, session: &SessionFacts) -> String {
        let device = session.mac.map_or("unknown device".to_owned(), |mac| self.mac(mac));
        let octets = session.granted_octets.map_or_else(String::new, |granted| {
            format!(
                ", {} of {} promised",
                show_octets(session.used_octets),
                show_octets(granted)
            )
        });
        format!(
            "{} {device} at {}, {}, heard {}{octets}",
            session.id,
            session.nas,
            session.state,
            ago(self.now, session.heard_at),
        )
    }

    fn device(&self, device: &DeviceFacts) -> String {
        let how = match device.remembered_until {
            _ if device.is_paused => "disconnected by its owner: waits for a tap".to_owned(),
            Some(until) if until > self.now => format!("comes back without a code for {}", span(until.since(self.now))),
            Some(until) => format!("needs a code since {}", ago(self.now, until)),
            None => "needs a code".to_owned(),
        };
        format!(
            "{}  {how}, seen {}",
            self.mac(device.mac),
            ago(self.now, device.last_seen_at)
        )
    }

    fn answer_lines(&self) -> Vec<String> {
        let Some(answers) = self.answers else {
            return vec![
                String::new(),
                "No RADIUS server runs on this state, so nobody knows the last answers.".to_owned(),
            ];
        };
        let mut lines = vec![
            String::new(),
            "Last answers to gates, since the server started".to_owned(),
        ];
        if answers.is_empty() {
            lines.push("  none: no gate asked about them (is the gate known? see kavadam radius top)".to_owned());
        }
        for answer in answers {
            let said = match (&answer.reason, &answer.message) {
                (Some(reason), Some(message)) => format!("refused: {reason}\n      “{message}”"),
                _ => "let in".to_owned(),
            };
            let (when, gate) = (
                ago(self.now, Timestamp::from_secs(answer.at)),
                (self.name_of)(answer.nas),
            );
            lines.push(format!("  {when}, {gate}, {}: {said}", answer.asked));
            lines.extend(self.grounds(answer).map(|grounds| format!("      {grounds}")));
        }
        lines
    }

    /// What a refusal rested on then; what is above is of now.
    fn grounds(&self, answer: &Line) -> Option<String> {
        if let Some(octets) = &answer.octets {
            let [used, promised, total] = [octets.used, octets.promised, octets.total].map(show_octets);
            return Some(format!("then: {used} used and {promised} promised of {total}"));
        }
        let online = answer.online.iter().map(|(mac, nas)| {
            let mac = mac.as_ref().and_then(|mac| mac.parse().ok());
            let device = mac.map_or("an unknown device".to_owned(), |mac| self.mac(mac));
            format!("{device} at {}", (self.name_of)(*nas))
        });
        let online: Vec<String> = online.collect();
        (!online.is_empty()).then(|| format!("then online: {}", online.join(", ")))
    }

    fn online_json(&self, answer: &Line) -> Vec<Value> {
        let online = answer.online.iter().map(|(mac, nas)| {
            let mac = mac.as_ref().and_then(|mac| mac.parse().ok());
            json!({ "mac": mac.map(|mac| self.mac(mac)), "nas": (self.name_of)(*nas) })
        });
        online.collect()
    }

    fn json(&self) -> Value {
        let why = self.why;
        let answers = self.answers.map(|answers| {
            let line = |line: &Line| {
                json!({
                    "at": line.at, "nas": (self.name_of)(line.nas), "asked": line.asked,
                    "reason": line.reason, "message": line.message, "online": self.online_json(line),
                    "used_octets": line.octets.as_ref().map(|octets| octets.used),
                    "promised_octets": line.octets.as_ref().map(|octets| octets.promised),
                    "total_octets": line.octets.as_ref().map(|octets| octets.total),
                })
            };
            answers.iter().map(line).collect::<Vec<_>>()
        });
        json!({
            "who": self.who(), "nas": why.gate.name, "site": why.gate.site, "is_site_open": why.gate.is_site_open,
            "nas_heard_at": why.gate.seen_at.map(Timestamp::as_secs), "nas_renews": why.gate.is_renewing,
            "mac": why.mac.map(|mac| self.mac(mac)),
            "login": why.login.as_ref().map(answer_json), "return": why.comeback.as_ref().map(answer_json),
            "person": why.person.as_ref().map(|person| self.person_json(person)),
            "last_answers": answers,
        })
    }

    fn person_json(&self, person: &Person) -> Value {
        let allowance = &person.allowance;
        json!({
            "is_blocked": person.is_blocked, "plan": person.plan.name, "is_own_plan": person.is_own_plan,
            "quota_octets": allowance.total_octets(), "used_octets": allowance.used_octets,
            "promised_octets": allowance.promised_octets, "free_octets": allowance.free_octets(),
            "period_left_secs": person.period_left.map(|left| left.as_secs()),
            "max_devices": person.plan.max_devices,
            "sessions": person.sessions.iter().map(|session| json!({
                "id": session.id.0, "mac": session.mac.map(|mac| self.mac(mac)), "nas": session.nas,
                "state": session.state, "granted_at": session.granted_at.as_secs(),
                "heard_at": session.heard_at.as_secs(), "granted_octets": session.granted_octets,
                "used_octets": session.used_octets,
            })).collect::<Vec<_>>(),
            "devices": person.devices.iter().map(|device| json!({
                "mac": self.mac(device.mac), "remembered_until": device.remembered_until.map(Timestamp::as_secs),
                "is_paused": device.is_paused, "last_seen_at": device.last_seen_at.as_secs(),
            })).collect::<Vec<_>>(),
            "code": person.code.as_ref().map(|code| json!({
                "made_at": code.made_at.as_secs(), "expires_at": code.expires_at.as_secs(),
                "tries_left": code.tries_left, "state": code.state, "sent_at": code.sent_at.map(Timestamp::as_secs),
            })),
            "ticket": person.ticket.as_ref().map(|ticket| json!({
                "nas": ticket.nas, "mac": self.mac(ticket.mac), "expires_at": ticket.expires_at.as_secs(),
                "used_at": ticket.used_at.map(Timestamp::as_secs),
            })),
        })
    }

    fn who(&self) -> String {
        match (&self.why.person, self.whom) {
            (Some(person), _) if self.is_personal => person.number.digits().to_owned(),
            (Some(person), _) => person.number.masked(),
            (None, Whom::Number(number)) if self.is_personal => number.digits().to_owned(),
            (None, Whom::Number(number)) => number.masked(),
            (None, Whom::Device(mac)) => self.mac(*mac),
            (None, Whom::Session(id)) => format!("session {id}"),
        }
    }

    fn mac(&self, mac: Mac) -> String {
        if self.is_personal {
            mac.to_string()
        } else {
            mac.masked()
        }
    }
}

fn indented(lines: Vec<String>) -> impl Iterator<Item = String> {
    lines.into_iter().map(|line| format!("  {line}"))
}

fn verdict(what: &str, answer: &Answer) -> Vec<String> {
    match answer {
        Ok(limits) => vec![
            String::new(),
            format!("{what}: LET IN"),
            format!("  {}", limits_text(limits)),
        ],
        Err(reason) => {
            let (rule, remedy) = rule(*reason);
            vec![
                String::new(),
                format!("{what}: REFUSED, {}", reason.code()),
                format!("  rule: {rule}"),
                format!("  told: “{}”", reason.message(Language::En)),
                format!("  help: {remedy}"),
            ]
        }
    }
}

fn answer_json(answer: &Answer) -> Value {
    match answer {
        Ok(limits) => json!({
            "is_accepted": true, "max_total_octets": limits.max_total_octets,
            "up_bits_per_sec": limits.up_bits_per_sec, "down_bits_per_sec": limits.down_bits_per_sec,
            "session_secs": limits.session_secs, "filter": limits.filter, "class": limits.class,
        }),
        Err(reason) => json!({
            "is_accepted": false, "reason": reason.code(), "message": reason.message(Language::En),
            "rule": rule(*reason).0, "help": rule(*reason).1,
        }),
    }
}

fn limits_text(limits: &Limits) -> String {
    let octets = limits.max_total_octets.map_or("no limit of data".to_owned(), |octets| {
        format!("{} to begin with", show_octets(octets))
    });
    let speed = |rate: Option<u64>| match rate {
        None => "any speed".to_owned(),
        Some(rate) => format!("{} kbit/s", rate / 1000),
    };
    let time = limits
        .session_secs
        .map_or_else(String::new, |secs| format!(", {} min", secs.div_ceil(60)));
    let filter = limits.filter.map_or_else(String::new, |name| {
        format!(", within the filter {name} if the gate has it")
    });
    let class = limits.class.map_or_else(String::new, |name| {
        format!(", in the shaping class {name} if the gate has it")
    });
    format!(
        "{octets}, {} down, {} up{time}{filter}{class}",
        speed(limits.down_bits_per_sec),
        speed(limits.up_bits_per_sec)
    )
}

/// The rule behind a reason, and what a helpdesk can do about it.
fn rule(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::Blocked => (
            "a blocked number is refused everywhere",
            "kavadam subscriber unblock NUMBER",
        ),
        Reason::SiteClosed => ("a closed site lets nobody in", "kavadam site set SITE --open"),
        Reason::TooManyDevices(_) => (
            "no more devices at once than the plan allows",
            "disconnect one, or kavadam subscriber end NUMBER; or a plan with more devices",
        ),
        Reason::QuotaUsedUp(_) => (
            "what is left of the period's data is used or promised to gates",
            "wait for the next period, or kavadam subscriber top-up NUMBER 500MB",
        ),
        Reason::UnknownDevice => (
            "only a device that logged in lately, and was not disconnected by its owner, comes back by itself",
            "log in on the page with a code; a private MAC that changes makes a new device",
        ),
        Reason::UnknownSession => ("only an open session is renewed", "log in again"),
        Reason::BadCredential => (
            "a portal login is good once, for a minute, for its device at its gate",
            "log in again; if it recurs, compare the clocks and the gate's name in its redirect",
        ),
        Reason::NoChallenge => ("a code must have been asked for at this site", "ask for a code"),
        Reason::WrongCode(_) => (
            "the code must be the last one sent",
            "read the last message; after five tries ask for a new code",
        ),
        Reason::CodeExpired => ("a code is good for ten minutes", "ask for a new code"),
        Reason::TooMany(_) => (
            "so many attempts in a while, and no more",
            "wait; limits are in [challenge]",
        ),
        Reason::UnsupportedMethod => (
            "PAP, CHAP and the MAC are taken; other methods are not offered",
            "set the gate to PAP or CHAP, without EAP",
        ),
        Reason::UnsupportedService => (
            "only access to the network is answered, not a gate's own command line or pages",
            "set another RADIUS server at the gate for its administrators, or local accounts",
        ),
        _ => ("see the message", "see the message"),
    }
}

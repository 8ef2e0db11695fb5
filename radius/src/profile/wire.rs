//! Profiles at work: limits into an Access-Accept or a CoA-Request, orders, and what a request tells.

use std::net::IpAddr;

use kavadam_access::api::{Calls, NasEntry, Order, OrderAction, Seen as Told};
use kavadam_domain::{Limits, Mac, Timestamp};

use super::{Changes, Constant, Field, Mapping, Name, Number, Profile, Seen, Source, Spelling, Value};
use crate::LimitsPatch;
use crate::accounting::unix_secs;
use crate::limits::split;
use crate::wire::{Code, Draft, Packet, attr};

/// In what words limits are said to one session's gate.
#[derive(Debug, Clone, Copy)]
pub struct Dialect<'a> {
    /// Whose.
    pub profile: &'a Profile,
    /// Name of the plan in force.
    pub plan: &'a str,
    /// Slowed: the quota is used up.
    pub is_throttled: bool,
}

impl Dialect<'_> {
    /// Writes limits into an Access-Accept.
    pub(crate) fn write(&self, draft: &mut Draft, limits: &Limits, is_renewable: bool) {
        let Some(mapping) = &self.profile.limits else {
            return crate::limits::write(draft, limits, is_renewable);
        };
        mapping.write(draft, limits, None);
        let constants = (self.profile.always.as_slice(), self.profile.throttled.as_slice());
        write_constants(draft, constants, (self.plan, self.is_throttled), limits);
    }
}

/// Constants: of those that are always there and those of a slowed session, what stands for its plan.
fn write_constants(
    draft: &mut Draft,
    (always, throttled): (&[Constant], &[Constant]),
    (plan, is_throttled): (&str, bool),
    limits: &Limits,
) {
    let throttled = if is_throttled { throttled } else { &[] };
    let is_said = |constant: &&Constant| constant.is_said(limits);
    let throttled: Vec<_> = throttled.iter().filter(is_said).collect();
    let is_kept = |constant: &&Constant| throttled.iter().all(|slow| slow.field != constant.field);
    let always = always.iter().filter(is_said).filter(is_kept);
    for constant in throttled.iter().copied().chain(always) {
        constant.write(draft, plan, limits);
    }
}

/// One way to name a session to its gate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'a> {
    names: &'a [Name],
    spelling: Spelling,
}

impl Profile {
    /// The ways to name a session to its gate, in turn; a MAC first as the gate was `heard` to spell them.
    pub(crate) fn ways(&self, heard: Option<Spelling>) -> impl Iterator<Item = Way<'_>> {
        let own = self.orders.spelling;
        self.orders.names.iter().flat_map(move |names| {
            let heard = heard.filter(|heard| *heard != own && names.contains(&Name::CallingStationId));
            let spellings = heard.into_iter().chain([own]);
            spellings.map(move |spelling| Way { names, spelling })
        })
    }

    /// Whether a NAK without Error-Cause says that there is no such session.
    pub(crate) const fn is_bare_nak_gone(&self) -> bool {
        self.orders.is_bare_nak_gone
    }

    /// An order to a gate, the session named in one of its ways. `None` where too little is known of the session for that.
    pub(crate) fn order(&self, order: &Order, nas: &NasEntry, way: Way<'_>, now: Timestamp) -> Option<(Code, Draft)> {
        let orders = &self.orders;
        let code = match order.action {
            OrderAction::End => Code::DisconnectRequest,
            OrderAction::Change(_) => Code::CoaRequest,
        };
        let mut draft = Draft::request(code, [0; 16]);
        if !orders.is_signed {
            draft.without_message_authenticator();
        }
        let mut is_named = false;
        for name in way.names {
            is_named |= self.write_name(&mut draft, (*name, way.spelling), order, nas)?;
        }
        if !is_named {
            return None;
        }
        if orders.is_timed {
            draft.u32(attr::EVENT_TIMESTAMP, unix_secs(now));
        }
        if let OrderAction::Change(limits) = order.action {
            match &self.limits {
                None => LimitsPatch::from(limits).write(&mut draft),
                Some(mapping) => mapping.write(&mut draft, &limits, Some(&orders.changes)),
            }
            if let Some(role) = &order.role {
                let constants = (orders.always.as_slice(), orders.throttled.as_slice());
                write_constants(&mut draft, constants, (&role.plan, role.is_throttled), &limits);
            }
        }
        Some((code, draft))
    }

    /// Whether the name tells one session; what is not known of it is left out, but for a handle, without which the way is none.
    fn write_name(
        &self,
        draft: &mut Draft,
        (name, spelling): (Name, Spelling),
        order: &Order,
        nas: &NasEntry,
    ) -> Option<bool> {
        match (name, order.mac, order.ip) {
            (Name::User, ..) => _ = draft.text(attr::USER_NAME, &order.user_name),
            (Name::NasIdentifier | Name::NasIp | Name::CalledStationId, ..) => {
                write_gate(draft, name, &order.calls, nas);
            }
            (Name::AcctSessionId, ..) => _ = draft.id(attr::ACCT_SESSION_ID, &order.acct_session_id),
            (Name::CallingStationId, Some(mac), _) => {
                draft.text(attr::CALLING_STATION_ID, &spelling.spell(mac));
            }
            (Name::FramedIp, _, Some(IpAddr::V4(ip))) => _ = draft.ipv4(attr::FRAMED_IP_ADDRESS, ip),
            (Name::FramedIp, _, Some(IpAddr::V6(ip))) => _ = draft.ipv6(attr::FRAMED_IPV6_ADDRESS, ip),
            (Name::Handle, ..) => self.seen.handle.first()?.write(draft, order.handle.as_deref()?),
            (Name::CallingStationId | Name::FramedIp, ..) => return Some(false),
        }
        Some(name.tells_one_session())
    }

    /// What a request tells of its session beyond what every gate does.
    #[must_use]
    pub fn seen(&self, packet: &Packet) -> Told {
        if self.is_own() {
            // Its Called-Station-Id names the gate; where at it a device is, DHCP tells (option 82).
            return Told {
                access_point: packet.text(attr::NAS_PORT_ID).and_then(|id| fit(&id)),
                ..Told::default()
            };
        }
        Told {
            calls: self.calls(packet),
            ..self.seen.read(packet)
        }
    }

    /// How a gate calls itself, of what its orders are to say.
    fn calls(&self, packet: &Packet) -> Calls {
        let is_said = |name| self.orders.names.iter().flatten().any(|said| *said == name);
        let id = |name, attribute| is_said(name).then(|| packet.id(attribute)).flatten();
        let v4 = packet.ipv4(attr::NAS_IP_ADDRESS).map(IpAddr::V4);
        let nas_ip = v4.or_else(|| packet.ipv6(attr::NAS_IPV6_ADDRESS).map(IpAddr::V6));
        Calls {
            nas_identifier: id(Name::NasIdentifier, attr::NAS_IDENTIFIER),
            nas_ip: nas_ip.filter(|_| is_said(Name::NasIp)),
            called_station_id: id(Name::CalledStationId, attr::CALLED_STATION_ID),
        }
    }
}

/// As the gate calls itself: its record may stand for many.
fn write_gate(draft: &mut Draft, name: Name, calls: &Calls, nas: &NasEntry) {
    match (name, calls.nas_ip, &calls.called_station_id) {
        (Name::NasIp, Some(IpAddr::V4(ip)), _) => _ = draft.ipv4(attr::NAS_IP_ADDRESS, ip),
        (Name::NasIp, Some(IpAddr::V6(ip)), _) => _ = draft.ipv6(attr::NAS_IPV6_ADDRESS, ip),
        (Name::CalledStationId, _, Some(called)) => _ = draft.id(attr::CALLED_STATION_ID, called),
        (Name::NasIdentifier, ..) => match &calls.nas_identifier {
            Some(identifier) => _ = draft.id(attr::NAS_IDENTIFIER, identifier),
            None => _ = draft.text(attr::NAS_IDENTIFIER, &nas.name),
        },
        _ => {}
    }
}

impl Mapping {
    /// Writes limits: all there are, or in a CoA-Request those that it can change, each anew.
    fn write(&self, draft: &mut Draft, limits: &Limits, changes: Option<&Changes>) {
        let may = |is_changed: fn(&Changes) -> bool| changes.is_none_or(is_changed);
        let (time, idle) = (may(|c| c.session_secs), may(|c| c.idle_secs));
        let (rate, octets) = (may(|c| c.rate), may(|c| c.octets));
        let is_change = changes.is_some();
        for (number, may, figure) in [
            (&self.session_secs, time, limits.session_secs.map(u64::from)),
            (&self.idle_secs, idle, limits.idle_secs.map(u64::from)),
            (
                &self.interim_secs,
                may(|c| c.interim_secs),
                limits.interim_secs.map(u64::from),
            ),
            (&self.up_bits_per_sec, rate, limits.up_bits_per_sec),
            (&self.down_bits_per_sec, rate, limits.down_bits_per_sec),
            (&self.max_total_octets, octets, limits.max_total_octets),
        ] {
            let Some(number) = number.as_ref().filter(|_| may) else {
                continue;
            };
            match (figure, number.lifted.filter(|_| is_change)) {
                (Some(figure), _) => number.write(draft, figure),
                (None, Some(lifted)) => number.write_as_is(draft, u64::from(lifted)),
                (None, None) => {}
            }
        }
        let (up, down) = (limits.up_bits_per_sec, limits.down_bits_per_sec);
        if let Some((field, text)) = self.rate.as_ref().filter(|_| rate)
            && (is_change || up.is_some() || down.is_some())
        {
            field.write(draft, None, text.fill(up, down).as_bytes());
        }
    }
}

impl Number {
    /// In its unit, rounded down; nothing is sent as 1, since 0 is no limit to most gates.
    fn write(&self, draft: &mut Draft, figure: u64) {
        let figure = (figure / u64::from(self.unit.max(1))).max(u64::from(self.least)).max(1);
        self.write_as_is(draft, figure);
    }

    fn write_as_is(&self, draft: &mut Draft, figure: u64) {
        let (high, low) = split(figure);
        let figure = match &self.gigawords {
            // Both halves, always: a gate may keep a half that it is not told.
            Some(gigawords) => {
                gigawords.write_number(draft, u64::from(high));
                u64::from(low)
            }
            None => figure,
        };
        self.field.write_number(draft, figure);
        for field in &self.also {
            field.write_number(draft, figure);
        }
    }
}

impl Field {
    /// What does not fit is sent as the largest that does: a limit below the one meant.
    fn write_number(&self, draft: &mut Draft, figure: u64) {
        let unused = 8 - usize::from(self.octets.min(8));
        let most = u64::MAX
            .checked_shr(u32::try_from(unused).unwrap_or(0) * 8)
            .unwrap_or(0);
        let octets = figure.min(most).to_be_bytes();
        self.write(draft, None, octets.get(unused..).unwrap_or_default());
    }

    fn write(&self, draft: &mut Draft, tag: Option<u8>, value: &[u8]) {
        let mut body = Vec::with_capacity(value.len() + 16);
        if let Some(vendor) = self.vendor {
            let layout = vendor.layout;
            let (kind, length) = (usize::from(layout.kind_octets), usize::from(layout.length_octets));
            body.extend_from_slice(&vendor.number.to_be_bytes());
            body.extend_from_slice(last_octets(&self.number.to_be_bytes(), kind));
            let whole = kind + length + usize::from(layout.is_continued) + usize::from(tag.is_some()) + value.len();
            // A length too large for its octets is too large for the attribute around it, which is then refused.
            let whole = u32::try_from(whole).unwrap_or(u32::MAX);
            body.extend_from_slice(last_octets(&whole.to_be_bytes(), length));
            if layout.is_continued {
                body.push(0);
            }
        }
        body.extend(tag);
        body.extend_from_slice(value);
        let kind = match self.vendor {
            Some(_) => attr::VENDOR_SPECIFIC,
            // The dictionary knows no larger number as one that can be sent.
            None => u8::try_from(self.number).unwrap_or(attr::VENDOR_SPECIFIC),
        };
        draft.octets(kind, &body);
    }
}

fn last_octets(octets: &[u8], count: usize) -> &[u8] {
    octets.get(octets.len().saturating_sub(count)..).unwrap_or_default()
}

impl Constant {
    /// What names the filter or the class is nothing without one.
    fn is_said(&self, limits: &Limits) -> bool {
        let Value::Text(text) = &self.value else { return true };
        let is_filtered = limits.filter.is_some() || !text.contains("{filter}");
        is_filtered && (limits.class.is_some() || !text.contains("{class}"))
    }

    fn write(&self, draft: &mut Draft, plan: &str, limits: &Limits) {
        match &self.value {
            Value::Text(text) => {
                let filter = limits.filter.map_or_else(String::new, |name| name.to_string());
                let class = limits.class.map_or_else(String::new, |name| name.to_string());
                let text = text.replace("{plan}", plan);
                let text = text.replace("{filter}", &filter).replace("{class}", &class);
                self.field.write(draft, self.tag, text.as_bytes());
            }
            Value::Octets(octets) => self.field.write(draft, self.tag, octets),
            // The tag of a number stands in its first octet (RFC 2868 §3.1).
            Value::Number(number) => match self.tag {
                Some(tag) => {
                    let octets = number.to_be_bytes();
                    self.field.write(
                        draft,
                        Some(tag),
                        last_octets(&octets, usize::from(self.field.octets).saturating_sub(1)),
                    );
                }
                None => self.field.write_number(draft, *number),
            },
        }
    }
}

impl Seen {
    fn read(&self, packet: &Packet) -> Told {
        let first = |sources: &[Source]| sources.iter().find_map(|source| source.read(packet));
        let called = packet.text(attr::CALLED_STATION_ID).unwrap_or_default();
        let (station, ssid) = split_called(&called);
        Told {
            handle: first(&self.handle),
            ssid: first(&self.ssid).or_else(|| fit(ssid)),
            access_point: first(&self.access_point).or_else(|| fit(station)),
            ..Told::default()
        }
    }
}

impl Source {
    fn read(&self, packet: &Packet) -> Option<String> {
        let all = match self.vendor {
            Some(vendor) => packet.vendor_texts((vendor, self.number)),
            None => packet.text(self.number).into_iter().collect(),
        };
        let rest = all.iter().find_map(|text| text.strip_prefix(self.prefix.as_str()))?;
        fit(rest)
    }

    fn write(&self, draft: &mut Draft, rest: &str) {
        let text = format!("{}{rest}", self.prefix);
        match self.vendor {
            Some(vendor) => _ = draft.vendor((vendor, self.number), text.as_bytes()),
            None => _ = draft.text(self.number, &text),
        }
    }
}

/// Fit to be kept and shown: a stranger may have written it.
fn fit(text: &str) -> Option<String> {
    let text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    (!text.is_empty()).then_some(text)
}

/// The access point's MAC and the network's name, where a Called-Station-Id is of that form (RFC 3580 §3.20).
fn split_called(called: &str) -> (&str, &str) {
    for length in [17, 14, 12] {
        let Some((station, rest)) = called.split_at_checked(length) else {
            continue;
        };
        if station.parse::<Mac>().is_ok() && (rest.is_empty() || rest.starts_with(':')) {
            return (station, rest.strip_prefix(':').unwrap_or_default());
        }
    }
    (called, "")
}

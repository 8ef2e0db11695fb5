//! Vendor profiles: how the limits of a session are said to each vendor's gate, how that is told to change or end one, and what of its
//! requests is worth keeping.
//!
//! A profile is a TOML file that names attributes; dictionaries say what those are on the wire. Those of the vendors we know are built in
//! (`radius/vendors`); a directory adds others, and replaces them by name. `docs/vendors.md` shows how.

mod dictionary;
mod file;
mod set;
mod spelling;
mod text;
mod wire;
mod written;

use kavadam_domain::gate::{Abilities, Hold, OWN_PROFILE};

pub use dictionary::{Attribute, Dictionary, FileProblem, Kind, Layout, MAX_DICTIONARY_OCTETS, Vendor};
pub use set::{BuiltIn, Profiles};
pub(crate) use spelling::Spelling;
pub use wire::Dialect;

use text::Text;

/// RFC 5176 §2.2.
const COA_PORT: u16 = 3799;

/// How to speak to one vendor's gates.
#[derive(Debug, Clone)]
pub struct Profile {
    /// What it is called in a NAS record.
    pub name: String,
    /// What it is for.
    pub title: String,
    /// What its gates cannot do, and what they need.
    pub notes: String,
    /// `None`: our own dialect.
    limits: Option<Mapping>,
    always: Vec<Constant>,
    throttled: Vec<Constant>,
    orders: Orders,
    seen: Seen,
}

/// Which attribute holds which limit.
#[derive(Debug, Clone, Default)]
struct Mapping {
    session_secs: Option<Number>,
    idle_secs: Option<Number>,
    interim_secs: Option<Number>,
    max_total_octets: Option<Number>,
    up_bits_per_sec: Option<Number>,
    down_bits_per_sec: Option<Number>,
    rate: Option<(Field, Text)>,
}

/// A limit as a number.
#[derive(Debug, Clone)]
struct Number {
    field: Field,
    /// Of the figure, what lies above 32 bits.
    gigawords: Option<Field>,
    /// The same figure, for gates that ask for it twice.
    also: Vec<Field>,
    /// The figure is divided by this.
    unit: u32,
    /// Smaller figures are sent as this.
    least: u32,
    /// Sent in a CoA-Request that lifts the limit; `None`: not being there lifts it.
    lifted: Option<u32>,
}

/// An attribute as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    vendor: Option<Vendor>,
    number: u32,
    /// Of a number; 0 where the value is none.
    octets: u8,
}

/// An attribute with the same value in every Access-Accept, or in every CoA-Request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Constant {
    field: Field,
    tag: Option<u8>,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    /// `{plan}` in it is the name of the plan, `{filter}` and `{class}` those of its filter and class: where it has none, nothing is
    /// sent.
    Text(String),
    Octets(Vec<u8>),
    Number(u64),
}

/// How its gates take orders.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is so at a gate or not")]
struct Orders {
    /// Where they are heard, the likeliest first; at least one.
    ports: Vec<u16>,
    is_cut: bool,
    changes: Changes,
    /// In every CoA-Request.
    always: Vec<Constant>,
    /// In its place, of a slowed session.
    throttled: Vec<Constant>,
    /// By what a session is named: tried in turn until the gate knows it.
    names: Vec<Vec<Name>>,
    /// Of a MAC, where the gate was not heard to spell one, or does not know it by that.
    spelling: Spelling,
    is_signed: bool,
    is_timed: bool,
    /// A NAK without Error-Cause says that there is no such session; else it says nothing.
    is_bare_nak_gone: bool,
}

/// What a CoA-Request can change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each can be changed or not")]
struct Changes {
    octets: bool,
    rate: bool,
    /// The speed of a session, by its role.
    role: bool,
    session_secs: bool,
    idle_secs: bool,
    /// No limit; but where what is not there is lifted, it must be.
    interim_secs: bool,
}

/// By what a gate knows a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    User,
    AcctSessionId,
    CallingStationId,
    FramedIp,
    NasIdentifier,
    /// NAS-IP-Address, or NAS-IPv6-Address where the gate calls itself by that.
    NasIp,
    CalledStationId,
    /// See [`Seen::handle`].
    Handle,
}

impl Name {
    const ALL: [(&str, Self); 8] = [
        ("User-Name", Self::User),
        ("Acct-Session-Id", Self::AcctSessionId),
        ("Calling-Station-Id", Self::CallingStationId),
        ("Framed-IP-Address", Self::FramedIp),
        ("NAS-Identifier", Self::NasIdentifier),
        ("NAS-IP-Address", Self::NasIp),
        ("Called-Station-Id", Self::CalledStationId),
        ("handle", Self::Handle),
    ];

    /// By a name alone that several sessions of a person or a gate share, the wrong one would be ended.
    const fn tells_one_session(self) -> bool {
        !matches!(
            self,
            Self::User | Self::NasIdentifier | Self::NasIp | Self::CalledStationId
        )
    }
}

/// Which attributes of its requests are worth keeping.
#[derive(Debug, Clone, Default)]
struct Seen {
    handle: Vec<Source>,
    ssid: Vec<Source>,
    access_point: Vec<Source>,
}

/// An attribute of a request, of which the rest after `prefix` is meant.
#[derive(Debug, Clone)]
struct Source {
    vendor: Option<u32>,
    number: u8,
    prefix: String,
}

impl Profile {
    /// That of our own gateway.
    #[must_use]
    pub fn own() -> Self {
        use Name::{AcctSessionId, CallingStationId, User};
        Self {
            name: OWN_PROFILE.to_owned(),
            title: "our own gateway".to_owned(),
            notes: "Holds everything, and renews its leases.".to_owned(),
            limits: None,
            always: Vec::new(),
            throttled: Vec::new(),
            orders: Orders {
                ports: vec![COA_PORT],
                is_cut: true,
                changes: Changes {
                    octets: true,
                    rate: true,
                    role: false,
                    session_secs: true,
                    idle_secs: true,
                    interim_secs: true,
                },
                always: Vec::new(),
                throttled: Vec::new(),
                // It need not take over the User-Name of the grant (RFC 2865 §5.1), and then knows no session of that name.
                names: vec![
                    vec![User, AcctSessionId, CallingStationId],
                    vec![AcctSessionId, CallingStationId],
                ],
                spelling: Spelling::RFC,
                is_signed: true,
                is_timed: true,
                is_bare_nak_gone: false,
            },
            seen: Seen::default(),
        }
    }

    /// What its gates can be held to.
    #[must_use]
    pub fn abilities(&self) -> Abilities {
        let Some(limits) = &self.limits else {
            return Abilities::ALL;
        };
        let changes = self.orders.changes;
        let hold = |is_mapped: bool, is_changed: bool| match (is_mapped, is_changed) {
            (false, _) => Hold::Never,
            (true, false) => Hold::AtLogin,
            (true, true) => Hold::Always,
        };
        // A role named after the plan holds the plan's speed, as the gate's owner set it there.
        let has_role = !self.throttled.is_empty();
        let has_rate = limits.rate.is_some() || limits.up_bits_per_sec.is_some();
        Abilities {
            octets: hold(limits.max_total_octets.is_some(), changes.octets),
            rate: hold(
                has_rate || has_role,
                changes.rate && has_rate || changes.role && has_role,
            ),
            session_secs: hold(limits.session_secs.is_some(), changes.session_secs),
            idle_secs: hold(limits.idle_secs.is_some(), changes.idle_secs),
            is_cut: self.orders.is_cut,
        }
    }

    /// The UDP ports on which its gates hear orders unless told otherwise: one or, where that goes by version, several, the likeliest
    /// first.
    #[must_use]
    pub fn coa_ports(&self) -> &[u16] {
        &self.orders.ports
    }

    /// The first of them.
    #[must_use]
    pub fn coa_port(&self) -> u16 {
        self.orders.ports.first().copied().unwrap_or(COA_PORT)
    }

    /// Where a gate of that CoA port is asked: there or, if it is one of several, at each in turn until one answers.
    #[must_use]
    pub fn ports_of(&self, coa_port: u16) -> Vec<u16> {
        let others = self.orders.ports.iter().copied().filter(|port| *port != coa_port);
        let has_others = self.orders.ports.contains(&coa_port);
        std::iter::once(coa_port).chain(others.filter(|_| has_others)).collect()
    }

    /// Whether it is that of our own gateway.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        self.limits.is_none()
    }
}

impl Mapping {
    /// Whether a limit is written into this attribute.
    fn writes(&self, attribute: &Attribute) -> bool {
        let field = Field::of(attribute);
        let numbers = [
            &self.session_secs,
            &self.idle_secs,
            &self.interim_secs,
            &self.max_total_octets,
            &self.up_bits_per_sec,
            &self.down_bits_per_sec,
        ];
        let mut numbers = numbers.into_iter().flatten();
        numbers.any(|number| {
            number.field == field || number.gigawords.as_ref() == Some(&field) || number.also.contains(&field)
        }) || self.rate.as_ref().is_some_and(|(at, _)| *at == field)
    }
}

impl Field {
    fn of(attribute: &Attribute) -> Self {
        Self {
            vendor: attribute.vendor,
            number: attribute.number,
            octets: match attribute.kind {
                Kind::Number(octets) => octets,
                _ => 0,
            },
        }
    }
}

#[cfg(test)]
mod tests;

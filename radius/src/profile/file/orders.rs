//! What a profile file says of orders.

use super::super::written::WrittenOrders;
use super::super::{Changes, Constant, Mapping, Name, Orders, Spelling};
use super::Resolver;

/// What a CoA-Request can change.
const CHANGES: [&str; 6] = ["octets", "rate", "role", "session_secs", "idle_secs", "interim_secs"];

/// Each that is silent costs an order a sending.
const MOST_PORTS: usize = 4;

/// Those of every session, and those of a slowed one.
pub(super) type Constants = (Vec<Constant>, Vec<Constant>);

impl Resolver<'_, '_> {
    pub(super) fn orders(&mut self, written: WrittenOrders, limits: &Mapping, login: &Constants) -> Orders {
        let can_change = CHANGES.map(|kind| written.change.iter().any(|given| given == kind));
        for given in &written.change {
            if !CHANGES.contains(&given.as_str()) {
                let text = format!("`{given}`: use {}", CHANGES.join(", "));
                self.problems.about(given, text);
            }
        }
        let names = self.names(&written);
        let spelling = Spelling::of(&written.mac);
        if spelling.is_none() {
            let text = format!(
                "mac `{}`: spell AA-BB-CC-DD-EE-FF as the gate spells a MAC",
                written.mac
            );
            self.problems.about("mac", text);
        }
        let [octets, rate, role, session_secs, idle_secs, interim_secs] = can_change;
        let own = (
            self.constants(written.always, limits),
            self.constants(written.throttled, limits),
        );
        let mut orders = Orders {
            ports: self.ports(written.port.as_slice()),
            is_cut: written.disconnect,
            changes: Changes {
                octets,
                rate,
                role,
                session_secs,
                idle_secs,
                interim_secs,
            },
            always: Vec::new(),
            throttled: Vec::new(),
            names,
            spelling: spelling.unwrap_or_default(),
            is_signed: written.message_authenticator,
            is_timed: written.event_timestamp,
            is_bare_nak_gone: !written.error_cause,
        };
        self.add_constants(&mut orders, own, login);
        orders
    }

    /// What a CoA-Request says besides limits: what [orders] has for that or, where it changes the role, what the login says.
    fn add_constants(&mut self, orders: &mut Orders, own: Constants, login: &Constants) {
        let is_changing = orders.changes != Changes::default();
        if own != Constants::default() {
            if !is_changing {
                let text =
                    "[orders.always] and [orders.throttled] stand in CoA-Requests: say in `change` what one changes";
                self.problems.about("[orders.", text.to_owned());
            }
            (orders.always, orders.throttled) = own;
        } else if orders.changes.role {
            (orders.always, orders.throttled) = login.clone();
        }
        if orders.changes.role && (login.1.is_empty() || orders.throttled.is_empty()) {
            let text = "`role`: say in [throttled] which one a slowed session has, and in [orders.throttled] too if [orders] has its own";
            self.problems.about("role", text.to_owned());
        }
    }

    fn names(&mut self, written: &WrittenOrders) -> Vec<Vec<Name>> {
        let mut names: Vec<Vec<Name>> = Vec::new();
        for tier in &written.session {
            names.push(tier.iter().filter_map(|name| self.session_name(name)).collect());
        }
        let can_order = written.disconnect || !written.change.is_empty();
        if can_order && (names.is_empty() || names.iter().any(Vec::is_empty)) {
            let text = "session: name at least one attribute by which the gate knows a session".to_owned();
            self.problems.about("[orders]", text);
        }
        let is_one = |way: &Vec<Name>| way.is_empty() || way.iter().any(|name| name.tells_one_session());
        if !names.iter().all(is_one) {
            let text = "session: User-Name is a person, who may have several sessions: name something else besides";
            self.problems.about("session =", text.to_owned());
        }
        names
    }

    fn ports(&mut self, written: &[u16]) -> Vec<u16> {
        let mut ports = Vec::new();
        for port in written {
            if *port == 0 || ports.contains(port) {
                let text = format!("port: {port} is none, or is there twice");
                self.problems.about("port", text);
            }
            ports.push(*port);
        }
        if !(1..=MOST_PORTS).contains(&ports.len()) {
            let text = format!("port: give one, or several to be tried in turn, at most {MOST_PORTS}");
            self.problems.about("port", text);
        }
        ports
    }

    fn session_name(&mut self, name: &str) -> Option<Name> {
        let known = Name::ALL.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(name));
        if known.is_none() {
            let words: Vec<&str> = Name::ALL.iter().map(|(word, _)| *word).collect();
            let text = format!("`{name}` names no session: use {}", words.join(", "));
            self.problems.about(name, text);
        }
        known.map(|(_, name)| name)
    }
}

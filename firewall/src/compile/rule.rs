//! A rule's words as the expressions that the kernel runs.
//!
//! What a packet must be before a field of it can be read is asked first, once in each rule, as `nft` does: who lists the rules by `nft` then
//! reads again what was written.

use super::Unreadable;
use super::field::{self, Field, Kind, Needs, number};
use super::words::Words;
use crate::netlink::expression::{
    Comparison, Expression, FIRST, Header, Limit, PerKey, Refusal, SECOND, Source, Translation, Verdict, after,
};
use crate::netlink::{FAMILY_ARP, FAMILY_INET};

/// The expressions of a rule in a table of this family.
pub(super) fn compile(family: u8, rule: &str) -> Result<Vec<Expression>, Unreadable> {
    let mut draft = Draft {
        family,
        words: Words::of(rule),
        out: Vec::new(),
        is_ethernet: false,
        network: None,
        transport: None,
    };
    while draft.words.peek().is_some() {
        draft.statement()?;
    }
    draft.merge_ports();
    Ok(draft.out)
}

/// A rule half read.
struct Draft<'a> {
    family: u8,
    words: Words<'a>,
    out: Vec<Expression>,
    /// What has been asked of the packet by then.
    is_ethernet: bool,
    network: Option<u8>,
    transport: Option<u8>,
}

impl Draft<'_> {
    fn statement(&mut self) -> Result<(), Unreadable> {
        let mut ahead = self.words.clone();
        match (
            ahead.next()?,
            ahead.next().unwrap_or_default(),
            ahead.next().unwrap_or_default(),
        ) {
            ("accept" | "drop" | "goto" | "jump", ..) => self.verdict(),
            ("reject", ..) => self.refusal(),
            ("masquerade", ..) => {
                self.words.next()?;
                self.out.push(Expression::Masquerade);
                Ok(())
            }
            ("dnat" | "snat", ..) => self.translation(),
            ("limit", ..) => {
                let limit = self.limit()?;
                self.out.push(Expression::Limit(limit));
                Ok(())
            }
            ("counter", ..) => {
                self.words.expect("counter name")?;
                let name = self.words.quoted()?.to_owned();
                self.out.push(Expression::Count(name));
                Ok(())
            }
            ("quota", ..) => self.charge(),
            ("add" | "update", ..) => self.bound(),
            ("meta", "mark", "set") => self.assignment(Kind::Mark, |from| Expression::SetMeta(field::MARK, from)),
            ("meta", "priority", "set") => {
                self.assignment(Kind::Class, |from| Expression::SetMeta(field::PRIORITY, from))
            }
            ("ct", "mark", "set") => self.assignment(Kind::Mark, |from| {
                Expression::SetConnection(field::CONNECTION_MARK, from)
            }),
            _ => self.matching(),
        }
    }

    fn verdict(&mut self) -> Result<(), Unreadable> {
        let verdict = match self.words.next()? {
            "accept" => Verdict::Accept,
            "drop" => Verdict::Drop,
            "jump" => Verdict::Jump(self.words.next()?.to_owned()),
            _ => Verdict::Goto(self.words.next()?.to_owned()),
        };
        self.out.push(Expression::Verdict(verdict));
        Ok(())
    }

    fn refusal(&mut self) -> Result<(), Unreadable> {
        self.words.expect("reject with")?;
        let refusal = if self.words.take("tcp") {
            self.words.expect("reset")?;
            Refusal::Reset
        } else if self.words.take("icmpv6") {
            self.words.expect("policy-fail")?;
            self.need(Needs::Network(field::IPV6));
            Refusal::SourcePolicy
        } else {
            self.words.expect("icmpx admin-prohibited")?;
            Refusal::Prohibited
        };
        self.out.push(Expression::Refuse(refusal));
        Ok(())
    }

    /// `dnat ip to ADDRESS:PORT`, `snat ip to ADDRESS`, or to what a map says.
    fn translation(&mut self) -> Result<(), Unreadable> {
        let is_of_source = self.words.next()? == "snat";
        let (family, kind) = match self.words.next()? {
            "ip" => (field::IPV4, Kind::Ipv4),
            "ip6" => (field::IPV6, Kind::Ipv6),
            _ => return Err(self.words.unreadable("ip or ip6")),
        };
        self.words.expect("to")?;
        let mut translation = Translation {
            is_of_source,
            family: family.into(),
            address: (FIRST, None),
            port: None,
        };
        if self.words.peek() == Some("ip") {
            self.key()?;
            self.words.expect("map")?;
            self.lookup(false, Some(FIRST))?;
            // A range of addresses and ports: the first of both, then the last of both.
            translation.address = (FIRST, Some(after(8)));
            translation.port = Some((after(4), Some(after(12))));
        } else {
            let target = self.words.next()?;
            let (address, port) = target_of(target, kind);
            let address = kind.value(address).ok_or_else(|| self.words.unreadable("an address"))?;
            self.out.push(Expression::Immediate(FIRST, address));
            if let Some(port) = port {
                let port = Kind::Port.value(port).ok_or_else(|| self.words.unreadable("a port"))?;
                self.out.push(Expression::Immediate(SECOND, port));
                translation.port = Some((SECOND, None));
            }
        }
        self.out.push(Expression::Translate(translation));
        Ok(())
    }

    /// `limit rate [over] N/second [burst N packets]`, or `N/hour`, or the same of `kbytes` a second.
    fn limit(&mut self) -> Result<Limit, Unreadable> {
        /// What `nft` takes if nothing is said.
        const PACKETS: u32 = 5;
        self.words.expect("limit rate")?;
        let is_over = self.words.take("over");
        let word = self.words.next()?;
        let (rate, secs) = match (word.strip_suffix("/second"), word.strip_suffix("/hour")) {
            (Some(rate), _) => (Some(rate), 1),
            (None, Some(rate)) => (Some(rate), 3600),
            (None, None) => (None, 1),
        };
        let is_of_octets = rate.is_none();
        let (rate, unit): (&str, u32) = rate.map_or((word, 1024), |rate| (rate, 1));
        if is_of_octets {
            self.words.expect("kbytes/second")?;
        }
        let rate: u64 = rate.parse().map_err(|_| self.words.unreadable("a rate"))?;
        let mut burst = PACKETS;
        if self.words.take("burst") {
            burst = self.words.number()?;
            self.words.expect(if is_of_octets { "kbytes" } else { "packets" })?;
        }
        Ok(Limit {
            rate: rate.saturating_mul(unit.into()),
            secs,
            burst: burst.saturating_mul(unit),
            is_of_octets,
            is_over,
        })
    }

    fn charge(&mut self) -> Result<(), Unreadable> {
        self.words.expect("quota name")?;
        self.key()?;
        self.words.expect("map")?;
        let map = self.set()?;
        self.out.push(Expression::Charge { map, key: FIRST });
        Ok(())
    }

    /// `add @set { FIELD limit … }`, `{ FIELD ct count over N }`, `{ FIELD }`; and `update`.
    fn bound(&mut self) -> Result<(), Unreadable> {
        let is_renewed = self.words.next()? == "update";
        let set = self.set()?;
        self.words.expect("{")?;
        self.key()?;
        let limit = match self.words.peek() {
            Some("ct") => {
                self.words.expect("ct count over")?;
                Some(PerKey::ConnectionsOver(self.words.number()?))
            }
            Some("limit") => Some(PerKey::Rate(self.limit()?)),
            _ => None,
        };
        self.words.expect("}")?;
        self.out.push(Expression::Bound {
            set,
            key: FIRST,
            limit,
            is_renewed,
        });
        Ok(())
    }

    /// `… set VALUE`, `… set FIELD`, `… set FIELD | N`, `… set FIELD & N map @map`, `… set FIELD . FIELD map @map`.
    fn assignment(&mut self, kind: Kind, store: impl FnOnce(u32) -> Expression) -> Result<(), Unreadable> {
        for _ in 0..3 {
            self.words.next()?;
        }
        let value = self.words.peek().and_then(|word| kind.value(word));
        if let Some(value) = value {
            self.words.next()?;
            self.out.push(Expression::Immediate(FIRST, value));
        } else {
            self.key()?;
            if self.words.take("&") {
                let mask = self.bits_of_mark()?;
                self.out.push(Expression::Mask(FIRST, mask));
            } else if self.words.take("|") {
                let bits = self.bits_of_mark()?;
                self.out.push(Expression::SetBits(FIRST, bits));
            }
            if self.words.take("map") {
                self.lookup(false, Some(FIRST))?;
            }
        }
        self.out.push(store(FIRST));
        Ok(())
    }

    fn bits_of_mark(&mut self) -> Result<Vec<u8>, Unreadable> {
        let word = self.words.next()?;
        let bits = number(word).ok_or_else(|| self.words.unreadable("a number"))?;
        Ok(bits.to_ne_bytes().to_vec())
    }

    /// `FIELD VALUE`, `FIELD != VALUE`, `FIELD > VALUE`, `FIELD @set`, `FIELD . FIELD != @set`, and bits.
    fn matching(&mut self) -> Result<(), Unreadable> {
        let field = self.key()?;
        if self.words.take("&") {
            let bits = self.value(field.kind)?;
            let comparison = if self.words.take("!=") {
                Comparison::Different
            } else {
                self.words.expect("==")?;
                Comparison::Equal
            };
            self.words.expect("0")?;
            self.bits(bits, comparison);
            return Ok(());
        }
        let comparison = if self.words.take("!=") {
            Comparison::Different
        } else if self.words.take(">") {
            Comparison::Greater
        } else {
            Comparison::Equal
        };
        if self.words.peek().is_some_and(|word| word.starts_with('@')) {
            return self.lookup(comparison == Comparison::Different, None);
        }
        if matches!(field.kind, Kind::State | Kind::Status) {
            let bits = self.value(field.kind)?;
            self.bits(bits, Comparison::Different);
            return Ok(());
        }
        if let Some((address, prefix)) = self.words.peek().and_then(|word| word.split_once('/')) {
            self.words.next()?;
            return self.prefix(field.kind, comparison, address, prefix);
        }
        let value = self.value(field.kind)?;
        match (field.source, value.first()) {
            (Source::Meta(field::FAMILY), Some(family)) => self.network = Some(*family),
            (Source::Meta(field::FRAME), _) if value == field::FRAME_OF_IPV6.to_be_bytes() => {
                self.network = Some(field::IPV6);
            }
            (Source::Meta(field::TRANSPORT), Some(protocol)) => self.transport = Some(*protocol),
            _ => {}
        }
        self.out.push(Expression::Compare(FIRST, comparison, value));
        Ok(())
    }

    /// Holds if any of the bits is set, or if none is.
    fn bits(&mut self, bits: Vec<u8>, comparison: Comparison) {
        let none = vec![0; bits.len()];
        self.out.push(Expression::Mask(FIRST, bits));
        self.out.push(Expression::Compare(FIRST, comparison, none));
    }

    /// Of whole octets no more is loaded than the prefix has.
    fn prefix(&mut self, kind: Kind, how: Comparison, address: &str, prefix: &str) -> Result<(), Unreadable> {
        let unreadable = self.words.unreadable("an address and a prefix");
        let (Some(mut value), Ok(bits)) = (kind.value(address), prefix.parse::<usize>()) else {
            return Err(unreadable);
        };
        if bits > value.len() * 8 {
            return Err(unreadable);
        }
        let is_whole = bits.is_multiple_of(8) && bits > 0;
        if is_whole {
            value.truncate(bits / 8);
            if let Some(Expression::Load(Source::Payload { len, .. }, _)) = self.out.last_mut() {
                *len = u32::try_from(value.len()).unwrap_or(*len);
            }
        } else {
            let octet = |at: usize| {
                let ones = bits.saturating_sub(at * 8).min(8);
                u8::try_from(0xff00_u16 >> ones & 0xff).unwrap_or_default()
            };
            let mask = (0..value.len()).map(octet).collect();
            self.out.push(Expression::Mask(FIRST, mask));
        }
        self.out.push(Expression::Compare(FIRST, how, value));
        Ok(())
    }

    /// Loads one field, or several joined by points, each of which begins at a multiple of four octets; tells the first.
    fn key(&mut self) -> Result<Field, Unreadable> {
        let first = Field::read(&mut self.words)?;
        let mut fields = vec![first];
        while self.words.take(".") {
            fields.push(Field::read(&mut self.words)?);
        }
        // What is needed is asked first, as that takes the same register.
        for field in &fields {
            self.need(field.needs);
        }
        let mut at = 0;
        for field in fields {
            self.out.push(Expression::Load(field.source, after(at)));
            at += field.kind.len().next_multiple_of(4);
        }
        Ok(first)
    }

    fn need(&mut self, needs: Needs) {
        match needs {
            Needs::Nothing => {}
            Needs::Ethernet => {
                if !self.is_ethernet && self.family == FAMILY_INET {
                    /// `ARPHRD_ETHER`.
                    const ETHERNET: u16 = 1;
                    self.ask(Source::Meta(field::LINK_TYPE), ETHERNET.to_ne_bytes().to_vec());
                }
                self.is_ethernet = true;
            }
            Needs::Network(family) => self.need_network(family),
            Needs::Transport(protocol) => self.need_transport(protocol),
            Needs::Messages(protocol) => {
                self.need_network(if protocol == 1 { field::IPV4 } else { field::IPV6 });
                self.need_transport(protocol);
            }
        }
    }

    /// By what the frame says if that is being looked at, by what the kernel has made of it otherwise.
    fn need_network(&mut self, family: u8) {
        if self.network.is_some() || self.family == FAMILY_ARP {
            return;
        }
        if self.is_ethernet || self.family != FAMILY_INET {
            const TYPE_OF_FRAME: Source = Source::Payload {
                header: Header::Link,
                offset: 12,
                len: 2,
            };
            let kind: u16 = if family == field::IPV4 {
                0x0800
            } else {
                field::FRAME_OF_IPV6
            };
            self.ask(TYPE_OF_FRAME, kind.to_be_bytes().to_vec());
        } else {
            self.ask(Source::Meta(field::FAMILY), vec![family]);
        }
        self.network = Some(family);
    }

    fn need_transport(&mut self, protocol: u8) {
        if self.transport.is_none() {
            self.ask(Source::Meta(field::TRANSPORT), vec![protocol]);
            self.transport = Some(protocol);
        }
    }

    fn ask(&mut self, source: Source, value: Vec<u8>) {
        self.out.push(Expression::Load(source, FIRST));
        self.out.push(Expression::Compare(FIRST, Comparison::Equal, value));
    }

    fn lookup(&mut self, is_inverted: bool, into: Option<u32>) -> Result<(), Unreadable> {
        let set = self.set()?;
        self.out.push(Expression::Lookup {
            set,
            key: FIRST,
            is_inverted,
            into,
        });
        Ok(())
    }

    fn set(&mut self) -> Result<String, Unreadable> {
        let name = self.words.set().map(ToOwned::to_owned);
        name.ok_or_else(|| self.words.unreadable("a set"))
    }

    fn value(&mut self, kind: Kind) -> Result<Vec<u8>, Unreadable> {
        let word = self.words.next()?;
        kind.value(word).ok_or_else(|| self.words.unreadable("another value"))
    }

    /// Two ports that follow one another are compared at once.
    fn merge_ports(&mut self) {
        let is_port = |load: &Expression, at| {
            let Expression::Load(Source::Payload { header, offset, len }, _) = load else {
                return false;
            };
            (*header, *offset, *len) == (Header::Transport, at, 2)
        };
        for at in 0..self.out.len().saturating_sub(3) {
            let Some(
                [
                    source,
                    Expression::Compare(_, Comparison::Equal, from),
                    destination,
                    Expression::Compare(_, Comparison::Equal, to),
                ],
            ) = self.out.get(at..at + 4)
            else {
                continue;
            };
            if is_port(source, 0) && is_port(destination, 2) {
                let both = [from.as_slice(), to].concat();
                let load = Source::Payload {
                    header: Header::Transport,
                    offset: 0,
                    len: 4,
                };
                let merged = [
                    Expression::Load(load, FIRST),
                    Expression::Compare(FIRST, Comparison::Equal, both),
                ];
                self.out.splice(at..at + 4, merged);
                return;
            }
        }
    }
}

/// The address and port of `10.80.0.1:53`, `[fd00::1]:53` or `10.80.0.1`.
fn target_of(target: &str, kind: Kind) -> (&str, Option<&str>) {
    if kind == Kind::Ipv6 {
        let inner = target.strip_prefix('[').and_then(|rest| rest.split_once("]:"));
        return inner.map_or((target, None), |(address, port)| (address, Some(port)));
    }
    target
        .split_once(':')
        .map_or((target, None), |(address, port)| (address, Some(port)))
}

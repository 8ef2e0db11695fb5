//! The `nf_tables` messages we need: set elements and quota objects of our table.

mod batch;

use std::sync::Arc;

use super::wire::{self, Writer};
pub use batch::Batch;

/// `NFNL_SUBSYS_NFTABLES`, in the high octet of a message's type.
const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
const GET_CHAIN: u16 = 4;
const GET_RULE: u16 = 7;
const GET_SET: u16 = 10;
const NEW_ELEMENT: u16 = 12;
const GET_ELEMENT: u16 = 13;
const DELETE_ELEMENT: u16 = 14;
const NEW_OBJECT: u16 = 18;
const GET_OBJECT: u16 = 19;
const DELETE_OBJECT: u16 = 20;
/// `NFT_OBJECT_COUNTER`.
const COUNTER_OBJECT: u32 = 1;
/// `NFT_OBJECT_QUOTA`.
const QUOTA_OBJECT: u32 = 2;
pub const FAMILY_INET: u8 = 1;
pub const FAMILY_ARP: u8 = 3;
pub const FAMILY_BRIDGE: u8 = 7;
const FAMILY_NONE: u8 = 0;

/// The type of an object announcement.
pub const OBJECT_NEWS: u16 = SUBSYSTEM << 8 | NEW_OBJECT;
/// News of tables, chains, rules and sets have lower types than those of elements, in the low octet.
pub const FIRST_ELEMENT_NEWS: u8 = 12;

/// `NFT_TABLE_F_OWNER`: as long as the socket that made it so is open, no other may change the table.
pub const OWNED: u32 = 2;
/// `NFT_TABLE_F_PERSIST` (since Linux 6.9): the table outlives its owner, and is then anybody's until the next.
pub const PERSISTENT: u32 = 4;

/// The name of a gate's table, in each family. All that is asked and told here is of that table alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table(Arc<str>);

/// Octets and packets of one meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counter {
    pub octets: u64,
    pub packets: u64,
}

/// One element to be added. Only what is set is sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Entry<'a> {
    pub key: &'a [u8],
    /// The value of a map's element.
    pub data: Option<&'a [u8]>,
    /// The name of the object a map's element points to.
    pub object: Option<&'a str>,
    pub timeout_ms: Option<u64>,
    pub counter: Option<Counter>,
    /// Octets per second, and octets above that second's worth in one go.
    pub limit: Option<(u64, u32)>,
    pub userdata: Option<&'a [u8]>,
}

/// One element as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Element {
    pub key: Vec<u8>,
    pub data: Option<Vec<u8>>,
    pub object: Option<String>,
    /// Milliseconds until it vanishes.
    pub expires_ms: Option<u64>,
    pub counter: Option<Counter>,
    /// Octets per second.
    pub limit_octets: Option<u64>,
    pub userdata: Option<Vec<u8>>,
}

/// A quota object as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    pub name: String,
    pub limit_octets: u64,
    /// Never shown above the limit, whatever was refused beyond it.
    pub used_octets: u64,
}

impl Table {
    /// The table of this name.
    pub fn named(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name as it stands in a message: ended by a zero, and filled with zeros to a multiple of four octets.
    pub fn padded_name(&self) -> Vec<u8> {
        let mut name = self.0.as_bytes().to_vec();
        name.push(0);
        name.resize(name.len().next_multiple_of(4), 0);
        name
    }

    /// An empty batch whose messages are numbered from `sequence`.
    pub fn batch(&self, sequence: u32) -> Batch {
        Batch::new(self.clone(), sequence)
    }

    /// Whether an announcement says that the table, or a chain, rule or set in it, was made, changed or removed.
    pub fn is_changed_by(&self, kind: u16, body: &[u8]) -> bool {
        let [subsystem, what] = kind.to_be_bytes();
        let table = body.get(4..).and_then(|attributes| wire::attribute(attributes, 1));
        u16::from(subsystem) == SUBSYSTEM && what < FIRST_ELEMENT_NEWS && table.and_then(wire::text) == Some(&self.0)
    }

    /// Whether an announcement says that an element of the table, or a quota, was made, changed or removed.
    pub fn has_element_changed_by(&self, kind: u16, body: &[u8]) -> bool {
        let [subsystem, what] = kind.to_be_bytes();
        let is_element = [NEW_ELEMENT, DELETE_ELEMENT, NEW_OBJECT, DELETE_OBJECT].contains(&what.into());
        let table = body.get(4..).and_then(|attributes| wire::attribute(attributes, 1));
        u16::from(subsystem) == SUBSYSTEM && is_element && table.and_then(wire::text) == Some(&self.0)
    }

    /// Asks for our table.
    pub fn get_table(&self, sequence: u32) -> Writer {
        self.request(GET_TABLE, wire::ACK, sequence, |_| {})
    }

    /// Asks for one chain.
    pub fn get_chain(&self, name: &str, sequence: u32) -> Writer {
        self.request(GET_CHAIN, wire::ACK, sequence, |w| w.string(3, name))
    }

    /// Asks for every rule of our table.
    pub fn dump_rules(&self, family: u8, sequence: u32) -> Writer {
        self.request_in(family, GET_RULE, wire::DUMP, sequence, |_| {})
    }

    /// The chain of our table that a rule in the answer to [`Table::dump_rules`] is in.
    pub fn read_rule_chain(&self, body: &[u8]) -> Option<String> {
        let attributes = body.get(4..)?;
        let string = |kind| wire::attribute(attributes, kind).and_then(wire::text);
        (string(1)? == &*self.0).then_some(string(2)?.to_owned())
    }

    /// Asks for these keys of a set, one answer each in their order; stops with `ENOENT` at the first that is missing.
    pub fn get_elements(&self, family: u8, set: &str, keys: &[&[u8]], sequence: u32) -> Writer {
        self.request_in(family, GET_ELEMENT, wire::ACK, sequence, |w| {
            let entries: Vec<_> = keys
                .iter()
                .map(|key| Entry {
                    key,
                    ..Entry::default()
                })
                .collect();
            elements(w, set, &entries);
        })
    }

    /// Asks for the whole set.
    pub fn dump_elements(&self, family: u8, set: &str, sequence: u32) -> Writer {
        self.request_in(family, GET_ELEMENT, wire::DUMP, sequence, |w| w.string(2, set))
    }

    /// Asks for one quota object.
    pub fn get_quota(&self, name: &str, sequence: u32) -> Writer {
        self.request(GET_OBJECT, wire::ACK, sequence, |w| {
            w.string(2, name);
            w.u32(3, QUOTA_OBJECT);
        })
    }

    /// Asks for one counter of our table of this family.
    pub fn get_counter(&self, family: u8, name: &str, sequence: u32) -> Writer {
        self.request_in(family, GET_OBJECT, wire::ACK, sequence, |w| {
            w.string(2, name);
            w.u32(3, COUNTER_OBJECT);
        })
    }

    /// Asks for all quota objects.
    pub fn dump_quotas(&self, sequence: u32) -> Writer {
        self.request(GET_OBJECT, wire::DUMP, sequence, |w| w.u32(3, QUOTA_OBJECT))
    }

    /// The quota object of an answer or an announcement, if it is one of our table.
    pub fn read_quota(&self, body: &[u8]) -> Option<Quota> {
        let attributes = body.get(4..)?;
        let string = |kind| wire::attribute(attributes, kind).and_then(wire::text);
        let kind = wire::attribute(attributes, 3)?
            .first_chunk()
            .map(|octets| u32::from_be_bytes(*octets))?;
        if string(1)? != &*self.0 || kind != QUOTA_OBJECT {
            return None;
        }
        let data = wire::attribute(attributes, 4)?;
        Some(Quota {
            name: string(2)?.to_owned(),
            limit_octets: wire::be_u64(wire::attribute(data, 1)?)?,
            used_octets: wire::be_u64(wire::attribute(data, 4)?)?,
        })
    }

    fn request(&self, kind: u16, flags: u16, sequence: u32, body: impl FnOnce(&mut Writer)) -> Writer {
        self.request_in(FAMILY_INET, kind, flags, sequence, body)
    }

    fn request_in(&self, family: u8, kind: u16, flags: u16, sequence: u32, body: impl FnOnce(&mut Writer)) -> Writer {
        let mut writer = Writer::default();
        writer.message(SUBSYSTEM << 8 | kind, wire::REQUEST | flags, sequence, |w| {
            family_header(w, family, 0);
            w.string(1, &self.0);
            body(w);
        });
        writer
    }
}

/// Asks for the sets of every table of the family inet.
pub fn dump_every_set(sequence: u32) -> Writer {
    let mut writer = Writer::default();
    let kind = SUBSYSTEM << 8 | GET_SET;
    writer.message(kind, wire::REQUEST | wire::DUMP, sequence, |w| {
        family_header(w, FAMILY_INET, 0);
    });
    writer
}

/// The names of the table and of the set in an answer to [`dump_every_set`].
pub fn read_set_names(body: &[u8]) -> Option<(&str, &str)> {
    let name = |kind| wire::attribute(body.get(4..)?, kind).and_then(wire::text);
    Some((name(1)?, name(2)?))
}

/// Its flags, in the body of the answer to [`Table::get_table`].
pub fn read_table_flags(body: &[u8]) -> Option<u32> {
    let flags = wire::attribute(body.get(4..)?, 2)?;
    flags.first_chunk().map(|octets| u32::from_be_bytes(*octets))
}

/// What it has counted, in the body of the answer to [`Table::get_counter`].
pub fn read_counter(body: &[u8]) -> Option<Counter> {
    let data = wire::attribute(body.get(4..)?, 4)?;
    let number = |kind| wire::attribute(data, kind).and_then(wire::be_u64);
    Some(Counter {
        octets: number(1)?,
        packets: number(2)?,
    })
}

/// Empties the connection table (`ctnetlink`, a neighbour of `nf_tables` on the same socket).
pub fn delete_connections(sequence: u32) -> Writer {
    const CONNTRACK_DELETE: u16 = 1 << 8 | 2;
    let mut writer = Writer::default();
    let flags = wire::REQUEST | wire::ACK;
    writer.message(CONNTRACK_DELETE, flags, sequence, |w| family_header(w, FAMILY_NONE, 0));
    writer
}

/// `struct nfgenmsg`.
fn family_header(w: &mut Writer, family: u8, resource: u16) {
    let [high, low] = resource.to_be_bytes();
    w.raw(&[family, 0, high, low]);
}

fn elements(w: &mut Writer, set: &str, entries: &[Entry]) {
    w.string(2, set);
    w.nest(3, |w| entries.iter().for_each(|entry| w.nest(1, |w| element(w, entry))));
}

fn element(w: &mut Writer, entry: &Entry) {
    w.nest(1, |w| w.attribute(1, entry.key));
    if let Some(data) = entry.data {
        w.nest(2, |w| w.attribute(1, data));
    }
    if let Some(timeout_ms) = entry.timeout_ms {
        w.u64(4, timeout_ms);
    }
    if let Some(userdata) = entry.userdata {
        w.attribute(6, userdata);
    }
    if let Some(counter) = entry.counter {
        expression(w, "counter", |w| {
            w.u64(1, counter.octets);
            w.u64(2, counter.packets);
        });
    }
    if let Some((octets_per_sec, burst_octets)) = entry.limit {
        expression(w, "limit", |w| {
            w.u64(1, octets_per_sec);
            w.u64(2, 1);
            w.u32(3, burst_octets);
            w.u32(4, 1);
            w.u32(5, 0);
        });
    }
    if let Some(object) = entry.object {
        w.string(9, object);
    }
}

fn expression(w: &mut Writer, name: &str, body: impl FnOnce(&mut Writer)) {
    w.nest(7, |w| {
        w.string(1, name);
        w.nest(2, body);
    });
}

/// The elements in the body of an answer to [`Table::get_elements`] or [`Table::dump_elements`].
pub fn read_elements(body: &[u8]) -> impl Iterator<Item = Element> + '_ {
    let list = wire::attribute(body.get(4..).unwrap_or_default(), 3).unwrap_or_default();
    wire::attributes(list).map(|(_, bytes)| read_element(bytes))
}

fn read_element(bytes: &[u8]) -> Element {
    let mut element = Element::default();
    for (kind, value) in wire::attributes(bytes) {
        match kind {
            1 => element.key = wire::attribute(value, 1).unwrap_or_default().to_vec(),
            2 => element.data = wire::attribute(value, 1).map(<[u8]>::to_vec),
            5 => element.expires_ms = wire::be_u64(value),
            6 => element.userdata = Some(value.to_vec()),
            7 => read_expression(&mut element, value),
            9 => element.object = wire::text(value).map(ToOwned::to_owned),
            11 => wire::attributes(value).for_each(|(_, one)| read_expression(&mut element, one)),
            _ => {}
        }
    }
    element
}

fn read_expression(element: &mut Element, bytes: &[u8]) {
    let name = wire::attribute(bytes, 1).and_then(wire::text);
    let body = wire::attribute(bytes, 2).unwrap_or_default();
    let number = |kind| wire::attribute(body, kind).and_then(wire::be_u64);
    match name {
        Some("counter") => {
            element.counter = number(1)
                .zip(number(2))
                .map(|(octets, packets)| Counter { octets, packets });
        }
        Some("limit") => element.limit_octets = number(1),
        _ => {}
    }
}

#[cfg(test)]
mod tests;

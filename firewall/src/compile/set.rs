//! Sets: what their definition says, and what their elements are.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Unreadable;
use super::field::{Kind, raw};
use super::words::Words;
use crate::netlink::{Place, SetDefinition, SetEntry};

/// The types of keys and values: `nft`'s number for each, and whether the machine's own order of octets is meant.
const TYPES: [(&str, u32, bool, Kind); 9] = [
    ("ether_addr", 9, false, Kind::Ether),
    ("ipv4_addr", 7, false, Kind::Ipv4),
    ("ipv6_addr", 8, false, Kind::Ipv6),
    ("inet_proto", 12, false, Kind::Protocol),
    ("inet_service", 13, false, Kind::Port),
    ("mark", 19, true, Kind::Mark),
    ("classid", 23, true, Kind::Class),
    ("icmpv6_type", 29, false, Kind::Icmpv6),
    ("ifname", 41, true, Kind::Interface),
];
/// `enum nft_set_flags`.
const INTERVAL: u32 = 4;
const MAP: u32 = 8;
const TIMEOUT: u32 = 0x10;
const DYNAMIC: u32 = 0x20;
const OBJECT: u32 = 0x40;
/// `NFT_OBJECT_QUOTA`.
const QUOTA: u32 = 2;

/// What a set is of, to read its elements by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    key: Vec<Kind>,
    value: Vec<Kind>,
    has_ranges: bool,
}

/// A definition such as `type mark : classid; size 2048; flags timeout;`.
pub(super) fn definition(name: &str, text: &str) -> Result<(SetDefinition, Shape), Unreadable> {
    let mut definition = SetDefinition::new(name);
    let mut shape = Shape {
        key: Vec::new(),
        value: Vec::new(),
        has_ranges: false,
    };
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let mut words = Words::of(part);
        match words.next()? {
            "type" => types(&mut words, &mut definition, &mut shape)?,
            "typeof" => typeof_places(&mut words, &mut definition, &mut shape)?,
            "size" => definition.size = words.number()?,
            "timeout" => {
                let minutes = words
                    .peek()
                    .and_then(|word| word.strip_suffix('m')?.parse::<u64>().ok());
                let minutes = minutes.ok_or_else(|| words.unreadable("minutes, such as 1m"))?;
                definition.timeout_ms = Some(minutes.saturating_mul(60_000));
            }
            "counter" => definition.counts = true,
            "flags" => {
                for flag in words.next()?.split(',') {
                    definition.flags |= match flag {
                        "timeout" => TIMEOUT,
                        "dynamic" => DYNAMIC,
                        "interval" => INTERVAL,
                        _ => return Err(words.unreadable("a flag")),
                    };
                }
            }
            _ => return Err(words.unreadable("a property of a set")),
        }
    }
    shape.has_ranges = definition.flags & INTERVAL != 0;
    Ok((definition, shape))
}

/// Of what packets have at a place that has no name, and so no type: `@th,OFFSET,48`, or several such places and `ether saddr` joined.
fn typeof_places(words: &mut Words, definition: &mut SetDefinition, shape: &mut Shape) -> Result<(), Unreadable> {
    let read = |place: &str| match (place, raw(place)) {
        ("ether saddr", _) => Some((Place::Sender, Kind::Ether)),
        (_, Some((header, offset, kind))) => Some((Place::At(header, offset * 8, kind.len() * 8), kind)),
        _ => None,
    };
    let parts: Option<Vec<_>> = words.rest().split(" . ").map(read).collect();
    let parts = parts.ok_or_else(|| words.unreadable("places such as ether saddr . @th,288,48"))?;
    definition.key_type = parts.iter().fold(0, |sum, (place, _)| sum << 6 | place.kind());
    shape.key = parts.iter().map(|part| part.1).collect();
    let places: Vec<Place> = parts.into_iter().map(|part| part.0).collect();
    if let [kind] = &shape.key[..] {
        definition.key_len = kind.len();
        definition.note(0, &2_u32.to_ne_bytes());
    } else {
        definition.key_len = shape.key.iter().map(|kind| kind.len().next_multiple_of(4)).sum();
        definition.note(0, &0_u32.to_ne_bytes());
    }
    definition.note_places(&places);
    Ok(())
}

/// `KEY . KEY : VALUE`, `KEY : quota`, `KEY : interval VALUE . VALUE`.
fn types(words: &mut Words, definition: &mut SetDefinition, shape: &mut Shape) -> Result<(), Unreadable> {
    let (key, value) = match words.rest().split_once(" : ") {
        Some((key, value)) => (key, Some(value)),
        None => (words.rest(), None),
    };
    let kinds = |text: &str| -> Result<Vec<_>, Unreadable> {
        text.split(" . ")
            .map(|name| TYPES.iter().find(|(known, ..)| *known == name))
            .map(|found| found.ok_or_else(|| words.unreadable("a type")))
            .collect()
    };
    // The number of a joined type is made of its parts'.
    let number = |parts: &[&(&str, u32, bool, Kind)]| parts.iter().fold(0, |sum, part| sum << 6 | part.1);
    let len = |parts: &[&(&str, u32, bool, Kind)]| match parts {
        [one] => one.3.len(),
        parts => parts.iter().map(|part| part.3.len().next_multiple_of(4)).sum(),
    };
    let order = |parts: &[&(&str, u32, bool, Kind)]| match parts {
        [(_, _, is_own, _)] => 2 - u32::from(*is_own),
        _ => 0,
    };
    let parts = kinds(key)?;
    (definition.key_type, definition.key_len) = (number(&parts), len(&parts));
    definition.note(0, &order(&parts).to_ne_bytes());
    shape.key = parts.iter().map(|part| part.3).collect();
    let is_joined = parts.len() > 1;
    let Some(value) = value else {
        if is_joined {
            definition.note_joined(3);
        }
        return Ok(());
    };
    let is_interval = value.starts_with("interval ");
    if value == "quota" {
        definition.flags |= OBJECT;
        definition.object = Some(QUOTA);
    } else {
        let parts = kinds(value.trim_start_matches("interval "))?;
        let len = len(&parts) * (1 + u32::from(is_interval));
        definition.flags |= MAP;
        definition.value = Some((number(&parts), len));
        definition.note(1, &order(&parts).to_ne_bytes());
        shape.value = parts.iter().map(|part| part.3).collect();
        if is_joined {
            definition.note_joined(3);
        }
        if parts.len() > 1 {
            definition.note_joined(4);
        }
    }
    definition.note(6, &u32::from(is_interval).to_ne_bytes());
    Ok(())
}

impl Shape {
    /// The elements of a list such as `10.80.1.0 : 198.51.100.2 . 1024-1535, …`.
    pub fn elements(&self, list: &str) -> Result<Vec<SetEntry>, Unreadable> {
        let mut entries = Vec::new();
        for written in list.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            let read = if self.has_ranges {
                range(written)
            } else {
                self.element(written).map(|one| vec![one])
            };
            entries.extend(read.ok_or_else(|| Words::of(written).unreadable("an element"))?);
        }
        Ok(entries)
    }

    fn element(&self, written: &str) -> Option<SetEntry> {
        let (key, value) = match written.split_once(" : ") {
            Some((key, value)) => (key, Some(value)),
            None => (written, None),
        };
        let value = match value {
            Some(value) => Some(self.value(value)?),
            None => None,
        };
        Some(SetEntry {
            key: joined(&self.key, key, |text| text)?,
            value,
            ends_range: false,
        })
    }

    /// Of a range the first of all parts, then the last of all.
    fn value(&self, written: &str) -> Option<Vec<u8>> {
        if !written.contains('-') {
            return joined(&self.value, written, |text| text);
        }
        let first = joined(&self.value, written, |text| {
            text.split_once('-').map_or(text, |ends| ends.0)
        })?;
        let last = joined(&self.value, written, |text| {
            text.split_once('-').map_or(text, |ends| ends.1)
        })?;
        Some([first, last].concat())
    }
}

/// Each part begins at a multiple of four octets, if there are several.
fn joined(kinds: &[Kind], written: &str, end: impl Fn(&str) -> &str) -> Option<Vec<u8>> {
    let parts: Vec<&str> = written.split(" . ").collect();
    if parts.len() != kinds.len() {
        return None;
    }
    let mut octets = Vec::new();
    for (kind, part) in kinds.iter().zip(&parts) {
        octets.extend(kind.value(end(part))?);
        if kinds.len() > 1 {
            octets.resize(octets.len().next_multiple_of(4), 0);
        }
    }
    Some(octets)
}

fn range(written: &str) -> Option<Vec<SetEntry>> {
    let net = written.parse::<IpNet>();
    let net = net.or_else(|_| written.parse().map(|ip: IpAddr| ip.into()));
    net.ok().map(range_of)
}

/// A range goes from its first address to the one after its last, if there is one.
pub(crate) fn range_of(net: IpNet) -> Vec<SetEntry> {
    let octets = |address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let entry = |key, ends_range| SetEntry {
        key,
        value: None,
        ends_range,
    };
    let mut end = octets(net.broadcast());
    let mut has_end = false;
    for octet in end.iter_mut().rev() {
        *octet = octet.wrapping_add(1);
        has_end = *octet != 0;
        if has_end {
            break;
        }
    }
    let first = entry(octets(net.network()), false);
    std::iter::once(first)
        .chain(has_end.then(|| entry(end, true)))
        .collect()
}

//! Chains, rules, sets and counters: what a table consists of, beside what is in its sets.

use super::expression::{self, Expression, Header};
use super::nft::Batch;
use super::wire::{self, Writer};

const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const NEW_ELEMENT: u16 = 12;
const DELETE_ELEMENT: u16 = 14;
const NEW_OBJECT: u16 = 18;
/// `NFT_OBJECT_COUNTER`.
const COUNTER: u32 = 1;
/// More would not fit into the list of a message.
const ELEMENTS_IN_A_MESSAGE: usize = 512;

/// Where the kernel calls a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseChain {
    /// `filter` or `nat`.
    pub kind: String,
    /// The hook's number in the chain's family.
    pub hook: u32,
    pub priority: i32,
    /// What happens to packets that no rule has judged.
    pub drops: bool,
}

/// Where packets have what a set is of, for who lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The address that the frame comes from.
    Sender,
    /// After this header, in bits: offset and length.
    At(Header, u32, u32),
}

/// `EXPR_CONCAT`.
const JOINED: u32 = 13;

impl Place {
    /// The type of what is there, in `nft`'s numbers.
    pub const fn kind(self) -> u32 {
        /// A whole number, the first octet first.
        const INTEGER: u32 = 4;
        const ETHERNET_ADDRESS: u32 = 9;
        match self {
            Self::Sender => ETHERNET_ADDRESS,
            Self::At(..) => INTEGER,
        }
    }

    /// `EXPR_PAYLOAD`, and where: by the name that `nft` has for it, or without one by `enum proto_bases` and bits.
    fn note(self) -> Vec<u8> {
        const PAYLOAD: u32 = 7;
        const UNKNOWN: u32 = 0;
        const ETHERNET: u32 = 17;
        const SENDER: u32 = 2;
        let parts = match self {
            Self::Sender => vec![ETHERNET, SENDER],
            Self::At(header, offset, length) => vec![UNKNOWN, UNKNOWN, header as u32 + 1, offset, length],
        };
        let place = (0..)
            .zip(parts)
            .flat_map(|(kind, value)| noted(kind, &value.to_ne_bytes()));
        [noted(0, &PAYLOAD.to_ne_bytes()), noted(1, &place.collect::<Vec<_>>())].concat()
    }
}

/// A note, which may stand within another.
fn noted(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind, u8::try_from(value.len()).unwrap_or(u8::MAX)], value].concat()
}

/// A set or map as it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetDefinition {
    pub name: String,
    /// `enum nft_set_flags`.
    pub flags: u32,
    /// `nft`'s number for the type, and octets.
    pub key_type: u32,
    pub key_len: u32,
    /// Likewise of a map's values.
    pub value: Option<(u32, u32)>,
    /// `NFT_OBJECT_*`, of a map to objects.
    pub object: Option<u32>,
    /// Elements at most.
    pub size: u32,
    /// How long an element stays that says nothing else.
    pub timeout_ms: Option<u64>,
    /// Each element counts packets and octets.
    pub counts: bool,
    /// Only `nft` reads this, to list the elements as people write them.
    notes: Vec<u8>,
}

impl SetDefinition {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            flags: 0,
            key_type: 0,
            key_len: 0,
            value: None,
            object: None,
            size: 0,
            timeout_ms: None,
            counts: false,
            notes: Vec::new(),
        }
    }

    /// A note of this kind (`enum nftnl_udata_set_types`).
    pub fn note(&mut self, kind: u8, value: &[u8]) {
        self.notes.extend(noted(kind, value));
    }

    /// That keys or values are joined of several.
    pub fn note_joined(&mut self, kind: u8) {
        // Nothing more about it.
        let [a, b, c, d] = JOINED.to_ne_bytes();
        self.note(kind, &[0, 4, a, b, c, d, 1, 0]);
    }

    /// That keys are what packets have at this place, or at these places, joined.
    pub fn note_places(&mut self, places: &[Place]) {
        const OF_KEYS: u8 = 3;
        let value = match places {
            [one] => one.note(),
            several => {
                let parts = (0..)
                    .zip(several)
                    .flat_map(|(number, place)| noted(number, &place.note()));
                [noted(0, &JOINED.to_ne_bytes()), noted(1, &parts.collect::<Vec<_>>())].concat()
            }
        };
        self.note(OF_KEYS, &value);
    }

    fn write(&self, w: &mut Writer, number: u32) {
        w.string(2, &self.name);
        w.u32(3, self.flags);
        w.u32(4, self.key_type);
        w.u32(5, self.key_len);
        if let Some((kind, len)) = self.value {
            w.u32(6, kind);
            w.u32(7, len);
        }
        if let Some(object) = self.object {
            w.u32(15, object);
        }
        w.u32(10, number);
        w.nest(9, |w| w.u32(1, self.size));
        if let Some(timeout_ms) = self.timeout_ms {
            w.u64(11, timeout_ms);
        }
        w.attribute(13, &self.notes);
        if self.counts {
            expression::named(w, 17, "counter", |w| {
                w.u64(1, 0);
                w.u64(2, 0);
            });
        }
    }
}

/// An element of a set of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetEntry {
    pub key: Vec<u8>,
    /// Of a map.
    pub value: Option<Vec<u8>>,
    /// In a set of ranges: the one that begins before it ends here.
    pub ends_range: bool,
}

impl SetEntry {
    fn write(&self, w: &mut Writer) {
        /// `NFT_SET_ELEM_INTERVAL_END`.
        const INTERVAL_END: u32 = 1;
        w.nest(1, |w| w.attribute(1, &self.key));
        if self.ends_range {
            w.u32(3, INTERVAL_END);
        }
        if let Some(value) = &self.value {
            w.nest(2, |w| w.attribute(1, value));
        }
    }
}

impl Batch {
    /// Makes a chain; one that is there must have the same hook.
    pub fn chain(&mut self, family: u8, name: &str, base: Option<&BaseChain>) -> &mut Self {
        self.push_in(family, NEW_CHAIN, wire::CREATE, |w| {
            w.string(3, name);
            if let Some(base) = base {
                w.nest(4, |w| {
                    w.u32(1, base.hook);
                    w.attribute(2, &base.priority.to_be_bytes());
                });
                w.u32(5, u32::from(!base.drops));
                w.string(7, &base.kind);
            }
        });
        self
    }

    /// Makes a set; one that is there must be of the same kind, and keeps its size and elements.
    pub fn set(&mut self, family: u8, set: &SetDefinition) -> &mut Self {
        let number = self.next_number();
        self.push_in(family, NEW_SET, wire::CREATE, |w| set.write(w, number));
        self
    }

    /// Makes a counter; one that is there goes on counting.
    pub fn counter(&mut self, family: u8, name: &str) -> &mut Self {
        self.push_in(family, NEW_OBJECT, wire::CREATE, |w| {
            w.string(2, name);
            w.u32(3, COUNTER);
            w.nest(4, |w| {
                w.u64(1, 0);
                w.u64(2, 0);
            });
        });
        self
    }

    /// Removes the rules of every chain.
    pub fn flush_rules(&mut self, family: u8) -> &mut Self {
        self.push_in(family, DELETE_RULE, 0, |_| {});
        self
    }

    /// Adds a rule behind those of its chain.
    pub fn rule(&mut self, family: u8, chain: &str, expressions: &[Expression]) -> &mut Self {
        self.push_in(family, NEW_RULE, wire::CREATE | wire::APPEND, |w| {
            w.string(2, chain);
            expression::write_all(w, 4, expressions);
        });
        self
    }

    /// Takes all elements out of a set.
    pub fn empty(&mut self, family: u8, set: &str) -> &mut Self {
        // Without elements it means all.
        self.push_in(family, DELETE_ELEMENT, 0, |w| w.string(2, set));
        self
    }

    /// Puts elements into a set.
    pub fn entries(&mut self, family: u8, set: &str, entries: &[SetEntry]) -> &mut Self {
        for some in entries.chunks(ELEMENTS_IN_A_MESSAGE) {
            self.push_in(family, NEW_ELEMENT, wire::CREATE, |w| {
                w.string(2, set);
                w.nest(3, |w| some.iter().for_each(|entry| w.nest(1, |w| entry.write(w))));
            });
        }
        self
    }
}

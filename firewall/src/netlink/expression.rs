//! Expressions: what a rule consists of. `nf_tables` runs them one after the other until one does not hold.

use super::wire::Writer;

/// `NFT_REG_1`, sixteen octets. The verdict has the register 0.
pub const FIRST: u32 = 1;
/// `NFT_REG_2`, the sixteen octets after those.
pub const SECOND: u32 = 2;

/// The register of four octets that begins this many octets after the start of [`FIRST`].
pub const fn after(octets: u32) -> u32 {
    const FIRST_WORD: u32 = 8;
    if octets == 0 { FIRST } else { FIRST_WORD + octets / 4 }
}

/// What a register may be filled from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// What the kernel knows of the packet (`enum nft_meta_keys`).
    Meta(u32),
    /// What it knows of its connection (`enum nft_ct_keys`).
    Connection(u32),
    /// Octets of one of its headers.
    Payload { header: Header, offset: u32, len: u32 },
    /// What the packet's destination is to this machine.
    DestinationType,
}

/// `enum nft_payload_bases`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    Link = 0,
    Network = 1,
    Transport = 2,
}

/// `enum nft_cmp_ops`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal = 0,
    Different = 1,
    Greater = 4,
}

/// Where a packet goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Drop,
    /// To this chain, and back.
    Jump(String),
    /// To this chain, and not back.
    Goto(String),
}

/// A bucket of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Each time of so many seconds.
    pub rate: u64,
    pub secs: u64,
    pub burst: u32,
    /// Octets are counted, not packets.
    pub is_of_octets: bool,
    /// It holds for what is beyond the limit, not for what is within.
    pub is_over: bool,
}

/// What is bounded for each key of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerKey {
    Rate(Limit),
    /// It holds for connections beyond this many at once.
    ConnectionsOver(u32),
}

/// How a packet is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Reset,
    /// Administratively prohibited, in either family.
    Prohibited,
    /// Source address failed ingress/egress policy (RFC 4443 §3.1).
    SourcePolicy,
}

/// The registers that address and port of a translation are in, from and to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    pub is_of_source: bool,
    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`.
    pub family: u32,
    pub address: (u32, Option<u32>),
    pub port: Option<(u32, Option<u32>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    Load(Source, u32),
    Mask(u32, Vec<u8>),
    /// Sets these bits, and leaves the others as they are.
    SetBits(u32, Vec<u8>),
    Compare(u32, Comparison, Vec<u8>),
    Immediate(u32, Vec<u8>),
    /// Holds if the key in the register is in the set, or if it is not.
    Lookup {
        set: String,
        key: u32,
        is_inverted: bool,
        /// Where a map's value goes.
        into: Option<u32>,
    },
    SetMeta(u32, u32),
    SetConnection(u32, u32),
    Limit(Limit),
    /// Adds the key to the set, if it is not there, with a limit of its own if there is one, and holds as that does.
    Bound {
        set: String,
        key: u32,
        limit: Option<PerKey>,
        /// Its time begins anew if it is there.
        is_renewed: bool,
    },
    Count(String),
    /// Charges the quota that the key leads to.
    Charge {
        map: String,
        key: u32,
    },
    Refuse(Refusal),
    Translate(Translation),
    Masquerade,
    Verdict(Verdict),
}

/// A list of expressions (`NFTA_RULE_EXPRESSIONS`).
pub fn write_all(w: &mut Writer, kind: u16, expressions: &[Expression]) {
    /// `NFTA_LIST_ELEM`.
    const ELEMENT: u16 = 1;
    w.nest(kind, |w| {
        for one in expressions {
            named(w, ELEMENT, one.name(), |w| one.write(w));
        }
    });
}

/// An expression of this name in an attribute of this kind.
pub fn named(w: &mut Writer, kind: u16, name: &str, body: impl FnOnce(&mut Writer)) {
    w.nest(kind, |w| {
        w.string(1, name);
        w.nest(2, body);
    });
}

impl Expression {
    fn name(&self) -> &'static str {
        match self {
            Self::Load(source, _) => source.name(),
            Self::Mask(..) | Self::SetBits(..) => "bitwise",
            Self::Compare(..) => "cmp",
            Self::Immediate(..) | Self::Verdict(_) => "immediate",
            Self::Lookup { .. } => "lookup",
            Self::SetMeta(..) => "meta",
            Self::SetConnection(..) => "ct",
            Self::Limit(_) => "limit",
            Self::Bound { .. } => "dynset",
            Self::Count(_) | Self::Charge { .. } => "objref",
            Self::Refuse(_) => "reject",
            Self::Translate(_) => "nat",
            Self::Masquerade => "masq",
        }
    }

    fn write(&self, w: &mut Writer) {
        match self {
            Self::Load(source, register) => source.write(w, *register),
            Self::Mask(register, mask) => bitwise(w, *register, mask, &vec![0; mask.len()]),
            Self::SetBits(register, bits) => {
                let others: Vec<u8> = bits.iter().map(|octet| !octet).collect();
                bitwise(w, *register, &others, bits);
            }
            Self::Compare(register, comparison, value) => {
                w.u32(1, *register);
                w.u32(2, *comparison as u32);
                data(w, 3, value);
            }
            Self::Immediate(register, value) => {
                w.u32(1, *register);
                data(w, 2, value);
            }
            Self::Lookup {
                set,
                key,
                is_inverted,
                into,
            } => {
                w.string(1, set);
                w.u32(2, *key);
                if let Some(register) = into {
                    w.u32(3, *register);
                }
                if *is_inverted {
                    w.u32(5, 1);
                }
            }
            Self::SetMeta(key, register) => {
                w.u32(2, *key);
                w.u32(3, *register);
            }
            Self::SetConnection(key, register) => {
                w.u32(2, *key);
                w.u32(4, *register);
            }
            Self::Limit(limit) => limit.write(w),
            Self::Bound {
                set,
                key,
                limit,
                is_renewed,
            } => {
                w.string(1, set);
                w.u32(3, (*is_renewed).into());
                w.u32(4, *key);
                if let Some(limit) = limit {
                    limit.write(w);
                }
            }
            Self::Count(name) => {
                /// `NFT_OBJECT_COUNTER`.
                const COUNTER: u32 = 1;
                w.u32(1, COUNTER);
                w.string(2, name);
            }
            Self::Charge { map, key } => {
                w.u32(3, *key);
                w.string(4, map);
            }
            Self::Refuse(refusal) => refusal.write(w),
            Self::Translate(translation) => translation.write(w),
            Self::Masquerade => {}
            Self::Verdict(verdict) => verdict.write(w),
        }
    }
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Meta(_) => "meta",
            Self::Connection(_) => "ct",
            Self::Payload { .. } => "payload",
            Self::DestinationType => "fib",
        }
    }

    fn write(self, w: &mut Writer, register: u32) {
        w.u32(1, register);
        match self {
            Self::Meta(key) | Self::Connection(key) => w.u32(2, key),
            Self::Payload { header, offset, len } => {
                w.u32(2, header as u32);
                w.u32(3, offset);
                w.u32(4, len);
            }
            Self::DestinationType => {
                /// `NFT_FIB_RESULT_ADDRTYPE`.
                const ADDRESS_TYPE: u32 = 3;
                /// `NFTA_FIB_F_DADDR`.
                const DESTINATION: u32 = 2;
                w.u32(2, ADDRESS_TYPE);
                w.u32(3, DESTINATION);
            }
        }
    }
}

impl Limit {
    fn write(&self, w: &mut Writer) {
        w.u64(1, self.rate);
        w.u64(2, self.secs);
        w.u32(3, self.burst);
        w.u32(4, self.is_of_octets.into());
        w.u32(5, self.is_over.into());
    }
}

impl PerKey {
    fn write(self, w: &mut Writer) {
        /// `NFTA_DYNSET_EXPR`.
        const EXPRESSION: u16 = 7;
        match self {
            Self::Rate(limit) => named(w, EXPRESSION, "limit", |w| limit.write(w)),
            Self::ConnectionsOver(count) => named(w, EXPRESSION, "connlimit", |w| {
                w.u32(1, count);
                w.u32(2, 1);
            }),
        }
    }
}

impl Refusal {
    fn write(self, w: &mut Writer) {
        /// `NFT_REJECT_ICMP_UNREACH`, `NFT_REJECT_TCP_RST`, `NFT_REJECT_ICMPX_UNREACH`.
        const FAMILYS_ICMP: u32 = 0;
        const RESET: u32 = 1;
        const ICMP: u32 = 2;
        /// `NFT_REJECT_ICMPX_ADMIN_PROHIBITED`, `ICMPV6_POLICY_FAIL`.
        const PROHIBITED: u8 = 3;
        const SOURCE_POLICY: u8 = 5;
        let (kind, code) = match self {
            Self::Reset => (RESET, 0),
            Self::Prohibited => (ICMP, PROHIBITED),
            Self::SourcePolicy => (FAMILYS_ICMP, SOURCE_POLICY),
        };
        w.u32(1, kind);
        w.attribute(2, &[code]);
    }
}

impl Translation {
    fn write(&self, w: &mut Writer) {
        w.u32(1, (!self.is_of_source).into());
        w.u32(2, self.family);
        w.u32(3, self.address.0);
        if let Some(last) = self.address.1 {
            w.u32(4, last);
        }
        if let Some((first, last)) = self.port {
            w.u32(5, first);
            if let Some(last) = last {
                w.u32(6, last);
            }
        }
    }
}

impl Verdict {
    fn write(&self, w: &mut Writer) {
        /// `NFT_JUMP` and `NFT_GOTO`; the others are netfilter's.
        const DROP: i32 = 0;
        const ACCEPT: i32 = 1;
        const JUMP: i32 = -3;
        const GOTO: i32 = -4;
        let (code, chain) = match self {
            Self::Accept => (ACCEPT, None),
            Self::Drop => (DROP, None),
            Self::Jump(chain) => (JUMP, Some(chain)),
            Self::Goto(chain) => (GOTO, Some(chain)),
        };
        w.u32(1, 0);
        w.nest(2, |w| {
            w.nest(2, |w| {
                w.attribute(1, &code.to_be_bytes());
                if let Some(chain) = chain {
                    w.string(2, chain);
                }
            });
        });
    }
}

/// The register becomes what is left of it by the mask, with these bits turned over.
fn bitwise(w: &mut Writer, register: u32, mask: &[u8], turned: &[u8]) {
    w.u32(1, register);
    w.u32(2, register);
    w.u32(3, length(mask));
    data(w, 4, mask);
    data(w, 5, turned);
}

fn data(w: &mut Writer, kind: u16, value: &[u8]) {
    w.nest(kind, |w| w.attribute(1, value));
}

fn length(octets: &[u8]) -> u32 {
    u32::try_from(octets.len()).unwrap_or(u32::MAX)
}

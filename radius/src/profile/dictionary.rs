//! Dictionaries: the names that engineers know for attributes, in the syntax of FreeRADIUS's dictionary files.
//!
//! Read are `VENDOR` (with `format=`), `BEGIN-VENDOR`, `END-VENDOR`, `BEGIN-TLV`, `END-TLV`, `ATTRIBUTE` (with `has_tag`, `encrypt=`,
//! `array`, `concat`, `secret`, `virtual`) and `VALUE`. Names are the same whatever their case. Every type is read; which of them can be
//! sent, [`Kind`] says.

use std::collections::HashMap;
use std::fmt;

/// Largest dictionary, octets: the stock ones are smaller by far, and whatever is larger was not meant to be one.
pub const MAX_DICTIONARY_OCTETS: usize = 1 << 20;
/// Problems told of one file; the rest follows from them, often.
const MOST_PROBLEMS: usize = 20;

/// What is wrong in a file, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// Which file.
    pub file: String,
    /// Line, from 1; 0: the file as a whole.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub text: String,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.text),
            line => write!(f, "{}:{line}: {}", self.file, self.text),
        }
    }
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// As they are; in files as `0x…`.
    Octets,
    /// A number of so many octets, big-endian.
    Number(u8),
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// Known by name, and nothing that can be sent by name: structured, extended or encrypted.
    Other,
}

/// How a vendor lays out its attributes (RFC 2865 §5.26 recommends one octet each).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Octets of the type: 1, 2 or 4.
    pub kind_octets: u8,
    /// Octets of the length: 0, 1 or 2.
    pub length_octets: u8,
    /// An octet that says whether the value goes on follows (`,c`).
    pub is_continued: bool,
}

impl Layout {
    const RECOMMENDED: Self = Self {
        kind_octets: 1,
        length_octets: 1,
        is_continued: false,
    };
}

/// A vendor: its enterprise number and its layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vendor {
    /// IANA enterprise number.
    pub number: u32,
    /// See [`Layout`].
    pub layout: Layout,
}

/// An attribute known by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// As written in its dictionary.
    pub name: String,
    /// Whose; `None`: an RFC's.
    pub vendor: Option<Vendor>,
    /// Its number there.
    pub number: u32,
    /// How its value is written.
    pub kind: Kind,
    /// A tag goes before the value (RFC 2868 §3.1).
    pub has_tag: bool,
}

/// Attributes by name, from any number of files.
#[derive(Debug, Clone, Default)]
pub struct Dictionary {
    vendors: HashMap<String, Vendor>,
    attributes: HashMap<String, Attribute>,
    /// By the attribute's name and the value's.
    values: HashMap<(String, String), u64>,
}

impl Dictionary {
    /// Adds a file; what it says of a name replaces what another file said. Nothing is added from lines that are wrong.
    ///
    /// # Errors
    /// Everything wrong in it, each with its line; at most twenty.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), Vec<FileProblem>> {
        let mut reader = Reader {
            dictionary: self,
            vendor: None,
            tlv_depth: 0,
        };
        let mut problems = Vec::new();
        if text.len() > MAX_DICTIONARY_OCTETS {
            let text = format!("larger than {MAX_DICTIONARY_OCTETS} octets: this is no dictionary");
            return Err(vec![problem(file, 0, text)]);
        }
        for (at, line) in text.lines().enumerate() {
            if let Err(text) = reader.line(line) {
                problems.push(problem(file, at + 1, text));
                if problems.len() == MOST_PROBLEMS {
                    break;
                }
            }
        }
        if problems.is_empty()
            && let Some((name, _)) = reader.vendor
        {
            problems.push(problem(file, 0, format!("END-VENDOR {name} is missing at the end")));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The attribute of that name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.get(&name.to_ascii_lowercase())
    }

    /// The number of an attribute's named value.
    #[must_use]
    pub fn value(&self, attribute: &str, name: &str) -> Option<u64> {
        let key = (attribute.to_ascii_lowercase(), name.to_ascii_lowercase());
        self.values.get(&key).copied()
    }

    /// Known names, for whoever mistyped one: the closest of those that begin alike.
    #[must_use]
    pub fn like(&self, name: &str) -> Option<&str> {
        let name = name.to_ascii_lowercase();
        let shared = |known: &str| known.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
        let (_, best) = self
            .attributes
            .iter()
            .max_by_key(|(known, attribute)| (shared(known), std::cmp::Reverse(&attribute.name)))?;
        (shared(&best.name.to_ascii_lowercase()) >= 5).then_some(best.name.as_str())
    }

    /// How many attributes are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.attributes.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }
}

fn problem(file: &str, line: usize, text: String) -> FileProblem {
    FileProblem {
        file: file.to_owned(),
        line,
        text,
    }
}

struct Reader<'a> {
    dictionary: &'a mut Dictionary,
    /// Between `BEGIN-VENDOR` and `END-VENDOR`.
    vendor: Option<(String, Vendor)>,
    tlv_depth: u32,
}

impl Reader<'_> {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let Some((keyword, words)) = words.split_first() else {
            return Ok(());
        };
        match (keyword.to_ascii_uppercase().as_str(), words) {
            ("VENDOR", [name, number, rest @ ..]) => self.vendor(name, number, rest),
            ("BEGIN-VENDOR", [name, ..]) => self.begin_vendor(name),
            ("END-VENDOR", [name]) => self.end_vendor(name),
            ("BEGIN-TLV", [_]) => {
                self.tlv_depth += 1;
                Ok(())
            }
            ("END-TLV", [_]) => {
                self.tlv_depth = self.tlv_depth.checked_sub(1).ok_or("END-TLV without BEGIN-TLV")?;
                Ok(())
            }
            ("ATTRIBUTE", [name, number, kind, flags @ ..]) => self.attribute(name, number, kind, flags),
            ("VALUE", [attribute, name, number]) => self.value(attribute, name, number),
            ("$INCLUDE" | "$INCLUDE-", _) => {
                Err("$INCLUDE is not followed: put that file into the same directory, all of it is read".to_owned())
            }
            ("VENDOR", _) => Err("of the form VENDOR name number [format=1,1]".to_owned()),
            ("BEGIN-VENDOR" | "END-VENDOR" | "BEGIN-TLV" | "END-TLV", _) => Err(format!("of the form {keyword} name")),
            ("ATTRIBUTE", _) => Err("of the form ATTRIBUTE name number type [flags]".to_owned()),
            ("VALUE", _) => Err("of the form VALUE attribute name number".to_owned()),
            _ => Err(format!(
                "`{}` is no keyword: use VENDOR, BEGIN-VENDOR, END-VENDOR, ATTRIBUTE or VALUE",
                shown(keyword)
            )),
        }
    }

    fn vendor(&mut self, name: &str, number: &str, rest: &[&str]) -> Result<(), String> {
        let number = u32::try_from(whole(number)?).map_err(|_| format!("{number} is no enterprise number"))?;
        let mut layout = Layout::RECOMMENDED;
        for flag in rest {
            let format = flag.strip_prefix("format=");
            layout = format.and_then(layout_of).ok_or_else(|| {
                format!(
                    "`{}`: use format=T,L with T of 1, 2, 4 and L of 0, 1, 2 octets",
                    shown(flag)
                )
            })?;
        }
        let vendor = Vendor { number, layout };
        self.dictionary.vendors.insert(name.to_ascii_lowercase(), vendor);
        Ok(())
    }

    fn begin_vendor(&mut self, name: &str) -> Result<(), String> {
        if let Some((open, _)) = &self.vendor {
            return Err(format!("END-VENDOR {open} is missing before this"));
        }
        let found = self.dictionary.vendors.get(&name.to_ascii_lowercase());
        let vendor = found.ok_or_else(|| format!("no line `VENDOR {} number` before this", shown(name)))?;
        self.vendor = Some((name.to_owned(), *vendor));
        Ok(())
    }

    fn end_vendor(&mut self, name: &str) -> Result<(), String> {
        match self.vendor.take() {
            Some((open, _)) if open.eq_ignore_ascii_case(name) => Ok(()),
            Some((open, _)) => Err(format!("END-VENDOR {open} was expected")),
            None => Err(format!("END-VENDOR without `BEGIN-VENDOR {}`", shown(name))),
        }
    }

    fn attribute(&mut self, name: &str, number: &str, kind: &str, flags: &[&str]) -> Result<(), String> {
        if !name.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(format!("`{}` is no name of an attribute", shown(name)));
        }
        let mut kind = kind_of(kind)?;
        let mut has_tag = false;
        let mut vendor = self.vendor.as_ref().map(|(_, vendor)| *vendor);
        for flag in flags.iter().flat_map(|flags| flags.split(',')) {
            match flag {
                "has_tag" => has_tag = true,
                "array" | "concat" | "secret" | "" => {}
                "virtual" => kind = Kind::Other,
                _ if flag.starts_with("encrypt=") => kind = Kind::Other,
                // An older way of saying BEGIN-VENDOR.
                _ => {
                    let known = self.dictionary.vendors.get(&flag.to_ascii_lowercase());
                    let known = known.ok_or_else(|| format!("`{}` is no flag and no vendor", shown(flag)))?;
                    vendor = Some(*known);
                }
            }
        }
        let is_nested = self.tlv_depth > 0 || number.contains('.');
        let number = match number.split('.').next() {
            Some(first) => whole(first)?,
            None => return Err("the number is missing".to_owned()),
        };
        let number = u32::try_from(number).map_err(|_| format!("{number} is no number of an attribute"))?;
        let most = vendor.map_or(u32::from(u8::MAX), |vendor| most_of(vendor.layout.kind_octets));
        // The numbers above belong to FreeRADIUS alone and are on no wire.
        let is_on_the_wire = number <= most && !is_nested;
        let attribute = Attribute {
            name: name.to_owned(),
            vendor,
            number,
            kind: if is_on_the_wire { kind } else { Kind::Other },
            has_tag,
        };
        self.dictionary.attributes.insert(name.to_ascii_lowercase(), attribute);
        Ok(())
    }

    fn value(&mut self, attribute: &str, name: &str, number: &str) -> Result<(), String> {
        let number = whole(number)?;
        let key = (attribute.to_ascii_lowercase(), name.to_ascii_lowercase());
        self.dictionary.values.insert(key, number);
        Ok(())
    }
}

/// Decimal, or hexadecimal after `0x`.
fn whole(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("`{}` is no number", shown(text)))
}

fn layout_of(format: &str) -> Option<Layout> {
    let parts: Vec<&str> = format.split(',').collect();
    let (kind, length, is_continued) = match *parts.as_slice() {
        [kind, length] => (kind, length, false),
        [kind, length, "c"] => (kind, length, true),
        _ => return None,
    };
    let kind_octets = kind.parse().ok().filter(|octets| [1, 2, 4].contains(octets))?;
    let length_octets = length.parse().ok().filter(|octets| [0, 1, 2].contains(octets))?;
    Some(Layout {
        kind_octets,
        length_octets,
        is_continued,
    })
}

const fn most_of(octets: u8) -> u32 {
    match octets {
        1 => u8::MAX as u32,
        2 => u16::MAX as u32,
        _ => u32::MAX,
    }
}

fn kind_of(name: &str) -> Result<Kind, String> {
    let name = name.to_ascii_lowercase();
    let plain = name.split('[').next().unwrap_or_default();
    Ok(match plain {
        "string" | "text" => Kind::Text,
        "octets" => Kind::Octets,
        "byte" | "uint8" => Kind::Number(1),
        "short" | "uint16" => Kind::Number(2),
        "integer" | "uint32" | "date" => Kind::Number(4),
        "integer64" | "uint64" => Kind::Number(8),
        "ipaddr" | "ipv4addr" => Kind::Ipv4,
        "ipv6addr" => Kind::Ipv6,
        "signed" | "ether" | "ifid" | "ipv4prefix" | "ipv6prefix" | "combo-ip" | "abinary" | "tlv" | "struct"
        | "vsa" | "evs" | "extended" | "long-extended" | "bool" | "time_delta" | "int32" | "group" => Kind::Other,
        _ => {
            return Err(format!(
                "`{}` is no type: use string, octets, integer, short, byte, integer64, ipaddr or ipv6addr",
                shown(&name)
            ));
        }
    })
}

/// What a stranger wrote, fit for a line of a log.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

#[cfg(test)]
mod tests;

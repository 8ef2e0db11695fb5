//! Profile files: what is written in one, and what of it can be used.

mod orders;

use std::collections::BTreeMap;

use kavadam_domain::gate::OWN_PROFILE;

use super::dictionary::{Attribute, Dictionary, FileProblem, Kind};
use super::text::Text;
use super::written::{Written, WrittenLimits, WrittenNumber, WrittenSeen, WrittenText, WrittenValue};
use super::{Constant, Field, Mapping, Name, Number, Profile, Seen, Source, Value};

/// What a number limits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Time,
    Interval,
    Octets,
    Speed,
}

/// Units of speeds, and how many bit/s each is.
const UNITS: [(&str, u32); 3] = [("bit/s", 1), ("kbit/s", 1_000), ("Mbit/s", 1_000_000)];

/// Reads a profile.
///
/// # Errors
/// Everything wrong in it, each with the line where it stands.
pub(super) fn read(file: &str, text: &str, dictionary: &Dictionary) -> Result<Profile, Vec<FileProblem>> {
    let mut problems = Problems {
        file,
        text,
        found: Vec::new(),
    };
    let written: Written = match toml::from_str(text) {
        Ok(written) => written,
        Err(error) => {
            let at = error.span().map_or(0, |span| line_of(text, span.start));
            problems.at(at, error.message().to_owned());
            return Err(problems.found);
        }
    };
    let mut resolver = Resolver {
        dictionary,
        problems: &mut problems,
    };
    let profile = resolver.profile(written);
    if problems.found.is_empty() {
        Ok(profile)
    } else {
        Err(problems.found)
    }
}

struct Problems<'a> {
    file: &'a str,
    text: &'a str,
    found: Vec<FileProblem>,
}

impl Problems<'_> {
    fn at(&mut self, line: usize, text: String) {
        self.found.push(FileProblem {
            file: self.file.to_owned(),
            line,
            text,
        });
    }

    /// At the first line that has the word, which is where it is to be put right.
    fn about(&mut self, word: &str, text: String) {
        let line = self.text.lines().position(|line| line.contains(word));
        self.at(line.map_or(0, |at| at + 1), text);
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|octet| *octet == b'\n').count() + 1
}

struct Resolver<'a, 'b> {
    dictionary: &'a Dictionary,
    problems: &'a mut Problems<'b>,
}

impl Resolver<'_, '_> {
    fn profile(&mut self, written: Written) -> Profile {
        let is_name = |name: &str| {
            (1..=32).contains(&name.len())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !is_name(&written.name) {
            let text = "name: use 1 to 32 lower case letters, digits and dashes".to_owned();
            self.problems.about("name", text);
        }
        if written.name == OWN_PROFILE {
            let text = format!("name: `{OWN_PROFILE}` is our own gateway's dialect, which no file changes");
            self.problems.about("name", text);
        }
        let limits = self.mapping(written.limits);
        let login = (
            self.constants(written.always, &limits),
            self.constants(written.throttled, &limits),
        );
        let orders = self.orders(written.orders, &limits, &login);
        if orders.names.iter().flatten().any(|name| *name == Name::Handle) && written.seen.handle.is_none() {
            let text = "`handle` names a session by what [seen] handle says: give that".to_owned();
            self.problems.about("handle", text);
        }
        Profile {
            name: written.name,
            title: written.title,
            notes: written.notes,
            always: login.0,
            throttled: login.1,
            orders,
            seen: self.seen(&written.seen),
            limits: Some(limits),
        }
    }

    fn mapping(&mut self, written: WrittenLimits) -> Mapping {
        if written.session_secs.is_none() {
            let text = "session_secs is missing: nothing else would end a session with its period".to_owned();
            self.problems.about("[limits]", text);
        }
        let is_half = written.up_bits_per_sec.is_some() != written.down_bits_per_sec.is_some();
        if is_half {
            let text = "give both up_bits_per_sec and down_bits_per_sec".to_owned();
            self.problems.about("bits_per_sec", text);
        }
        if written.rate.is_some() && written.up_bits_per_sec.is_some() {
            let text = "give either rate, or up_bits_per_sec and down_bits_per_sec".to_owned();
            self.problems.about("rate", text);
        }
        Mapping {
            session_secs: self.number(written.session_secs, Of::Time),
            idle_secs: self.number(written.idle_secs, Of::Time),
            interim_secs: self.number(written.interim_secs, Of::Interval),
            max_total_octets: self.number(written.max_total_octets, Of::Octets),
            up_bits_per_sec: self.number(written.up_bits_per_sec, Of::Speed),
            down_bits_per_sec: self.number(written.down_bits_per_sec, Of::Speed),
            rate: written.rate.and_then(|text| self.text(&text)),
        }
    }

    fn number(&mut self, written: Option<WrittenNumber>, of: Of) -> Option<Number> {
        let written = written?;
        if written.least.is_some() && of != Of::Interval {
            let text = "least: for interim_secs alone; another limit would be wider than the plan".to_owned();
            self.problems.about("least", text);
        }
        if written.gigawords.is_some() && of != Of::Octets {
            let text = "gigawords: for max_total_octets alone".to_owned();
            self.problems.about("gigawords", text);
        }
        let unit = match written.unit.as_deref() {
            None => 1,
            Some(name) => {
                let known = UNITS.iter().find(|(unit, _)| *unit == name).filter(|_| of == Of::Speed);
                if known.is_none() {
                    let text = format!("unit `{name}`: use bit/s, kbit/s or Mbit/s, for speeds alone");
                    self.problems.about(name, text);
                }
                known.map_or(1, |(_, bits)| *bits)
            }
        };
        let field = self.numeric(&written.attribute);
        let gigawords = written.gigawords.map(|name| self.numeric(&name));
        let also: Vec<_> = written.also.iter().map(|name| self.numeric(name)).collect();
        Some(Number {
            field: field?,
            gigawords: match gigawords {
                Some(found) => Some(found?),
                None => None,
            },
            also: also.into_iter().collect::<Option<_>>()?,
            unit,
            least: written.least.unwrap_or(1),
            lifted: written.lifted,
        })
    }

    fn text(&mut self, written: &WrittenText) -> Option<(Field, Text)> {
        let attribute = self.attribute(&written.attribute)?;
        if attribute.kind != Kind::Text {
            let text = format!(
                "`{}` is no string: its number goes into up_bits_per_sec",
                written.attribute
            );
            self.problems.about(&written.attribute, text);
            return None;
        }
        let field = self.field(&written.attribute)?;
        match Text::read(&written.text, &written.unlimited) {
            Ok(text) => Some((field, text)),
            Err(text) => {
                self.problems.about("text", text);
                None
            }
        }
    }

    fn seen(&mut self, written: &WrittenSeen) -> Seen {
        let mut sources = |names: &[String]| -> Vec<Source> {
            let found = names.iter().map(|name| self.source(name));
            found.collect::<Vec<_>>().into_iter().flatten().collect()
        };
        Seen {
            handle: sources(written.handle.as_slice()),
            ssid: sources(&written.ssid),
            access_point: sources(&written.access_point),
        }
    }

    /// `Attribute`, or `Attribute:beginning` for the rest of a text that begins so.
    fn source(&mut self, text: &str) -> Option<Source> {
        let (name, prefix) = text.split_once(':').unwrap_or((text, ""));
        let attribute = self.attribute(name)?;
        Some(Source {
            vendor: attribute.vendor.map(|vendor| vendor.number),
            number: u8::try_from(attribute.number).ok()?,
            prefix: prefix.to_owned(),
        })
    }

    fn constants(&mut self, written: BTreeMap<String, WrittenValue>, limits: &Mapping) -> Vec<Constant> {
        let mut constants = Vec::new();
        for (key, value) in written {
            let (name, tag) = match key.split_once(':') {
                Some((name, tag)) => (name, tag.parse::<u8>().ok().filter(|tag| *tag <= 31)),
                None => (key.as_str(), Some(0)),
            };
            let (Some(attribute), Some(tag)) = (self.attribute(name).cloned(), tag) else {
                if tag.is_none() {
                    self.problems
                        .about(&key, format!("`{key}`: a tag is a number up to 31"));
                }
                continue;
            };
            if limits.writes(&attribute) {
                let text = format!("`{name}` is written by [limits] already");
                self.problems.about(name, text);
            }
            let Some(value) = self.value(&attribute, value) else {
                continue;
            };
            constants.push(Constant {
                field: Field::of(&attribute),
                tag: attribute.has_tag.then_some(tag),
                value,
            });
        }
        constants
    }

    fn value(&mut self, attribute: &Attribute, written: WrittenValue) -> Option<Value> {
        let read = match (attribute.kind, written) {
            (Kind::Text, WrittenValue::Text(text)) => Some(Value::Text(text)),
            (Kind::Octets, WrittenValue::Text(text)) => octets_of(&text).map(Value::Octets),
            (Kind::Number(octets), WrittenValue::Number(number)) => number_of(octets, u64::from(number)),
            (Kind::Number(octets), WrittenValue::Text(text)) => {
                let named = self.dictionary.value(&attribute.name, &text);
                named.and_then(|number| number_of(octets, number))
            }
            (Kind::Ipv4, WrittenValue::Text(text)) => text
                .parse::<std::net::Ipv4Addr>()
                .ok()
                .map(|address| Value::Octets(address.octets().to_vec())),
            (Kind::Ipv6, WrittenValue::Text(text)) => text
                .parse::<std::net::Ipv6Addr>()
                .ok()
                .map(|address| Value::Octets(address.octets().to_vec())),
            _ => None,
        };
        if read.is_none() {
            let wanted = match attribute.kind {
                Kind::Text => "text in quotes",
                Kind::Octets => "octets as \"0x…\"",
                Kind::Number(_) => "a number that fits, or the name of a VALUE of it",
                Kind::Ipv4 | Kind::Ipv6 => "an address in quotes",
                Kind::Other => "nothing: its type cannot be sent from here",
            };
            let text = format!("`{}` takes {wanted}", attribute.name);
            self.problems.about(&attribute.name, text);
        }
        read
    }

    fn numeric(&mut self, name: &str) -> Option<Field> {
        let attribute = self.attribute(name)?;
        let (is_number, has_tag) = (matches!(attribute.kind, Kind::Number(_)), attribute.has_tag);
        if !is_number || has_tag {
            let text = format!("`{name}` is no plain number, which a limit needs");
            self.problems.about(name, text);
            return None;
        }
        self.field(name)
    }

    fn field(&mut self, name: &str) -> Option<Field> {
        self.attribute(name).map(Field::of)
    }

    fn attribute(&mut self, name: &str) -> Option<&Attribute> {
        let found = self.dictionary.attribute(name);
        if found.is_none() {
            let like = self.dictionary.like(name);
            let hint = like.map_or_else(
                || "add a dictionary that has it to the directory of radius.profiles".to_owned(),
                |like| format!("did you mean `{like}`? Or add a dictionary that has it"),
            );
            self.problems
                .about(name, format!("no dictionary knows `{name}`: {hint}"));
        }
        found
    }
}

fn octets_of(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x")?;
    if !digits.is_ascii() || digits.len() % 2 != 0 {
        return None;
    }
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect()
}

fn number_of(octets: u8, number: u64) -> Option<Value> {
    let bits = u32::from(octets) * 8;
    (bits >= 64 || number >> bits == 0).then_some(Value::Number(number))
}

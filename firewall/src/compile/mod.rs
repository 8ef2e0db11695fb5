//! The text of our rules as messages to the kernel, as `nft -f` would make them.
//!
//! Why not leave it to `nft`: before it changes a rule it reads every quota of the table, which takes more than a second with 100,000 sessions,
//! in which nobody can log in; and the table must be let go of for as long, since only its owner may change it. Of `nft`'s language this knows
//! what our rules are written in and refuses everything else. That both mean the same is tested: what the kernel shows of a table that was
//! made by the one and by the other does not differ by an octet (`firewall/tests/netns/compiled.rs`).

mod field;
mod rule;
mod set;
mod words;

use std::collections::HashMap;

use crate::netlink::{BaseChain, Batch, FAMILY_ARP, FAMILY_BRIDGE, FAMILY_INET};
pub(crate) use field::interface_key;
use set::Shape;
pub(crate) use set::range_of;
use words::Words;

/// A line that is no rule of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line:?}: expected {wanted} before {at:?}")]
pub(crate) struct Unreadable {
    line: String,
    at: String,
    wanted: String,
}

/// Lines of rules on their way to the kernel.
#[derive(Debug, Default)]
pub(crate) struct Compiled<'a> {
    shapes: HashMap<&'a str, Shape>,
    /// The number of each line's first message.
    numbers: Vec<(u32, &'a str)>,
}

/// What of a text is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// What the sets of the configuration hold; everything else is there.
    Elements,
}

impl<'a> Compiled<'a> {
    /// Adds what the text says to the batch.
    ///
    /// # Errors
    /// [`Unreadable`] names the line.
    pub fn add(text: &'a str, part: Part, batch: &mut Batch) -> Result<Self, Unreadable> {
        let mut compiled = Self::default();
        for line in text.lines() {
            compiled.numbers.push((batch.next_number(), line));
            compiled.line(line, part, batch)?;
        }
        Ok(compiled)
    }

    /// The line that made the message of this number.
    pub fn line_of(&self, number: u32) -> Option<&'a str> {
        let after = self.numbers.partition_point(|(first, _)| *first <= number);
        self.numbers.get(after.checked_sub(1)?).map(|(_, line)| *line)
    }

    fn line(&mut self, line: &'a str, part: Part, batch: &mut Batch) -> Result<(), Unreadable> {
        let mut words = Words::of(line);
        let (deed, what) = (words.next()?, words.next()?);
        let family = match words.next()? {
            "inet" => FAMILY_INET,
            "bridge" => FAMILY_BRIDGE,
            "arp" => FAMILY_ARP,
            _ => return Err(words.unreadable("inet, bridge or arp")),
        };
        let _table = words.next()?;
        let is_whole = part == Part::Whole;
        match (deed, what) {
            ("add", "set" | "map") => {
                let name = words.next()?;
                let (definition, shape) = set::definition(name, braced(&words)?)?;
                self.shapes.insert(name, shape);
                if is_whole {
                    batch.set(family, &definition);
                }
            }
            ("flush", "set" | "map") => {
                batch.empty(family, words.next()?);
            }
            ("add", "element") => {
                let name = words.next()?;
                let shape = self
                    .shapes
                    .get(name)
                    .ok_or_else(|| words.unreadable("a set that is defined"))?;
                batch.entries(family, name, &shape.elements(braced(&words)?)?);
            }
            _ if !is_whole => {}
            ("add", "counter") => {
                batch.counter(family, words.next()?);
            }
            ("add", "chain") => {
                let name = words.next()?;
                let base = match words.peek() {
                    Some(_) => Some(base_chain(family, braced(&words)?)?),
                    None => None,
                };
                batch.chain(family, name, base.as_ref());
            }
            ("flush", "table") => {
                batch.flush_rules(family);
            }
            ("add", "rule") => {
                let chain = words.next()?;
                batch.rule(family, chain, &rule::compile(family, words.rest())?);
            }
            _ => return Err(words.unreadable("something to be added or flushed")),
        }
        Ok(())
    }
}

/// What is between the braces that the rest of a line consists of.
fn braced<'a>(words: &Words<'a>) -> Result<&'a str, Unreadable> {
    let inner = words.rest().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    inner.ok_or_else(|| words.unreadable("braces"))
}

/// `type filter hook forward priority filter; policy drop;`.
fn base_chain(family: u8, text: &str) -> Result<BaseChain, Unreadable> {
    let mut words = Words::of(text);
    words.expect("type")?;
    let kind = words.next()?.to_owned();
    words.expect("hook")?;
    let hook = match (family, words.next()?) {
        (FAMILY_ARP, "input") | (_, "prerouting") => 0,
        (_, "input") => 1,
        (_, "forward") => 2,
        (_, "output") => 3,
        (_, "postrouting") => 4,
        _ => return Err(words.unreadable("a hook")),
    };
    words.expect("priority")?;
    let priority = words.next()?.trim_end_matches(';');
    let priority = match priority {
        "raw" => -300,
        "dstnat" => -100,
        "filter" => 0,
        "srcnat" => 100,
        number => number.parse().map_err(|_| words.unreadable("a priority"))?,
    };
    words.expect("policy")?;
    let drops = words.next()? == "drop;";
    Ok(BaseChain {
        kind,
        hook,
        priority,
        drops,
    })
}

#[cfg(test)]
mod tests;

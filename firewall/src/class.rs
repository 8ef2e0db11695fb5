//! What some sessions get together of a full line, and what is then left to the others.

use std::collections::BTreeMap;

use kavadam_domain::ClassName;

use crate::layout::Uplink;
use crate::ruleset::share;

/// Classes of one gate: each has 512 queues at either interface, some 3 MB of the kernel's memory in all.
pub const MOST_CLASSES: usize = share::CLASSES as usize;
/// The least that can be said of a class, bit/s: below it a single large packet would wait for more than a second.
const LEAST_BITS_PER_SEC: u64 = 8_000;

/// What the sessions of a class get together of a full line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShapingClass {
    /// Towards the internet.
    pub up: Portion,
    /// Towards the devices.
    pub down: Portion,
}

/// Of one direction of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Portion {
    /// Guaranteed, bit/s; what of it is not wanted is the others' meanwhile. 0: nothing is.
    pub at_least_bits_per_sec: u64,
    /// Never exceeded, bit/s, even if nobody else wants anything. `None`: the whole line.
    pub at_most_bits_per_sec: Option<u64>,
}

/// What is wrong with them, in words for who wrote the configuration.
#[must_use]
pub fn class_problems(classes: &BTreeMap<ClassName, ShapingClass>, uplink: Option<Uplink>) -> Vec<String> {
    let mut problems = Vec::new();
    if classes.len() > MOST_CLASSES {
        problems.push(format!("{} classes: allowed are {MOST_CLASSES}", classes.len()));
    }
    let Some(uplink) = uplink else {
        if !classes.is_empty() {
            problems.push("classes share a line: say what the uplink carries".to_owned());
        }
        return problems;
    };
    let up = classes.iter().map(|(name, class)| (*name, class.up));
    let down = classes.iter().map(|(name, class)| (*name, class.down));
    let ways = [
        ("up", uplink.up_bits_per_sec, up.collect::<Vec<_>>()),
        ("down", uplink.down_bits_per_sec, down.collect()),
    ];
    for (way, line, portions) in ways {
        for (name, portion) in &portions {
            let least = portion.at_least_bits_per_sec;
            let told = std::iter::once(least).filter(|speed| *speed > 0);
            if let Some(slow) = told
                .chain(portion.at_most_bits_per_sec)
                .find(|speed| *speed < LEAST_BITS_PER_SEC)
            {
                problems.push(format!(
                    "class {name}: {slow} bit/s {way} is too little, allowed are {LEAST_BITS_PER_SEC} and more"
                ));
            }
            if let Some(most) = portion.at_most_bits_per_sec.filter(|most| *most < least) {
                problems.push(format!(
                    "class {name} is to get at least {least} bit/s {way} and at most {most}: the least is more than the most"
                ));
            }
        }
        let guarantees = portions.iter().map(|(_, portion)| portion.at_least_bits_per_sec);
        let sum = guarantees.fold(0, u64::saturating_add);
        if sum > line {
            problems.push(format!(
                "the classes are guaranteed {sum} bit/s {way} in all, and the line carries {line}: guarantee less, so that it can be kept"
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: Option<Uplink> = Some(Uplink {
        up_bits_per_sec: 2_000_000,
        down_bits_per_sec: 8_000_000,
    });

    fn class(least: u64, most: Option<u64>) -> ShapingClass {
        let portion = Portion {
            at_least_bits_per_sec: least,
            at_most_bits_per_sec: most,
        };
        ShapingClass {
            up: portion,
            down: portion,
        }
    }

    fn found(classes: &[ShapingClass], line: Option<Uplink>) -> String {
        let named = classes.iter().enumerate();
        let named = named.map(|(at, class)| (format!("c{at}").parse().unwrap(), *class));
        class_problems(&named.collect(), line).join("; ")
    }

    #[test]
    fn a_line_is_guaranteed_to_its_last_bit_and_not_beyond() {
        let half = class(1_000_000, None);
        assert_eq!(found(&[half, half], LINE), "");
        let text = found(&[half, half, class(8_000, None)], LINE);
        assert!(text.contains("2008000 bit/s up") && !text.contains("down"), "{text}");
        let all = class(u64::MAX, None);
        assert!(found(&[all, all], LINE).contains("carries 8000000"));
    }

    #[test]
    fn what_cannot_be_a_class_is_told() {
        for (classes, line, part) in [
            (
                vec![class(1_000_000, Some(999_999))],
                LINE,
                "the least is more than the most",
            ),
            (vec![class(7_999, None)], LINE, "too little"),
            (vec![class(0, Some(0))], LINE, "too little"),
            (vec![class(0, None)], None, "say what the uplink carries"),
            (vec![class(0, None); 9], LINE, "9 classes: allowed are 8"),
        ] {
            let text = found(&classes, line);
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(found(&[class(0, None), class(0, Some(8_000))], LINE), "");
        assert_eq!(found(&[], None), "");
    }
}

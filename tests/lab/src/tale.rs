//! How the story is told: numbered steps, each with what happened in it, and figures for programs.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use serde_json::{Map, Value};

/// Steps, numbered, with what happened in each.
pub struct Tale {
    step: u32,
    is_coloured: bool,
    is_for_people: bool,
    figures: Map<String, Value>,
}

impl Tale {
    /// For people it goes slowly enough to read.
    pub fn new(is_for_people: bool) -> Self {
        Self {
            step: 0,
            is_coloured: std::io::stdout().is_terminal(),
            is_for_people,
            figures: Map::new(),
        }
    }

    /// What comes next.
    pub fn begin(&mut self, what: &str) {
        self.step += 1;
        let (bold, plain) = if self.is_coloured {
            ("\x1b[1m", "\x1b[0m")
        } else {
            ("", "")
        };
        println!("{bold}{:2}. {what}{plain}", self.step);
        let _ = std::io::stdout().flush();
    }

    /// What happened.
    pub fn tell(&self, what: impl Display) {
        println!("    {what}");
        if self.is_for_people && self.is_coloured {
            // Time to read a line.
            std::thread::sleep(Duration::from_millis(400));
        }
    }

    /// The same, for programs.
    pub fn figure(&mut self, name: &str, value: Value) {
        self.figures.insert(name.to_owned(), value);
    }

    /// All of them.
    pub fn figures(self) -> Value {
        Value::Object(self.figures)
    }
}

/// In MB.
pub fn amount(octets: u64) -> String {
    format!("{} MB", decimal(octets.into(), 1_000_000))
}

/// In this unit, with one decimal.
pub fn decimal(value: u128, unit: u128) -> String {
    format!("{}.{}", value / unit, value * 10 / unit % 10)
}

/// With a comma after every third digit from the right.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well_aloud() {
        assert_eq!(
            [0, 999, 1_000, 40_000_000].map(grouped),
            ["0", "999", "1,000", "40,000,000"]
        );
        assert_eq!(decimal(19_960_000, 1_000_000), "19.9");
        assert_eq!(amount(15_230_000), "15.2 MB");
    }
}

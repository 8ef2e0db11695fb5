//! What is wrong in a configuration, with the path of its key.

use std::fmt;
use std::str::FromStr;

/// Something wrong in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path of the key.
    pub key: String,
    /// What is wrong, and what would be right.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.text)
    }
}

/// What was found, in the order it was found.
#[derive(Default)]
pub(super) struct Problems(pub Vec<Problem>);

impl Problems {
    pub fn add(&mut self, key: &str, text: &str) {
        self.0.push(Problem {
            key: key.to_owned(),
            text: text.to_owned(),
        });
    }

    /// A problem unless it is so.
    pub fn require(&mut self, is_so: bool, key: &str, text: &str) {
        if !is_so {
            self.add(key, text);
        }
    }

    /// A value of a type with a textual form; `None` leaves a problem.
    pub fn read<T: FromStr>(&mut self, key: &str, value: &str, form: &str) -> Option<T> {
        let read = value.parse().ok();
        if read.is_none() {
            self.add(key, &format!("`{value}` is not of the form {form}"));
        }
        read
    }
}

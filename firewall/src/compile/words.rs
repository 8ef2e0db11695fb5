//! The words of a line of rules.

use super::Unreadable;

/// Words not read yet.
#[derive(Debug, Clone)]
pub(super) struct Words<'a> {
    line: &'a str,
    rest: &'a str,
}

impl<'a> Words<'a> {
    /// Without the comment at the end, which has two blanks before it.
    pub fn of(line: &'a str) -> Self {
        let rest = line.split_once("  # ").map_or(line, |(rule, _)| rule);
        Self { line, rest }
    }

    /// The next word, with its quotation marks if it has any.
    pub fn peek(&self) -> Option<&'a str> {
        self.rest.split_whitespace().next()
    }

    pub fn next(&mut self) -> Result<&'a str, Unreadable> {
        let word = self.peek().ok_or_else(|| self.unreadable("more"))?;
        self.rest = self.rest.trim_start().get(word.len()..).unwrap_or_default();
        Ok(word)
    }

    /// Whether the next word is this one, which is then read.
    pub fn take(&mut self, wanted: &str) -> bool {
        let is_next = self.peek() == Some(wanted);
        if is_next {
            self.rest = self.rest.trim_start().get(wanted.len()..).unwrap_or_default();
        }
        is_next
    }

    /// Reads these words and no others.
    pub fn expect(&mut self, wanted: &str) -> Result<(), Unreadable> {
        for word in wanted.split(' ') {
            if !self.take(word) {
                return Err(self.unreadable(word));
            }
        }
        Ok(())
    }

    /// The name of a set, which has `@` before it, if one is next.
    pub fn set(&mut self) -> Option<&'a str> {
        let name = self.peek()?.strip_prefix('@')?;
        self.next().ok().map(|_| name)
    }

    pub fn number<T: std::str::FromStr>(&mut self) -> Result<T, Unreadable> {
        let word = self.next()?;
        word.parse().map_err(|_| self.unreadable("a number"))
    }

    /// What is between quotation marks.
    pub fn quoted(&mut self) -> Result<&'a str, Unreadable> {
        let word = self.next()?;
        let inner = word.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        inner.ok_or_else(|| self.unreadable("a name in quotation marks"))
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a str {
        self.rest.trim()
    }

    pub fn unreadable(&self, wanted: &str) -> Unreadable {
        Unreadable {
            line: self.line.to_owned(),
            at: self.rest.trim().to_owned(),
            wanted: wanted.to_owned(),
        }
    }
}

//! Speeds as text: `{up_kbps}k/{down_kbps}k`.

use std::fmt::Write as _;

/// A text with speeds in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pieces: Vec<Piece>,
    /// What stands in place of a speed without limit.
    unlimited: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Plain(String),
    Speed { is_up: bool, unit: u64 },
}

const SPEEDS: [(&str, bool, u64); 6] = [
    ("up_bps", true, 1),
    ("up_kbps", true, 1_000),
    ("up_mbps", true, 1_000_000),
    ("down_bps", false, 1),
    ("down_kbps", false, 1_000),
    ("down_mbps", false, 1_000_000),
];

impl Text {
    /// Reads the text of a profile.
    pub(super) fn read(text: &str, unlimited: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((plain, after)) = rest.split_once('{') {
            pieces.push(Piece::Plain(plain.to_owned()));
            let (word, after) = after
                .split_once('}')
                .ok_or_else(|| format!("text `{text}`: a brace is not closed"))?;
            let known = SPEEDS.iter().find(|(name, ..)| *name == word);
            let (_, is_up, unit) = known.ok_or_else(|| {
                let names: Vec<_> = SPEEDS.iter().map(|(name, ..)| format!("{{{name}}}")).collect();
                format!("text: `{{{word}}}` is no speed: use {}", names.join(", "))
            })?;
            pieces.push(Piece::Speed {
                is_up: *is_up,
                unit: *unit,
            });
            rest = after;
        }
        pieces.push(Piece::Plain(rest.to_owned()));
        let has = |up: bool| {
            let mut speeds = pieces.iter();
            speeds.any(|piece| matches!(piece, Piece::Speed { is_up, .. } if *is_up == up))
        };
        if !has(true) || !has(false) {
            return Err(format!("text `{text}`: speeds of both directions are needed"));
        }
        Ok(Self {
            pieces,
            unlimited: unlimited.to_owned(),
        })
    }

    /// The text for these speeds, bit/s, rounded down: never faster than the plan.
    pub(super) fn fill(&self, up: Option<u64>, down: Option<u64>) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Plain(plain) => text.push_str(plain),
                Piece::Speed { is_up, unit } => match if *is_up { up } else { down } {
                    // To a String nothing fails.
                    Some(rate) => _ = write!(text, "{}", (rate / unit).max(1)),
                    None => text.push_str(&self.unlimited),
                },
            }
        }
        text
    }

    /// The speeds in a text made by [`Self::fill`], for whoever checks that nothing was lost.
    #[cfg(test)]
    pub(super) fn speeds(&self, text: &str) -> Option<(Option<u64>, Option<u64>)> {
        let (mut up, mut down) = (None, None);
        let mut rest = text;
        for piece in &self.pieces {
            match piece {
                Piece::Plain(plain) => rest = rest.strip_prefix(plain.as_str())?,
                Piece::Speed { is_up, unit } => {
                    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                    let (digits, after) = rest.split_at(end);
                    let speed = (digits != self.unlimited).then(|| digits.parse::<u64>().unwrap() * unit);
                    *(if *is_up { &mut up } else { &mut down }) = speed;
                    rest = after;
                }
            }
        }
        rest.is_empty().then_some((up, down))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_stand_where_the_text_says() {
        let text = Text::read("{up_kbps}k/{down_kbps}k", "0").unwrap();
        assert_eq!(text.fill(Some(2_000_999), Some(10_000_000)), "2000k/10000k");
        assert_eq!(text.fill(None, Some(8_000)), "0k/8k");
        assert_eq!(text.fill(Some(1), None), "1k/0k", "not 0, which is no limit");
    }

    #[test]
    fn a_text_that_loses_a_speed_is_refused() {
        for (text, wanted) in [
            ("{up_kbps}k", "speeds of both directions"),
            ("{up_kbps}k/{down", "a brace is not closed"),
            ("{up}/{down_bps}", "`{up}` is no speed: use {up_bps}"),
        ] {
            let found = Text::read(text, "0").unwrap_err();
            assert!(found.contains(wanted), "{found}");
        }
    }
}

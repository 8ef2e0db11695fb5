//! The devices behind the gates, and where each stands in its life.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use data_encoding::HEXLOWER;

/// Interim reports between two visits.
const INTERIMS: u8 = 4;
/// Each report tells of so many octets more, each way: too few to use up anybody's quota.
const OCTETS_A_REPORT: u64 = 5_000;

/// What a device's gate sends next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Interims, then Stop.
    Online,
    /// Access-Request.
    Login,
    /// Start.
    Start,
}

/// One device.
#[derive(Debug, Clone)]
pub struct Life {
    /// What comes next.
    pub stage: Stage,
    /// Interims before the Stop.
    pub interims_left: u8,
    /// Which visit it is on: part of Acct-Session-Id.
    pub visit: u16,
    /// Reports sent in this visit.
    pub reports: u32,
    /// When this visit began, Unix seconds; of who was online before we came, when we did.
    pub began: u32,
    /// As the server gave it; empty for the class the loader wrote.
    pub class: Option<Box<[u8]>>,
}

impl Life {
    /// Online since before we came; so far through its visit that all together make an even mix.
    fn loaded(number: u32, now: u32) -> Self {
        Self {
            stage: Stage::Online,
            interims_left: u8::try_from(number % u32::from(INTERIMS + 1)).unwrap_or(0),
            visit: 0,
            reports: 0,
            began: now,
            class: None,
        }
    }

    /// Logs in anew, under a new Acct-Session-Id.
    pub fn come_again(&mut self) {
        self.stage = Stage::Login;
        self.visit = self.visit.wrapping_add(1);
        self.reports = 0;
        self.interims_left = INTERIMS;
        self.class = None;
    }

    /// What it used, each way.
    pub fn octets(&self) -> u64 {
        u64::from(self.reports) * OCTETS_A_REPORT
    }
}

/// A text with `{number}` and `{mac}` in it.
#[derive(Debug, Clone)]
pub struct Template(String);

impl std::str::FromStr for Template {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl Template {
    /// Filled in for a device.
    pub fn fill(&self, number: u32, into: &mut String) {
        into.clear();
        let mut rest = self.0.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            into.push_str(before);
            // Writing to a String cannot fail.
            rest = if let Some(after) = after.strip_prefix("number}") {
                let _ = write!(into, "{number}");
                after
            } else if let Some(after) = after.strip_prefix("mac}") {
                mac(number, into);
                after
            } else {
                into.push('{');
                after
            };
        }
        into.push_str(rest);
    }
}

/// A number in octets below 128, which even SQLite's text can hold, so that its own SQL can fill a database.
pub fn sevens(number: u32) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| u8::try_from(number >> shift & 0x7F).unwrap_or(0))
}

/// A device's locally administered MAC, appended with dashes.
pub fn mac(number: u32, into: &mut String) {
    let [a, b, c, d] = sevens(number);
    let _ = write!(into, "02-4C-{a:02X}-{b:02X}-{c:02X}-{d:02X}");
}

/// Acct-Session-Id of a visit.
pub fn session(number: u32, visit: u16, into: &mut String) {
    into.clear();
    let _ = write!(into, "{number:08x}{visit:04x}");
}

/// A device's address.
pub fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from((10 << 24) | (number & 0x00FF_FFFF))
}

/// Everybody, by number from 0.
#[derive(Debug, Default)]
pub struct Population(Vec<Life>);

impl Population {
    /// All online, as the loader left them.
    pub fn loaded(count: u32) -> Self {
        let now = unix_secs();
        Self((0..count).map(|number| Life::loaded(number, now)).collect())
    }

    /// Nobody online.
    pub fn fresh(count: u32) -> Self {
        let mut all = Self::loaded(count);
        for life in &mut all.0 {
            life.come_again();
        }
        all
    }

    /// As an earlier run left it.
    pub fn read(path: &Path, count: u32) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let lives = text.lines().map(read_life).collect::<Option<Vec<_>>>();
        let lives = lives.with_context(|| format!("{} is no state of ours", path.display()))?;
        ensure!(
            u32::try_from(lives.len()) == Ok(count),
            "{} is of {} devices",
            path.display(),
            lives.len()
        );
        Ok(Self(lives))
    }

    /// For the next run.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = String::new();
        for life in &self.0 {
            let stage = match life.stage {
                Stage::Online => 'o',
                Stage::Login => 'l',
                Stage::Start => 's',
            };
            write!(
                text,
                "{stage} {} {} {} {} ",
                life.interims_left, life.visit, life.reports, life.began
            )?;
            HEXLOWER.encode_append(life.class.as_deref().unwrap_or_default(), &mut text);
            text.push('\n');
        }
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// One of them.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut Life> {
        self.0.get_mut(usize::try_from(number).ok()?)
    }

    /// Shares them out: thread `t` of `threads` has every device whose number leaves `t`.
    pub fn split(self, threads: usize) -> Vec<Self> {
        let mut parts: Vec<Self> = (0..threads).map(|_| Self::default()).collect();
        for (number, life) in self.0.into_iter().enumerate() {
            if let Some(part) = parts.get_mut(number % threads) {
                part.0.push(life);
            }
        }
        parts
    }

    /// The reverse of [`Population::split`].
    pub fn join(parts: Vec<Self>) -> Self {
        let count = parts.iter().map(|part| part.0.len()).sum();
        let mut parts: Vec<_> = parts.into_iter().map(|part| part.0.into_iter()).collect();
        let mut lives = Vec::with_capacity(count);
        while lives.len() < count {
            lives.extend(parts.iter_mut().filter_map(Iterator::next));
        }
        Self(lives)
    }

    /// How many.
    pub fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }
}

/// By the clock.
pub fn unix_secs() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

fn read_life(line: &str) -> Option<Life> {
    let mut words = line.split(' ');
    let stage = match words.next()? {
        "o" => Stage::Online,
        "l" => Stage::Login,
        "s" => Stage::Start,
        _ => return None,
    };
    Some(Life {
        stage,
        interims_left: words.next()?.parse().ok()?,
        visit: words.next()?.parse().ok()?,
        reports: words.next()?.parse().ok()?,
        began: words.next()?.parse().ok()?,
        class: match words.next()? {
            "" => None,
            hex => Some(HEXLOWER.decode(hex.as_bytes()).ok()?.into_boxed_slice()),
        },
    })
}

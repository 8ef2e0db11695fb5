//! What devices were told, kept over a restart and a power cut: it is after these that a provider delegates another prefix, and devices, which the
//! Wi-Fi kept, would hold on to the one before (RFC 9096).

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ipnet::Ipv6Net;
use kavadam_domain::Timestamp;

use super::MOST_INTERVAL;
use super::nat64::Nat64Prefix;
use super::offers::MOST_VALID_SECS;

/// More is not ours.
const MOST: usize = 64;
/// Of what the configuration names, and an advertisement has few of.
const MOST_CONFIGURED: usize = 4;

/// A thing that devices were told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item<T> {
    pub value: T,
    /// For how long they may have it yet.
    pub left: Duration,
    /// What they were told last is that it has gone.
    pub is_gone: bool,
}

/// Everything they were told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// How long ago all of them were.
    pub since: Option<Duration>,
    pub prefixes: Vec<Item<Ipv6Net>>,
    pub resolvers: Vec<Item<Ipv6Addr>>,
    pub translators: Vec<Item<Nat64Prefix>>,
}

/// A file, if there is a directory for it.
#[derive(Debug)]
pub(super) struct Memory {
    file: Option<PathBuf>,
    /// The last attempt failed, which was said.
    is_failing: bool,
}

impl Memory {
    pub fn new(dir: Option<&Path>) -> Self {
        Self {
            file: dir.map(|dir| dir.join("told")),
            is_failing: false,
        }
    }

    /// What is in the file. One that is not there, or is not ours, says nothing.
    pub fn recall(&self, now: Timestamp) -> Told {
        let text = self.file.as_ref().and_then(|file| fs::read(file).ok());
        read(&String::from_utf8_lossy(&text.unwrap_or_default()), now)
    }

    /// Writes what all were told just now. What cannot be written is tried again the next time.
    pub fn keep(&mut self, told: &Told, now: Timestamp) {
        let Some(file) = &self.file else { return };
        let written = write(file, &text(told, now));
        if let Err(error) = &written
            && !self.is_failing
        {
            tracing::warn!(%error, file = %file.display(), "cannot note what devices were told");
        }
        self.is_failing = written.is_err();
    }
}

/// A line each: what it is, and the second since 1970 until which devices may have it, unless they are told again, as some are alone who solicit.
fn text(told: &Told, now: Timestamp) -> String {
    fn lines<T: ToString>(kind: &str, items: &[Item<T>], now: Timestamp) -> String {
        let line = |item: &Item<T>| {
            let until = (now + item.left + if item.is_gone { Duration::ZERO } else { MOST_INTERVAL }).as_secs();
            let gone = if item.is_gone { " gone" } else { "" };
            format!("{kind} {} {until}{gone}\n", item.value.to_string())
        };
        items.iter().map(line).collect()
    }
    let since = now - told.since.unwrap_or_default();
    [
        format!("all {}\n", since.as_secs()),
        lines("prefix", &told.prefixes, now),
        lines("resolver", &told.resolvers, now),
        lines("translator", &told.translators, now),
    ]
    .concat()
}

fn read(text: &str, now: Timestamp) -> Told {
    let words: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    let mut told = Told {
        since: None,
        prefixes: items("prefix", &words, now),
        resolvers: items("resolver", &words, now),
        translators: items("translator", &words, now),
    };
    if let Some(["all", at]) = words.first().map(Vec::as_slice) {
        // A clock that went back says nothing of how long ago it was.
        let ago = at.parse().ok().and_then(|at: i64| now.as_secs().checked_sub(at));
        told.since = ago.and_then(|secs| u64::try_from(secs).ok()).map(Duration::from_secs);
    }
    told.prefixes
        .retain(|item| item.value.trunc() == item.value && !is_elsewhere(item.value.addr()));
    told.prefixes.truncate(MOST);
    told.resolvers.retain(|item| !is_elsewhere(item.value));
    told.resolvers.truncate(MOST_CONFIGURED);
    told.translators.truncate(MOST_CONFIGURED);
    told
}

/// Of this kind. A clock that went back, as that of a machine without a battery does, makes a lifetime no longer than any can be.
fn items<T: FromStr>(kind: &str, lines: &[Vec<&str>], now: Timestamp) -> Vec<Item<T>> {
    let item = |words: &Vec<&str>| {
        let (value, until, is_gone) = match words.as_slice() {
            [first, value, until] if *first == kind => (value, until, false),
            [first, value, until, "gone"] if *first == kind => (value, until, true),
            _ => return None,
        };
        let left = until.parse::<i64>().ok()?.checked_sub(now.as_secs())?;
        let left = Duration::from_secs(u64::try_from(left).ok()?.min(MOST_VALID_SECS.into()));
        let value = value.parse().ok()?;
        (!left.is_zero()).then_some(Item { value, left, is_gone })
    };
    lines.iter().filter_map(item).collect()
}

/// Nothing of what was ever told begins so.
fn is_elsewhere(address: Ipv6Addr) -> bool {
    address.is_unspecified() || address.is_multicast() || address.is_unicast_link_local() || address.is_loopback()
}

/// Whole or not at all, whenever the power goes.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut opened = File::create(&new)?;
    opened.write_all(text.as_bytes())?;
    opened.sync_all()?;
    fs::rename(new, file)?;
    file.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn item<T: FromStr<Err: std::fmt::Debug>>(text: &str, minutes: u64) -> Item<T> {
        Item {
            value: text.parse().unwrap(),
            left: Duration::from_mins(minutes),
            is_gone: false,
        }
    }

    fn gone<T>(item: Item<T>) -> Item<T> {
        Item { is_gone: true, ..item }
    }

    fn told() -> Told {
        Told {
            since: Some(Duration::ZERO),
            prefixes: vec![item("2001:db8:a::/64", 50), gone(item("fd00:80::/64", 80))],
            resolvers: vec![item("fd00:80::1", 45), gone(item("fd00:81::1", 30))],
            translators: vec![item("64:ff9b::/96", 45), gone(item("2001:db8:64::/96", 9))],
        }
    }

    fn lefts<T>(items: &[Item<T>]) -> Vec<(u64, bool)> {
        items.iter().map(|item| (item.left.as_secs(), item.is_gone)).collect()
    }

    #[test]
    fn what_was_told_is_recalled_as_long_as_devices_may_have_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::new(Some(dir.path()));
        assert_eq!(memory.recall(NOW), Told::default());
        memory.keep(&told(), NOW);
        let again = |secs| Memory::new(Some(dir.path())).recall(NOW + Duration::from_secs(secs));
        let first = again(0);
        assert_eq!(first.since, Some(Duration::ZERO));
        assert_eq!(lefts(&first.prefixes), [(3600, false), (4800, true)]);
        assert_eq!(lefts(&first.resolvers), [(3300, false), (1800, true)]);
        assert_eq!(lefts(&first.translators), [(3300, false), (540, true)]);
        assert_eq!(first.resolvers[1].value, "fd00:81::1".parse::<Ipv6Addr>().unwrap());
        let later = again(3599);
        assert_eq!(later.since, Some(Duration::from_secs(3599)));
        assert_eq!(lefts(&later.prefixes), [(1, false), (1201, true)]);
        assert_eq!((later.resolvers, later.translators), (Vec::new(), Vec::new()));
        let before = Memory::new(Some(dir.path())).recall(Timestamp::from_secs(0));
        assert_eq!(before.since, None, "a clock without a battery");
        assert_eq!(lefts(&before.prefixes), [(5400, false), (5400, true)]);
    }

    #[test]
    fn what_cannot_be_written_is_written_the_next_time() {
        let dir = tempfile::tempdir().unwrap();
        let late = dir.path().join("late");
        let mut memory = Memory::new(Some(&late));
        memory.keep(&told(), NOW);
        memory.keep(&told(), NOW);
        assert!(memory.is_failing && memory.recall(NOW) == Told::default());
        fs::create_dir(&late).unwrap();
        memory.keep(&told(), NOW);
        assert!(!memory.is_failing && memory.recall(NOW) != Told::default());
        assert_eq!(fs::read_dir(&late).unwrap().count(), 1, "and nothing beside it");
    }

    #[test]
    fn without_a_directory_nothing_is_kept() {
        let mut memory = Memory::new(None);
        memory.keep(&told(), NOW);
        assert_eq!(memory.recall(NOW), Told::default());
    }

    #[test]
    fn what_is_not_ours_says_nothing() {
        let until = NOW.as_secs() + 60;
        for line in [
            format!("prefix 2001:db8::1/64 {until}"),
            format!("prefix fe80::/64 {until}"),
            format!("prefix ff02::/64 {until}"),
            format!("prefix ::/0 {until}"),
            format!("prefix 10.0.0.0/8 {until}"),
            format!("prefix 2001:db8::/64\t{until}"),
            format!("prefix 2001:db8::/64 {until} gone gone"),
            format!("prefix 2001:db8::/64 {until} else"),
            format!("2001:db8::/64 {until}"),
            "prefix 2001:db8::/64 x".to_owned(),
            format!("prefix 2001:db8::/64 {}", i64::MIN),
            "prefix 2001:db8::/64 99999999999999999999".to_owned(),
            format!("resolver fe80::1 {until}"),
            format!("resolver 10.80.0.1 {until}"),
            format!("translator 64:ff9b::/95 {until}"),
            format!("all {}", i64::MIN),
            format!("all {until}"),
            String::new(),
        ] {
            assert_eq!(read(&line, NOW), Told::default(), "{line}");
        }
        let many = |line: &dyn Fn(usize) -> String| read(&(0..500).map(line).collect::<String>(), NOW);
        let prefixes = many(&|number| format!("prefix 2001:db8:{number:x}::/64 {until}\n"));
        assert_eq!(prefixes.prefixes.len(), MOST);
        let resolvers = many(&|number| format!("resolver 2001:db8:{number:x}::1 {until}\n"));
        assert_eq!(resolvers.resolvers.len(), MOST_CONFIGURED);
        let translators = many(&|number| format!("translator 2001:db8:{number:x}::/96 {until}\n"));
        assert_eq!(translators.translators.len(), MOST_CONFIGURED);
    }

    proptest! {
        #[test]
        fn a_mangled_file_never_panics(
            text in "((all|prefix|resolver|translator| gone|[0-9]{1,20}|64:ff9b::/96|fd00::/64|fd00::1| |\n)|.){0,60}",
            secs in any::<i32>(),
        ) {
            let found = read(&text, Timestamp::from_secs(secs.into()));
            prop_assert!(found.prefixes.iter().all(|item| item.left.as_secs() <= u64::from(MOST_VALID_SECS)));
        }
    }
}

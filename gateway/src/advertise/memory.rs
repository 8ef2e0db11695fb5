//! What devices were told, kept over a restart and a power cut: it is after these that a provider delegates another prefix, and devices, which the
//! Wi-Fi kept, would hold on to the one before (RFC 9096).

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipnet::Ipv6Net;
use kavadam_domain::Timestamp;

use super::offers::MOST_VALID_SECS;

/// While nothing changes what is written ages by no more than this.
const WRITE_EVERY: Duration = Duration::from_mins(10);
/// More is not ours.
const MOST: usize = 64;

/// A file, if there is a directory for it.
#[derive(Debug)]
pub(super) struct Memory {
    file: Option<PathBuf>,
    written: Option<Instant>,
    is_failing: bool,
}

impl Memory {
    pub fn new(dir: Option<&Path>) -> Self {
        Self {
            file: dir.map(|dir| dir.join("told-prefixes")),
            written: None,
            is_failing: false,
        }
    }

    /// Each prefix, and for how long devices may still have addresses of it. A file that is not there, or is not ours, says nothing.
    pub fn recall(&self, now: Timestamp) -> Vec<(Ipv6Net, Duration)> {
        let text = self
            .file
            .as_ref()
            .and_then(|file| fs::read(file).ok())
            .unwrap_or_default();
        read(&String::from_utf8_lossy(&text), now)
    }

    /// Writes what devices were told if it has changed, and now and then.
    pub fn keep(&mut self, told: &[(Ipv6Net, Duration)], has_changed: bool, now: Timestamp, mono: Instant) {
        let Some(file) = &self.file else { return };
        let is_old = self.written.is_none_or(|written| mono >= written + WRITE_EVERY);
        if !has_changed && !is_old {
            return;
        }
        match write(file, &text(told, now)) {
            Ok(()) => (self.written, self.is_failing) = (Some(mono), false),
            Err(error) => {
                // Tried again at the next look, and said once.
                self.written = None;
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(%error, file = %file.display(), "cannot note which prefixes devices were told of");
                }
            }
        }
    }
}

/// A prefix a line, with the second since 1970 until which devices may have addresses of it, unless they are told again.
fn text(told: &[(Ipv6Net, Duration)], now: Timestamp) -> String {
    let line = |(net, left): &(Ipv6Net, Duration)| format!("{net} {}\n", (now + *left + WRITE_EVERY).as_secs());
    told.iter().map(line).collect()
}

/// A clock that went back, as that of a machine without a battery does, makes a lifetime no longer than any can be.
fn read(text: &str, now: Timestamp) -> Vec<(Ipv6Net, Duration)> {
    let line = |line: &str| {
        let (net, until) = line.split_once(' ')?;
        let (net, until): (Ipv6Net, i64) = (net.parse().ok()?, until.parse().ok()?);
        let left = u64::try_from(until.checked_sub(now.as_secs())?).ok()?;
        let left = Duration::from_secs(left.min(MOST_VALID_SECS.into()));
        let is_usable = net.trunc() == net && !is_elsewhere(net.addr()) && !left.is_zero();
        is_usable.then_some((net, left))
    };
    text.lines().filter_map(line).take(MOST).collect()
}

/// No prefix that was ever told begins so.
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

    fn net(text: &str) -> Ipv6Net {
        text.parse().unwrap()
    }

    #[test]
    fn what_was_told_is_recalled_as_long_as_devices_may_have_it() {
        let dir = tempfile::tempdir().unwrap();
        let told = [
            (net("2001:db8:a::/64"), Duration::from_mins(50)),
            (net("fd00:80::/64"), Duration::from_mins(90)),
        ];
        let mono = Instant::now();
        let mut memory = Memory::new(Some(dir.path()));
        assert_eq!(memory.recall(NOW), []);
        memory.keep(&told, true, NOW, mono);
        let again = Memory::new(Some(dir.path()));
        let lefts = |secs| {
            again
                .recall(NOW + Duration::from_secs(secs))
                .into_iter()
                .map(|(_, left)| left.as_secs())
        };
        assert_eq!(lefts(0).collect::<Vec<_>>(), [3600, 5400]);
        assert_eq!(lefts(3599).collect::<Vec<_>>(), [1, 2401]);
        assert_eq!(lefts(3600).count(), 1);
        assert_eq!(lefts(6000).count(), 0);
        let before = Timestamp::from_secs(0);
        assert!(
            again.recall(before).iter().all(|(_, left)| left.as_secs() == 5400),
            "a clock without a battery"
        );
    }

    #[test]
    fn it_is_written_when_it_changes_and_now_and_then() {
        let dir = tempfile::tempdir().unwrap();
        let (file, start) = (dir.path().join("told-prefixes"), Instant::now());
        let mut memory = Memory::new(Some(dir.path()));
        let mut is_written = |has_changed, minutes| {
            memory.keep(&[], has_changed, NOW, start + Duration::from_mins(minutes));
            fs::remove_file(&file).is_ok()
        };
        assert_eq!(
            [(false, 0), (false, 9), (true, 9), (false, 18), (false, 19)].map(|(changed, at)| is_written(changed, at)),
            [true, false, true, false, true]
        );
    }

    #[test]
    fn what_cannot_be_written_is_written_at_the_next_look() {
        let dir = tempfile::tempdir().unwrap();
        let (late, mono) = (dir.path().join("late"), Instant::now());
        let mut memory = Memory::new(Some(&late));
        memory.keep(&[(net("fd00:80::/64"), Duration::from_secs(9))], true, NOW, mono);
        fs::create_dir(&late).unwrap();
        memory.keep(&[(net("fd00:80::/64"), Duration::from_secs(9))], false, NOW, mono);
        assert_eq!(memory.recall(NOW).len(), 1);
        assert_eq!(fs::read_dir(&late).unwrap().count(), 1, "and nothing beside it");
    }

    #[test]
    fn without_a_directory_nothing_is_kept() {
        let mut memory = Memory::new(None);
        memory.keep(
            &[(net("fd00:80::/64"), Duration::from_secs(9))],
            true,
            NOW,
            Instant::now(),
        );
        assert_eq!(memory.recall(NOW), []);
    }

    #[test]
    fn what_is_not_ours_says_nothing() {
        let until = NOW.as_secs() + 60;
        for line in [
            format!("2001:db8::1/64 {until}"),
            format!("fe80::/64 {until}"),
            format!("ff02::/64 {until}"),
            format!("::/0 {until}"),
            format!("10.0.0.0/8 {until}"),
            format!("2001:db8::/64\t{until}"),
            "2001:db8::/64 x".to_owned(),
            format!("2001:db8::/64 {}", i64::MIN),
            "2001:db8::/64 99999999999999999999".to_owned(),
            String::new(),
        ] {
            assert_eq!(read(&line, NOW), [], "{line}");
        }
        let many: Vec<String> = (0..500)
            .map(|number| format!("2001:db8:{number:x}::/64 {until}"))
            .collect();
        assert_eq!(read(&many.join("\n"), NOW).len(), MOST);
    }

    proptest! {
        #[test]
        fn a_mangled_file_never_panics(text in ".{0,300}", secs in any::<i32>()) {
            let found = read(&text, Timestamp::from_secs(secs.into()));
            prop_assert!(found.iter().all(|(_, left)| left.as_secs() <= u64::from(MOST_VALID_SECS)));
        }
    }
}

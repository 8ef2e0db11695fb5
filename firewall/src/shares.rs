//! A full uplink, shared fairly: every session has a queue of its own, and the queues take turns.
//!
//! The rules give each packet the number of its queue ([`crate::ruleset`], chain `shared`). Here the queues are made, at the WAN interface for what
//! goes up and at the LAN interface for what comes down: 2,048 of them once and for all, so that no session has to make or remove any. Whoever
//! sends less than its share is not held up; what it leaves is the others'.
//!
//! A shaping class has 512 of its own beneath one sum, which the kernel serves up to what is guaranteed before anybody has more than a
//! promise, and never beyond the ceiling. What no guarantee takes is divided among all who want it, session by session, in whatever class they are:
//! the kernel goes round all queues beneath a sum before it goes on to the next one.

use std::io;

use crate::FirewallError;
use crate::class::{Portion, ShapingClass};
use crate::layout::Layout;
use crate::netlink::{Channel, Class, Queues, Root};
use crate::ruleset::share;

/// All promises together are a quarter of the line. What is within the promise passes before what only has its turn.
const PROMISED: u32 = 4;
/// Of a promise, what is kept for who has been silent, as far as the kernel keeps it (275 s): a question for a name, a handshake and a small page wait for nobody.
const SAVED_OCTETS: u32 = 16_000;
/// More than any uplink has: the sum is bounded, not the part.
const NO_CEILING: u32 = 4_000_000_000;
/// What waits in one queue: the largest merged packet fits in, and as much again as half of it.
const WAITING_OCTETS: u32 = 98_304;
/// A turn is what the line carries in 30 ms. The kernel sends a whole packet even in a turn that is shorter, so below the largest merged packet
/// shares are equal only among packets of a kind; but on a slow line long turns would keep the others waiting for seconds.
const TURNS_PER_SEC: u32 = 33;
const LEAST_TURN: u32 = 12_000;
/// The largest merged packet, with the headers of all its parts.
const LONGEST_TURN: u32 = 72_000;
/// What may pass at once of all, in parts of a second.
const BURSTS_PER_SEC: u32 = 100;

/// Keeps the queues of one machine; cheap to look, so it is asked again and again, as interfaces come and go.
pub struct Shares {
    channel: Channel,
    /// Interface by interface, what was last made.
    made: [Option<Line>; 2],
}

/// One direction of an uplink, octets per second.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    speed: u32,
    /// By their numbers, the first of which is 1.
    classes: Vec<Bounds>,
}

/// What a class gets of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    at_least: u32,
    at_most: u32,
}

impl Shares {
    /// # Errors
    /// [`FirewallError::Kernel`]: there is no netlink.
    pub fn new() -> Result<Self, FirewallError> {
        let channel = Channel::route().map_err(FirewallError::kernel("open a netlink socket"))?;
        Ok(Self {
            channel,
            made: [None, None],
        })
    }

    /// Makes the queues where they are wanted and missing, changes their speed if it has changed, and removes them where they are not wanted. An
    /// interface that is not there has none. `true`: something was done. **Blocking**: a second where all have to be made, and about as
    /// much again for each class.
    ///
    /// # Errors
    /// [`FirewallError::QueueTaken`], [`FirewallError::NoShaping`], [`FirewallError::Kernel`].
    pub fn keep(&mut self, layout: &Layout) -> Result<bool, FirewallError> {
        let wanted = Line::both(layout);
        let Self { channel, made } = self;
        let (mut has_changed, mut failed) = (false, None);
        for ((wanted, interface), made) in wanted.into_iter().zip([&layout.wan_if, &layout.lan_if]).zip(made) {
            if wanted.is_none() && made.is_none() && interface == &layout.wan_if && !layout.other_lans.is_empty() {
                // Another gate of this machine may share the uplink.
                continue;
            }
            match keep_one(channel, interface, wanted.as_ref(), made.as_ref()) {
                Ok(one) => {
                    has_changed |= one;
                    *made = wanted;
                }
                // What is wrong at one end is no reason to leave the other.
                Err(error) => {
                    failed = failed.or(Some(error));
                    *made = None;
                }
            }
        }
        failed.map_or(Ok(has_changed), Err)
    }
}

fn keep_one(
    channel: &mut Channel,
    interface: &str,
    wanted: Option<&Line>,
    made: Option<&Line>,
) -> Result<bool, FirewallError> {
    let mut queues = match Queues::of(channel, interface) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(false),
        queues => queues.map_err(FirewallError::kernel("look at an interface"))?,
    };
    let root = queues.root().map_err(FirewallError::kernel("look at a queue"))?;
    let is_ours = matches!(root, Root::Set { handle, .. } if handle == share::HANDLE);
    let failed = |error: io::Error| match error.raw_os_error() {
        Some(libc::ENOENT | libc::EOPNOTSUPP) => FirewallError::NoShaping,
        _ => FirewallError::kernel("make the queues of an uplink")(error),
    };
    match (wanted, root) {
        (Some(_), Root::Set { kind, .. }) if !is_ours => Err(FirewallError::QueueTaken {
            interface: interface.to_owned(),
            kind,
        }),
        (Some(line), _) => {
            let is_whole = is_ours && line.is_whole(&mut queues).map_err(failed)?;
            if is_whole && made == Some(line) {
                return Ok(false);
            }
            line.make(&mut queues, is_ours).map_err(failed)?;
            Ok(true)
        }
        (None, _) if is_ours => {
            let removed = queues.remove_root(share::HANDLE);
            removed.map_err(FirewallError::kernel("remove a queue"))?;
            Ok(true)
        }
        (None, _) => Ok(false),
    }
}

/// The shares of a class. The last comes last, and says that all are there.
fn shares(class: u32) -> impl Iterator<Item = u32> {
    (0..share::IN_CLASS).map(move |number| share::in_class(class, number))
}

fn has_all(queues: &mut Queues<'_>, class: u32) -> io::Result<bool> {
    queues.has_class(share::in_class(class, share::IN_CLASS - 1))
}

/// Likewise of those without a class.
fn has_plain(queues: &mut Queues<'_>) -> io::Result<bool> {
    queues.has_class(share::of(share::MASK))
}

impl Line {
    /// What goes up, and what comes down; `None` where nothing is to be shared.
    fn both(layout: &Layout) -> [Option<Self>; 2] {
        let octets = |bits: u64| u32::try_from(bits / 8).unwrap_or(NO_CEILING);
        let line = |bits: u64, of: fn(&ShapingClass) -> Portion| {
            let speed = octets(bits);
            let bounds = |portion: Portion| Bounds {
                at_least: octets(portion.at_least_bits_per_sec),
                at_most: portion.at_most_bits_per_sec.map_or(speed, octets).min(speed),
            };
            Self {
                speed,
                classes: layout.classes.values().map(|class| bounds(of(class))).collect(),
            }
        };
        let uplink = layout.uplink;
        [
            uplink.map(|uplink| line(uplink.up_bits_per_sec, |class| class.up)),
            uplink.map(|uplink| line(uplink.down_bits_per_sec, |class| class.down)),
        ]
    }

    /// The classes with their numbers.
    fn classes(&self) -> impl Iterator<Item = (u32, Bounds)> {
        (1..=share::CLASSES).zip(self.classes.iter().copied())
    }

    /// Whether every queue of it is there.
    fn is_whole(&self, queues: &mut Queues<'_>) -> io::Result<bool> {
        let last = self.classes().last().map(|(class, _)| class);
        Ok(has_plain(queues)? && last.map_or(Ok(true), |class| has_all(queues, class))?)
    }

    /// Makes what is missing, gives everything its speed, and removes the classes that are no more.
    fn make(&self, queues: &mut Queues<'_>, is_ours: bool) -> io::Result<()> {
        if !is_ours {
            queues.make_root(share::HANDLE)?;
        }
        queues.set_class(share::ALL, share::HANDLE, self.sum())?;
        let is_there = has_plain(queues)?;
        for share in std::iter::once(share::FREE).chain(share::slots().map(share::of)) {
            make_share(queues, (share, share::ALL), self.part(None), is_there)?;
        }
        for (class, bounds) in self.classes() {
            let is_there = has_all(queues, class)?;
            queues.set_class(share::sum_of(class), share::ALL, bounds.sum())?;
            for share in shares(class) {
                make_share(queues, (share, share::sum_of(class)), self.part(Some(bounds)), is_there)?;
            }
        }
        for class in (1..=share::CLASSES).skip(self.classes.len()) {
            if queues.has_class(share::sum_of(class))? {
                for share in shares(class) {
                    queues.remove_class(share)?;
                }
                queues.remove_class(share::sum_of(class))?;
            }
        }
        Ok(())
    }

    /// Of the line, what is promised to each share: a quarter of what its class is guaranteed, and of the rest a quarter to all there are, is divided
    /// equally. The kernel sends what is promised before it looks at a ceiling, so that must be far from it.
    fn promise(&self, class: Option<Bounds>) -> u32 {
        let guaranteed = self
            .classes
            .iter()
            .fold(0_u32, |sum, class| sum.saturating_add(class.at_least));
        let all = self
            .classes()
            .fold(share::COUNT, |sum, _| sum.saturating_add(share::IN_CLASS));
        let common = self.speed.saturating_sub(guaranteed) / PROMISED / all;
        let promise = class.map_or(common, |Bounds { at_least, at_most }| {
            let each = |octets: u32| octets / PROMISED / share::IN_CLASS;
            common.saturating_add(each(at_least)).min(each(at_most))
        });
        promise.max(1)
    }

    fn part(&self, class: Option<Bounds>) -> Class {
        Class {
            rate: self.promise(class),
            ceil: NO_CEILING,
            burst: SAVED_OCTETS,
            quantum: turn(self.speed),
        }
    }

    fn sum(&self) -> Class {
        let whole = Bounds {
            at_least: self.speed,
            at_most: self.speed,
        };
        whole.sum()
    }
}

impl Bounds {
    fn sum(self) -> Class {
        Class {
            rate: self.at_least.max(1),
            ceil: self.at_most,
            burst: self.at_most / BURSTS_PER_SEC,
            quantum: turn(self.at_most),
        }
    }
}

fn make_share(queues: &mut Queues<'_>, (share, above): (u32, u32), speeds: Class, is_there: bool) -> io::Result<()> {
    queues.set_class(share, above, speeds)?;
    if is_there {
        return Ok(());
    }
    queues.bound_queue(share, WAITING_OCTETS)
}

fn turn(speed: u32) -> u32 {
    (speed / TURNS_PER_SEC).clamp(LEAST_TURN, LONGEST_TURN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_eight_frames_at_least_and_a_merged_packet_at_most() {
        assert_eq!(turn(125_000), 12_000);
        assert_eq!(turn(1_000_000), 30_303);
        assert_eq!(turn(12_500_000), 72_000);
    }

    #[test]
    fn promises_leave_room_on_any_line() {
        for speed in [12_500, 2_500_000, 3_750_000_000_u32] {
            let bounds = |least: u32, most: u32| Bounds {
                at_least: speed / 100 * least,
                at_most: speed / 100 * most,
            };
            for classes in [
                vec![],
                vec![bounds(0, 100)],
                vec![bounds(50, 100), bounds(50, 50)],
                vec![bounds(100, 100)],
                vec![bounds(5, 10); 8],
            ] {
                let line = Line { speed, classes };
                let mut all = 0;
                for class in std::iter::once(None).chain(line.classes.iter().copied().map(Some)) {
                    let count = class.map_or(share::COUNT, |_| share::IN_CLASS);
                    let shares = u64::from(line.promise(class)) * u64::from(count);
                    // One octet a second is the least that the kernel knows.
                    let least = u64::from(count);
                    let ceiling = class.map_or(speed, |class| class.at_most);
                    assert!(shares <= u64::from(ceiling / 4).max(least), "{line:?} {class:?}");
                    all += shares;
                }
                let least = u64::from(share::COUNT) * (line.classes.len() as u64 + 1);
                assert!(all <= u64::from(speed / 4) + least, "{line:?}: {all}");
            }
        }
    }

    #[test]
    fn a_line_without_classes_promises_each_an_eight_thousandth() {
        let line = Line {
            speed: 2_500_000,
            classes: Vec::new(),
        };
        assert_eq!(line.promise(None), 2_500_000 / 8_192);
    }
}

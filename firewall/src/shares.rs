//! A full uplink, shared fairly: every session has a queue of its own, and the queues take turns.
//!
//! The rules give each packet the number of its queue ([`crate::ruleset`], chain `shared`). Here the queues are made, at the WAN interface for what
//! goes up and at the LAN interface for what comes down: 2,048 of them once and for all, so that no session has to make or remove any. Whoever
//! sends less than its share is not held up; what it leaves is the others'.

use std::io;

use crate::FirewallError;
use crate::layout::Layout;
use crate::netlink::{Channel, Class, Queues, Root};
use crate::ruleset::share;

/// Of the line, what is promised to each share; all of them together are a quarter of it. What is within the promise passes before what only has
/// its turn.
const PROMISES: u32 = 8_192;
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
    /// Interface by interface, what was last made: the speed of its sum, octets per second.
    made: [Option<u32>; 2],
}

impl Shares {
    /// # Errors
    /// [`FirewallError::Kernel`]: there is no netlink.
    pub fn new() -> Result<Self, FirewallError> {
        let channel = Channel::route().map_err(FirewallError::kernel("open a netlink socket"))?;
        Ok(Self {
            channel,
            made: [None; 2],
        })
    }

    /// Makes the queues where they are wanted and missing, changes their speed if it has changed, and removes them where they are not wanted. An
    /// interface that is not there has none. `true`: something was done. **Blocking**: a second at most where all have to be made.
    ///
    /// # Errors
    /// [`FirewallError::QueueTaken`], [`FirewallError::NoShaping`], [`FirewallError::Kernel`].
    pub fn keep(&mut self, layout: &Layout) -> Result<bool, FirewallError> {
        let wanted = layout
            .uplink
            .map(|uplink| [uplink.up_bits_per_sec, uplink.down_bits_per_sec]);
        let Self { channel, made } = self;
        let (mut has_changed, mut failed) = (false, None);
        for ((way, interface), made) in [&layout.wan_if, &layout.lan_if].into_iter().enumerate().zip(made) {
            let bits = wanted.and_then(|wanted| wanted.get(way).copied());
            let octets = bits.map(|bits| u32::try_from(bits / 8).unwrap_or(NO_CEILING));
            if octets.is_none() && made.is_none() && interface == &layout.wan_if && !layout.other_lans.is_empty() {
                // Another gate of this machine may share the uplink.
                continue;
            }
            match keep_one(channel, interface, octets, *made) {
                Ok(one) => {
                    has_changed |= one;
                    *made = octets;
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
    wanted: Option<u32>,
    made: Option<u32>,
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
        (Some(speed), _) => {
            let last = share::of(share::MASK);
            let is_whole = is_ours
                && queues
                    .has_class(last)
                    .map_err(FirewallError::kernel("look at a queue"))?;
            if is_whole && made == Some(speed) {
                return Ok(false);
            }
            if is_whole {
                for class in all() {
                    queues.set_class(class, share::ALL, part(speed)).map_err(failed)?;
                }
            } else {
                if is_ours {
                    // Half made, by a process that was killed at it.
                    queues.remove_root(share::HANDLE).map_err(failed)?;
                }
                make(&mut queues, speed).map_err(failed)?;
            }
            queues
                .set_class(share::ALL, share::HANDLE, sum(speed))
                .map_err(failed)?;
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

/// The last share comes last, and says that all are there.
fn make(queues: &mut Queues<'_>, speed: u32) -> io::Result<()> {
    queues.make_root(share::HANDLE)?;
    queues.set_class(share::ALL, share::HANDLE, sum(speed))?;
    for class in all() {
        queues.set_class(class, share::ALL, part(speed))?;
        queues.bound_queue(class, WAITING_OCTETS)?;
    }
    Ok(())
}

/// Every share; that of the last session's number comes last.
fn all() -> impl Iterator<Item = u32> {
    std::iter::once(share::FREE).chain(share::slots().map(share::of))
}

fn sum(speed: u32) -> Class {
    Class {
        rate: speed,
        ceil: speed,
        burst: speed / BURSTS_PER_SEC,
        quantum: turn(speed),
    }
}

fn part(speed: u32) -> Class {
    Class {
        rate: (speed / PROMISES).max(1),
        ceil: NO_CEILING,
        burst: SAVED_OCTETS,
        quantum: turn(speed),
    }
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
            let all = u64::from(part(speed).rate) * u64::from(share::COUNT);
            assert!(all <= u64::from(speed / 4));
        }
    }
}

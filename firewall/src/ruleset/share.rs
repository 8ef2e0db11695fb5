//! The numbers of the queues in which an uplink is shared, as traffic control writes them: one for all, and a part after the colon.

/// What the sum of all waits for.
pub const ALL: u32 = HANDLE | 1;
/// What is charged to nobody: it has a share as one session has.
pub const FREE: u32 = HANDLE | 2;
/// The number of our queueing discipline, `4b76:` ("Kv"), which nobody else is likely to have.
pub const HANDLE: u32 = 0x4b76_0000;
/// Shares of sessions. They follow one another: two sessions meet in one share if this many people have come between them.
pub const COUNT: u32 = 2_048;
/// What of a slot's number makes its share. Not the last bit: a person's pool takes a number as well as the session, so that sessions alone would
/// have but every other one.
pub const MASK: u32 = (COUNT - 1) << 1;

/// What is left of slots' numbers: one for each share.
pub fn slots() -> impl Iterator<Item = u32> {
    (0..COUNT).map(|share| share << 1)
}

/// The share of a session of this number.
pub const fn of(slot: u32) -> u32 {
    HANDLE | (0x10 + ((slot & MASK) >> 1))
}

/// As `nft` and `tc` write it.
pub fn written(class: u32) -> String {
    format!("{:x}:{:x}", class >> 16, class & 0xffff)
}

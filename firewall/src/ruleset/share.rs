//! The numbers of the queues in which an uplink is shared, as traffic control writes them: one for all, and a part after the colon.

/// What the sum of all waits for.
pub const ALL: u32 = HANDLE | 1;
/// What is charged to nobody: it has a share as one session has.
pub const FREE: u32 = HANDLE | 2;
/// The number of our queueing discipline, `4b76:` ("Kv"), which nobody else is likely to have.
pub const HANDLE: u32 = 0x4b76_0000;
/// Shares of sessions. They follow one another: two sessions meet in one share if this many people have come between them.
pub const COUNT: u32 = 2_048;
/// Most shaping classes.
pub const CLASSES: u32 = 8;
/// Shares of each class. Fewer, as to make one takes the kernel a look at every other: a time that grows with the square of their number.
pub const IN_CLASS: u32 = 512;
/// What of a slot's number makes its share. Not the last bit: a person's pool takes a number as well as the session, so that sessions alone would
/// have but every other one.
pub const MASK: u32 = (COUNT - 1) << 1;
/// The first share of those who have no class.
const FIRST: u32 = 0x10;

/// What is left of slots' numbers: one for each share.
pub fn slots() -> impl Iterator<Item = u32> {
    (0..COUNT).map(|share| share << 1)
}

/// The share of a session of this slot's number, if it has no class.
pub const fn of(slot: u32) -> u32 {
    HANDLE | (FIRST + ((slot & MASK) >> 1))
}

/// One of the shares of a class, by its number from 1 on, and that of the share from 0 on; those beyond the last begin again.
pub const fn in_class(class: u32, share: u32) -> u32 {
    HANDLE | (FIRST + COUNT + (class - 1) * IN_CLASS + share % IN_CLASS)
}

/// The number of the class that has this share; `None`: it is of those without.
pub fn class_of(share: u32) -> Option<u32> {
    let number = (share & 0xffff).checked_sub(FIRST + COUNT)? / IN_CLASS + 1;
    (number <= CLASSES).then_some(number)
}

/// What the sum of a class waits for, by its number from 1 on.
pub const fn sum_of(class: u32) -> u32 {
    FREE + class
}

/// As `nft` and `tc` write it.
pub fn written(class: u32) -> String {
    format!("{:x}:{:x}", class >> 16, class & 0xffff)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_queues_have_one_number_and_all_are_ours() {
        let sums = (1..=CLASSES).map(sum_of).chain([ALL, FREE]);
        let shares = (1..=CLASSES).flat_map(|class| (0..IN_CLASS).map(move |share| in_class(class, share)));
        let all: Vec<u32> = sums.chain(slots().map(of)).chain(shares).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|number| number & 0xffff_0000 == HANDLE));
    }

    #[test]
    fn a_share_tells_its_class() {
        assert_eq!(slots().map(of).find_map(class_of), None);
        for class in 1..=CLASSES {
            for share in [0, 1, IN_CLASS - 1, IN_CLASS, u32::MAX] {
                assert_eq!(class_of(in_class(class, share)), Some(class));
            }
        }
        assert_eq!(class_of(in_class(CLASSES, IN_CLASS - 1) + 1), None);
    }
}

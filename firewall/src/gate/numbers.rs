//! Numbers for slots and pools, counted up and never used twice, not even by the next process.
//!
//! An old connection keeps its session's mark, so a number used again would let it draw on somebody else's quota. The
//! kernel keeps one element: the first number nobody has taken. It is moved ahead a thousand at a time, in the transaction
//! that first needs it, so most sessions pay nothing; after a restart the rest of the thousand is skipped.

use std::time::Duration;

use crate::FirewallError;
use crate::netlink::{Batch, Entry};
use crate::ruleset::{FREE_MARK, set};

const STEP: u32 = 1024;

#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// The last number taken; 0 is the mark of strangers.
    last: u32,
    /// The kernel's element: numbers below it may be taken. `None`: the table is new.
    reserved: Option<u32>,
}

impl Numbers {
    /// Continues where the kernel's element says.
    pub fn adopted(reserved: Option<u32>) -> Self {
        Self {
            last: reserved.map_or(0, |first_free| first_free.saturating_sub(1)),
            reserved,
        }
    }

    /// Whether no number was ever taken in this table.
    pub fn is_fresh(&self) -> bool {
        self.reserved.is_none() && self.last == 0
    }

    /// Lets a fresh table begin beyond what an earlier one is likely to have used, for where its connections cannot be told to end: a thousand
    /// further with each second since 1970, until after 12 days it is where it began.
    pub fn begin_at(&mut self, since_epoch: Duration) {
        const SECONDS: u64 = 1 << 20;
        let seconds = u32::try_from(since_epoch.as_secs() % SECONDS).unwrap_or_default();
        self.last = seconds * STEP + 1;
    }

    /// Whether the kernel was given its element.
    pub fn has_reserved(&self) -> bool {
        self.reserved.is_some()
    }

    /// Says that the table was made anew, and with it the kernel's element is gone: counting goes on all the same.
    pub fn forget_reserved(&mut self) {
        self.reserved = None;
    }

    pub fn take(&mut self) -> Result<u32, FirewallError> {
        // A connection's mark is a slot, or a slot and that bit. The top step stays unused, so that the element itself always has a value.
        if self.last >= FREE_MARK - STEP {
            return Err(FirewallError::NumbersUsedUp);
        }
        self.last += 1;
        Ok(self.last)
    }

    /// Adds to a batch what keeps the numbers taken so far from being taken again. The result is for
    /// [`Numbers::committed`], after the batch was.
    pub fn reserve(&self, batch: &mut Batch) -> Option<u32> {
        if self.reserved.is_some_and(|reserved| self.last < reserved) {
            return self.reserved;
        }
        if let Some(old) = self.reserved {
            batch.delete(set::RESERVED, &old.to_ne_bytes());
        }
        let ahead = self.last.saturating_add(STEP);
        batch.add(
            set::RESERVED,
            &Entry {
                key: &ahead.to_ne_bytes(),
                ..Entry::default()
            },
        );
        Some(ahead)
    }

    pub fn committed(&mut self, reserved: Option<u32>) {
        self.reserved = reserved;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Table;

    #[test]
    fn begins_beyond_the_numbers_of_an_earlier_table() {
        let first = |seconds| {
            let mut numbers = Numbers::adopted(None);
            numbers.begin_at(Duration::from_secs(seconds));
            assert!(!numbers.is_fresh());
            numbers.take().unwrap()
        };
        assert!(first(1_800_000_060) >= first(1_800_000_000) + 60 * STEP);
        assert!(
            first((1 << 20) - 1) < FREE_MARK / 2 + STEP,
            "half of them are left at least"
        );
    }

    #[test]
    fn starts_after_the_mark_of_strangers() {
        assert_eq!(Numbers::adopted(None).take().unwrap(), 1);
    }

    #[test]
    fn a_successor_never_repeats_a_number() {
        let mut numbers = Numbers::adopted(None);
        let mut last = 0;
        for _ in 0..3 {
            for _ in 0..1500 {
                let number = numbers.take().unwrap();
                assert!(number > last, "{number} after {last}");
                last = number;
                let reserved = numbers.reserve(&mut Table::named("kavadam").batch(1));
                numbers.committed(reserved);
                assert!(reserved.is_some_and(|first_free| first_free > last));
            }
            // The process dies; only the kernel's element is left.
            numbers = Numbers::adopted(numbers.reserved);
        }
    }

    #[test]
    fn touches_the_kernel_once_in_a_thousand() {
        let mut numbers = Numbers::adopted(None);
        let changes = (0..2048)
            .filter(|_| {
                numbers.take().unwrap();
                let mut batch = Table::named("kavadam").batch(1);
                let reserved = numbers.reserve(&mut batch);
                numbers.committed(reserved);
                batch.finish().is_some()
            })
            .count();
        assert_eq!(changes, 2);
    }

    #[test]
    fn counts_on_when_the_kernel_lost_its_element() {
        let mut numbers = Numbers::adopted(Some(1025));
        let before = numbers.take().unwrap();
        numbers.forget_reserved();
        assert!(!numbers.is_fresh());
        assert!(numbers.take().unwrap() > before);
        let mut batch = Table::named("kavadam").batch(1);
        assert!(
            numbers
                .reserve(&mut batch)
                .is_some_and(|first_free| first_free > before)
        );
        assert!(batch.finish().is_some(), "it is put back with the next session");
    }

    #[test]
    fn ends_instead_of_starting_over() {
        let mut numbers = Numbers::adopted(Some(FREE_MARK - STEP));
        assert_eq!(numbers.take().unwrap(), FREE_MARK - STEP);
        for last in [FREE_MARK - STEP + 1, u32::MAX] {
            let mut numbers = Numbers::adopted(Some(last));
            assert!(matches!(numbers.take(), Err(FirewallError::NumbersUsedUp)));
        }
    }
}

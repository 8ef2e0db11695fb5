//! What is due, and when: whoever comes for it looks at that alone, however much there is.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// Each thing is due once.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    by_time: BTreeSet<(Instant, T)>,
    times: HashMap<T, Instant>,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self {
            by_time: BTreeSet::new(),
            times: HashMap::new(),
        }
    }
}

impl<T: Copy + Ord + Hash> Agenda<T> {
    /// Due then, and no longer when it was before.
    pub fn set(&mut self, one: T, at: Instant) {
        if let Some(before) = self.times.insert(one, at) {
            self.by_time.remove(&(before, one));
        }
        self.by_time.insert((at, one));
    }

    /// Not due any more.
    pub fn strike(&mut self, one: T) {
        if let Some(at) = self.times.remove(&one) {
            self.by_time.remove(&(at, one));
        }
    }

    /// Takes out what is due by now, the longest due first, so many at most.
    pub fn take(&mut self, now: Instant, most: usize) -> Vec<T> {
        let mut due = Vec::new();
        while due.len() < most
            && let Some((at, one)) = self.by_time.first().copied()
            && at <= now
        {
            self.strike(one);
            due.push(one);
        }
        due
    }

    /// When the next is due.
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_due_comes_in_its_order_once_and_as_it_was_set_last() {
        let (mut agenda, start) = (Agenda::default(), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        for (one, secs) in [("later", 3), ("first", 1), ("moved", 1), ("struck", 1), ("second", 2)] {
            agenda.set(one, at(secs));
        }
        agenda.set("moved", at(9));
        agenda.strike("struck");
        assert_eq!(agenda.next(), Some(at(1)));
        assert_eq!(agenda.take(at(3), 2), ["first", "second"]);
        assert_eq!(agenda.take(at(3), 2), ["later"]);
        assert_eq!(agenda.take(at(8), 2), [""; 0]);
        assert_eq!(agenda.take(at(9), 2), ["moved"]);
        assert_eq!(agenda.next(), None);
    }
}

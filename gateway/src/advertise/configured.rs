//! What devices are told of by the configuration: as it is now, and as it was when they were told before.

use std::time::{Duration, Instant};

use super::memory::Item;

/// A thing that the configuration names or does not, and others that devices may have of it from before, each until then.
#[derive(Debug)]
pub(super) struct Configured<T> {
    own: Option<T>,
    gone: Vec<(T, Instant)>,
    is_news: bool,
}

impl<T: Copy + PartialEq> Configured<T> {
    /// `told` is what a process before has.
    pub fn new(own: Option<T>, told: &[Item<T>], now: Instant) -> Self {
        let others = told.iter().filter(|item| Some(item.value) != own);
        let before = told.iter().filter(|item| !item.is_gone).map(|item| item.value);
        Self {
            own,
            gone: others.map(|item| (item.value, now + item.left)).collect(),
            is_news: !before.eq(own),
        }
    }

    /// The configuration names another than devices were told.
    pub const fn is_news(&self) -> bool {
        self.is_news
    }

    /// What they are to have no longer.
    pub fn gone(&self, now: Instant) -> Vec<T> {
        let gone = self.gone.iter().filter(|(_, until)| *until > now);
        gone.map(|(value, _)| *value).collect()
    }

    /// Everything they are told, the configuration's own for so long.
    pub fn told(&self, lifetime: Duration, now: Instant) -> Vec<Item<T>> {
        let own = self.own.map(|value| Item {
            value,
            left: lifetime,
            is_gone: false,
        });
        let gone = self.gone.iter().map(|(value, until)| Item {
            value: *value,
            left: until.saturating_duration_since(now),
            is_gone: true,
        });
        own.into_iter()
            .chain(gone.filter(|item| !item.left.is_zero()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_mins(45);

    /// Through a restart after these seconds with this in the configuration.
    fn again(before: &Configured<char>, own: Option<char>, secs: u64, start: Instant) -> Configured<char> {
        let now = start + Duration::from_secs(secs);
        Configured::new(own, &before.told(LIFETIME, now), now)
    }

    #[test]
    fn what_the_configuration_named_before_is_taken_back_for_as_long_as_devices_may_have_it() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let first = Configured::new(Some('a'), &[], start);
        assert!(first.is_news() && first.gone(start).is_empty());
        let same = again(&first, Some('a'), 10, start);
        assert!(!same.is_news() && same.gone(at(10)).is_empty());
        let other = again(&same, Some('b'), 20, start);
        assert!(other.is_news());
        assert_eq!(other.gone(at(20)), ['a']);
        let still = again(&other, Some('b'), 30, start);
        assert!(!still.is_news(), "it was said");
        assert_eq!(still.gone(at(30)), ['a']);
        assert_eq!(still.gone(at(20 + 2700)), [] as [char; 0]);
        let none = again(&still, None, 40, start);
        assert!(none.is_news());
        assert_eq!(none.gone(at(40)), ['b', 'a']);
        let back = again(&none, Some('a'), 50, start);
        assert!(back.is_news());
        assert_eq!(back.gone(at(50)), ['b']);
    }
}

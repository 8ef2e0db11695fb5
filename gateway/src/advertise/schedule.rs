//! When to advertise (RFC 4861 §6.2.4 and §6.2.6), and to whom.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use rand::{Rng, RngExt as _};

/// `MAX_RA_DELAY_TIME`: who solicits is answered within this, by chance, so that not all who hear the same answer at once.
const MOST_DELAY: Duration = Duration::from_millis(500);
/// `MIN_DELAY_BETWEEN_RAS`, to all.
const BETWEEN: Duration = Duration::from_secs(3);
/// `MAX_INITIAL_RTR_ADVERTISEMENTS` and `MAX_INITIAL_RTR_ADVERT_INTERVAL`.
const BURST: u32 = 3;
const BURST_INTERVAL: Duration = Duration::from_secs(16);
/// How long who was told all is good for, whatever became of us: what we know of it may be wrong, as after a power cut without a clock, or may have changed.
const LATELY: Duration = Duration::from_mins(1);
/// Who wait for an answer of their own, which wakes no other device (RFC 7772). One to all answers more than these, so that a crowd, or who invents one, costs a packet every three seconds.
const MOST_WAITING: usize = 16;

/// To whom an advertisement goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recipient {
    All,
    /// Who solicited, by its link-local address.
    One(Ipv6Addr),
}

/// What is to be sent when.
#[derive(Debug)]
pub(super) struct Schedule {
    /// `MaxRtrAdvInterval`.
    most: Duration,
    all_at: Instant,
    last_all: Option<Instant>,
    burst: u32,
    waiting: Vec<(Instant, Ipv6Addr)>,
}

impl Schedule {
    /// `last_all`: when a process before told all, if it is known. Nothing is due before [`Schedule::begin`] at the earliest.
    pub const fn new(most: Duration, last_all: Option<Instant>, now: Instant) -> Self {
        Self {
            most,
            all_at: now,
            last_all,
            burst: BURST,
            waiting: Vec::new(),
        }
    }

    /// Begins, also anew, with a few in a row; if all were told lately not before [`LATELY`] is over, for whoever has joined since solicits, and one that is
    /// started again and again shall not wake everybody each time.
    pub fn begin(&mut self, has_news: bool, now: Instant, chance: &mut impl Rng) {
        self.waiting.clear();
        let soon = now + chance.random_range(Duration::ZERO..=MOST_DELAY);
        let rest = if has_news { BETWEEN } else { LATELY };
        self.burst = BURST;
        self.all_at = self.last_all.map_or(soon, |last| soon.max(last + rest));
    }

    /// All were told.
    pub const fn has_told(&mut self, now: Instant) {
        self.last_all = Some(now);
    }

    /// What is said has changed: all are told as soon as may be, and a few times, for a Wi-Fi loses what goes to all.
    pub fn tell_anew(&mut self, now: Instant) {
        self.burst = BURST;
        self.hurry(now);
    }

    /// Somebody solicits.
    pub fn solicited(&mut self, from: Ipv6Addr, now: Instant, chance: &mut impl Rng) {
        let at = now + chance.random_range(Duration::ZERO..=MOST_DELAY);
        if self.waiting.iter().any(|(_, one)| *one == from) {
            return;
        }
        if from.is_unicast_link_local() && self.waiting.len() < MOST_WAITING {
            self.waiting.push((at, from));
        } else {
            self.hurry(at);
        }
    }

    /// When to ask what is due.
    pub fn next(&self) -> Instant {
        let waiting = self.waiting.iter().map(|(at, _)| *at);
        waiting.fold(self.all_at, Instant::min)
    }

    /// Takes what is due.
    pub fn due(&mut self, now: Instant, chance: &mut impl Rng) -> Vec<Recipient> {
        if self.all_at > now {
            let due = self.waiting.extract_if(.., |(at, _)| *at <= now);
            return due.map(|(_, one)| Recipient::One(one)).collect();
        }
        // Which answers everybody who waits.
        self.waiting.clear();
        let mut wait = chance.random_range(self.most / 3..=self.most);
        self.burst = self.burst.saturating_sub(1);
        if self.burst > 0 {
            wait = wait.min(BURST_INTERVAL);
        }
        self.all_at = now + wait;
        vec![Recipient::All]
    }

    /// All are told then, or as soon after it as may be.
    fn hurry(&mut self, at: Instant) {
        let least = self.last_all.map_or(at, |last| at.max(last + BETWEEN));
        self.all_at = self.all_at.min(least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    const MOST: Duration = Duration::from_mins(10);

    fn chance() -> StdRng {
        StdRng::seed_from_u64(7)
    }

    fn phone(number: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number)
    }

    /// The moments of what goes out within a time, if nobody solicits.
    fn run(schedule: &mut Schedule, until: Instant, chance: &mut StdRng) -> Vec<(Instant, Recipient)> {
        let mut sent = Vec::new();
        while schedule.next() <= until {
            let now = schedule.next();
            let due = schedule.due(now, chance);
            if due.contains(&Recipient::All) {
                schedule.has_told(now);
            }
            sent.extend(due.into_iter().map(|one| (now, one)));
        }
        sent
    }

    /// One that told all at the start.
    fn begun(start: Instant, chance: &mut StdRng) -> Schedule {
        let mut schedule = Schedule::new(MOST, None, start);
        assert_eq!(run(&mut schedule, start, chance), [(start, Recipient::All)]);
        schedule
    }

    #[test]
    fn a_few_in_a_row_and_then_by_chance_within_bounds() {
        let (start, mut chance) = (Instant::now(), chance());
        let mut schedule = Schedule::new(MOST, None, start);
        schedule.begin(false, start, &mut chance);
        let sent = run(&mut schedule, start + MOST * 20, &mut chance);
        assert_eq!(sent[0].1, Recipient::All);
        assert!(
            sent[0].0 > start && sent[0].0 <= start + MOST_DELAY,
            "not all gateways of a power cut at once"
        );
        let waits: Vec<Duration> = sent.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert_eq!(waits[..2], [BURST_INTERVAL; 2]);
        assert!(
            waits[2..].iter().all(|wait| (MOST / 3..=MOST).contains(wait)),
            "{waits:?}"
        );
        assert!(waits.len() > 20 && waits[2] != waits[3]);
    }

    #[test]
    fn who_solicits_is_answered_alone_and_soon() {
        let (start, mut chance) = (Instant::now(), chance());
        let mut schedule = begun(start, &mut chance);
        let now = start + Duration::from_secs(1);
        for one in [phone(1), phone(2), phone(1)] {
            schedule.solicited(one, now, &mut chance);
        }
        let sent = run(&mut schedule, now + MOST_DELAY, &mut chance);
        let mut to: Vec<Recipient> = sent.iter().map(|(_, one)| *one).collect();
        to.sort_by_key(|one| matches!(one, Recipient::One(address) if *address == phone(2)));
        assert_eq!(to, [Recipient::One(phone(1)), Recipient::One(phone(2))], "each once");
    }

    #[test]
    fn who_has_no_address_yet_is_answered_with_all_but_not_within_three_seconds() {
        let (start, mut chance) = (Instant::now(), chance());
        let mut schedule = begun(start, &mut chance);
        for tenth in 0..100 {
            let now = start + Duration::from_millis(100 * tenth);
            schedule.solicited(Ipv6Addr::UNSPECIFIED, now, &mut chance);
            let sent = run(&mut schedule, now, &mut chance);
            assert!(sent.len() <= 1);
        }
        let last = schedule.last_all.unwrap();
        assert!(last >= start + BETWEEN * 3 && last <= start + BETWEEN * 4);
        assert_eq!(schedule.next(), last + BETWEEN);
    }

    #[test]
    fn a_crowd_is_answered_by_one_advertisement_every_three_seconds() {
        let (start, mut chance) = (Instant::now(), chance());
        let mut schedule = begun(start, &mut chance);
        let (mut to_all, mut to_one) = (0, 0);
        for number in 0..10_000 {
            let now = start + Duration::from_millis(u64::from(number));
            schedule.solicited(phone(number), now, &mut chance);
            for (_, to) in run(&mut schedule, now, &mut chance) {
                if to == Recipient::All { to_all += 1 } else { to_one += 1 }
            }
        }
        assert_eq!(to_all, 3);
        assert!(to_one <= 10 * 2 * (MOST_WAITING + 1) * 2, "{to_one}");
        assert!(schedule.waiting.len() <= MOST_WAITING);
    }

    #[test]
    fn what_has_changed_is_told_at_once_and_again() {
        let (start, mut chance) = (Instant::now(), chance());
        let mut schedule = begun(start, &mut chance);
        run(&mut schedule, start + MOST, &mut chance);
        let now = schedule.last_all.unwrap() + Duration::from_secs(1);
        schedule.tell_anew(now);
        let sent = run(&mut schedule, now + Duration::from_secs(40), &mut chance);
        assert_eq!(sent.len(), 3);
        assert_eq!(sent[0].0, now + Duration::from_secs(2), "three seconds after the last");
    }

    #[test]
    fn who_is_started_again_and_again_wakes_all_once_a_minute_unless_there_is_news() {
        let (start, mut chance) = (Instant::now(), chance());
        let mut schedule = begun(start, &mut chance);
        let mut told = Vec::new();
        for second in (5..150).step_by(5) {
            let now = start + Duration::from_secs(second);
            schedule = Schedule::new(MOST, schedule.last_all, now);
            schedule.begin(false, now, &mut chance);
            told.extend(run(&mut schedule, now + Duration::from_secs(4), &mut chance));
        }
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().all(|(at, _)| *at >= start + LATELY));

        let now = start + Duration::from_secs(150);
        schedule.begin(true, now, &mut chance);
        assert_eq!(run(&mut schedule, now + Duration::from_secs(40), &mut chance).len(), 3);
        let last = schedule.last_all.unwrap();
        schedule.begin(true, last + Duration::from_secs(1), &mut chance);
        assert_eq!(schedule.next(), last + BETWEEN);
        let later = last + MOST / 3;
        schedule.begin(false, later, &mut chance);
        assert!(schedule.next() <= later + MOST_DELAY, "it is long ago");
    }
}

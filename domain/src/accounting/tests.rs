use proptest::prelude::*;

use super::*;

fn reading(up: u64, down: u64, secs: u32) -> Reading {
    Reading {
        up_octets: up,
        down_octets: down,
        session_secs: secs,
        has_gigawords: true,
    }
}

/// Of a gate without Gigawords.
fn narrow(up: u64, down: u64, secs: u32) -> Reading {
    Reading {
        has_gigawords: false,
        ..reading(low(up), low(down), secs)
    }
}

#[test]
fn a_counter_without_gigawords_goes_round_and_is_charged_in_full() {
    let at = Timestamp::from_secs;
    let steps = [
        (1_000_000_000, 60),
        (2_900_000_000, 120),
        (5_000_000_000, 180),
        (6_900_000_000, 240),
        (8_800_000_000, 300),
    ];
    let mut meter = Meter::default();
    for (down, secs) in steps {
        meter = meter.after(narrow(down / 100, down, secs), at(secs.into()));
        assert_eq!(meter.down_octets(), down);
    }
    // What was made before, arriving after.
    for (down, secs) in steps {
        assert_eq!(meter.after(narrow(down / 100, down, secs), at(secs.into())), meter);
        let late = meter.after(narrow(down / 100, down, secs), at(301));
        assert_eq!(late.total_octets(), meter.total_octets());
    }
}

#[test]
fn a_stop_that_has_gigawords_after_all_says_the_same_as_what_went_round() {
    let at = Timestamp::from_secs;
    let meter = Meter::default()
        .after(narrow(0, 4_000_000_000, 60), at(60))
        .after(narrow(0, 4_300_000_000, 120), at(120));
    assert_eq!(meter.down_octets(), 4_300_000_000);
    let stop = meter.after(reading(0, 4_300_000_100, 130), at(130));
    assert_eq!(stop.down_octets(), 4_300_000_100);
}

#[test]
fn a_gate_that_has_gigawords_never_goes_round() {
    let at = Timestamp::from_secs;
    let meter = Meter::default().after(reading(100, 4_000_000_000, 60), at(60));
    assert_eq!(
        meter.after(reading(200, 5_000_000, 120), at(120)).down_octets(),
        4_000_000_000
    );
}

#[test]
fn a_small_fall_and_a_figure_left_out_are_no_way_round() {
    let at = Timestamp::from_secs;
    let meter = Meter::default().after(narrow(1_000, 4_000_000_000, 60), at(60));
    for (up, down) in [(2_000, 3_000_000_000), (2_000, 0), (0, 0), (0, 4_000_000_000)] {
        let after = meter.after(narrow(up, down, 120), at(120));
        assert_eq!(after.down_octets(), 4_000_000_000, "{up}, {down}");
    }
}

#[test]
fn a_stop_that_knows_less_than_the_last_report_charges_nothing() {
    let at = Timestamp::from_secs;
    for reading in [reading, narrow] {
        let meter = Meter::default().after(reading(500, 3_000_000, 60), at(60));
        assert_eq!(
            meter.after(reading(400, 1_000_000, 62), at(62)).total_octets(),
            3_000_500
        );
    }
}

#[test]
fn a_start_or_an_empty_stop_that_comes_late_is_no_new_beginning() {
    let at = Timestamp::from_secs;
    let meter = Meter::default()
        .after(reading(100, 200, 60), at(60))
        .after(Reading::default(), at(65))
        .after(reading(100, 200, 60), at(66));
    assert_eq!(meter.total_octets(), 300);
}

#[test]
fn what_was_made_before_a_new_beginning_charges_nothing_after_it() {
    let at = Timestamp::from_secs;
    let before = Meter::default().after(reading(100, 200, 120), at(120));
    let after = before
        .after(reading(10, 20, 5), at(130))
        .after(reading(40, 50, 300), at(425));
    assert_eq!(after.total_octets(), 390);
    for (up, down, secs) in [(50, 90, 60), (100, 200, 120)] {
        assert_eq!(after.after(reading(up, down, secs), at(secs.into())), after);
    }
}

#[test]
fn a_report_received_twice_charges_once() {
    let once = Meter::default().after(reading(100, 200, 60), Timestamp(60));
    assert_eq!(once.total_octets(), 300);
    assert_eq!(once.after(reading(100, 200, 60), Timestamp(60)), once);
}

#[test]
fn a_late_report_charges_nothing() {
    let now = Meter::default().after(reading(100, 200, 120), Timestamp(120));
    assert_eq!(now.after(reading(50, 90, 60), Timestamp(60)).total_octets(), 300);
}

#[test]
fn counters_that_begin_again_are_added_to_what_was() {
    let at = Timestamp::from_secs;
    let before = Meter::default().after(reading(100, 200, 120), at(120));
    let after = before.after(reading(10, 20, 5), at(130));
    assert_eq!(after.total_octets(), 330);
    assert_eq!(after.after(reading(10, 30, 8), at(133)).total_octets(), 340);
}

#[test]
fn a_late_copy_stamped_with_its_arrival_is_no_new_beginning() {
    let at = Timestamp::from_secs;
    let meter = [(100, 60, 60), (200, 120, 120), (100, 60, 125), (300, 180, 180)]
        .into_iter()
        .fold(Meter::default(), |meter, (octets, secs, arrival)| {
            meter.after(reading(octets, 0, secs), at(arrival))
        });
    assert_eq!(meter.total_octets(), 300);
}

#[test]
fn no_line_carries_a_petabyte_a_minute() {
    assert!(is_plausible(75_000_000_000, Duration::ZERO));
    assert!(!is_plausible(75_000_000_001, Duration::ZERO));
    assert!(!is_plausible(u64::from(u32::MAX) << 32, Duration::from_hours(1_000)));
    assert!(is_plausible(u64::MAX, Duration::MAX));
}

proptest! {
    #[test]
    fn copies_within_half_a_minute_charge_nothing_where_gates_send_no_times(
        steps in prop::collection::vec((0u64..1 << 40, 0u64..1 << 40, 36u32..300), 1..20),
        copies in prop::collection::vec((any::<prop::sample::Index>(), 0u32..30), 0..60),
    ) {
        let mut arrivals = Vec::new();
        let (mut up, mut down, mut secs) = (0, 0, 0);
        for (more_up, more_down, more_secs) in steps {
            (up, down, secs) = (up + more_up, down + more_down, secs + more_secs);
            arrivals.push((secs, reading(up, down, secs)));
        }
        let truth = arrivals.clone();
        arrivals.extend(copies.iter().map(|(pick, delay)| {
            let (sent, reading) = *pick.get(&truth);
            (sent + delay, reading)
        }));
        arrivals.sort_by_key(|(arrival, _)| *arrival);
        let meter = arrivals.iter().fold(Meter::default(), |meter, (arrival, reading)| {
            meter.after(*reading, Timestamp::from_secs(i64::from(*arrival)))
        });
        prop_assert_eq!((meter.up_octets(), meter.down_octets()), (up, down));
    }

    #[test]
    fn narrow_counters_tell_the_truth_in_any_order_with_any_repetition(
        steps in prop::collection::vec((0u64..1 << 26, 1u64..1 << 31, 1u32..300), 1..30),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
    ) {
        let (mut meter, mut up, mut down, mut secs) = (Meter::default(), 0, 0, 0);
        let mut made = Vec::new();
        let mut picks = picks.into_iter();
        for (more_up, more_down, more_secs) in steps {
            (up, down, secs) = (up + more_up, down + more_down, secs + more_secs);
            made.push((narrow(up, down, secs), Timestamp::from_secs(i64::from(secs))));
            for (reading, at) in made.last().into_iter().chain(picks.by_ref().take(2).map(|pick| pick.get(&made))) {
                meter = meter.after(*reading, *at);
            }
            prop_assert_eq!((meter.up_octets(), meter.down_octets()), (up, down));
        }
    }

    #[test]
    fn every_true_new_beginning_is_added(
        lives in prop::collection::vec((prop::collection::vec(10u64..1 << 40, 1..8), 1u32..10, 10u32..300), 1..6),
    ) {
        let (mut meter, mut now, mut sum) = (Meter::default(), 0, 0);
        for (growth, first_secs, interval) in lives {
            let (mut octets, mut secs) = (1, first_secs);
            now += first_secs;
            meter = meter.after(reading(octets, 0, secs), Timestamp::from_secs(i64::from(now)));
            for more in growth {
                (octets, secs, now) = (octets + more, secs + interval, now + interval);
                meter = meter.after(reading(octets, 0, secs), Timestamp::from_secs(i64::from(now)));
            }
            sum += octets;
        }
        prop_assert_eq!(meter.total_octets(), sum);
    }

    #[test]
    fn any_order_with_any_repetition_converges_to_the_last_true_report(
        steps in prop::collection::vec((0u64..1 << 40, 0u64..1 << 40, 1u32..300), 1..20),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
    ) {
        let mut truth = Vec::new();
        let (mut up, mut down, mut secs) = (0, 0, 0);
        for (more_up, more_down, more_secs) in steps {
            (up, down, secs) = (up + more_up, down + more_down, secs + more_secs);
            truth.push((reading(up, down, secs), Timestamp::from_secs(i64::from(secs))));
        }
        let mut order: Vec<_> = picks.iter().map(|pick| *pick.get(&truth)).collect();
        order.extend(truth.last().copied());
        order.extend(picks.iter().map(|pick| *pick.get(&truth)));
        let mut meter = Meter::default();
        for (reading, at) in order {
            let next = meter.after(reading, at);
            prop_assert!(next.total_octets() >= meter.total_octets(), "never decreases");
            meter = next;
        }
        prop_assert_eq!((meter.up_octets(), meter.down_octets()), (up, down));
    }
}

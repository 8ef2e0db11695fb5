//! The quota, judged by counters at both far ends.

use std::time::Duration;

use kavadam_lab::Tally;
use kavadam_lab::citizen::CHECK;
use kavadam_lab::world::until;

use crate::{
    ENDLESS, ENDLESS6, MERGED_PACKET, NUMBER, SINK, SINK6, alone, beside_others, is_online, is_over, log_in, octets,
    phone, rate, sessions, world,
};

#[test]
fn no_octet_beyond_the_quota_crosses_at_line_rate_both_ways_over_both_versions_of_ip() {
    const QUOTA: u64 = 100_000_000;
    let _alone = alone();
    let mut world = world(&["--quota", "100MB", "--down", "none", "--up", "none"]);
    let phone = phone(&mut world);
    phone.slaac().unwrap();
    let tally = Tally::begin(&world, &[&phone]).unwrap();
    log_in(&world, &phone, NUMBER);
    let _flows = [
        phone.download(ENDLESS).unwrap(),
        phone.download(ENDLESS6).unwrap(),
        phone.upload(SINK).unwrap(),
        phone.upload(SINK6).unwrap(),
    ];
    assert!(is_over(&world, Duration::from_mins(1)), "the session did not end");
    // What was on its way has arrived.
    std::thread::sleep(Duration::from_millis(200));
    let crossed = tally.both().unwrap();
    let (up, down, ipv6) = (tally.up().unwrap(), tally.down().unwrap(), tally.ipv6().unwrap());
    let parts = format!("{crossed} crossed: {up} up, {down} down, {ipv6} of it IPv6");
    assert!(crossed <= QUOTA, "{parts}");
    assert!(crossed > QUOTA - MERGED_PACKET, "{parts}");
    for part in [up, down, ipv6, crossed - ipv6] {
        assert!(part > QUOTA / 100, "all had a part: {parts}");
    }
    let listed = sessions(&world);
    assert_eq!(listed.len(), 1, "one session for both versions of IP");
    assert!(octets(&listed[0]) >= crossed, "{} charged, {parts}", octets(&listed[0]));
    assert!(octets(&listed[0]) <= QUOTA, "{}", octets(&listed[0]));
    assert!(!is_online(&phone));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(tally.both().unwrap(), crossed, "something crosses after the end");
    let page = phone.open(CHECK).unwrap();
    assert!(
        page.form("/voucher").is_ok(),
        "the page that offers a voucher: {}",
        page.text()
    );
}

#[test]
fn one_session_covers_both_versions_of_ip() {
    let _machine = beside_others();
    let mut world = world(&["--quota", "none"]);
    let phone = phone(&mut world);
    phone.slaac().unwrap();
    log_in(&world, &phone, NUMBER);
    let tally = Tally::begin(&world, &[&phone]).unwrap();
    let url = ENDLESS6.replace("1000000000000", "3000000");
    phone.curl(&["-o", "/dev/null", &url]).unwrap();
    crate::end(&world);
    assert!(tally.ipv6().unwrap() > 3_000_000);
    let listed = sessions(&world);
    assert_eq!(listed.len(), 1);
    assert!(
        octets(&listed[0]) >= tally.both().unwrap(),
        "octets over IPv6 are not charged: {listed:?}"
    );
}

#[test]
fn two_devices_of_one_person_share_one_quota() {
    const QUOTA: u64 = 20_000_000;
    let _alone = alone();
    let mut world = world(&[
        "--quota",
        "20MB",
        "--down",
        "50Mbit",
        "--up",
        "50Mbit",
        "--devices",
        "2",
    ]);
    let (one, two) = (phone(&mut world), phone(&mut world));
    let tally = Tally::begin(&world, &[&one, &two]).unwrap();
    log_in(&world, &one, NUMBER);
    // Another code to the same number is to be had after half a minute only where the first is still pending; it was used.
    log_in(&world, &two, NUMBER);
    let _flows = [one.download(ENDLESS).unwrap(), two.download(ENDLESS).unwrap()];
    assert!(is_over(&world, Duration::from_mins(1)), "the sessions did not end");
    std::thread::sleep(Duration::from_millis(200));
    let crossed = tally.both().unwrap();
    assert!(crossed <= QUOTA, "{crossed} crossed");
    let each: Vec<u64> = sessions(&world).iter().map(octets).collect();
    let together: u64 = each.iter().sum();
    assert!((crossed..=QUOTA).contains(&together), "{each:?}, {crossed} crossed");
    assert!(crossed > QUOTA - 2 * MERGED_PACKET, "{crossed} crossed");
    assert!(
        each.iter().all(|octets| *octets > 1_000_000),
        "both had a part: {each:?}"
    );
}

#[test]
fn after_the_quota_a_throttled_plan_goes_on_slowly_and_a_top_up_makes_it_fast_again() {
    let _alone = alone();
    let mut world = world(&[
        "--quota",
        "10MB",
        "--down",
        "20Mbit",
        "--up",
        "20Mbit",
        "--after-quota",
        "throttle:1Mbit",
    ]);
    let phone = phone(&mut world);
    log_in(&world, &phone, NUMBER);
    let tally = Tally::begin(&world, &[&phone]).unwrap();
    let _flow = phone.download(ENDLESS).unwrap();
    let down = || tally.down().unwrap();
    assert!(
        until(Duration::from_secs(20), || down() >= 10_000_000),
        "the quota was not used up"
    );
    let mut measured = 0;
    // The connection meets the lower speed with a window for the higher one, and takes a moment.
    let is_slow = until(Duration::from_secs(20), || {
        measured = rate(down, Duration::from_secs(3));
        (900_000..=1_050_000).contains(&measured)
    });
    assert!(is_slow, "{measured} bit/s after the quota");
    world.admin(&["subscriber", "top-up", NUMBER, "1GB"]).unwrap();
    let _second = phone.download(ENDLESS).unwrap();
    // The bucket holds a second of the rate, and whatever a busy machine did not carry fills it again.
    let is_fast = until(Duration::from_mins(1), || {
        measured = rate(down, Duration::from_secs(5));
        (19_000_000..=21_000_000).contains(&measured)
    });
    assert!(is_fast, "{measured} bit/s after the top-up");
    let listed = sessions(&world);
    assert_eq!(listed.len(), 1, "a new session");
    assert_ne!(listed[0]["state"], "ended");
    assert_eq!(world.messages().len(), 1, "a second login");
    assert!(is_online(&phone));
}

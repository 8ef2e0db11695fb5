use proptest::prelude::*;

use super::*;
use crate::AccessReply;
use crate::wire::Code;

fn received(write: impl FnOnce(&mut Draft)) -> Packet {
    let mut draft = Draft::request(Code::CoaRequest, [0; 16]);
    write(&mut draft);
    Packet::parse(&draft.seal_request(1, b"secret").unwrap()).unwrap()
}

fn limits() -> impl Strategy<Value = Limits> {
    let octets = proptest::option::of(1..=u64::MAX);
    let rate = proptest::option::of(1..=u64::from(u32::MAX));
    let secs = proptest::option::of(1..=u32::MAX);
    let name = || proptest::option::of("[a-z0-9-]{1,32}");
    let filter = name().prop_map(|name| name.and_then(|name| name.parse().ok()));
    let class = name().prop_map(|name| name.and_then(|name| name.parse().ok()));
    (
        octets.clone(),
        rate.clone(),
        rate,
        secs.clone(),
        secs.clone(),
        secs,
        octets,
        filter,
        class,
    )
        .prop_map(
            |(octets, up, down, session, idle, interim, remaining, filter, class)| Limits {
                max_total_octets: octets,
                up_bits_per_sec: up,
                down_bits_per_sec: down,
                session_secs: session,
                idle_secs: idle,
                interim_secs: interim,
                remaining_octets: remaining,
                filter,
                class,
            },
        )
}

proptest! {
    #[test]
    fn an_order_with_every_limit_leaves_nothing_of_the_old_ones(new in limits(), old in limits()) {
        let packet = received(|draft| LimitsPatch::from(new).write(draft));
        let in_force = LimitsPatch::read(&packet).unwrap().applied_to(old);
        let interim_secs = new.interim_secs.or(old.interim_secs);
        prop_assert_eq!(in_force, Limits { interim_secs, ..new });
    }

    #[test]
    fn a_grant_arrives_as_it_was_written(limits in limits(), is_renewable: bool) {
        let packet = received(|draft| write(draft, &limits, is_renewable));
        prop_assert_eq!(read(&packet).unwrap(), (limits, is_renewable));
    }
}

#[test]
fn a_limit_that_is_not_mentioned_stays() {
    let old = Limits {
        max_total_octets: Some(1000),
        up_bits_per_sec: Some(5),
        down_bits_per_sec: Some(6),
        session_secs: Some(60),
        idle_secs: Some(7),
        interim_secs: Some(8),
        remaining_octets: Some(900),
        filter: "minors".parse().ok(),
        class: "free".parse().ok(),
    };
    let packet = received(|draft| _ = draft.u32(attr::SESSION_TIMEOUT, 3600));
    let session_secs = Some(3600);
    assert_eq!(
        LimitsPatch::read(&packet).unwrap().applied_to(old),
        Limits { session_secs, ..old }
    );
    let packet = received(|draft| _ = draft.vendor_u32(vendor::WISPR_BANDWIDTH_MAX_UP, 0));
    let up_bits_per_sec = None;
    assert_eq!(
        LimitsPatch::read(&packet).unwrap().applied_to(old),
        Limits { up_bits_per_sec, ..old }
    );
}

#[test]
fn nothing_is_never_ordered_as_no_limit() {
    let nothing = Limits {
        max_total_octets: Some(0),
        up_bits_per_sec: Some(0),
        session_secs: Some(0),
        ..Limits::default()
    };
    let packet = received(|draft| LimitsPatch::from(nothing).write(draft));
    let in_force = LimitsPatch::read(&packet).unwrap().applied_to(Limits::default());
    assert_eq!(
        (
            in_force.max_total_octets,
            in_force.up_bits_per_sec,
            in_force.session_secs
        ),
        (Some(1), Some(1), Some(1))
    );
}

#[test]
fn a_malformed_limit_is_an_error_and_not_its_absence() {
    for attribute in [attr::SESSION_TIMEOUT, attr::IDLE_TIMEOUT, attr::ACCT_INTERIM_INTERVAL] {
        for value in [&[][..], &[0; 3], &[0; 5]] {
            let packet = received(|draft| _ = draft.octets(attribute, value));
            assert!(read(&packet).is_err() && LimitsPatch::read(&packet).is_err());
        }
    }
    for attribute in [
        vendor::WISPR_BANDWIDTH_MAX_UP,
        vendor::WISPR_BANDWIDTH_MAX_DOWN,
        vendor::CHILLISPOT_MAX_TOTAL_OCTETS,
        vendor::CHILLISPOT_MAX_TOTAL_GIGAWORDS,
    ] {
        for value in [&[][..], &[0; 3], &[0; 8]] {
            let packet = received(|draft| _ = draft.vendor(attribute, value));
            assert!(read(&packet).is_err() && LimitsPatch::read(&packet).is_err());
        }
    }
    // An attribute that says it is longer than the one around it.
    let packet = received(|draft| _ = draft.octets(attr::VENDOR_SPECIFIC, &[0, 0, 0x38, 0xdf, 3, 9, 0, 0]));
    assert!(read(&packet).is_err() && LimitsPatch::read(&packet).is_err());
    let packet = received(|draft| _ = draft.vendor_u32(vendor::CHILLISPOT_MAX_TOTAL_GIGAWORDS, 0));
    assert_eq!(LimitsPatch::read(&packet), Err(LimitsError::GigawordsAlone));
}

#[test]
fn a_limit_of_one_direction_is_refused_rather_than_ignored() {
    for attribute in [
        vendor::CHILLISPOT_MAX_INPUT_OCTETS,
        vendor::CHILLISPOT_MAX_OUTPUT_OCTETS,
        vendor::CHILLISPOT_MAX_INPUT_GIGAWORDS,
        vendor::CHILLISPOT_MAX_OUTPUT_GIGAWORDS,
    ] {
        let packet = received(|draft| _ = draft.vendor_u32(attribute, 1000));
        assert_eq!(read(&packet), Err(LimitsError::OneWay));
        let packet = received(|draft| _ = draft.vendor_u32(attribute, 0));
        assert_eq!(read(&packet), Ok((Limits::default(), false)));
    }
}

#[test]
fn an_accept_with_a_malformed_limit_is_a_refusal() {
    let accept = |write: fn(&mut Draft)| {
        let request = received(|_| {});
        let mut draft = Draft::reply(Code::AccessAccept, &request);
        write(&mut draft);
        let packet = Packet::parse(&draft.seal_reply(b"secret").unwrap()).unwrap();
        AccessReply::read(&packet).unwrap()
    };
    assert!(matches!(accept(|_| {}), AccessReply::Accept(_)));
    for write in [
        (|draft| _ = draft.octets(attr::SESSION_TIMEOUT, &[0; 3])) as fn(&mut Draft),
        |draft| _ = draft.vendor(vendor::CHILLISPOT_MAX_TOTAL_OCTETS, &[0; 8]),
        |draft| _ = draft.vendor_u32(vendor::CHILLISPOT_MAX_OUTPUT_OCTETS, 5),
        |draft| _ = draft.text(attr::FILTER_ID, "std.ppp"),
        |draft| _ = draft.text(attr::FILTER_ID, "minors").text(attr::FILTER_ID, "adults"),
    ] {
        assert!(matches!(accept(write), AccessReply::Reject { .. }));
    }
}

#[test]
fn a_filter_is_named_plainly_once_or_not_at_all() {
    let read_patch = |all: &[&[u8]]| {
        let packet = received(|draft| {
            for name in all {
                draft.octets(attr::FILTER_ID, name);
            }
        });
        LimitsPatch::read(&packet).map(|patch| patch.filter)
    };
    assert_eq!(read_patch(&[b"minors"]), Ok(Change::Set("minors".parse().unwrap())));
    assert_eq!(read_patch(&[b"none"]), Ok(Change::Lift));
    assert_eq!(read_patch(&[]), Ok(Change::Keep));
    for wrong in [
        &b""[..],
        b"Minors",
        b"minors\0",
        b"std.ppp",
        b"\xff",
        b"a; flush ruleset",
        &[b'x'; 33],
        &[b'x'; 253],
    ] {
        assert_eq!(read_patch(&[wrong]), Err(LimitsError::Filter), "{wrong:?}");
    }
    assert_eq!(read_patch(&[b"minors", b"minors"]), Err(LimitsError::SeveralFilters));
}

#[test]
fn a_class_is_named_plainly_once_and_otherwise_it_is_none() {
    let told = |all: &[&str]| {
        let all: Vec<String> = all.iter().map(|text| (*text).to_owned()).collect();
        move |draft: &mut Draft| {
            for text in &all {
                draft.vendor(vendor::CHILLISPOT_CONFIG, text.as_bytes());
            }
        }
    };
    let patched = |all: &[&str]| LimitsPatch::read(&received(told(all))).map(|patch| patch.class);
    let free = "free".parse().unwrap();
    assert_eq!(patched(&["kavadam.class=free"]), Ok(Change::Set(free)));
    assert_eq!(patched(&["kavadam.class=none"]), Ok(Change::Lift));
    assert_eq!(patched(&["kavadam.renew=1", "uamhomepage=http://a"]), Ok(Change::Keep));
    let long = format!("kavadam.class={}", "x".repeat(33));
    for wrong in [
        &["kavadam.class="][..],
        &["kavadam.class=Free"],
        &["kavadam.class=free "],
        &["kavadam.class=a; flush ruleset"],
        &[&long],
        &["kavadam.class=free", "kavadam.class=free"],
    ] {
        assert_eq!(patched(wrong), Err(LimitsError::Class), "{wrong:?}");
        // Nobody is kept offline for it.
        assert_eq!(read(&received(told(wrong))).unwrap().0.class, None, "{wrong:?}");
    }
    assert_eq!(
        read(&received(told(&["kavadam.class=free"]))).unwrap().0.class,
        Some(free)
    );
}

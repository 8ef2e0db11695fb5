//! Two people on one LAN, one of them with a filter.

use kavadam_firewall::{Filter, FirewallError, Gate, Layout, OpenSession, SessionLimits, Slot, Trace, View};

use crate::Case;
use crate::lab::{GARDEN4, Inside, TCP, WEB4, WEB6, eventually, first_line, go_on, layout, limit};

pub const CASES: &[Case] = &[
    (
        "keeps_those_with_a_filter_from_what_others_reach",
        keeps_those_with_a_filter_apart,
    ),
    (
        "knows_a_sessions_filter_again_after_a_restart_and_a_reload",
        knows_a_filter_again,
    ),
    (
        "changes_a_sessions_filter_and_what_is_in_it_while_it_goes_on",
        changes_a_filter_in_place,
    ),
    (
        "refuses_a_filter_that_it_has_not_and_keeps_one_that_is_in_use",
        refuses_what_would_leave_somebody_without,
    ),
    (
        "closes_a_session_whose_filter_the_configuration_has_lost",
        closes_a_session_whose_filter_has_gone,
    ),
    (
        "forgets_a_filter_with_its_session_whoever_took_the_table_away",
        forgets_a_filter_with_its_session,
    ),
];

/// The server in both families, and a port of any.
fn minors() -> Filter {
    Filter {
        nets4: vec!["203.0.113.8/29".parse().unwrap()],
        nets6: vec!["2001:db8:113::10/128".parse().unwrap()],
        ports: Vec::new(),
    }
}

fn with(filters: &[(&str, Filter)]) -> Layout {
    let named = |(name, filter): &(&str, Filter)| (name.parse().unwrap(), filter.clone());
    Layout {
        filters: filters.iter().map(named).collect(),
        ..layout()
    }
}

/// Only port 5001 over TCP.
fn a_port() -> Filter {
    Filter {
        ports: vec![(6, 5001)],
        ..Filter::default()
    }
}

fn both() -> Layout {
    with(&[("minors", minors()), ("class-5", a_port())])
}

/// The first phone with this filter, the other without.
fn online(lab: &Inside, gate: &Gate, filter: &str) -> (Slot, Slot) {
    let pool = gate.create_pool(None).unwrap();
    let filtered = OpenSession {
        filter: Some(filter.parse().unwrap()),
        ..lab.phone.session(pool)
    };
    let first = gate.open(&filtered).unwrap();
    (first, gate.open(&lab.other.session(pool)).unwrap())
}

fn assert_kept_apart(lab: &Inside, when: &str) {
    for host in [WEB4, WEB6] {
        assert_eq!(lab.phone.node.run(&["tcp-try", host, TCP]), "refused", "{when}: {host}");
        assert_eq!(lab.phone.node.upload(host, 5, 100), 0, "{when}: {host}");
        assert_eq!(
            lab.other.node.run(&["tcp-try", host, TCP]),
            "answered",
            "{when}: {host}"
        );
        assert_eq!(lab.other.node.upload(host, 5, 100), 5, "{when}: {host}");
    }
}

fn keeps_those_with_a_filter_apart(lab: &Inside) {
    let layout = both();
    let gate = Gate::load(&layout).unwrap();
    let (filtered, _) = online(lab, &gate, "minors");
    assert_kept_apart(lab, "at once");
    assert_eq!(lab.phone.node.run(&["tcp-try", GARDEN4, TCP]), "answered", "the garden");
    assert!(View::open(&layout).unwrap().uncharged().unwrap().blocked_packets >= 12);
    assert_eq!(gate.read(&[filtered]).unwrap()[0].1.up_octets, 0, "nothing is charged");
    limit(
        &gate,
        filtered,
        SessionLimits {
            filter: Some("class-5".parse().unwrap()),
            ..SessionLimits::default()
        },
    )
    .unwrap();
    for host in [WEB4, WEB6] {
        assert_eq!(
            lab.phone.node.run(&["tcp-try", host, TCP]),
            "refused",
            "{host}: the port"
        );
        assert_eq!(
            lab.phone.node.run(&["tcp-try", host, "80"]),
            "answered",
            "{host}: another"
        );
        assert_eq!(lab.phone.node.upload(host, 5, 100), 5, "{host}: UDP");
    }
    let device = View::open(&layout).unwrap().device(lab.phone.mac()).unwrap();
    let facts: Vec<String> = Trace::of(&device, true)
        .steps
        .into_iter()
        .map(|step| step.fact)
        .collect();
    assert!(
        facts.iter().any(|fact| fact.contains("the filter class-5")),
        "{facts:?}"
    );
    Gate::verify(&layout).unwrap();
}

fn knows_a_filter_again(lab: &Inside) {
    let gate = Gate::load(&both()).unwrap();
    let (filtered, plain) = online(lab, &gate, "minors");
    drop(gate);
    assert_kept_apart(lab, "while nobody is there");
    let gate = Gate::load(&both()).unwrap();
    let adopted = gate.adopt().unwrap();
    let filters: Vec<_> = adopted.iter().map(|one| (one.slot, one.filter)).collect();
    assert_eq!(filters, [(filtered, "minors".parse().ok()), (plain, None)]);
    assert_eq!(gate.filter_of(lab.phone.mac()), "minors".parse().ok());
    assert_kept_apart(lab, "after a restart");
    // A rule more, and a filter more.
    let more = Layout {
        strict: false,
        ..with(&[("minors", minors()), ("class-5", a_port()), ("adults", a_port())])
    };
    gate.reload(&more).unwrap();
    assert_kept_apart(lab, "after a reload");
    Gate::verify(&more).unwrap();
    gate.set_ipv4(filtered, None).unwrap();
    gate.set_ipv4(filtered, Some(lab.phone.ipv4())).unwrap();
    limit(
        &gate,
        filtered,
        SessionLimits {
            up_bits_per_sec: Some(80_000_000),
            filter: "minors".parse().ok(),
            ..SessionLimits::default()
        },
    )
    .unwrap();
    gate.set_timeout(filtered, Some(std::time::Duration::from_mins(10)))
        .unwrap();
    assert_kept_apart(lab, "after its limits have changed");
}

fn changes_a_filter_in_place(lab: &Inside) {
    let gate = Gate::load(&both()).unwrap();
    let (filtered, _) = online(lab, &gate, "class-5");
    limit(&gate, filtered, SessionLimits::default()).unwrap();
    let mut held = lab.phone.node.spawn(&["tcp-hold", WEB4, TCP]);
    assert_eq!(first_line(&mut held), "ready");
    limit(
        &gate,
        filtered,
        SessionLimits {
            filter: Some("class-5".parse().unwrap()),
            ..SessionLimits::default()
        },
    )
    .unwrap();
    assert_eq!(lab.phone.node.run(&["tcp-try", WEB4, TCP]), "refused");
    assert_eq!(gate.filter_of(lab.phone.mac()), "class-5".parse().ok());
    assert_eq!(go_on(held), "alive", "a connection that is there goes on");
    // What is in it changes without a rule.
    gate.reload(&with(&[("minors", minors()), ("class-5", Filter::default())]))
        .unwrap();
    assert_eq!(lab.phone.node.run(&["tcp-try", WEB4, TCP]), "answered");
    gate.reload(&with(&[("minors", minors()), ("class-5", minors())]))
        .unwrap();
    assert_kept_apart(lab, "by what it holds now");
    limit(&gate, filtered, SessionLimits::default()).unwrap();
    assert_eq!(lab.phone.node.run(&["tcp-try", WEB4, TCP]), "answered");
    assert_eq!(gate.filter_of(lab.phone.mac()), None);
    assert_eq!(gate.adopt().unwrap()[0].filter, None);
}

fn refuses_what_would_leave_somebody_without(lab: &Inside) {
    let gate = Gate::load(&both()).unwrap();
    let unknown = OpenSession {
        filter: Some("nobodys".parse().unwrap()),
        ..lab.phone.session(gate.create_pool(None).unwrap())
    };
    assert!(matches!(gate.open(&unknown), Err(FirewallError::UnknownFilter(_))));
    assert_eq!(lab.phone.node.upload(WEB4, 5, 100), 0, "it is not online");
    let (filtered, _) = online(lab, &gate, "minors");
    let refused = limit(
        &gate,
        filtered,
        SessionLimits {
            filter: Some("nobodys".parse().unwrap()),
            ..SessionLimits::default()
        },
    );
    assert!(matches!(refused, Err(FirewallError::UnknownFilter(_))));
    let without = with(&[("class-5", a_port())]);
    let refused = gate.reload(&without).unwrap_err().to_string();
    assert!(refused.contains("sessions have the filter minors"), "{refused}");
    assert_kept_apart(lab, "the rules before hold");
    gate.close(filtered).unwrap();
    gate.reload(&without).unwrap();
    gate.reload(&layout()).unwrap();
    assert_eq!(lab.other.node.run(&["tcp-try", WEB4, TCP]), "answered");
    gate.reload(&both()).unwrap();
    let second = OpenSession {
        filter: "minors".parse().ok(),
        ..lab.phone.session(gate.create_pool(None).unwrap())
    };
    gate.open(&second).unwrap();
    assert_kept_apart(lab, "a filter that has returned");
    Gate::verify(&both()).unwrap();
}

fn closes_a_session_whose_filter_has_gone(lab: &Inside) {
    let gate = Gate::load(&both()).unwrap();
    let (filtered, _) = online(lab, &gate, "minors");
    drop(gate);
    let gate = Gate::load(&layout()).unwrap();
    assert_eq!(
        gate.adopt().unwrap()[0].filter,
        "minors".parse().ok(),
        "who starts is told of it"
    );
    assert!(!gate.has_filter("minors".parse().unwrap()));
    gate.set_timeout(filtered, Some(std::time::Duration::from_millis(10)))
        .unwrap();
    eventually("it is halted", || gate.expired().unwrap() == [filtered]);
    gate.close(filtered).unwrap();
    let pool = gate.create_pool(None).unwrap();
    let slot = gate.open(&lab.phone.session(pool)).unwrap();
    gate.reload(&both()).unwrap();
    assert_eq!(lab.phone.node.run(&["tcp-try", WEB4, TCP]), "answered");
    // Taken from it while the gate does not know the filter, and none comes back with that.
    limit(
        &gate,
        slot,
        SessionLimits {
            filter: "minors".parse().ok(),
            ..SessionLimits::default()
        },
    )
    .unwrap();
    drop(gate);
    let gate = Gate::load(&layout()).unwrap();
    limit(&gate, slot, SessionLimits::default()).unwrap();
    gate.reload(&both()).unwrap();
    assert_eq!(lab.phone.node.run(&["tcp-try", WEB4, TCP]), "answered");
}

fn forgets_a_filter_with_its_session(lab: &Inside) {
    let layout = both();
    let gate = {
        let made = std::process::Command::new("nft")
            .args(["add", "table", "inet", "kavadam"])
            .status();
        assert!(made.unwrap().success());
        Gate::load(&layout).unwrap()
    };
    let (filtered, _) = online(lab, &gate, "minors");
    gate.close(filtered).unwrap();
    assert_eq!(gate.filter_of(lab.phone.mac()), None);
    let pool = gate.create_pool(None).unwrap();
    let slot = gate.open(&lab.phone.session(pool)).unwrap();
    assert_eq!(
        lab.phone.node.run(&["tcp-try", WEB4, TCP]),
        "answered",
        "a new session has none"
    );
    limit(
        &gate,
        slot,
        SessionLimits {
            filter: "minors".parse().ok(),
            ..SessionLimits::default()
        },
    )
    .unwrap();
    // Somebody takes the table away, and with it the sessions.
    assert!(
        std::process::Command::new("nft")
            .args(["flush", "ruleset"])
            .status()
            .unwrap()
            .success()
    );
    let restored = gate.restore(&layout).unwrap().unwrap();
    assert!(restored.lost.contains(&slot));
    assert_eq!(gate.filter_of(lab.phone.mac()), None);
    let pool = gate.create_pool(None).unwrap();
    let again = OpenSession {
        filter: "minors".parse().ok(),
        ..lab.phone.session(pool)
    };
    gate.open(&again).unwrap();
    gate.open(&lab.other.session(pool)).unwrap();
    eventually("the gate stands again", || Gate::verify(&layout).is_ok());
    assert_kept_apart(lab, "in a new table");
}

use super::*;

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

fn net(text: &str) -> Ipv6Net {
    text.parse().unwrap()
}

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// A device that came by this address is online.
fn online(scene: &mut Scene, number: u8, address: &str) {
    let waiter = scene.waiter();
    scene.handle(Input::Logon {
        device: Device {
            ipv4: None,
            ipv6: Some(ip(address)),
            ..device(number)
        },
        user_name: "t-ticket".into(),
        credential: Credential::Chap {
            ident: 0,
            response: [1; 16],
            challenge: vec![2; 16],
        },
        waiter,
    });
    scene.accept(lease(MB));
}

#[test]
fn a_session_goes_on_under_another_prefix_and_the_record_tells_its_address() {
    let mut scene = Scene::new();
    let (old, new) = (net("2001:db8:a::/64"), net("2001:db8:b::/64"));
    scene.handle(Input::Prefixes(vec![net("fd00:80::/64"), old]));
    online(&mut scene, 1, "2001:db8:a::5");
    let before = scene.reports.len();
    scene.handle(Input::Prefixes(vec![net("fd00:80::/64"), new]));
    assert!(scene.kernel.is_open(mac(1)));
    assert_eq!(
        (scene.last_report().kind, scene.last_report().ipv6),
        (Kind::Interim, None)
    );
    assert_eq!(scene.saved.last().unwrap().ipv6, None);
    // Its neighbour's, one that it had, and its own.
    let seen = [(2, "2001:db8:b::6"), (1, "2001:db8:a::5"), (1, "2001:db8:b::5")];
    let seen = seen.map(|(number, address)| (mac(number), ip(address)));
    scene.handle(Input::Neighbours(seen.to_vec()));
    assert_eq!(scene.last_report().ipv6, Some(ip("2001:db8:b::5")));
    assert_eq!(scene.saved.last().unwrap().ipv6, Some(ip("2001:db8:b::5")));
    scene.handle(Input::Neighbours(vec![(mac(1), ip("2001:db8:b::7"))]));
    assert_eq!(
        scene.reports.len(),
        before + 2,
        "addresses that change by the hour are nobody's record"
    );
}

#[test]
fn a_device_that_came_by_a_local_address_is_in_the_record_by_what_the_internet_sees() {
    let mut scene = Scene::new();
    scene.handle(Input::Prefixes(vec![net("fd00:80::/64"), net("2001:db8:a::/64")]));
    online(&mut scene, 1, "fd00:80::5");
    scene.handle(Input::Neighbours(vec![
        (mac(1), ip("fd00:80::5")),
        (mac(1), ip("2001:db8:a::5")),
    ]));
    assert_eq!(scene.last_report().ipv6, Some(ip("2001:db8:a::5")));
}

#[test]
fn an_address_that_stays_and_a_device_that_never_came_by_ipv6_are_left_alone() {
    let mut scene = Scene::new();
    scene.handle(Input::Prefixes(vec![net("fd00:80::/64"), net("2001:db8:a::/64")]));
    online(&mut scene, 1, "fd00:80::5");
    scene.online(2, lease(MB));
    let before = scene.reports.len();
    scene.handle(Input::Prefixes(vec![net("fd00:80::/64")]));
    scene.handle(Input::Neighbours(vec![(mac(2), ip("fd00:80::6"))]));
    assert_eq!(scene.reports.len(), before);
}

//! From stranger to session.

use super::*;
use kavadam_domain::session::terminate_cause;

#[test]
fn a_login_opens_a_session_and_reports_its_start_before_anybody_is_told() {
    let mut scene = Scene::new();
    let waiter = scene.log_on(1);
    let (ask, request) = scene.question();
    assert_eq!(request.service, ServiceType::Login);
    assert!(request.wants_cui);
    let id = request.acct_session_id.clone().unwrap();
    let commands = scene.core.handle(
        Input::Answered(ask, Answer::Accept(Box::new(lease(10 * MB)))),
        scene.now,
    );
    let order: Vec<&str> = commands
        .iter()
        .map(|command| match command {
            Command::Save(_) => "save",
            Command::Spool(_) => "spool",
            Command::Do(Deed::Open(_)) => "open",
            _ => "other",
        })
        .collect();
    assert_eq!(order, ["save", "spool", "open"]);
    assert!(!scene.kernel.is_open(mac(1)), "the record comes first");
    scene.take(commands);
    assert_eq!(scene.told, [(waiter, Told::Online)]);
    let start = scene.last_report();
    assert_eq!((start.kind, &start.id), (Kind::Start, &id));
    assert_eq!(start.user_name.as_deref(), Some("alias"));
    assert_eq!(start.classes, [b"class".to_vec()]);
    assert_eq!(start.cui.as_deref(), Some(&b"person"[..]));
    assert_eq!(scene.pool_limit(scene.kernel.pool_of(mac(1))), Some(10 * MB));
}

#[test]
fn a_refusal_is_told_in_the_servers_words_and_silence_as_silence() {
    let mut scene = Scene::new();
    let first = scene.log_on(1);
    scene.reject();
    let second = scene.log_on(1);
    scene.stay_silent();
    assert_eq!(
        scene.told,
        [(first, Told::Refused(Some("no".into()))), (second, Told::Unavailable)]
    );
    assert!(!scene.kernel.is_open(mac(1)));
    assert!(scene.reports.is_empty());
}

#[test]
fn a_gate_without_room_says_so_and_takes_the_start_back() {
    let mut scene = Scene::new();
    scene.kernel.state().is_full = true;
    let waiter = scene.log_on(1);
    scene.accept(lease(MB));
    assert_eq!(scene.told, [(waiter, Told::Unavailable)]);
    assert_eq!(scene.kinds(), [Kind::Start, Kind::Stop(terminate_cause::NAS_ERROR)]);
    assert_eq!(scene.forgotten, [scene.saved[0].id.clone()]);
    scene.kernel.state().is_full = false;
    scene.online(1, lease(MB));
}

#[test]
fn a_device_that_is_remembered_and_cannot_be_opened_is_not_asked_about_at_each_request() {
    let mut scene = Scene::new();
    scene.kernel.state().is_full = true;
    scene.handle(Input::Knock(device(1), None));
    scene.accept(lease(MB));
    for _ in 0..4 {
        let waiter = scene.waiter();
        scene.handle(Input::Knock(device(1), Some(waiter)));
        scene.pass(Duration::from_secs(1));
    }
    assert!(scene.asked.is_empty());
    assert_eq!(scene.kinds().len(), 2, "one Start and its Stop");
    scene.kernel.state().is_full = false;
    scene.pass(Duration::from_secs(2));
    scene.handle(Input::Knock(device(1), None));
    scene.accept(lease(MB));
    assert!(scene.kernel.is_open(mac(1)));
}

#[test]
fn a_knock_asks_once_and_remembers_the_refusal_for_a_minute() {
    let mut scene = Scene::new();
    let knock = |scene: &mut Scene| {
        let waiter = scene.waiter();
        scene.handle(Input::Knock(device(1), Some(waiter)));
    };
    knock(&mut scene);
    knock(&mut scene);
    assert_eq!(scene.asked.len(), 1, "the second waits for the first");
    let (_, request) = &scene.asked[0];
    assert_eq!(request.service, ServiceType::CallCheck);
    assert_eq!(request.user_name, mac(1).to_string());
    scene.reject();
    assert_eq!(scene.told.len(), 2);
    knock(&mut scene);
    assert!(scene.asked.is_empty());
    assert_eq!(scene.told.len(), 3);
    scene.pass(Duration::from_secs(61));
    knock(&mut scene);
    assert_eq!(scene.asked.len(), 1);
}

#[test]
fn a_login_overtakes_a_knock_and_a_late_answer_to_the_knock_changes_nothing() {
    let mut scene = Scene::new();
    scene.handle(Input::Knock(device(1), None));
    let (late, _) = scene.question();
    scene.online(1, lease(MB));
    scene.handle(Input::Answered(late, Answer::Accept(Box::new(lease(MB)))));
    assert_eq!(scene.kinds(), [Kind::Start]);
    assert_eq!(scene.kernel.state().sessions.len(), 1);
}

#[test]
fn a_device_that_is_online_is_told_so() {
    let mut scene = Scene::new();
    scene.online(1, lease(MB));
    let waiter = scene.log_on(1);
    assert!(scene.asked.is_empty());
    assert_eq!(scene.told.last(), Some(&(waiter, Told::Already)));
}

#[test]
fn session_ids_are_never_used_twice() {
    let mut ids = std::collections::HashSet::new();
    let mut scene = Scene::new();
    for number in 1..=100 {
        scene.log_on(number);
        assert!(ids.insert(scene.question().1.acct_session_id.unwrap()));
    }
}

#[test]
fn a_new_address_moves_the_session() {
    let mut scene = Scene::new();
    scene.online(1, lease(MB));
    scene.handle(Input::Address(mac(1), Ipv4Addr::new(10, 80, 9, 9)));
    assert_eq!(scene.kernel.found()[0].ipv4, Some(Ipv4Addr::new(10, 80, 9, 9)));
    assert_eq!(scene.saved.last().unwrap().ipv4, Some(Ipv4Addr::new(10, 80, 9, 9)));
}

/// It has come in over IPv6, and has no lease yet.
fn without_ipv4() -> Device {
    Device {
        ipv4: None,
        ..device(1)
    }
}

#[test]
fn an_address_that_comes_or_goes_while_the_server_is_asked_is_the_sessions() {
    let mut scene = Scene::new();
    let leased = device(1).ipv4.unwrap();
    scene.handle(Input::Knock(without_ipv4(), None));
    scene.handle(Input::Address(mac(1), leased));
    scene.handle(Input::Knock(device(1), None));
    scene.accept(lease(MB));
    assert_eq!(scene.kernel.found()[0].ipv4, Some(leased));
    assert_eq!(scene.last_report().ipv4, Some(leased));

    let mut scene = Scene::new();
    scene.log_on(1);
    scene.handle(Input::AddressGone(mac(1), leased));
    scene.accept(lease(MB));
    assert_eq!(scene.kernel.found()[0].ipv4, None);
}

#[test]
fn an_address_is_learnt_from_who_asks_meanwhile_where_nobody_tells_of_leases() {
    let mut scene = Scene::new();
    scene.handle(Input::Knock(without_ipv4(), None));
    scene.handle(Input::Knock(device(1), None));
    scene.accept(lease(MB));
    assert_eq!(scene.kernel.found()[0].ipv4, device(1).ipv4);
}

#[test]
fn an_address_that_comes_or_goes_before_an_accepted_session_is_open_is_in_its_record_too() {
    let leased = device(1).ipv4.unwrap();
    let cases = [
        (without_ipv4(), Input::Address(mac(1), leased), Some(leased)),
        (device(1), Input::AddressGone(mac(1), leased), None),
    ];
    for (device, event, expected) in cases {
        let mut scene = Scene::new();
        scene.handle(Input::Knock(device, None));
        let (ask, _) = scene.question();
        let answer = Input::Answered(ask, Answer::Accept(Box::new(lease(MB))));
        let mut commands = scene.core.handle(answer, scene.now);
        commands.extend(scene.core.handle(event, scene.now));
        scene.take(commands);
        assert_eq!(scene.kernel.found()[0].ipv4, expected);
        assert_eq!(scene.saved.last().unwrap().ipv4, expected);
        assert_eq!(scene.last_report().ipv4, expected);
    }
}

#[test]
fn an_address_that_the_kernel_did_not_take_is_tried_again_unless_it_has_gone() {
    let leased = Ipv4Addr::new(10, 80, 9, 9);
    for is_gone in [false, true] {
        let mut scene = Scene::new();
        scene.online(1, lease(MB));
        scene.kernel.state().immovable = Some(mac(1));
        scene.handle(Input::Address(mac(1), leased));
        scene.pass(Duration::from_secs(2));
        if is_gone {
            scene.handle(Input::AddressGone(mac(1), leased));
        }
        scene.kernel.state().immovable = None;
        scene.pass(Duration::from_secs(1));
        let expected = if is_gone { device(1).ipv4 } else { Some(leased) };
        assert_eq!(scene.kernel.found()[0].ipv4, expected);
        assert_eq!(scene.saved.last().unwrap().ipv4, expected);
    }
}

#[test]
fn the_end_of_an_address_it_has_left_does_not_touch_a_session() {
    let mut scene = Scene::new();
    scene.online(1, lease(MB));
    scene.handle(Input::Address(mac(1), Ipv4Addr::new(10, 80, 9, 9)));
    scene.handle(Input::AddressGone(mac(1), device(1).ipv4.unwrap()));
    assert_eq!(scene.kernel.found()[0].ipv4, Some(Ipv4Addr::new(10, 80, 9, 9)));
    scene.handle(Input::AddressGone(mac(1), Ipv4Addr::new(10, 80, 9, 9)));
    assert_eq!(scene.kernel.found()[0].ipv4, None);
}

#[test]
fn an_address_given_to_another_device_is_taken_from_the_session_that_had_it() {
    let mut scene = Scene::new();
    scene.online(1, lease(MB));
    scene.online(2, lease(MB));
    let address = device(1).ipv4.unwrap();
    scene.handle(Input::Address(mac(2), address));
    let mut found = scene.kernel.found();
    found.sort_by_key(|one| one.mac);
    assert_eq!((found[0].ipv4, found[1].ipv4), (None, Some(address)));
    scene.handle(Input::Address(mac(3), address));
    assert!(scene.kernel.found().iter().all(|one| one.ipv4.is_none()));
}

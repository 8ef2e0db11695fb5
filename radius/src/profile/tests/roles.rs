//! Gates where a role holds the speed: changed by a CoA-Request that names another.

use super::*;

fn change(role: &str, is_throttled: bool) -> Order {
    Order {
        role: Some(Role {
            plan: role.into(),
            is_throttled,
        }),
        ..order(OrderAction::Change(citizen()))
    }
}

fn said(profile: &Profile, order: &Order) -> Packet {
    let way = profile.ways(None).next().unwrap();
    let (_, draft) = profile.order(order, &nas(&profile.name), way, noon()).unwrap();
    Packet::parse(&draft.seal_request(1, SECRET).unwrap()).unwrap()
}

#[test]
fn a_gate_of_roles_is_told_another_role_without_a_word_of_speeds() {
    let profiles = built_in();
    let aruba = profiles.get("aruba");
    assert_eq!(aruba.abilities().rate, Hold::Always);
    let slowed = said(aruba, &change("citizen", true));
    assert_eq!(slowed.code(), Code::CoaRequest);
    assert_eq!(slowed.text(attr::FILTER_ID).as_deref(), Some("citizen-slow"));
    let named = [
        attr::MESSAGE_AUTHENTICATOR,
        1,
        44,
        31,
        attr::EVENT_TIMESTAMP,
        attr::FILTER_ID,
    ];
    assert_eq!(slowed.kinds().collect::<Vec<_>>(), named);
    let moved = said(aruba, &change("staff", false));
    assert_eq!(moved.text(attr::FILTER_ID).as_deref(), Some("staff"));
    let end = said(aruba, &order(OrderAction::End));
    assert_eq!(end.text(attr::FILTER_ID), None, "it ends whoever it is");
}

const ROLES: &str = "name = 'mine'\ntitle = 'Mine'\n[limits]\nsession_secs = { attribute = 'Session-Timeout' }\n\
                     [always]\nFilter-Id = '{plan}'\n[throttled]\nFilter-Id = '{plan}-slow'\n\
                     [orders]\nchange = ['role']\nsession = [['Acct-Session-Id']]\n";

fn read(text: &str) -> Result<Profiles, String> {
    let files = [("x.toml".to_owned(), text.to_owned())];
    Profiles::read(&files).map_err(|problems| problems.iter().map(|p| format!("{p}\n")).collect::<Vec<_>>().concat())
}

#[test]
fn a_role_is_said_as_at_the_login_unless_orders_have_words_of_their_own() {
    let profiles = read(ROLES).unwrap();
    let slowed = said(profiles.get("mine"), &change("citizen", true));
    assert_eq!(slowed.text(attr::FILTER_ID).as_deref(), Some("citizen-slow"));
    let own = "[orders.always]\nCisco-AVPair = 'subscriber:command=reauthenticate'\n";
    let profiles = read(&format!("{}{own}", ROLES.replace("'role'", "'session_secs'"))).unwrap();
    let mine = profiles.get("mine");
    let again = said(mine, &change("citizen", true));
    assert_eq!(again.vendor_texts((9, 1)), ["subscriber:command=reauthenticate"]);
    assert_eq!(
        (again.text(attr::FILTER_ID), again.u32(attr::SESSION_TIMEOUT)),
        (None, Some(14_400))
    );
    assert_eq!(mine.abilities().rate, Hold::AtLogin, "no order changes the role");
}

#[test]
fn a_role_that_no_order_could_say_is_refused() {
    for (from, to, wanted) in [
        (
            "[throttled]\nFilter-Id = '{plan}-slow'\n",
            "",
            "x.toml:8: `role`: say in [throttled] which one a slowed session has",
        ),
        (
            "[['Acct-Session-Id']]\n",
            "[['Acct-Session-Id']]\n[orders.always]\nFilter-Id = '{plan}'\n",
            "x.toml:10: `role`: say in [throttled]",
        ),
        (
            "change = ['role']\nsession = [['Acct-Session-Id']]\n",
            "session = [['Acct-Session-Id']]\n[orders.always]\nFilter-Id = '{plan}'\n",
            "x.toml:11: [orders.always] and [orders.throttled] stand in CoA-Requests: say in `change`",
        ),
        (
            "[['Acct-Session-Id']]\n",
            "[['Acct-Session-Id']]\n[orders.throttled]\nFilter-Idd = 'x'\n",
            "x.toml:13: no dictionary knows `Filter-Idd`",
        ),
    ] {
        let text = ROLES.replace(from, to);
        assert_ne!(text, ROLES, "{from}");
        let found = read(&text).map(|_| ()).unwrap_err();
        assert!(found.contains(wanted), "{to}: {found}");
    }
}

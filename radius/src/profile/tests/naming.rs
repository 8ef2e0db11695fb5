//! What is kept of a session from what its gate says, and by what it is named to that gate.

use super::*;

#[test]
fn what_a_vendor_says_of_a_session_is_kept() {
    let profiles = built_in();
    let packet = request(|draft| {
        draft.text(attr::CALLED_STATION_ID, "02-00-00-00-00-07:Kerala Wi-Fi");
        draft.vendor((9, 1), b"service-type=Call Check");
        draft.vendor((9, 1), b"audit-session-id=0A0700020000001A");
        draft.vendor((25053, 3), b"Lobby");
        draft.vendor((11863, 6), b"Head office");
    });
    let cisco = profiles.get("cisco").seen(&packet);
    assert_eq!(cisco.handle.as_deref(), Some("0A0700020000001A"));
    assert_eq!(cisco.ssid.as_deref(), Some("Kerala Wi-Fi"), "of the Called-Station-Id");
    assert_eq!(cisco.access_point.as_deref(), Some("02-00-00-00-00-07"));
    assert_eq!(profiles.get("ruckus").seen(&packet).ssid.as_deref(), Some("Lobby"));
    let omada = profiles.get("omada").seen(&packet);
    assert_eq!(omada.ssid.as_deref(), Some("Kerala Wi-Fi"), "not the controller's site");
    assert_eq!(
        profiles.get(OWN_PROFILE).seen(&packet),
        kavadam_access::api::Seen::default()
    );
    let own = request(|draft| _ = draft.text(attr::NAS_PORT_ID, "ap-7/wlan0"));
    assert_eq!(
        profiles.get(OWN_PROFILE).seen(&own).access_point.as_deref(),
        Some("ap-7/wlan0")
    );
    let hotspot = request(|draft| _ = draft.text(attr::CALLED_STATION_ID, "hotspot1"));
    let mikrotik = profiles.get("mikrotik").seen(&hotspot);
    assert_eq!(
        (mikrotik.access_point.as_deref(), mikrotik.ssid),
        (Some("hotspot1"), None)
    );
}

#[test]
fn a_session_whose_handle_is_not_known_is_named_otherwise() {
    let profiles = built_in();
    let nameless = Order {
        handle: None,
        ..order(OrderAction::End)
    };
    let cisco = profiles.get("cisco");
    let ways = cisco.ways(None);
    let is_named = ways.map(|way| cisco.order(&nameless, &nas("cisco"), way, noon()).is_some());
    assert_eq!(is_named.collect::<Vec<_>>(), [false, true, true]);
}

#[test]
fn a_uspot_is_told_another_time_in_the_attributes_that_it_knows_and_no_others() {
    let profiles = built_in();
    for name in ["uspot", "uspot-2025"] {
        let uspot = profiles.get(name);
        let said = |limits| {
            let way = uspot.ways(None).next().unwrap();
            let (_, draft) = uspot
                .order(&order(OrderAction::Change(limits)), &nas(name), way, noon())
                .unwrap();
            Packet::parse(&draft.seal_request(1, SECRET).unwrap()).unwrap()
        };
        let known = [attr::USER_NAME, attr::ACCT_SESSION_ID, attr::SESSION_TIMEOUT];
        let change = said(citizen());
        assert_eq!(change.kinds().collect::<Vec<_>>(), known);
        assert_eq!(change.u32(attr::SESSION_TIMEOUT), Some(14_400));
        assert_eq!(said(Limits::default()).u32(attr::SESSION_TIMEOUT), Some(0), "lifted");
    }
}

#[test]
fn a_device_is_named_as_the_gate_spells_it_and_then_as_its_vendors_papers_do() {
    let profiles = built_in();
    let end = order(OrderAction::End);
    let named = |vendor: &str, heard: &str| -> Vec<String> {
        let profile = profiles.get(vendor);
        let drafts = profile.ways(Spelling::heard(heard));
        let drafts = drafts.filter_map(|way| profile.order(&end, &nas(vendor), way, noon()));
        let packets = drafts.map(|(_, draft)| Packet::parse(&draft.seal_request(1, SECRET).unwrap()).unwrap());
        packets
            .map(|packet| packet.text(attr::CALLING_STATION_ID).unwrap_or_default())
            .collect()
    };
    assert_eq!(
        named("standard", "0200.00aa.bb09"),
        ["0200.00aa.bb01", "02-00-00-AA-BB-01", ""],
        "the second by its Acct-Session-Id alone"
    );
    let papers = ["02-00-00-AA-BB-01", ""];
    assert_eq!(named("standard", "02-00-00-AA-BB-09"), papers, "said once");
    for unknown in [
        "020000000009",
        "02-00-00-AA-BB-09:Kerala Wi-Fi",
        "02-00:00-AA-BB-09",
        "0200-00AA-bb09",
        "",
    ] {
        assert_eq!(named("standard", unknown), papers, "{unknown}");
    }
}

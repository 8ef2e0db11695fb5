//! What a device's own software sees: connectivity checks, the captive portal API, a browser.

use std::time::Duration;

use kavadam_lab::browser::Browser;
use kavadam_lab::citizen::CHECK;
use kavadam_lab::gateway::API_HOST;
use kavadam_lab::{Citizen, Phone, World};
use serde_json::Value;

use crate::{ENDLESS, NUMBER, beside_others, is_online, is_over, log_in, phone, sessions, world};

#[test]
fn connectivity_checks_are_captured_and_after_login_answered_by_those_they_ask() {
    let _machine = beside_others();
    let mut world = world(&["--quota", "100MB"]);
    let phone = phone(&mut world);
    let checks = [
        ("Android", CHECK, "204", ""),
        ("iOS", "http://captive.apple.com/hotspot-detect.html", "200", "Success"),
        (
            "Windows",
            "http://www.msftconnecttest.com/connecttest.txt",
            "200",
            "Microsoft Connect Test",
        ),
        (
            "Firefox",
            "http://detectportal.firefox.com/success.txt",
            "200",
            "success",
        ),
        (
            "NetworkManager",
            "http://nmcheck.gnome.org/check_network_status.txt",
            "200",
            "NetworkManager is online",
        ),
    ];
    for (device, url, _, _) in checks {
        let (status, to) = phone.probe(url).unwrap();
        assert_eq!(status, 302, "{device}");
        assert!(to.starts_with("http://10.80.0.1:8081/?res=notyet&"), "{device}: {to}");
    }
    log_in(&world, &phone, NUMBER);
    for (device, url, status, body) in checks {
        let text = phone.curl(&["-w", "\n%{http_code}", url]).unwrap();
        let (said, code) = text.rsplit_once('\n').unwrap();
        assert_eq!(code, status, "{device}");
        assert!(said.contains(body), "{device}: {said}");
    }
}

#[test]
fn a_citizen_logs_in_with_a_real_browser_from_inside_the_phone() {
    let _machine = beside_others();
    let mut world = world(&["--quota", "100MB"]);
    let phone = phone(&mut world);
    // Chromium gives up what it is loading when another address comes.
    phone.slaac().unwrap();
    let browser = Browser::open(&phone, "ml", world.dir()).unwrap_or_else(|error| panic!("no browser: {error:#}"));
    browser.go("http://www.example.net/").unwrap();
    browser.wait_for("input[name=number]").unwrap();
    assert!(
        browser.text().unwrap().contains("നിങ്ങളുടെ മൊബൈൽ നമ്പർ നൽകുക"),
        "Malayalam first"
    );
    browser.type_into("input[name=number]", NUMBER).unwrap();
    browser.click("input[name=consent]").unwrap();
    browser.click("form[action='/number'] button").unwrap();
    browser.wait_for("input[name=code]").unwrap();
    // The mini-browser is closed while the SMS is read, and opens on the step it left.
    browser.go("http://www.example.net/again").unwrap();
    browser.wait_for("input[name=code]").unwrap();
    let (_, code) = Citizen {
        phone: &phone,
        number: NUMBER,
    }
    .read_code(&world, 0)
    .unwrap();
    browser.type_into("input[name=code]", &code).unwrap();
    browser.click("form[action='/code'] button").unwrap();
    browser.wait_for("form[action='/disconnect'] button").unwrap();
    browser.go("http://www.example.net/").unwrap();
    assert!(
        browser.text().unwrap().contains("A page of the internet"),
        "{}",
        browser.text().unwrap()
    );
}

/// The API's answer, and the type of its content.
fn ask(world: &World, phone: &Phone) -> (Value, String) {
    let url = format!("https://{API_HOST}:8443/captive");
    let arguments = ["--cacert", &world.gateway.authority(), "-w", "\n%{content_type}", &url];
    let text = phone.curl(&arguments).unwrap();
    let (json, kind) = text.rsplit_once('\n').unwrap();
    (serde_json::from_str(json).unwrap(), kind.to_owned())
}

#[test]
fn the_captive_portal_api_says_where_a_device_stands() {
    let _machine = beside_others();
    let mut world = world(&["--quota", "20MB", "--session-time", "1h"]);
    let phone = world.phone().unwrap();
    let lease = phone.dhcp().unwrap();
    assert_eq!(
        lease.api.expect("DHCP option 114"),
        format!("https://{API_HOST}:8443/captive")
    );
    // RFC 8910 §2.2: a stranger may ask by DHCPv6 too.
    phone.slaac().unwrap();
    let told = world.ask_lab_in(phone.netns(), &["ask-dhcp6", "eth0"]).unwrap();
    assert_eq!(told.trim(), format!("https://{API_HOST}:8443/captive"));
    // RFC 8908 §5: what must be, what may be, and nothing that is not said.
    let check = |state: &Value, is_captive: bool| {
        assert_eq!(state["captive"], is_captive, "{state}");
        assert_eq!(state["can-extend-session"], true, "{state}");
        assert_eq!(state["user-portal-url"], format!("https://{API_HOST}:8443/prelogin"));
        assert_eq!(state["venue-info-url"], "http://10.80.0.1:8081/help");
        for limit in ["seconds-remaining", "bytes-remaining"] {
            assert_eq!(state[limit].is_null(), is_captive, "{limit}: {state}");
        }
    };
    let portal = |state: &Value| {
        let url = state["user-portal-url"].as_str().unwrap();
        phone
            .curl(&["-L", "--cacert", &world.gateway.authority(), url])
            .unwrap()
    };
    let (before, kind) = ask(&world, &phone);
    assert_eq!(kind, "application/captive+json");
    check(&before, true);
    assert!(
        portal(&before).contains("action=\"/number\""),
        "the portal is not there"
    );

    log_in(&world, &phone, NUMBER);
    let (online, _) = ask(&world, &phone);
    check(&online, false);
    let secs = online["seconds-remaining"].as_u64().unwrap();
    assert!((3500..=3600).contains(&secs), "{online}");
    let all = online["bytes-remaining"].as_u64().unwrap();
    assert!((19_900_000..=20_000_000).contains(&all), "{online}");

    let url = ENDLESS.replace("1000000000000", "5000000");
    phone.curl(&["-o", "/dev/null", &url]).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let (later, _) = ask(&world, &phone);
    let left = later["bytes-remaining"].as_u64().unwrap();
    assert!((all - 6_000_000..=all - 5_000_000).contains(&left), "{later}");

    let _flow = phone.download(ENDLESS).unwrap();
    assert!(is_over(&world, Duration::from_secs(40)), "the session did not end");
    let (ended, _) = ask(&world, &phone);
    check(&ended, true);
    assert!(
        portal(&ended).contains("action=\"/voucher\""),
        "no page that offers a voucher"
    );
}

#[test]
fn a_picture_on_a_page_of_the_internet_logs_nobody_off_and_a_browsers_own_way_there_does() {
    let _machine = beside_others();
    let mut world = world(&["--quota", "100MB", "--remember", "0d"]);
    let phone = phone(&mut world);
    log_in(&world, &phone, NUMBER);
    let browser =
        Browser::open_heedless(&phone, "en", world.dir()).unwrap_or_else(|error| panic!("no browser: {error:#}"));
    browser.go("http://www.example.net/").unwrap();
    for part in ["img", "script"] {
        let script = format!(
            "return new Promise(done => {{ const part = document.createElement('{part}'); part.onload = part.onerror = () => done('asked'); \
             part.src = 'http://10.80.0.1:3990/logoff'; document.body.append(part); }})"
        );
        assert_eq!(browser.run(&script).unwrap(), "asked");
        assert!(is_online(&phone), "{part}");
    }
    browser.go("http://10.80.0.1:3990/logoff").unwrap();
    assert!(is_over(&world, Duration::from_secs(10)));
}

#[test]
fn who_has_both_families_is_logged_off_over_the_one_that_dhcp_vouches_for() {
    let _machine = beside_others();
    let mut world = world(&["--quota", "100MB", "--remember", "0d"]);
    let phone = phone(&mut world);
    phone.slaac().unwrap();
    log_in(&world, &phone, NUMBER);
    for path in ["/logoff", "/json/logoff?callback=x"] {
        let (status, to) = phone.probe(&format!("http://[fd00:80::1]:3990{path}")).unwrap();
        assert_eq!((status, to), (302, format!("http://10.80.0.1:3990{path}")));
    }
    let authority = world.gateway.authority();
    let over_tls = |path: &str| {
        let url = format!("https://{API_HOST}:8443{path}");
        let words = [
            "-6",
            "--cacert",
            &authority,
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{redirect_url}",
        ];
        phone.curl(&[&words[..], &[&url]].concat()).unwrap()
    };
    for path in ["/json/logon?username=a&response=b", "/logoff"] {
        assert_eq!(over_tls(path), "421 ", "never on in clear");
    }
    let told = phone.curl(&["http://[fd00:80::1]:3990/json/status"]).unwrap();
    assert!(
        told.contains("\"clientState\":1") && !told.contains(phone.mac()),
        "{told}"
    );
    assert!(told.contains("\"sessionId\":\"\""), "{told}");
    assert_eq!(sessions(&world)[0]["state"], "open", "{}", sessions(&world)[0]);
    phone.curl(&["-L", "http://[fd00:80::1]:3990/logoff"]).unwrap();
    assert!(is_over(&world, Duration::from_secs(10)));
}

#[test]
fn where_a_device_is_an_access_point_may_tell_by_dhcp() {
    let _machine = beside_others();
    let mut world = world(&["--quota", "100MB"]);
    let told = world.phone().unwrap();
    told.dhcp_at("ap-7", "wlan0:Kerala").unwrap();
    log_in(&world, &told, NUMBER);
    let other = phone(&mut world);
    log_in(&world, &other, "9876543211");
    let place = |number: usize| {
        let id = sessions(&world)[number]["id"].to_string();
        world.admin_json(&["session", "show", &id]).unwrap()["access_point"].clone()
    };
    // The newest first.
    assert_eq!(place(1), "ap-7/wlan0:Kerala");
    assert_eq!(place(0), serde_json::Value::Null, "who says nothing is nowhere");
}

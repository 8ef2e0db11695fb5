//! What happens when people are hasty, codes die, messages stay away and gates refuse.

use std::time::Duration;

use axum::http::StatusCode;
use kavadam_access::api::{Message, PendingCode, Step};
use kavadam_domain::Reason;

use super::visits::{GATE, logon, returning};
use crate::config::{PortalConfig, TokenKey};
use crate::testing::{NOW, ORIGIN, Scene, pending, redirect, signed, status};
use crate::token::VisitToken;

#[tokio::test]
async fn a_second_tap_on_send_is_not_scolded() {
    let scene = Scene::new();
    let v = scene.arrive().await;
    scene.fake.refuse(Reason::TooMany(Duration::from_secs(28)));
    scene.fake.stand_at(Step::Code(pending()));
    let answer = scene
        .post("/number", format!("v={v}&number=9876543210&consent=1"))
        .await;
    let page = scene.get(answer.header("location")).await;
    assert!(page.text().contains("Enter the 6-digit code"));
    assert!(!page.text().contains("Too many"));
}

#[tokio::test]
async fn a_wait_that_the_page_does_not_know_of_is_said() {
    let scene = Scene::new();
    let v = scene.arrive().await;
    scene.fake.refuse(Reason::TooMany(Duration::from_mins(8)));
    scene.fake.stand_at(Step::Code(PendingCode {
        resend_in: Duration::ZERO,
        ..pending()
    }));
    let answer = scene.post("/resend", format!("v={v}")).await;
    let page = scene.get(answer.header("location")).await;
    assert!(page.text().contains("Too many attempts. Try again in 8 minutes."));
}

#[tokio::test]
async fn a_refused_number_is_still_in_its_field() {
    let scene = Scene::new();
    let v = scene.arrive().await;
    scene.fake.refuse(Reason::InvalidNumber);
    let page = scene
        .post("/number", format!("v={v}&number=98765+4321%22%3E&consent=1"))
        .await;
    assert_eq!((page.status, page.header("location")), (StatusCode::OK, ""));
    assert!(
        page.text().contains(" value=\"98765 4321&quot;&gt;\""),
        "{}",
        page.text()
    );
    assert!(page.text().contains("checked=\"checked\"") && page.text().contains("role=\"alert\""));
    assert_eq!(page.text().matches("98765").count(), 1, "in no link");
    assert_eq!(page.v(), v);
    scene.fake.refuse(Reason::NoConsent);
    let page = scene
        .post("/number", format!("v={v}&number={}", "9".repeat(1_000)))
        .await;
    assert!(page.text().contains(&format!(" value=\"{}\"", "9".repeat(20))));
    assert!(!page.text().contains("checked=\"checked\""));
    // A page that is opened anew knows nothing of it.
    assert!(!scene.get(&redirect("notyet", "")).await.text().contains(" value=\"9"));
}

#[tokio::test]
async fn a_second_tap_on_verify_is_not_scolded() {
    let scene = Scene::new();
    let v = scene.arrive().await;
    scene.fake.refuse(Reason::NoChallenge);
    for step in [returning(), Step::Online(status()), Step::Number] {
        scene.fake.stand_at(step);
        let answer = scene.post("/code", format!("v={v}&code=123456")).await;
        let page = scene.get(answer.header("location")).await;
        assert!(!page.text().contains("role=\"alert\""));
    }
}

#[tokio::test]
async fn where_no_code_is_sent_a_newcomer_comes_in_by_voucher_and_is_told_so() {
    let scene = Scene::configured(|| NOW, |config| config.sends_codes = false);
    let page = scene.get(&redirect("notyet", "")).await;
    assert!(page.text().contains("No code comes by SMS here.") && page.text().contains("name=\"voucher\""));
    assert!(!page.text().contains("Send OTP") && !page.text().contains("It is free"));
    let v = page.v();
    let came = scene
        .post(
            "/number",
            format!("v={v}&number=9876543210&consent=1&voucher=2345-6789-abcd"),
        )
        .await;
    assert_eq!(scene.fake.asked(), ["redeem 2345-6789-abcd for 9876543210 true"]);
    assert_eq!(came.header("location"), logon());
    scene.fake.refuse(Reason::BadVoucher);
    let page = scene
        .post(
            "/number",
            format!("v={v}&number=9876543210&consent=1&voucher=%22%3E%3Cscript%3E"),
        )
        .await;
    assert!(page.text().contains("This voucher is not valid.") && page.text().contains(" value=\"9876543210\""));
    assert!(!page.text().contains("<script"));
    let marked = page.text().matches("aria-invalid").count();
    let field = page
        .text()
        .split("name=\"voucher\"")
        .nth(1)
        .unwrap()
        .split("/>")
        .next()
        .unwrap();
    assert!(
        marked == 1 && field.contains("aria-invalid") && field.contains("script"),
        "{field}"
    );
}

#[tokio::test]
async fn where_no_code_is_sent_the_code_of_an_app_is_asked_for() {
    let scene = Scene::configured(|| NOW, |config| config.sends_codes = false);
    let v = scene.arrive().await;
    scene
        .post("/number", format!("v={v}&number=9876543210&consent=1&voucher=+"))
        .await;
    assert_eq!(scene.fake.asked(), ["start 9876543210 true"]);
    scene.fake.stand_at(Step::Code(PendingCode {
        message: Message::Queued,
        ..pending()
    }));
    let page = scene.get(&format!("/?v={v}")).await;
    assert!(
        page.text()
            .contains("authenticator app for xxxxxx3210. No SMS will come.")
    );
    assert!(!page.text().contains("OTP") && page.text().contains("action=\"/code\""));
    scene.fake.stand_at(Step::Code(PendingCode {
        tries_left: 0,
        resend_in: Duration::from_secs(20),
        ..pending()
    }));
    for (reason, is_told) in [
        (Reason::WrongCode(0), false),
        (Reason::CodeExpired, false),
        (Reason::TooMany(Duration::from_secs(20)), true),
    ] {
        scene.fake.refuse(reason);
        let answer = scene.post("/code", format!("v={v}&code=123456")).await;
        let page = scene.get(answer.header("location")).await;
        assert!(page.text().contains("This attempt is over.") && !page.text().contains("Ask for a new one"));
        assert_eq!(page.text().contains("role=\"alert\""), is_told, "{reason:?}");
    }
}

/// Number and voucher alone prove no number: where codes are sent, nobody gets round them.
#[tokio::test]
async fn where_codes_are_sent_a_voucher_beside_the_number_is_nothing() {
    let scene = Scene::new();
    let v = scene.arrive().await;
    assert!(!scene.get(&format!("/?v={v}")).await.text().contains("name=\"voucher\""));
    scene
        .post(
            "/number",
            format!("v={v}&number=9876543210&consent=1&voucher=23456789ABCD"),
        )
        .await;
    assert_eq!(scene.fake.asked(), ["start 9876543210 true"]);
}

#[tokio::test]
async fn says_how_far_the_message_has_come() {
    let scene = Scene::new();
    for (message, said) in [
        (Message::Queued, "The OTP to xxxxxx3210 is being sent"),
        (Message::Sent, "OTP sent to xxxxxx3210"),
        (Message::Failed, "The OTP to xxxxxx3210 could not be sent."),
    ] {
        scene.fake.stand_at(Step::Code(PendingCode { message, ..pending() }));
        assert!(scene.get(&redirect("notyet", "")).await.text().contains(said), "{said}");
    }
}

#[tokio::test]
async fn a_code_that_is_spent_can_be_replaced() {
    let scene = Scene::new();
    scene.fake.stand_at(Step::Code(PendingCode {
        tries_left: 0,
        ..pending()
    }));
    let page = scene.get(&redirect("notyet", "")).await;
    assert!(
        page.text()
            .contains("This code can no longer be used. Ask for a new one.")
    );
    assert!(page.text().contains("action=\"/resend\"") && !page.text().contains("name=\"code\""));
}

#[tokio::test]
async fn says_the_gates_refusal_in_the_language_of_the_page() {
    let scene = Scene::new();
    let malayalam = Reason::TooManyDevices(2).message(kavadam_domain::Language::Ml);
    let reply = percent_encoding::utf8_percent_encode(&malayalam, percent_encoding::NON_ALPHANUMERIC);
    let page = scene.get(&redirect("failed", &format!("&reply={reply}"))).await;
    assert!(page.text().contains("2 of your devices are already online."));
    assert!(!page.text().contains(&malayalam));
}

#[tokio::test]
async fn a_ticket_whose_challenge_somebody_else_used_up_is_sent_once_more() {
    let scene = Scene::new();
    let v = scene.arrive().await;
    scene.post("/code", format!("v={v}&code=123456")).await;
    let failed = redirect("failed", "&reply=That+login+is+no+longer+valid.+Please+log+in+again.");
    assert_eq!(scene.get(&failed).await.header("location"), logon());
    let page = scene.get(&failed).await;
    assert!(page.text().contains("Not connected"), "not for ever");
}

/// The gate's redirect of the device that is asked for here, with what a browser brought along.
fn brought_back(res: &str, userurl: &str) -> String {
    signed(&format!(
        "res={res}&uamip=10.80.0.1&uamport=3990&challenge=000102030405060708090a0b0c0d0e0f&mac=02-00-00-00-00-01\
         &ip=10.80.1.2&nasid=gate-1&userurl={userurl}&reply=That+login+is+no+longer+valid.+Please+log+in+again."
    ))
}

/// The code is typed into a link that the device's owner passed on: his device comes by itself and must not get what another browser earned.
#[tokio::test]
async fn where_devices_are_not_seen_a_ticket_waits_for_the_browser_that_earned_it() {
    let scene = Scene::configured(|| NOW, |config| config.sees_devices = false);
    let v = scene.arrive().await;
    let sent = scene.post("/code", format!("v={v}&code=123456")).await;
    let mark = sent.header("location").strip_prefix(&format!("{}&userurl=", logon()));
    let mark = mark.expect("the mark goes along").to_owned();
    for other in ["", "http%3A%2F%2Fexample.org%2F", &"0".repeat(mark.len())] {
        let page = scene.get(&brought_back("failed", other)).await;
        assert_eq!(page.status, StatusCode::OK, "{other}: {}", page.header("location"));
    }
    assert_eq!(
        scene.get(&brought_back("failed", &mark)).await.header("location"),
        logon()
    );

    // The same with a challenge that was answered before.
    let opened = scene.get(&redirect("logoff", "")).await;
    let v = opened.header("location").split("v=").nth(1).unwrap().to_owned();
    let token = VisitToken::open(&v, &TokenKey::new([7; 32]), Duration::from_mins(1), NOW).unwrap();
    let old = VisitToken {
        challenge: None,
        ..token
    };
    let v = old.seal(&TokenKey::new([7; 32]));
    let sent = scene.post("/code", format!("v={v}&code=123456")).await;
    let mark = sent
        .header("location")
        .strip_prefix(&format!("http://{GATE}/prelogin?userurl="));
    let mark = mark.expect("the mark goes along").to_owned();
    assert_eq!(scene.get(&redirect("notyet", "")).await.status, StatusCode::OK);
    assert_eq!(
        scene.get(&brought_back("notyet", &mark)).await.header("location"),
        format!("{}&userurl={mark}", logon())
    );
}

#[tokio::test]
async fn a_page_leads_to_a_gate_that_a_policy_cannot_name() {
    let scene = Scene::new();
    let token = VisitToken {
        nas: "gate-1".into(),
        mac: "02-00-00-00-00-01".parse().unwrap(),
        ip: scene.peer,
        gateway: "[fd00:80::1]:3990".parse().unwrap(),
        challenge: Some([1; 16]),
        is_open: false,
        language: kavadam_domain::Language::En,
        issued: NOW,
    };
    let v = token.seal(&TokenKey::new([7; 32]));
    let page = scene.post("/code", format!("v={v}&code=123456")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.text()
            .contains(";url=http:&#x2f;&#x2f;[fd00:80::1]:3990&#x2f;logon?")
    );
    assert!(!page.header("content-security-policy").contains('['));
}

#[tokio::test]
async fn reloading_after_a_form_that_failed_is_no_dead_end() {
    let scene = Scene::new();
    for path in [
        "/number",
        "/code",
        "/resend",
        "/change",
        "/connect",
        "/voucher",
        "/disconnect",
    ] {
        let answer = scene.get(path).await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/"));
    }
}

#[tokio::test]
async fn a_real_error_page_equals_its_sample() {
    let scene = Scene::configured(|| NOW, |config| config.home_gateway = Some(GATE.parse().unwrap()));
    let config = PortalConfig::new(ORIGIN.parse().unwrap(), TokenKey::new([7; 32]));
    let samples = crate::samples::pages(&config, kavadam_domain::Language::En).unwrap();
    for (uri, name) in [
        ("/nowhere", "not-found"),
        ("/", "open-from-wifi"),
        ("/?v=forged", "not-from-hotspot"),
        ("/?v=1&v=2", "not-understood"),
    ] {
        let sample = samples.iter().find(|sample| sample.name == name).unwrap();
        assert_eq!(scene.get(uri).await.text(), sample.html, "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_takes_too_long_says_when_and_how_to_ask_again() {
    let scene = Scene::new();
    let v = scene.arrive().await;
    scene.fake.stall();
    let answer = scene.get(&format!("/?v={v}")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), "60");
    assert!(answer.text().contains(&format!("href=\"&#x2f;?v={v}\"")));
}

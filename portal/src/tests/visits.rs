//! What citizens do.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use kavadam_access::api::Step;
use kavadam_domain::Reason;

use crate::config::TokenKey;
use crate::testing::{NOW, SECRET, Scene, pending, redirect, status, ticket};
use crate::token::VisitToken;
use crate::uam::logon_url;

pub(super) const GATE: &str = "10.80.0.1:3990";

pub(super) fn logon() -> String {
    let challenge = std::array::from_fn(|i| u8::try_from(i).unwrap());
    logon_url(GATE.parse().unwrap(), &challenge, SECRET, &ticket(), None)
}

pub(super) fn returning() -> Step {
    Step::Returning {
        masked_number: "xxxxxx3210".into(),
    }
}

#[tokio::test]
async fn goes_from_number_to_code_to_gate() {
    let scene = Scene::new();
    let page = scene.get(&redirect("notyet", "")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains("Enter your mobile number"));
    let v = page.v();

    let sent = scene
        .post("/number", format!("v={v}&number=98765+43210&consent=1"))
        .await;
    assert_eq!(scene.fake.asked(), ["start 98765 43210 true"]);
    assert_eq!(sent.status, StatusCode::SEE_OTHER);
    assert_eq!(sent.header("location"), format!("/?v={v}"));

    scene.fake.stand_at(Step::Code(pending()));
    let page = scene.get(sent.header("location")).await;
    assert!(page.text().contains("OTP sent to xxxxxx3210"));
    assert!(page.text().contains("autocomplete=\"one-time-code\""));

    let verified = scene.post("/code", format!("v={v}&code=123456")).await;
    assert_eq!(scene.fake.asked(), ["verify 123456 02-00-00-00-00-01"]);
    assert_eq!(verified.status, StatusCode::SEE_OTHER);
    assert_eq!(verified.header("location"), logon());
    assert!(!verified.header("location").contains("derived"));
}

#[tokio::test]
async fn shows_the_status_when_the_gate_has_opened() {
    let scene = Scene::new();
    scene.fake.stand_at(Step::Online(status()));
    for res in ["success", "already"] {
        let page = scene.get(&redirect(res, "")).await;
        for part in [
            "You are connected",
            "640 MB",
            "10 Mbps",
            "2 hours",
            "Thampanoor",
            "http-equiv=\"refresh\"",
        ] {
            assert!(page.text().contains(part), "{res}: {part}");
        }
    }
}

#[tokio::test]
async fn stops_refreshing_when_told_to() {
    let scene = Scene::new();
    scene.fake.stand_at(Step::Online(status()));
    let v = scene.get(&redirect("success", "")).await.v();
    let page = scene.get(&format!("/?v={v}&still=1")).await;
    assert!(page.text().contains("You are connected"));
    assert!(!page.text().contains("http-equiv=\"refresh\""));
    assert!(page.text().contains("Refresh automatically"));
}

#[tokio::test]
async fn a_closed_page_opened_anew_lands_on_the_step_it_left() {
    let scene = Scene::new();
    for (step, said) in [
        (Step::Number, "Enter your mobile number"),
        (Step::Code(pending()), "Enter the 6-digit code"),
        (returning(), "Welcome back"),
        (Step::UsedUp(status()), "used up"),
    ] {
        scene.fake.stand_at(step);
        assert!(scene.get(&redirect("notyet", "")).await.text().contains(said), "{said}");
    }
}

#[tokio::test]
async fn whoever_the_gate_shuts_out_can_connect_though_the_centre_thinks_it_online() {
    let scene = Scene::new();
    scene.fake.stand_at(Step::Online(status()));
    let page = scene.get(&redirect("notyet", "")).await;
    assert!(page.text().contains("Welcome back"));
    let connected = scene.post("/connect", format!("v={}", page.v())).await;
    assert_eq!(connected.header("location"), logon());
}

#[tokio::test]
async fn waits_while_the_centre_has_not_heard_of_the_session() {
    let scene = Scene::at(|| NOW);
    scene.fake.stand_at(returning());
    let page = scene.get(&redirect("success", "")).await;
    assert!(page.text().contains("Connecting"));
    let after = page.text().split(";url=").nth(1).unwrap();
    let next = after.split('"').next().unwrap().replace("&#x2f;", "/");
    assert!(next.starts_with("/connecting?v="), "{next}");
    assert!(scene.get(&next).await.text().contains("Connecting"));

    scene.fake.stand_at(Step::Online(status()));
    let answer = scene.get(&next).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert!(
        scene
            .get(answer.header("location"))
            .await
            .text()
            .contains("You are connected")
    );
}

#[tokio::test]
async fn stops_waiting_after_half_a_minute() {
    let scene = Scene::new();
    scene.fake.stand_at(returning());
    let text = scene.get(&redirect("success", "")).await.text().to_owned();
    let v = text
        .split("connecting?v=")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let later = Scene::at(|| NOW + Duration::from_secs(31));
    later.fake.stand_at(returning());
    assert_eq!(
        later.get(&format!("/connecting?v={v}")).await.status,
        StatusCode::SEE_OTHER
    );
}

#[tokio::test]
async fn says_in_plain_words_why_the_gate_refused() {
    let scene = Scene::new();
    let page = scene
        .get(&redirect(
            "failed",
            "&reply=2+of+your+devices+are+already+online.+Disconnect+one+first.",
        ))
        .await;
    assert!(page.text().contains("Not connected"));
    assert!(page.text().contains("2 of your devices are already online."));
    let page = scene.get(&redirect("failed", "")).await;
    assert!(page.text().contains("We could not connect you just now."));
}

#[tokio::test]
async fn a_refusal_is_said_on_the_page_after_the_redirect() {
    let scene = Scene::new();
    let v = scene.arrive().await;
    scene.fake.stand_at(Step::Code(pending()));
    for (path, reason, said) in [
        ("/code", Reason::WrongCode(4), "Wrong code, 4 attempts left."),
        ("/code", Reason::CodeExpired, "Code expired."),
        ("/voucher", Reason::BadVoucher, "This voucher is not valid."),
        (
            "/number",
            Reason::InvalidNumber,
            "Check the number: 10 digits, beginning with 6, 7, 8 or 9.",
        ),
        (
            "/connect",
            Reason::TooManyDevices(2),
            "2 of your devices are already online.",
        ),
    ] {
        scene.fake.refuse(reason);
        let answer = scene.post(path, format!("v={v}")).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
        let page = scene.get(answer.header("location")).await;
        assert!(page.text().contains(said), "{path}: {said}");
        assert!(page.text().contains("role=\"alert\""));
    }
}

#[tokio::test]
async fn leaves_and_comes_back() {
    let scene = Scene::new();
    scene.fake.stand_at(Step::Online(status()));
    let v = scene.get(&redirect("success", "")).await.v();
    let left = scene.post("/disconnect", format!("v={v}")).await;
    assert_eq!(scene.fake.asked(), ["disconnect"]);
    let page = scene.get(left.header("location")).await;
    assert!(page.text().contains("You are no longer online."));
    let back = scene.post("/connect", format!("v={}", page.v())).await;
    assert_eq!(scene.fake.asked(), ["reconnect"]);
    assert_eq!(
        back.header("location"),
        format!("http://{GATE}/prelogin"),
        "the challenge was answered before"
    );
    assert_eq!(scene.get(&redirect("notyet", "")).await.header("location"), logon());
    let logged_off = scene.get(&redirect("logoff", "")).await;
    assert!(logged_off.header("location").starts_with("/disconnected?v="));
}

#[tokio::test]
async fn changes_the_number_and_asks_for_another_code() {
    let scene = Scene::new();
    let v = scene.arrive().await;
    for (path, asked) in [("/change", "change"), ("/resend", "resend")] {
        let answer = scene.post(path, format!("v={v}")).await;
        assert_eq!(scene.fake.asked(), [asked]);
        assert_eq!(answer.header("location"), format!("/?v={v}"));
    }
}

#[tokio::test]
async fn an_old_challenge_is_renewed_at_the_gate_and_the_login_goes_on_by_itself() {
    let scene = Scene::new();
    let token = VisitToken {
        nas: "gate-1".into(),
        mac: "02-00-00-00-00-01".parse().unwrap(),
        ip: scene.peer,
        gateway: GATE.parse().unwrap(),
        challenge: Some([1; 16]),
        is_open: false,
        language: kavadam_domain::Language::En,
        issued: NOW - Duration::from_mins(6),
    };
    let v = token.seal(&TokenKey::new([7; 32]));
    let answer = scene.post("/code", format!("v={v}&code=123456")).await;
    assert_eq!(answer.header("location"), format!("http://{GATE}/prelogin"));
    let answer = scene.get(&redirect("notyet", "")).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.header("location"), logon());
    let page = scene.get(&redirect("notyet", "")).await;
    assert_eq!(page.status, StatusCode::OK, "the ticket is handed out once");
}

#[tokio::test]
async fn the_language_chosen_survives_the_way_over_the_gate() {
    let scene = Scene::new();
    let page = scene.get(&redirect("notyet", "")).await;
    let link = page
        .text()
        .split("hreflang=\"ml\"")
        .next()
        .unwrap()
        .rsplit("href=\"")
        .next()
        .unwrap();
    let href = link
        .split('"')
        .next()
        .unwrap()
        .replace("&#x2f;", "/")
        .replace("&amp;", "&");
    let page = scene.get(&href).await;
    assert!(page.text().contains("<html lang=\"ml\">"));
    assert_eq!(page.header("content-language"), "ml");
    let page = scene.get(&redirect("notyet", "")).await;
    assert!(page.text().contains("<html lang=\"ml\">"));
    let page = scene.get(&format!("/terms?v={}", page.v())).await;
    assert!(page.text().contains("<html lang=\"ml\">"));
}

#[tokio::test]
async fn malayalam_is_the_language_of_whoever_asks_for_none() {
    let scene = Scene::new();
    let request = Request::get(redirect("notyet", "")).body(Body::empty()).unwrap();
    assert!(scene.send(request).await.text().contains("<html lang=\"ml\">"));
}

#[tokio::test]
async fn the_long_texts_open_without_a_visit() {
    let scene = Scene::new();
    for path in ["/terms", "/privacy", "/help"] {
        let page = scene.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(page.text().contains("<html lang=\"en\">"), "{path}");
        let page = scene.get(&format!("{path}?lang=ml")).await;
        assert!(page.text().contains("<html lang=\"ml\">"), "{path}");
    }
}

#[tokio::test]
async fn whoever_types_the_address_is_told_how_to_get_in() {
    let scene = Scene::configured(|| NOW, |config| config.home_gateway = Some(GATE.parse().unwrap()));
    let page = scene.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains("Open this page from the hotspot"));
    assert!(page.text().contains("10.80.0.1:3990&#x2f;prelogin"));
    assert!(!Scene::new().get("/").await.text().contains("prelogin"));
}

#[tokio::test]
async fn an_expired_visit_leads_back_to_its_gate() {
    let v = Scene::new().arrive().await;
    let later = Scene::at(|| NOW + Duration::from_hours(12));
    let page = later.get(&format!("/?v={v}")).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(page.text().contains("Session expired. Log in again"));
    assert!(page.text().contains("10.80.0.1:3990&#x2f;prelogin"));
}

#[tokio::test]
async fn an_outage_of_the_centre_is_an_honest_page() {
    let scene = Scene::new();
    let v = scene.arrive().await;
    scene.fake.go_down();
    for answer in [
        scene.get(&format!("/?v={v}")).await,
        scene
            .post("/number", format!("v={v}&number=9876543210&consent=1"))
            .await,
    ] {
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(answer.text().contains("<h1>"));
        assert!(!answer.text().contains("no database"));
        assert!(answer.text().contains("Try again</a>") && answer.text().contains(&v));
    }
}

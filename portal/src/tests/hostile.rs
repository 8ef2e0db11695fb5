//! What nobody should be able to do.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use kavadam_access::api::Step;
use proptest::prelude::*;

use crate::testing::{DEVICE, NOW, Scene, redirect, signed, status};

const MARKUP: &str = "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E%3Cb%20x='";

#[tokio::test]
async fn refuses_a_redirect_that_no_gate_signed() {
    let scene = Scene::new();
    let good = redirect("notyet", "");
    for bad in [
        good.replace("mac=02-00-00-00-00-01", "mac=02-00-00-00-00-02"),
        good.replace("uamip=10.80.0.1", "uamip=203.0.113.9"),
        good.replace("nasid=gate-1", "nasid=gate-2"),
        good.split("&md=").next().unwrap().to_owned(),
        format!("{good}&extra=1"),
        good.replace("&md=", "&md=0"),
    ] {
        let page = scene.get(&bad).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{bad}");
        assert!(page.text().contains("This link is not from one of our hotspots"));
        assert!(!page.text().contains("name=\"v\""));
    }
}

#[tokio::test]
async fn refuses_a_signed_redirect_that_makes_no_sense() {
    let scene = Scene::new();
    for query in [
        "res=notyet",
        "res=notyet&nasid=gate-1",
        "res=evil&nasid=gate-1&uamip=10.80.0.1&uamport=3990&mac=02-00-00-00-00-01&ip=10.80.1.2",
        "res=notyet&nasid=gate-1&uamip=evil.example&uamport=3990&mac=02-00-00-00-00-01&ip=10.80.1.2",
        "res=notyet&res=success&nasid=gate-1&uamip=10.80.0.1&uamport=3990&mac=02-00-00-00-00-01&ip=10.80.1.2",
    ] {
        assert_eq!(
            scene.get(&signed(query)).await.status,
            StatusCode::BAD_REQUEST,
            "{query}"
        );
    }
}

#[tokio::test]
async fn refuses_forms_without_a_token_of_ours() {
    let scene = Scene::new();
    let v = scene.arrive().await;
    let (head, tail) = v.split_at(40);
    let forged = format!("{head}{}{}", if tail.starts_with('A') { 'B' } else { 'A' }, &tail[1..]);
    for path in [
        "/number",
        "/code",
        "/resend",
        "/change",
        "/connect",
        "/voucher",
        "/disconnect",
    ] {
        for body in [String::new(), "v=".into(), "v=AAAA".into(), format!("v={forged}")] {
            let answer = scene.post(path, body).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        }
        let in_query = scene.post(&format!("{path}?v={v}"), "").await;
        assert_eq!(in_query.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert!(scene.fake.asked().is_empty());
}

#[tokio::test]
async fn refuses_a_token_or_a_redirect_carried_to_another_device() {
    let mut scene = Scene::new();
    let v = scene.arrive().await;
    scene.peer = "10.80.1.66".parse().unwrap();
    assert_eq!(scene.get(&format!("/?v={v}")).await.status, StatusCode::FORBIDDEN);
    assert_eq!(scene.get(&redirect("notyet", "")).await.status, StatusCode::FORBIDDEN);
    assert_eq!(
        scene.post("/disconnect", format!("v={v}")).await.status,
        StatusCode::FORBIDDEN
    );
    assert!(scene.fake.asked().is_empty());
    scene.peer = format!("::ffff:{DEVICE}").parse().unwrap();
    assert_eq!(scene.get(&format!("/?v={v}")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn takes_a_device_that_was_caught_over_the_other_ip_version() {
    let mut scene = Scene::new();
    scene.peer = "fd00:80::2".parse().unwrap();
    assert_eq!(scene.get(&redirect("notyet", "")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn takes_any_address_behind_a_gate_that_translates() {
    let mut scene = Scene::configured(|| NOW, |config| config.sees_devices = false);
    scene.peer = "198.51.100.2".parse().unwrap();
    assert_eq!(scene.get(&redirect("notyet", "")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn refuses_forms_that_a_browser_sends_for_another_site() {
    let scene = Scene::new();
    let v = scene.arrive().await;
    for (site, status) in [
        ("cross-site", StatusCode::FORBIDDEN),
        ("same-site", StatusCode::FORBIDDEN),
        ("same-origin", StatusCode::SEE_OTHER),
    ] {
        let request = Request::post("/change")
            .header("content-type", "application/x-www-form-urlencoded; charset=UTF-8")
            .header("sec-fetch-site", site)
            .body(Body::from(format!("v={v}")));
        assert_eq!(scene.send(request.unwrap()).await.status, status, "{site}");
    }
}

#[tokio::test]
async fn redirects_nowhere_but_to_itself_and_to_the_signed_gate() {
    let scene = Scene::new();
    let v = scene.arrive().await;
    for body in [
        format!("v={v}&uamip=203.0.113.9&uamport=80&url=http://evil.example/&redir=//evil.example"),
        format!("v={v}&userurl=http%3A%2F%2Fevil.example&next=//evil.example&lang=//evil.example"),
    ] {
        for path in [
            "/number",
            "/code",
            "/resend",
            "/change",
            "/connect",
            "/voucher",
            "/disconnect",
        ] {
            let answer = scene.post(path, body.clone()).await;
            let to = answer.header("location");
            let ours = to.starts_with("/?v=")
                || to.starts_with("/disconnected?v=")
                || to.starts_with("http://10.80.0.1:3990/logon?username=");
            assert!(ours && !to.contains("evil"), "{path}: {to}");
        }
    }
    let page = scene
        .get(&redirect("notyet", "&redirurl=http%3A%2F%2Fevil.example"))
        .await;
    assert!(!page.text().contains("evil.example") && !page.text().contains("example.org"));
}

#[tokio::test]
async fn nothing_sent_becomes_markup() {
    let scene = Scene::new();
    scene.fake.stand_at(Step::Online(status()));
    let v = scene.get(&redirect("success", "")).await.v();
    let mut uris = vec![redirect("failed", &format!("&reply={MARKUP}")), redirect(MARKUP, "")];
    uris.push(signed(&format!(
        "res=notyet&nasid={MARKUP}&uamip=1.2.3.4&uamport=1&mac=02-00-00-00-00-01&ip=1.2.3.4"
    )));
    for name in ["why", "lang", "still", "v2", "reply", "step"] {
        uris.push(format!("/?v={v}&{name}={MARKUP}"));
        uris.push(format!("/terms?{name}={MARKUP}"));
    }
    uris.extend([
        format!("/?v={MARKUP}"),
        format!("/{MARKUP}"),
        format!("/disconnected?v={MARKUP}"),
    ]);
    for uri in uris {
        let page = scene.get(&uri).await;
        assert!(
            !page.text().contains("<script") && !page.text().contains("<b x="),
            "{uri}"
        );
    }
    for path in ["/number", "/code", "/voucher"] {
        for field in ["v", "number", "code", "voucher", "consent"] {
            let answer = scene.post(path, format!("{field}={MARKUP}")).await;
            assert!(!answer.text().contains("<script"), "{path} {field}");
        }
    }
}

#[tokio::test]
async fn a_reply_that_is_not_ours_is_not_passed_on() {
    let scene = Scene::new();
    let page = scene
        .get(&redirect("failed", "&reply=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"))
        .await;
    assert!(!page.text().contains("onerror"));
    assert!(page.text().contains("We could not connect you just now."));
}

#[tokio::test]
async fn refuses_oversized_and_malformed_requests_with_a_page() {
    let scene = Scene::new();
    let v = scene.arrive().await;
    let big = format!("v={v}&number={}", "9".repeat(5_000));
    let long = format!("/?v={}", "A".repeat(9_000));
    let post = |path: &str, kind: &str, body: Vec<u8>| {
        Request::post(path)
            .header("content-type", kind)
            .body(Body::from(body))
            .unwrap()
    };
    let form = "application/x-www-form-urlencoded";
    for (request, status) in [
        (post("/number", form, big.into_bytes()), StatusCode::PAYLOAD_TOO_LARGE),
        (
            Request::get(&long).body(Body::empty()).unwrap(),
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
        (post("/number", form, vec![0xff, 0xfe, b'=']), StatusCode::BAD_REQUEST),
        (post("/number", form, b"v=%ff".to_vec()), StatusCode::BAD_REQUEST),
        (
            post("/number", form, format!("v={v}&v={v}").into_bytes()),
            StatusCode::BAD_REQUEST,
        ),
        (
            post("/number", form, format!("v={v}&number=1&number=2").into_bytes()),
            StatusCode::BAD_REQUEST,
        ),
        (
            post("/number", "application/json", b"{}".to_vec()),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            post("/number", "multipart/form-data; boundary=x", b"--x".to_vec()),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (post("/terms", form, Vec::new()), StatusCode::METHOD_NOT_ALLOWED),
        (
            Request::get("/nowhere").body(Body::empty()).unwrap(),
            StatusCode::NOT_FOUND,
        ),
        (
            Request::get("/?v=1&v=2").body(Body::empty()).unwrap(),
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let what = format!("{} {:.60}", request.method(), request.uri());
        let answer = scene.send(request).await;
        assert_eq!(answer.status, status, "{what}");
        assert!(answer.text().contains("<h1>"), "{what}");
    }
    for method in [Method::PUT, Method::DELETE, Method::TRACE, Method::OPTIONS] {
        let request = Request::builder()
            .method(method.clone())
            .uri("/")
            .body(Body::empty())
            .unwrap();
        let answer = scene.send(request).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert!(answer.header("allow").contains("GET"), "{method}");
    }
    assert!(scene.fake.asked().is_empty());
}

#[tokio::test]
async fn every_answer_is_closed_to_others() {
    let scene = Scene::new();
    let v = scene.arrive().await;
    let mut answers = vec![
        scene.get(&redirect("notyet", "")).await,
        scene.get("/terms").await,
        scene.get("/nowhere").await,
        scene.get("/?v=forged").await,
        scene.post("/change", format!("v={v}")).await,
    ];
    answers.push(scene.post("/number", "x".repeat(5_000)).await);
    for answer in answers {
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(answer.headers.get("set-cookie").is_none());
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("script"), "{policy}");
    }
}

#[tokio::test]
async fn forms_may_lead_to_the_gate_of_the_visit_and_nowhere_else() {
    let scene = Scene::new();
    let page = scene.get(&redirect("notyet", "")).await;
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("form-action 'self' http://10.80.0.1:8081 http://10.80.0.1:3990;"),
        "{policy}"
    );
    let page = scene.get("/terms").await;
    assert!(page.header("content-security-policy").contains("form-action 'self';"));
}

#[tokio::test]
async fn head_answers_like_get_without_a_body() {
    let scene = Scene::new();
    let request = Request::head("/terms").body(Body::empty()).unwrap();
    let answer = scene.send(request).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_query_and_any_form_gets_a_page_or_a_redirect(query in "[ -~]{0,80}", form in proptest::collection::vec(any::<u8>(), 0..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let scene = Scene::new();
            if let Ok(request) = Request::get(format!("/?{query}")).body(Body::empty()) {
                assert!(!scene.send(request).await.status.is_server_error());
            }
            assert!(scene.post("/code", form).await.status.is_client_error());
            assert!(scene.fake.asked().is_empty());
        });
    }
}

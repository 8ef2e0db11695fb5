//! A whole visit in headless Chromium, which holds forms that are redirected to the gate against `form-action`, the
//! stylesheet against its hash, and everything else against `default-src 'none'`.

use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{Html, Redirect};
use axum::routing::get;
use kavadam_access::api::{PendingCode, Step};
use kavadam_domain::Language;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::config::{PortalConfig, TokenKey};
use crate::router::router;
use crate::samples::pages;
use crate::serve::{Peers, serve};
use crate::testing::{Fake, ORIGIN, pending, signed_for, status};

/// `WebDriver`'s name for a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

struct Browser {
    driver: Child,
    session: String,
    http: reqwest::Client,
}

impl Browser {
    async fn open(width: u32) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("this test needs chromedriver (Debian: chromium-driver)");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next_line().await.unwrap().expect("chromedriver says its port");
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut browser = Self {
            driver,
            session: format!("http://127.0.0.1:{port}/session"),
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_mins(1))
                .build()
                .unwrap(),
        };
        let options = json!({
            "args": ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-component-update",
                     "--disable-background-networking", "--disable-sync", "--lang=en"],
            "prefs": {"intl.accept_languages": "en"},
            "mobileEmulation": {"deviceMetrics": {"width": width, "height": 720, "pixelRatio": 2}},
        });
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let created = browser.post("", wanted).await;
        browser.session = format!("{}/{}", browser.session, created["sessionId"].as_str().unwrap());
        browser
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self
            .http
            .post(format!("{}{path}", self.session))
            .json(&body)
            .send()
            .await
            .unwrap();
        let mut answer: Value = answer.json().await.unwrap();
        let value = answer["value"].take();
        assert!(value.get("error").is_none(), "{path}: {value}");
        value
    }

    async fn value(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.session)).send().await.unwrap();
        let mut answer: Value = answer.json().await.unwrap();
        answer["value"].take()
    }

    async fn get(&self, path: &str) -> String {
        self.value(path).await.as_str().unwrap_or_default().to_owned()
    }

    async fn open_page(&self, url: &str) {
        self.post("/url", json!({"url": url})).await;
    }

    async fn find(&self, css: &str) -> String {
        let found = self
            .post("/element", json!({"using": "css selector", "value": css}))
            .await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    async fn click(&self, css: &str) {
        let element = self.find(css).await;
        self.post(&format!("/element/{element}/click"), json!({})).await;
    }

    async fn type_into(&self, css: &str, text: &str) {
        let element = self.find(css).await;
        self.post(&format!("/element/{element}/value"), json!({"text": text}))
            .await;
    }

    async fn colour_of_button(&self) -> String {
        let element = self.find("button").await;
        self.get(&format!("/element/{element}/css/background-color")).await
    }

    /// What the browser complained about.
    async fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", json!({"type": "browser"})).await;
        let said = log.as_array().unwrap().iter().map(|entry| entry["message"].to_string());
        // Asking for an icon of its own accord is the browser's habit.
        said.filter(|message| !message.contains("favicon.ico")).collect()
    }

    async fn sees(&self, css: &str) {
        let element = self.find(css).await;
        let seen = async {
            while self.value(&format!("/element/{element}/displayed")).await != true {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(30), seen).await;
        assert!(seen.is_ok(), "{css} stayed out of sight");
    }

    async fn reaches(&self, title: &str) {
        let wanted = format!("{title} · Public Wi-Fi");
        let arrived = async {
            while self.get("/title").await != wanted {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let arrived = tokio::time::timeout(Duration::from_secs(30), arrived).await;
        assert!(
            arrived.is_ok(),
            "{wanted:?} did not come; at {}",
            self.get("/url").await
        );
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(pid) = self.driver.id() {
            let group = format!("-{pid}");
            // The driver leads its own group, so this ends the browser with it, and nobody else's.
            let _ = std::process::Command::new("kill").args(["-9", "--", &group]).status();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_scrolls_sideways_when_magnified_four_times() {
    let config = PortalConfig::new(ORIGIN.parse().unwrap(), TokenKey::new([0; 32]));
    let samples = Language::ALL.map(|language| pages(&config, language).unwrap());
    let mut names = Vec::new();
    let mut router = Router::new();
    for sample in samples.into_iter().flatten() {
        let path = format!("/{}/{}", sample.language.tag(), sample.name);
        router = router.route(&path, get(move || async { Html(sample.html) }));
        names.push(path);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });

    // A window of 1280 px, magnified to 400 % (WCAG 2.1, 1.4.10).
    let browser = Browser::open(320).await;
    for name in names {
        browser.open_page(&format!("{origin}{name}")).await;
        let script = "return document.documentElement.scrollWidth";
        let width = browser
            .post("/execute/sync", json!({"script": script, "args": []}))
            .await;
        assert_eq!(width, 320, "{name}");
    }
}

/// A click does not wait for the request that follows it.
async fn asked(fake: &Fake) -> Vec<String> {
    let asked = async {
        loop {
            let asked = fake.asked();
            if !asked.is_empty() {
                return asked;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asked)
        .await
        .unwrap_or_default()
}

/// A gate that opens at once, and says so to the portal.
async fn logon(State((origin, fake)): State<(String, Fake)>, Query(asked): Query<Value>) -> Redirect {
    assert_eq!(asked["username"], "t-1");
    assert_eq!(asked["response"].as_str().unwrap().len(), 32);
    fake.stand_at(Step::Online(status()));
    Redirect::to(&arrival(&origin, "success", 1))
}

fn arrival(origin: &str, res: &str, uamport: u16) -> String {
    let query = format!(
        "res={res}&uamip=127.0.0.1&uamport={uamport}&challenge=000102030405060708090a0b0c0d0e0f\
         &mac=02-00-00-00-00-01&ip=127.0.0.1&nasid=gate-1"
    );
    format!("{origin}{}", signed_for(origin, &query))
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_logs_in_without_a_script_or_a_cookie_and_without_complaint() {
    let fake = Fake::default();
    let portal = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", portal.local_addr().unwrap());
    let gate = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gate_port = gate.local_addr().unwrap().port();
    let config = PortalConfig::new(origin.parse().unwrap(), TokenKey::new([7; 32]));
    tokio::spawn(serve(
        portal,
        router(config, fake.clone()),
        Peers::Devices,
        std::future::pending(),
    ));
    let gate_router = Router::new()
        .route("/logon", get(logon))
        .with_state((origin.clone(), fake.clone()));
    tokio::spawn(async move { axum::serve(gate, gate_router).await });

    let browser = Browser::open(360).await;
    browser.open_page(&arrival(&origin, "notyet", gate_port)).await;
    browser.reaches("Enter your mobile number").await;
    assert_eq!(
        browser.colour_of_button().await,
        "rgba(0, 105, 92, 1)",
        "the stylesheet is in force"
    );

    browser.type_into("#number", "9876543210").await;
    browser.click("#consent").await;
    fake.stand_at(Step::Code(PendingCode {
        resend_in: Duration::from_secs(1),
        ..pending()
    }));
    browser.click("form[action='/number'] button").await;
    assert_eq!(asked(&fake).await, ["start 9876543210 true"]);
    browser.reaches("Enter the 6-digit code").await;

    // The button comes into sight when the wait is over.
    browser.sees("form[action='/resend'] button").await;
    browser.click("form[action='/resend'] button").await;
    assert_eq!(asked(&fake).await, ["resend"]);
    browser.reaches("Enter the 6-digit code").await;

    browser.type_into("#code", "123456").await;
    browser.click("form[action='/code'] button").await;
    browser.reaches("You are connected").await;
    assert_eq!(asked(&fake).await, ["verify 123456 02-00-00-00-00-01"]);

    browser.click("form[action='/disconnect'] button").await;
    browser.reaches("Disconnected").await;
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
}

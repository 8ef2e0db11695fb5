//! A real Chromium inside a phone's namespace, driven by `WebDriver`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::Phone;
use crate::netns::Process;
use crate::world::until;

const DRIVER: &str = "http://127.0.0.1:9515";
/// The key under which `WebDriver` names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser window the size of a small phone.
pub struct Browser<'a> {
    phone: &'a Phone,
    session: String,
    // Dropped last: its end takes the window along.
    _driver: Process,
}

impl<'a> Browser<'a> {
    /// Opens a window that reads a language, such as `ml` or `en`.
    ///
    /// # Errors
    /// chromedriver or Chromium does not start.
    pub fn open(phone: &'a Phone, language: &str, dir: &Path) -> anyhow::Result<Self> {
        Self::open_with(&[], phone, language, dir)
    }

    /// The same with a browser that lets pages of the internet ask for parts of themselves in the network at hand, as those of other makes do.
    ///
    /// # Errors
    /// As [`Browser::open`].
    pub fn open_heedless(phone: &'a Phone, language: &str, dir: &Path) -> anyhow::Result<Self> {
        let heedless = "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests";
        Self::open_with(&[heedless], phone, language, dir)
    }

    fn open_with(switches: &[&str], phone: &'a Phone, language: &str, dir: &Path) -> anyhow::Result<Self> {
        let driver = phone
            .netns()
            .start(&dir.join("chromedriver.log"), "chromedriver", &["--port=9515"])?;
        let is_up = until(Duration::from_secs(10), || {
            phone.curl(&[&format!("{DRIVER}/status")]).is_ok()
        });
        anyhow::ensure!(is_up, "chromedriver does not come up (Debian: chromium-driver)");
        let profile = tempfile::Builder::new().prefix("profile").tempdir_in(dir)?.keep();
        let own = format!("--user-data-dir={}", profile.display());
        let mut arguments = vec![
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            &own,
        ];
        arguments.extend(switches);
        let wish = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": {
            "args": arguments,
            "prefs": { "intl.accept_languages": language },
            "mobileEmulation": { "deviceMetrics": { "width": 360, "height": 640, "pixelRatio": 2.0 } },
        } } } });
        let mut browser = Self {
            phone,
            session: String::new(),
            _driver: driver,
        };
        let answer = browser.post("/session", &wish)?;
        text_at(&answer, "/sessionId")
            .context("no session")?
            .clone_into(&mut browser.session);
        Ok(browser)
    }

    /// Goes to an address.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn go(&self, url: &str) -> anyhow::Result<()> {
        self.within("/url", &json!({ "url": url })).map(drop)
    }

    /// Types into the element of a CSS selector.
    ///
    /// # Errors
    /// There is none.
    pub fn type_into(&self, selector: &str, text: &str) -> anyhow::Result<()> {
        let element = self.find(selector)?;
        self.within(&format!("/element/{element}/value"), &json!({ "text": text }))
            .map(drop)
    }

    /// Clicks the element of a CSS selector.
    ///
    /// # Errors
    /// There is none, or something covers it.
    pub fn click(&self, selector: &str) -> anyhow::Result<()> {
        let element = self.find(selector)?;
        self.within(&format!("/element/{element}/click"), &json!({})).map(drop)
    }

    /// Waits for an element.
    ///
    /// # Errors
    /// It does not appear in ten seconds.
    pub fn wait_for(&self, selector: &str) -> anyhow::Result<()> {
        let is_there = until(Duration::from_secs(10), || self.find(selector).is_ok());
        anyhow::ensure!(
            is_there,
            "{selector} does not appear on: {}",
            self.text().unwrap_or_default()
        );
        Ok(())
    }

    /// The text a reader sees.
    ///
    /// # Errors
    /// The browser is gone.
    pub fn text(&self) -> anyhow::Result<String> {
        self.run("return document.body.innerText")
    }

    /// Runs a script of the page, and waits for what it promises; the text that comes of it.
    ///
    /// # Errors
    /// It fails, or the browser is gone.
    pub fn run(&self, script: &str) -> anyhow::Result<String> {
        let script = json!({ "script": script, "args": [] });
        let value = self.within("/execute/sync", &script)?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    /// A picture of the window.
    ///
    /// # Errors
    /// The browser is gone.
    pub fn screenshot(&self, file: &Path) -> anyhow::Result<()> {
        let answer = self
            .phone
            .curl(&[&format!("{DRIVER}/session/{}/screenshot", self.session)])?;
        let answer: Value = serde_json::from_str(&answer)?;
        let picture = BASE64.decode(text_at(&answer, "/value").context("no picture")?.as_bytes())?;
        Ok(std::fs::write(file, picture)?)
    }

    fn find(&self, selector: &str) -> anyhow::Result<String> {
        let found = self.within("/element", &json!({ "using": "css selector", "value": selector }))?;
        Ok(text_at(&found, &format!("/{ELEMENT}"))
            .context("no element")?
            .to_owned())
    }

    fn within(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.post(&format!("/session/{}{path}", self.session), body)
    }

    fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let answer = self
            .phone
            .curl(&["-m", "60", "-d", &body.to_string(), &format!("{DRIVER}{path}")])?;
        let mut answer: Value = serde_json::from_str(&answer)?;
        if let Some(error) = text_at(&answer, "/value/error") {
            bail!("{error}: {}", text_at(&answer, "/value/message").unwrap_or_default());
        }
        Ok(answer.get_mut("value").map(Value::take).unwrap_or_default())
    }
}

fn text_at<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        let url = format!("{DRIVER}/session/{}", self.session);
        let _ = self.phone.curl(&["-X", "DELETE", &url]);
    }
}

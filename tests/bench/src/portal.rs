//! What each page weighs as it is sent, in each language.

use std::time::Duration;

use anyhow::Context as _;
use kavadam_lab::citizen::CHECK;
use kavadam_lab::world::{WEB, WEB_PORT, until};
use kavadam_lab::{Citizen, Phone};
use serde_json::{Map, Value, json};

const NUMBER: &str = "9876543210";

pub fn measure() -> anyhow::Result<Value> {
    let mut world = crate::login::world()?;
    world.set_plan(&["--quota", "2MB", "--remember", "1d"])?;
    let phone = world.phone()?;
    phone.dhcp()?;
    let citizen = Citizen {
        phone: &phone,
        number: NUMBER,
    };
    let mut weights = Map::new();
    let mut weigh = |name: &str, url: &str| -> anyhow::Result<()> {
        let (ml, en) = (octets(&phone, url, "ml")?, octets(&phone, url, "en")?);
        weights.insert(name.to_owned(), json!({ "ml": ml, "en": en }));
        Ok(())
    };
    // The redirect that leads to the first page is part of what a phone fetches.
    let first = fetch(&phone, CHECK, "ml", "%{size_download} %{size_header}")?;
    let page = citizen.arrive()?;
    weigh("number", &page.url)?;
    let site: Vec<&str> = page.url.splitn(4, '/').take(3).collect();
    for path in ["help", "terms", "privacy"] {
        weigh(path, &format!("{}/{path}", site.join("/")))?;
    }
    let page = citizen.give_number(&page)?;
    weigh("code", &page.url)?;
    let (_, code) = citizen.read_code(&world, 0)?;
    let (page, _) = citizen.enter_code(&page, &code)?;
    weigh("status", &page.url)?;
    let page = phone.submit(&page.form("/disconnect")?)?;
    weigh("disconnected", &page.url)?;
    let page = citizen.arrive()?;
    weigh("returning", &page.url)?;
    phone.submit(&page.form("/connect")?)?;
    let _flow = phone.download(&format!("http://{WEB}:{WEB_PORT}/bytes/9000000"))?;
    let mut page = page;
    let is_used_up = until(Duration::from_secs(20), || {
        citizen.arrive().is_ok_and(|found| {
            page = found;
            page.form("/voucher").is_ok() && page.form("/disconnect").is_err()
        })
    });
    anyhow::ensure!(is_used_up, "no page that says used up, but: {}", page.text());
    weigh("used_up", &page.url)?;
    let (body, headers) = first.split_once(' ').context("curl said nothing")?;
    Ok(json!({ "what": "pages as sent, compressed", "octets": weights,
        "first_page_octets": { "body": body.parse::<u64>()?, "headers_of_both_round_trips": headers.parse::<u64>()? } }))
}

fn octets(phone: &Phone, url: &str, language: &str) -> anyhow::Result<u64> {
    let text = fetch(phone, url, language, "%{http_code} %{size_download}")?;
    let (status, octets) = text.split_once(' ').context("curl said nothing")?;
    anyhow::ensure!(status == "200", "{url}: status {status}");
    Ok(octets.parse()?)
}

fn fetch(phone: &Phone, url: &str, language: &str, tell: &str) -> anyhow::Result<String> {
    let language = format!("Accept-Language: {language}");
    let headers = ["-H", "Accept-Encoding: gzip, br", "-H", &language];
    phone.curl(&[&["-L", "-o", "/dev/null", "-w", tell], headers.as_slice(), &[url]].concat())
}

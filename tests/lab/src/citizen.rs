//! What a citizen does with a phone, step by step, as the pages ask for it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::html::Page;
use crate::{Phone, World};

/// Where a phone looks whether it is online.
pub const CHECK: &str = "http://connectivitycheck.gstatic.com/generate_204";

/// That go on by themselves.
const MOST_PAGES_BETWEEN: usize = 3;

/// A person with a phone and a number.
pub struct Citizen<'a> {
    /// The phone.
    pub phone: &'a Phone,
    /// The number.
    pub number: &'a str,
}

impl Citizen<'_> {
    /// Opens whatever the Wi-Fi shows a stranger: the page that asks for the number.
    ///
    /// # Errors
    /// There is no such page.
    pub fn arrive(&self) -> anyhow::Result<Page> {
        let page = self.phone.open(CHECK)?;
        ensure!(page.status == 200, "no page: status {} from {}", page.status, page.url);
        Ok(page)
    }

    /// Gives number and consent; the page that asks for the code.
    ///
    /// # Errors
    /// The page does not ask for a number, or refuses it.
    pub fn give_number(&self, page: &Page) -> anyhow::Result<Page> {
        let form = page.form("/number")?.with("number", self.number).with("consent", "1");
        self.phone.submit(&form)
    }

    /// Reads the code that came by SMS after `seen` earlier messages.
    ///
    /// # Errors
    /// None came.
    pub fn read_code(&self, world: &World, seen: usize) -> anyhow::Result<(String, String)> {
        let text = world.message(self.number, seen)?.text;
        let code: String = text.chars().filter(char::is_ascii_digit).take(6).collect();
        ensure!(code.len() == 6, "no code in the message");
        Ok((text, code))
    }

    /// Enters the code; the page that follows, and how long it took.
    ///
    /// # Errors
    /// The page does not ask for a code.
    pub fn enter_code(&self, page: &Page, code: &str) -> anyhow::Result<(Page, Duration)> {
        let form = page.form("/code")?.with("code", code);
        let start = Instant::now();
        let mut page = self.phone.submit(&form)?;
        // A form cannot be redirected to a gate's IPv6 address; a page in between goes there.
        for _ in 0..MOST_PAGES_BETWEEN {
            match (page.form("/disconnect"), page.refresh()) {
                (Err(_), Some(onward)) => page = self.phone.open(&onward)?,
                _ => break,
            }
        }
        Ok((page, start.elapsed()))
    }

    /// From stranger to online.
    ///
    /// # Errors
    /// Any step failed; the message says which page was there instead.
    pub fn log_in(&self, world: &World) -> anyhow::Result<Page> {
        let seen = world.messages().len();
        let page = self.give_number(&self.arrive()?)?;
        let (_, code) = self.read_code(world, seen)?;
        let (page, _) = self.enter_code(&page, &code)?;
        page.form("/disconnect")
            .with_context(|| format!("not online, but: {}", page.text()))?;
        Ok(page)
    }
}

//! The pages: for each, the template it fills and exactly what that template may use, with samples that the tests
//! render and the screenshots show.

use std::time::Duration;

use kavadam_access::api::{PendingCode, Status};
use kavadam_domain::Language;
use serde::Serialize;

use crate::measure;

/// A page's content.
pub trait Page: Serialize {
    /// The template in `templates/`.
    const TEMPLATE: &'static str;
    /// Seconds after which the page loads itself anew, unless the reader stopped that.
    const REFRESH_SECS: Option<u32> = None;
    /// Rules of this one page, beside the common stylesheet.
    fn own_style(&self) -> Option<String> {
        None
    }
    /// Named examples, at least one for each face of the page.
    fn samples(language: Language) -> Vec<(&'static str, Self)>
    where
        Self: Sized;
}

/// Asks for the number and the consent.
#[derive(Serialize)]
pub struct NumberPage {}

impl Page for NumberPage {
    const TEMPLATE: &'static str = "number.html";
    fn samples(_: Language) -> Vec<(&'static str, Self)> {
        vec![("number", Self {})]
    }
}

/// Asks for the code.
#[derive(Serialize)]
pub struct CodePage {
    masked_number: String,
    /// 0: another code may be asked for now.
    resend_in_secs: u64,
    tries_left: u32,
    /// Fewer tries are left than there were: worth saying.
    has_failed: bool,
}

/// Tries a fresh code has; below this the page says how many are left.
const TRIES: u32 = 5;

impl CodePage {
    pub fn new(pending: &PendingCode) -> Self {
        Self {
            masked_number: pending.masked_number.clone(),
            resend_in_secs: pending.resend_in.as_secs() + u64::from(pending.resend_in.subsec_nanos() > 0),
            tries_left: pending.tries_left,
            has_failed: pending.tries_left < TRIES,
        }
    }
}

impl Page for CodePage {
    const TEMPLATE: &'static str = "code.html";
    /// The button to ask for another code appears when the wait is over, without a script and without reloading what
    /// has been typed.
    fn own_style(&self) -> Option<String> {
        (self.resend_in_secs > 0).then(|| format!(":root{{--wait:{}s}}", self.resend_in_secs))
    }
    fn samples(_: Language) -> Vec<(&'static str, Self)> {
        let pending = |resend_in, tries_left| {
            Self::new(&PendingCode {
                masked_number: "xxxxxx3210".into(),
                resend_in: Duration::from_secs(resend_in),
                expires_in: Duration::from_mins(10),
                tries_left,
            })
        };
        vec![
            ("code", pending(28, 5)),
            ("code-again", pending(0, 3)),
            ("code-spent", pending(0, 0)),
        ]
    }
}

/// The gate says yes; the centre has not seen the session yet.
#[derive(Serialize)]
pub struct ConnectingPage {}

impl Page for ConnectingPage {
    const TEMPLATE: &'static str = "connecting.html";
    const REFRESH_SECS: Option<u32> = Some(2);
    fn samples(_: Language) -> Vec<(&'static str, Self)> {
        vec![("connecting", Self {})]
    }
}

/// The gate says no.
#[derive(Serialize)]
pub struct FailedPage {
    /// The refusal in plain words, where the gate passed one on.
    pub reason: Option<String>,
}

impl Page for FailedPage {
    const TEMPLATE: &'static str = "failed.html";
    fn samples(language: Language) -> Vec<(&'static str, Self)> {
        let reason = kavadam_domain::Reason::TooManyDevices(2).message(language);
        vec![
            ("failed", Self { reason: Some(reason) }),
            ("failed-silently", Self { reason: None }),
        ]
    }
}

/// Online.
#[derive(Serialize)]
pub struct StatusPage {
    #[serde(flatten)]
    allowance: Allowance,
    masked_number: String,
    site: String,
    time_left: Option<String>,
    down: Option<String>,
    up: Option<String>,
    devices_online: u32,
    is_throttled: bool,
    /// `None`: less than a minute.
    figures_from: Option<String>,
}

impl StatusPage {
    pub fn new(status: &Status, language: Language) -> Self {
        let is_fresh = status.reported < Duration::from_mins(1);
        Self {
            allowance: Allowance::new(status, language),
            masked_number: status.masked_number.clone(),
            site: status.site.clone(),
            time_left: status.session_left.map(|left| measure::time_left(left, language)),
            down: status.down_bits_per_sec.map(measure::speed),
            up: status.up_bits_per_sec.map(measure::speed),
            devices_online: status.devices_online,
            is_throttled: status.is_throttled,
            figures_from: (!is_fresh).then(|| measure::time_left(status.reported, language)),
        }
    }
}

impl Page for StatusPage {
    const TEMPLATE: &'static str = "status.html";
    const REFRESH_SECS: Option<u32> = Some(30);
    fn samples(language: Language) -> Vec<(&'static str, Self)> {
        let online = sample_status(360_000_000);
        let throttled = Status {
            down_bits_per_sec: Some(512_000),
            up_bits_per_sec: Some(256_000),
            is_throttled: true,
            reported: Duration::from_secs(185),
            ..sample_status(1_000_000_000)
        };
        let unlimited = Status {
            quota_octets: None,
            session_left: None,
            period_left: None,
            down_bits_per_sec: None,
            ..sample_status(2_345_000_000)
        };
        vec![
            ("status", Self::new(&online, language)),
            ("status-slow", Self::new(&throttled, language)),
            ("status-unlimited", Self::new(&unlimited, language)),
        ]
    }
}

/// Known, but not online: connect again without a code.
#[derive(Serialize)]
pub struct ReturningPage {
    pub masked_number: String,
}

impl Page for ReturningPage {
    const TEMPLATE: &'static str = "returning.html";
    fn samples(_: Language) -> Vec<(&'static str, Self)> {
        let masked_number = "xxxxxx3210".into();
        vec![("returning", Self { masked_number })]
    }
}

/// No octets left in this period.
#[derive(Serialize)]
pub struct UsedUpPage {
    #[serde(flatten)]
    allowance: Allowance,
    masked_number: String,
}

impl UsedUpPage {
    pub fn new(status: &Status, language: Language) -> Self {
        Self {
            allowance: Allowance::new(status, language),
            masked_number: status.masked_number.clone(),
        }
    }
}

impl Page for UsedUpPage {
    const TEMPLATE: &'static str = "used_up.html";
    fn samples(language: Language) -> Vec<(&'static str, Self)> {
        let for_good = Status {
            period_left: None,
            ..sample_status(1_000_000_000)
        };
        vec![
            ("used-up", Self::new(&sample_status(1_000_000_000), language)),
            ("used-up-for-good", Self::new(&for_good, language)),
        ]
    }
}

/// Left by its own wish.
#[derive(Serialize)]
pub struct DisconnectedPage {}

impl Page for DisconnectedPage {
    const TEMPLATE: &'static str = "disconnected.html";
    fn samples(_: Language) -> Vec<(&'static str, Self)> {
        vec![("disconnected", Self {})]
    }
}

/// A long text, a template of its own in each language.
#[derive(Serialize)]
pub struct DocumentPage {
    title: &'static str,
    body: String,
    records_kept_years: u32,
}

/// See [`DocumentPage`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Document {
    Terms,
    Privacy,
    Help,
}

impl Document {
    /// The word in paths and template names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Terms => "terms",
            Self::Privacy => "privacy",
            Self::Help => "help",
        }
    }
}

impl DocumentPage {
    pub fn new(document: Document, records_kept_years: u32, language: Language) -> Self {
        Self {
            title: match document {
                Document::Terms => "terms_of_use",
                Document::Privacy => "privacy_notice",
                Document::Help => "help",
            },
            body: format!("{}.{}.html", document.name(), language.tag()),
            records_kept_years,
        }
    }
}

impl Page for DocumentPage {
    const TEMPLATE: &'static str = "document.html";
    fn samples(language: Language) -> Vec<(&'static str, Self)> {
        [Document::Terms, Document::Privacy, Document::Help]
            .map(|document| (document.name(), Self::new(document, 2, language)))
            .into()
    }
}

/// Something is wrong: what, and what can be done.
#[derive(Serialize)]
pub struct ErrorPage {
    /// Key of the headline among the texts.
    pub title: &'static str,
    /// Say how to reach the login page.
    pub says_how: bool,
    /// The gate's address that leads here again.
    pub prelogin: Option<String>,
    /// The visit's page, where trying again may help.
    pub retry: Option<String>,
}

impl Page for ErrorPage {
    const TEMPLATE: &'static str = "error.html";
    fn samples(_: Language) -> Vec<(&'static str, Self)> {
        let page = |title, says_how, prelogin: Option<&str>, retry: Option<&str>| Self {
            title,
            says_how,
            prelogin: prelogin.map(str::to_owned),
            retry: retry.map(str::to_owned),
        };
        let gate = Some("http://10.80.0.1:3990/prelogin");
        vec![
            ("open-from-wifi", page("open_from_wifi", true, gate, None)),
            ("expired", page("expired", false, gate, None)),
            ("not-from-hotspot", page("not_from_hotspot", true, None, None)),
            ("not-found", page("not_found", false, None, None)),
            ("busy", page("busy", false, None, None)),
            ("went-wrong", page("went_wrong", false, None, Some("/"))),
        ]
    }
}

/// What is left of the period's octets, in words and as the length of a bar.
#[derive(Serialize)]
struct Allowance {
    used: String,
    left: Option<String>,
    total: Option<String>,
    left_percent: u64,
    /// The period ends within a day.
    is_daily: bool,
    new_data_in: Option<String>,
}

/// Less than one packet of generic receive offload: the kernel's quota may stop there.
const NOTHING_OCTETS: u64 = 65_536;

impl Allowance {
    fn new(status: &Status, language: Language) -> Self {
        let left = status
            .quota_octets
            .map(|quota| quota.saturating_sub(status.used_octets));
        let left = left.map(|left| if left < NOTHING_OCTETS { 0 } else { left });
        Self {
            used: measure::octets_used(status.used_octets),
            left: left.map(measure::octets_left),
            total: status.quota_octets.map(measure::octets_left),
            left_percent: match (left, status.quota_octets) {
                (Some(left), Some(quota)) if quota > 0 => percent(left, quota),
                _ => 0,
            },
            is_daily: status.period_left.is_some_and(|left| left <= Duration::from_hours(24)),
            new_data_in: status.period_left.map(|left| measure::wait(left, language)),
        }
    }
}

/// Rounded down, but a little is shown as a little.
fn percent(part: u64, whole: u64) -> u64 {
    let exact = u128::from(part) * 100 / u128::from(whole);
    u64::try_from(exact).unwrap_or(100).clamp(u64::from(part > 0), 100)
}

fn sample_status(used_octets: u64) -> Status {
    Status {
        masked_number: "xxxxxx3210".into(),
        site: "KSRTC Thampanoor".into(),
        used_octets,
        quota_octets: Some(1_000_000_000),
        session_left: Some(Duration::from_mins(2 * 60 + 14)),
        period_left: Some(Duration::from_mins(5 * 60 + 20)),
        down_bits_per_sec: Some(10_000_000),
        up_bits_per_sec: Some(5_000_000),
        is_throttled: false,
        reported: Duration::from_secs(20),
        devices_online: 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_never_empty_while_something_is_left() {
        assert_eq!(percent(1, 1_000_000_000), 1);
        assert_eq!(percent(0, 5), 0);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
        assert_eq!(percent(7, 5), 100);
    }

    #[test]
    fn the_last_packet_of_a_quota_counts_as_used_up() {
        let allowance = Allowance::new(&sample_status(1_000_000_000 - 65_535), Language::En);
        assert_eq!((allowance.left.as_deref(), allowance.left_percent), (Some("0 MB"), 0));
    }
}

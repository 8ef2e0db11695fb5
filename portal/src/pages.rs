//! The pages: for each, the template it fills and exactly what that template may use, with samples that the tests
//! render and the screenshots show.

use std::net::SocketAddr;
use std::time::Duration;

use kavadam_access::api::{Message, PendingCode, Status};
use kavadam_domain::plan::Period;
use kavadam_domain::{Language, Reason};
use serde::Serialize;

use crate::allowance::Allowance;
use crate::fault::{Fault, Kind};
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

/// Asks for the number and the consent; after a refusal with what was typed.
#[derive(Serialize)]
pub struct NumberPage {
    /// Where not: asks for a voucher besides, whoever has one.
    sends_codes: bool,
    number: String,
    has_consent: bool,
    voucher: String,
    /// It is the voucher that was refused, and not the number.
    is_about_voucher: bool,
}

/// The fields take no more.
const MOST_NUMBER_CHARS: usize = 20;
const MOST_VOUCHER_CHARS: usize = 32;

impl NumberPage {
    pub const fn new(sends_codes: bool) -> Self {
        Self {
            sends_codes,
            number: String::new(),
            has_consent: false,
            voucher: String::new(),
            is_about_voucher: false,
        }
    }

    pub fn typed(sends_codes: bool, number: &str, has_consent: bool, voucher: &str) -> Self {
        Self {
            number: number.chars().take(MOST_NUMBER_CHARS).collect(),
            has_consent,
            voucher: voucher.chars().take(MOST_VOUCHER_CHARS).collect(),
            ..Self::new(sends_codes)
        }
    }

    pub fn refused(self, reason: Reason) -> Self {
        Self {
            is_about_voucher: reason == Reason::BadVoucher,
            ..self
        }
    }
}

impl Page for NumberPage {
    const TEMPLATE: &'static str = "number.html";
    fn samples(_: Language) -> Vec<(&'static str, Self)> {
        vec![("number", Self::new(true)), ("number-voucher", Self::new(false))]
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
    way: Way,
}

/// How the code comes.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    /// By a message that waits.
    Queued,
    /// The provider took the message.
    Sent,
    /// The message could not be sent so far.
    Unsent,
    /// No message comes: the code is that of an authenticator app.
    App,
}

/// Tries a fresh code has; below this the page says how many are left.
const TRIES: u32 = 5;

impl CodePage {
    pub fn new(pending: &PendingCode, sends_codes: bool) -> Self {
        Self {
            masked_number: pending.masked_number.clone(),
            resend_in_secs: pending.resend_in.as_secs() + u64::from(pending.resend_in.subsec_nanos() > 0),
            tries_left: pending.tries_left,
            has_failed: pending.tries_left < TRIES,
            way: match pending.message {
                _ if !sends_codes => Way::App,
                Message::Queued => Way::Queued,
                Message::Sent => Way::Sent,
                Message::Failed => Way::Unsent,
            },
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
        let sample = |resend_in, tries_left, message, sends_codes| {
            let pending = PendingCode {
                masked_number: "xxxxxx3210".into(),
                resend_in: Duration::from_secs(resend_in),
                expires_in: Duration::from_mins(10),
                tries_left,
                message,
            };
            Self::new(&pending, sends_codes)
        };
        let pending = |resend_in, tries_left, message| sample(resend_in, tries_left, message, true);
        vec![
            ("code", pending(28, 5, Message::Sent)),
            ("code-again", pending(0, 3, Message::Sent)),
            ("code-spent", pending(0, 0, Message::Sent)),
            ("code-queued", pending(30, 5, Message::Queued)),
            ("code-unsent", pending(12, 5, Message::Failed)),
            ("code-app", sample(12, 5, Message::Queued, false)),
            ("code-app-spent", sample(0, 0, Message::Queued, false)),
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
        let reason = Reason::TooManyDevices(2).message(language);
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
            period: Period::Once,
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
            period: Period::Once,
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
        let gate = Some(SocketAddr::from(([10, 80, 0, 1], 3990)));
        let page = |kind: Kind| Fault::from(kind).page(gate);
        let broken = Fault::from(Kind::Broken).with_retry(Language::En, "/".to_owned());
        vec![
            ("open-from-wifi", page(Kind::NoVisit)),
            ("expired", page(Kind::Expired)),
            ("not-from-hotspot", page(Kind::Forged)),
            ("not-found", page(Kind::NotFound)),
            ("wrong-way", page(Kind::NotAForm)),
            ("not-understood", page(Kind::NotUnderstood)),
            ("too-large", page(Kind::TooLarge)),
            ("busy", Fault::busy("/".to_owned()).page(gate)),
            ("went-wrong", broken.page(gate)),
        ]
    }
}

pub fn sample_status(used_octets: u64) -> Status {
    Status {
        masked_number: "xxxxxx3210".into(),
        site: "KSRTC Thampanoor".into(),
        used_octets,
        quota_octets: Some(1_000_000_000),
        session_left: Some(Duration::from_mins(2 * 60 + 14)),
        period: Period::Day,
        period_left: Some(Duration::from_mins(5 * 60 + 20)),
        down_bits_per_sec: Some(10_000_000),
        up_bits_per_sec: Some(5_000_000),
        is_throttled: false,
        reported: Duration::from_secs(20),
        devices_online: 2,
    }
}

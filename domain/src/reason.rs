//! Why somebody is refused: data that every door renders in its own way.

use std::time::Duration;

use crate::Language;

/// A refusal. Rendered as a page, a Reply-Message, or an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The subscriber's allowance for this period is used up; a new one begins in the time given, if ever.
    QuotaUsedUp(Option<Duration>),
    /// As many of the subscriber's devices are online as the plan allows (that many).
    TooManyDevices(u32),
    /// The number is blocked by an administrator.
    Blocked,
    /// Unknown ticket, wrong password, or a ticket used or expired: which of them is nobody's business.
    BadCredential,
    /// The device is not remembered, or no longer: it must log in with a code.
    UnknownDevice,
    /// The session that asks for more is not open here.
    UnknownSession,
    /// The site is closed by an administrator.
    SiteClosed,
    /// Too many attempts; the limit lifts after the time given.
    TooMany(Duration),
    /// No code is pending for this device: begin again.
    NoChallenge,
    /// The code is wrong; so many tries are left (0: this code is spent).
    WrongCode(u32),
    /// The code's ten minutes are over.
    CodeExpired,
    /// The number is not an Indian mobile number.
    InvalidNumber,
    /// The terms were not accepted.
    NoConsent,
    /// The voucher is unknown, used or expired.
    BadVoucher,
    /// A method the service does not offer (EAP, a disabled one).
    UnsupportedMethod,
    /// A login to something else than the network, such as a gate's own command line (Service-Type Administrative, NAS-Prompt …).
    UnsupportedService,
}

impl Reason {
    /// A stable word for metrics and `--json`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::QuotaUsedUp(_) => "quota-used-up",
            Self::TooManyDevices(_) => "too-many-devices",
            Self::Blocked => "blocked",
            Self::BadCredential => "bad-credential",
            Self::UnknownDevice => "unknown-device",
            Self::UnknownSession => "unknown-session",
            Self::SiteClosed => "site-closed",
            Self::TooMany(_) => "too-many-attempts",
            Self::NoChallenge => "no-challenge",
            Self::WrongCode(_) => "wrong-code",
            Self::CodeExpired => "code-expired",
            Self::InvalidNumber => "invalid-number",
            Self::NoConsent => "no-consent",
            Self::BadVoucher => "bad-voucher",
            Self::UnsupportedMethod => "unsupported-method",
            Self::UnsupportedService => "unsupported-service",
        }
    }

    /// One sentence a citizen can act on (Reply-Message, RFC 2865 §5.18: at most 253 octets of UTF-8).
    #[must_use]
    pub fn message(self, language: Language) -> String {
        match language {
            Language::En => self.english(),
            Language::Ml => self.malayalam(),
        }
    }

    fn english(self) -> String {
        match self {
            Self::QuotaUsedUp(Some(wait)) => {
                format!("Your free data is used up. New data in {}.", span_en(wait))
            }
            Self::QuotaUsedUp(None) => "Your data is used up.".into(),
            Self::TooManyDevices(1) => "Another of your devices is online. Disconnect it first.".into(),
            Self::TooManyDevices(most) => {
                format!("{most} of your devices are already online. Disconnect one first.")
            }
            Self::Blocked => "This number cannot use the service. Please contact the helpdesk.".into(),
            Self::BadCredential => "That login is no longer valid. Please log in again.".into(),
            Self::UnknownDevice | Self::NoChallenge => "Please log in with your mobile number.".into(),
            Self::UnknownSession => "Session expired. Log in again.".into(),
            Self::SiteClosed => "This hotspot is closed for now. Try again in a few minutes.".into(),
            Self::TooMany(wait) => format!("Too many attempts. Try again in {}.", span_en(wait)),
            Self::WrongCode(0) => "Wrong code. Ask for a new one.".into(),
            Self::WrongCode(1) => "Wrong code, 1 attempt left.".into(),
            Self::WrongCode(left) => format!("Wrong code, {left} attempts left."),
            Self::CodeExpired => "Code expired. Ask for a new one.".into(),
            Self::InvalidNumber => "Check the number: 10 digits, beginning with 6, 7, 8 or 9.".into(),
            Self::NoConsent => "Please accept the terms of use.".into(),
            Self::BadVoucher => "This voucher is not valid.".into(),
            Self::UnsupportedMethod => "This login method is not offered here.".into(),
            Self::UnsupportedService => {
                "Only logins to the public Wi-Fi are answered here. Set another RADIUS server for administrators."
                    .into()
            }
        }
    }

    fn malayalam(self) -> String {
        match self {
            Self::QuotaUsedUp(Some(wait)) => {
                format!("നിങ്ങളുടെ സൗജന്യ ഡാറ്റ തീർന്നു. {} കഴിഞ്ഞ് വീണ്ടും ലഭിക്കും.", span_ml(wait))
            }
            Self::QuotaUsedUp(None) => "നിങ്ങളുടെ ഡാറ്റ തീർന്നു.".into(),
            Self::TooManyDevices(1) => "നിങ്ങളുടെ മറ്റൊരു ഉപകരണം ഓൺലൈനാണ്. ആദ്യം അത് വിച്ഛേദിക്കുക.".into(),
            Self::TooManyDevices(most) => {
                format!("നിങ്ങളുടെ {most} ഉപകരണങ്ങൾ ഓൺലൈനാണ്. ആദ്യം ഒന്ന് വിച്ഛേദിക്കുക.")
            }
            Self::Blocked => "ഈ നമ്പറിന് സേവനം ലഭ്യമല്ല. ഹെൽപ്പ്ഡെസ്കിനെ ബന്ധപ്പെടുക.".into(),
            Self::BadCredential => "ലോഗിൻ അസാധുവായി. വീണ്ടും ലോഗിൻ ചെയ്യുക.".into(),
            Self::UnknownDevice | Self::NoChallenge => "മൊബൈൽ നമ്പർ നൽകി ലോഗിൻ ചെയ്യുക.".into(),
            Self::UnknownSession => "സെഷൻ കാലഹരണപ്പെട്ടു. വീണ്ടും ലോഗിൻ ചെയ്യുക.".into(),
            Self::SiteClosed => "ഈ ഹോട്ട്സ്പോട്ട് ഇപ്പോൾ ലഭ്യമല്ല. ഏതാനും മിനിറ്റ് കഴിഞ്ഞ് വീണ്ടും ശ്രമിക്കുക.".into(),
            Self::TooMany(wait) => {
                format!("ശ്രമങ്ങളുടെ പരിധി കഴിഞ്ഞു. {} കഴിഞ്ഞ് വീണ്ടും ശ്രമിക്കുക.", span_ml(wait))
            }
            Self::WrongCode(0) => "തെറ്റായ കോഡ്. പുതിയ കോഡ് ആവശ്യപ്പെടുക.".into(),
            Self::WrongCode(left) => format!("തെറ്റായ കോഡ്. ഇനി {left} തവണ കൂടി ശ്രമിക്കാം."),
            Self::CodeExpired => "കോഡിന്റെ കാലാവധി കഴിഞ്ഞു. പുതിയ കോഡ് ആവശ്യപ്പെടുക.".into(),
            Self::InvalidNumber => "നമ്പർ പരിശോധിക്കുക: 6, 7, 8, 9 എന്നിവയിലൊന്നിൽ തുടങ്ങുന്ന 10 അക്കം വേണം.".into(),
            Self::NoConsent => "ഉപയോഗ നിബന്ധനകൾ അംഗീകരിക്കുക.".into(),
            Self::BadVoucher => "ഈ വൗച്ചർ സാധുവല്ല.".into(),
            Self::UnsupportedMethod => "ഈ ലോഗിൻ രീതി ഇവിടെ ലഭ്യമല്ല.".into(),
            Self::UnsupportedService => "ഇവിടെ പൊതു വൈഫൈ ലോഗിൻ മാത്രം. അഡ്മിൻ ലോഗിന് മറ്റൊരു RADIUS സെർവർ നൽകുക.".into(),
        }
    }
}

/// Hours, minutes or seconds, whichever reads best; rounded up so that nobody comes back too early.
fn rounded(wait: Duration) -> (u64, usize) {
    let secs = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    match secs {
        0..120 => (secs.max(1), 0),
        120..7200 => (secs.div_ceil(60), 1),
        _ => (secs.div_ceil(3600), 2),
    }
}

fn span_en(wait: Duration) -> String {
    match rounded(wait) {
        (1, 0) => "1 second".into(),
        (n, 0) => format!("{n} seconds"),
        (n, 1) => format!("{n} minutes"),
        (n, _) => format!("{n} hours"),
    }
}

fn span_ml(wait: Duration) -> String {
    match rounded(wait) {
        (n, 0) => format!("{n} സെക്കൻഡ്"),
        (n, 1) => format!("{n} മിനിറ്റ്"),
        (n, _) => format!("{n} മണിക്കൂർ"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_fits_a_reply_message_in_both_languages() {
        let wait = Duration::from_secs(86_399);
        let all = [
            Reason::QuotaUsedUp(Some(wait)),
            Reason::QuotaUsedUp(None),
            Reason::TooManyDevices(2),
            Reason::Blocked,
            Reason::BadCredential,
            Reason::UnknownDevice,
            Reason::UnknownSession,
            Reason::SiteClosed,
            Reason::TooMany(wait),
            Reason::NoChallenge,
            Reason::WrongCode(0),
            Reason::WrongCode(4),
            Reason::CodeExpired,
            Reason::InvalidNumber,
            Reason::NoConsent,
            Reason::BadVoucher,
            Reason::UnsupportedMethod,
            Reason::UnsupportedService,
        ];
        for reason in all {
            for language in Language::ALL {
                let text = reason.message(language);
                assert!((1..=253).contains(&text.len()), "{} octets: {text}", text.len());
            }
        }
    }

    #[test]
    fn a_wait_is_never_said_shorter_than_it_is() {
        assert_eq!(span_en(Duration::from_millis(1_001)), "2 seconds");
        assert_eq!(span_en(Duration::from_secs(121)), "3 minutes");
        assert_eq!(span_en(Duration::from_secs(7_201)), "3 hours");
    }
}

//! Every short text of the pages, side by side, so that a reviewer of one language sees what it should say.
//!
//! A text exists in all languages or it does not compile. `{…}` is the one place a template fills in. The long texts
//! (terms, privacy notice, help) are templates of their own. Each language awaits the signature of a native reviewer.

use kavadam_domain::Language;
use serde::Serialize;

macro_rules! texts {
    ($($key:ident: $ml:literal / $en:literal;)*) => {
        /// The texts of one language, by key.
        #[derive(Serialize)]
        pub struct Texts {
            $($key: &'static str,)*
        }

        static ML: Texts = Texts { $($key: $ml,)* };
        static EN: Texts = Texts { $($key: $en,)* };

        #[cfg(test)]
        const ALL: &[(&str, &str, &str)] = &[$((stringify!($key), $ml, $en),)*];
    };
}

texts! {
    // Frame
    choose_language: "ഭാഷ തിരഞ്ഞെടുക്കുക" / "Choose language";
    terms_of_use: "ഉപയോഗ നിബന്ധനകൾ" / "Terms of use";
    privacy_notice: "സ്വകാര്യതാ അറിയിപ്പ്" / "Privacy notice";
    help: "സഹായം" / "Help";
    about: "ഈ സേവനത്തെക്കുറിച്ച്" / "About this service";
    helpdesk: "ഹെൽപ്പ്ഡെസ്ക്" / "Helpdesk";
    run_by: "സേവനം നൽകുന്നത്: {operator}" / "A service of {operator}";
    back: "തിരികെ" / "Back";
    step: "ഘട്ടം {n} / 3" / "Step {n} of 3";

    // Number
    number_title: "നിങ്ങളുടെ മൊബൈൽ നമ്പർ നൽകുക" / "Enter your mobile number";
    number_label: "10 അക്ക മൊബൈൽ നമ്പർ" / "10-digit mobile number";
    number_hint: "ഈ നമ്പറിലേക്ക് SMS ആയി ഒരു കോഡ് (OTP) വരും. സൗജന്യമാണ്." /
        "A code (OTP) will come to this number by SMS. It is free.";
    accept_terms: "ഉപയോഗ നിബന്ധനകൾ ഞാൻ അംഗീകരിക്കുന്നു" / "I accept the terms of use";
    what_is_kept: "നിങ്ങളുടെ നമ്പർ, ഉപകരണത്തിന്റെ വിലാസം, കണക്ഷൻ സമയം, ഉപയോഗിച്ച ഡാറ്റയുടെ അളവ് എന്നിവ നിയമപ്രകാരം സൂക്ഷിക്കും." /
        "As the law requires, we keep your number, your device's address, when you were connected and how much data you used.";
    no_codes_hint: "ഇവിടെ SMS ആയി കോഡ് വരില്ല. വൗച്ചറോ ഓതന്റിക്കേറ്റർ ആപ്പോ ഉപയോഗിക്കുക." /
        "No code comes by SMS here. Use a voucher or an authenticator app.";
    voucher_if_any: "വൗച്ചർ കോഡ് (ഉണ്ടെങ്കിൽ)" / "Voucher code, if you have one";
    send_otp: "OTP അയയ്ക്കുക" / "Send OTP";

    // Code
    code_title: "6 അക്ക കോഡ് നൽകുക" / "Enter the 6-digit code";
    code_label: "SMS-ൽ വന്ന കോഡ്" / "Code from the SMS";
    app_code: "ആപ്പിലെ കോഡ്" / "Code from the app";
    app_hint: "{number} എന്ന നമ്പറിനുള്ള ഓതന്റിക്കേറ്റർ ആപ്പിലെ കോഡ് നൽകുക. SMS വരില്ല." /
        "Enter the code of your authenticator app for {number}. No SMS will come.";
    otp_queued: "{number} എന്ന നമ്പറിലേക്ക് OTP അയയ്ക്കുന്നു" / "The OTP to {number} is being sent";
    otp_unsent: "{number} എന്ന നമ്പറിലേക്ക് OTP അയയ്ക്കാനായില്ല. ഏതാനും മിനിറ്റ് കഴിഞ്ഞ് വീണ്ടും ശ്രമിക്കുക." /
        "The OTP to {number} could not be sent. Try again in a few minutes.";
    otp_sent_to: "{number} എന്ന നമ്പറിലേക്ക് OTP അയച്ചു" / "OTP sent to {number}";
    verify: "സ്ഥിരീകരിക്കുക" / "Verify";
    do_not_share: "ഈ കോഡ് ആരുമായും പങ്കുവയ്ക്കരുത്" / "Do not share this code";
    resend: "OTP വീണ്ടും അയയ്ക്കുക" / "Resend OTP";
    resend_in: "{n} സെക്കൻഡിനു ശേഷം OTP വീണ്ടും അയയ്ക്കാം" / "Resend OTP in {n} s";
    change_number: "നമ്പർ മാറ്റുക" / "Change number";
    tries_left: "ഇനി {n} തവണ കൂടി ശ്രമിക്കാം" / "Attempts left: {n}";
    code_is_spent: "ഈ കോഡ് ഇനി ഉപയോഗിക്കാനാവില്ല. പുതിയ കോഡ് ആവശ്യപ്പെടുക." /
        "This code can no longer be used. Ask for a new one.";
    app_is_over: "ഈ ശ്രമം കഴിഞ്ഞു. ‘വീണ്ടും ശ്രമിക്കുക’ അമർത്തി, ആപ്പിൽ അപ്പോൾ കാണുന്ന കോഡ് നൽകുക." /
        "This attempt is over. Tap “Try again”, then enter the code the app shows.";
    page_waits: "SMS വായിക്കാൻ ഈ പേജ് അടയ്ക്കാം. തിരികെ വരുമ്പോൾ ഇവിടെത്തന്നെ തുടരാം." /
        "You may leave this page to read the SMS. You will come back to this step.";

    // Connecting, failed
    connecting: "കണക്റ്റ് ചെയ്യുന്നു…" / "Connecting…";
    connecting_hint: "ഏതാനും സെക്കൻഡുകൾ കാത്തിരിക്കുക." / "Please wait a few seconds.";
    not_connected: "കണക്റ്റ് ചെയ്തിട്ടില്ല" / "Not connected";
    login_failed: "ഇപ്പോൾ കണക്റ്റ് ചെയ്യാനായില്ല. വീണ്ടും ശ്രമിക്കുക." / "We could not connect you just now. Please try again.";
    try_again: "വീണ്ടും ശ്രമിക്കുക" / "Try again";

    // Status
    connected: "നിങ്ങൾ കണക്റ്റ് ചെയ്തിരിക്കുന്നു" / "You are connected";
    connected_hint: "ഈ പേജ് അടച്ച് ഇന്റർനെറ്റ് ഉപയോഗിക്കാം." / "You can close this page and use the internet.";
    data_left_today: "ഇന്ന് ബാക്കിയുള്ള ഡാറ്റ" / "Data left today";
    data_left: "ബാക്കിയുള്ള ഡാറ്റ" / "Data left";
    data_used: "ഉപയോഗിച്ച ഡാറ്റ" / "Data used";
    of_total: "ആകെ {total}" / "of {total}";
    time_left: "ബാക്കി സമയം" / "Time left";
    speed: "വേഗത" / "Speed";
    devices: "ഓൺലൈനിലുള്ള ഉപകരണങ്ങൾ" / "Devices online";
    mobile_number: "മൊബൈൽ നമ്പർ" / "Mobile number";
    place: "സ്ഥലം" / "Place";
    new_data_in: "{time} കഴിഞ്ഞ് പുതിയ ഡാറ്റ ലഭിക്കും" / "New data in {time}";
    throttled: "വേഗതയുള്ള ഡാറ്റ തീർന്നു. കുറഞ്ഞ വേഗതയിൽ തുടരാം." / "Your fast data is used up. You stay online, more slowly.";
    figures_fresh: "ഒരു മിനിറ്റിനുള്ളിലെ കണക്ക്" / "Updated less than a minute ago";
    figures_from: "{time} മുൻപുള്ള കണക്ക്" / "Updated {time} ago";
    refresh: "പുതുക്കുക" / "Refresh";
    stop_refresh: "തനിയെ പുതുക്കുന്നത് നിർത്തുക" / "Stop automatic refresh";
    start_refresh: "തനിയെ പുതുക്കുക" / "Refresh automatically";
    disconnect: "വിച്ഛേദിക്കുക" / "Disconnect";

    // Returning, disconnected
    welcome_back: "വീണ്ടും സ്വാഗതം" / "Welcome back";
    device_known: "ഈ ഉപകരണം {number} എന്ന നമ്പർ ഉപയോഗിച്ച് കണക്റ്റ് ചെയ്തിട്ടുണ്ട്. കോഡ് ആവശ്യമില്ല." /
        "This device was used with {number}. No code is needed.";
    connect: "കണക്റ്റ് ചെയ്യുക" / "Connect";
    disconnected: "വിച്ഛേദിച്ചു" / "Disconnected";
    disconnected_hint: "നിങ്ങൾ ഇപ്പോൾ ഓൺലൈനല്ല." / "You are no longer online.";
    connect_again: "വീണ്ടും കണക്റ്റ് ചെയ്യുക" / "Connect again";

    // Used up
    used_up_today: "ഇന്നത്തെ നിങ്ങളുടെ സൗജന്യ ഡാറ്റ തീർന്നു" / "Your free data for today is used up";
    used_up: "നിങ്ങളുടെ ഡാറ്റ തീർന്നു" / "Your data is used up";
    have_voucher: "എന്റെ കൈവശം വൗച്ചർ ഉണ്ട്" / "I have a voucher";
    voucher_code: "വൗച്ചർ കോഡ്" / "Voucher code";
    continue_: "തുടരുക" / "Continue";

    // Errors
    went_wrong: "എന്തോ കുഴപ്പം സംഭവിച്ചു. ഏതാനും മിനിറ്റ് കഴിഞ്ഞ് വീണ്ടും ശ്രമിക്കുക" /
        "Something went wrong. Try again in a few minutes";
    busy: "സേവനം തിരക്കിലാണ്. ഒരു മിനിറ്റ് കഴിഞ്ഞ് വീണ്ടും ശ്രമിക്കുക." /
        "The service is busy. Please try again in a minute.";
    not_found: "അങ്ങനെയൊരു പേജ് ഇല്ല" / "There is no such page";
    wrong_way: "ഈ പേജ് ഈ രീതിയിൽ തുറക്കാനാവില്ല" / "This page cannot be opened in this way";
    not_understood: "അഭ്യർത്ഥന മനസ്സിലായില്ല" / "The request was not understood";
    too_large: "അയച്ച ഫോം വളരെ വലുതാണ്. തിരികെ പോയി വീണ്ടും ശ്രമിക്കുക" /
        "The form was too large. Go back and try again";
    expired: "സെഷൻ കാലഹരണപ്പെട്ടു. വീണ്ടും ലോഗിൻ ചെയ്യുക" / "Session expired. Log in again";
    not_from_hotspot: "ഈ ലിങ്ക് ഞങ്ങളുടെ ഹോട്ട്സ്പോട്ടിൽ നിന്നുള്ളതല്ല" / "This link is not from one of our hotspots";
    open_from_wifi: "ഹോട്ട്സ്പോട്ടിന്റെ വൈഫൈയിൽ നിന്ന് ഈ പേജ് തുറക്കുക" / "Open this page from the hotspot's Wi-Fi";
    open_from_wifi_hint: "ആദ്യം വൈഫൈയിൽ ചേരുക. ലോഗിൻ പേജ് വന്നില്ലെങ്കിൽ വൈഫൈ ഓഫ് ചെയ്ത് വീണ്ടും ഓൺ ചെയ്യുക." /
        "Join the Wi-Fi first. If no login page appears, turn Wi-Fi off and on again.";
    open_login_page: "ലോഗിൻ പേജ് തുറക്കുക" / "Open the login page";
}

/// The texts of a language.
pub const fn of(language: Language) -> &'static Texts {
    match language {
        Language::Ml => &ML,
        Language::En => &EN,
    }
}

/// `text` with its `{…}` replaced.
pub fn fill(text: &str, value: &str) -> String {
    match text
        .split_once('{')
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?.1)))
    {
        Some((before, after)) => format!("{before}{value}{after}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placeholders(text: &str) -> Vec<&str> {
        text.split('{')
            .skip(1)
            .filter_map(|part| part.split_once('}'))
            .map(|(name, _)| name)
            .collect()
    }

    #[test]
    fn every_text_says_something_in_both_languages() {
        let is_malayalam = |c: char| ('\u{d00}'..='\u{d7f}').contains(&c);
        for (key, ml, en) in ALL {
            assert!(ml.chars().any(is_malayalam), "{key} is not in Malayalam");
            assert!(
                !en.is_empty() && !en.chars().any(is_malayalam),
                "{key} is not in English"
            );
        }
    }

    #[test]
    fn every_text_has_the_same_place_to_fill_in_both_languages() {
        for (key, ml, en) in ALL {
            assert_eq!(placeholders(ml), placeholders(en), "{key}");
            assert!(placeholders(en).len() <= 1, "{key}");
        }
    }

    #[test]
    fn malayalam_is_written_with_atomic_chillus_and_without_stray_joiners() {
        for (key, ml, _) in ALL {
            // A virama followed by a zero-width joiner is the old spelling of a chillu, which NFC leaves alone.
            assert!(!ml.contains("\u{d4d}\u{200d}"), "{key}");
            assert!(!ml.contains(['\u{feff}', '\u{a0}']), "{key}");
        }
    }

    #[test]
    fn fills_the_one_place() {
        assert_eq!(fill("a {n} b", "<7>"), "a <7> b");
        assert_eq!(fill("no place", "7"), "no place");
        assert_eq!(fill("torn {n", "7"), "torn {n");
    }
}

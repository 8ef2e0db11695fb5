//! Packets in words, for whoever looks at the wire: names of attributes and values as RADIUS engineers know them.
//!
//! What hides a password is never told. What tells who somebody is is masked unless asked for; so is whatever is not known here.

mod names;

use std::net::{Ipv4Addr, Ipv6Addr};

use kavadam_domain::{Mac, MobileNumber, Timestamp};

use names::{ATTRIBUTES, ERROR_CAUSES, Kind, MICROSOFT, TERMINATE_CAUSES, VENDOR_ATTRIBUTES};

use crate::wire::{Code, Packet, attr, service, status};

/// The name of a code, as RFCs write it.
#[must_use]
pub const fn code_name(code: Code) -> &'static str {
    match code {
        Code::AccessRequest => "Access-Request",
        Code::AccessAccept => "Access-Accept",
        Code::AccessReject => "Access-Reject",
        Code::AccountingRequest => "Accounting-Request",
        Code::AccountingResponse => "Accounting-Response",
        Code::AccessChallenge => "Access-Challenge",
        Code::StatusServer => "Status-Server",
        Code::DisconnectRequest => "Disconnect-Request",
        Code::DisconnectAck => "Disconnect-ACK",
        Code::DisconnectNak => "Disconnect-NAK",
        Code::CoaRequest => "CoA-Request",
        Code::CoaAck => "CoA-ACK",
        Code::CoaNak => "CoA-NAK",
    }
}

/// The code of that name, in any case.
#[must_use]
pub fn code_named(name: &str) -> Option<Code> {
    Code::ALL
        .into_iter()
        .find(|code| code_name(*code).eq_ignore_ascii_case(name))
}

/// Every attribute, in order: its name and its value in words. `is_personal` tells who somebody is, too.
#[must_use]
pub fn attributes(packet: &Packet, is_personal: bool) -> Vec<(String, String)> {
    let mut told = Vec::new();
    for (kind, value) in packet.attributes() {
        if kind == attr::VENDOR_SPECIFIC {
            tell_vendor(value, is_personal, &mut told);
        } else {
            let known = ATTRIBUTES.iter().find(|(number, ..)| *number == kind);
            told.push(match known {
                Some((_, name, reading)) => ((*name).to_owned(), read(*reading, value, is_personal)),
                None => (format!("Attribute-{kind}"), unknown(value, is_personal)),
            });
        }
    }
    told
}

fn tell_vendor(value: &[u8], is_personal: bool, told: &mut Vec<(String, String)>) {
    let Some((vendor, mut rest)) = value.split_first_chunk::<4>() else {
        told.push(("Vendor-Specific".to_owned(), "too short".to_owned()));
        return;
    };
    let vendor = u32::from_be_bytes(*vendor);
    let unknown = |value: &[u8]| match vendor {
        MICROSOFT => read(Kind::Secret, value, is_personal),
        _ => unknown(value, is_personal),
    };
    while let [kind, length, after @ ..] = rest {
        // Vendors that follow no layout are told as one.
        let Some((value, next)) = usize::from(*length)
            .checked_sub(2)
            .and_then(|most| after.split_at_checked(most))
        else {
            break;
        };
        let known = VENDOR_ATTRIBUTES.iter().find(|(number, ..)| *number == (vendor, *kind));
        told.push(match known {
            Some((_, name, reading)) => ((*name).to_owned(), read(*reading, value, is_personal)),
            None => (format!("Vendor-{vendor}-{kind}"), unknown(value)),
        });
        rest = next;
    }
    if !rest.is_empty() {
        told.push((format!("Vendor-{vendor}"), unknown(rest)));
    }
}

fn read(kind: Kind, value: &[u8], is_personal: bool) -> String {
    let number = <[u8; 4]>::try_from(value).ok().map(u32::from_be_bytes);
    let named = |names: &[(u32, &str)]| {
        number.map(|number| {
            let known = names.iter().find(|(known, _)| *known == number);
            known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
        })
    };
    let told = match kind {
        Kind::Secret => return format!("hidden ({} octets)", value.len()),
        Kind::Person => return person(value, is_personal),
        Kind::PersonIpv4 | Kind::PersonIpv6 if !is_personal => return "hidden".to_owned(),
        Kind::Text => return text(value),
        Kind::Octets => return hexadecimal(value),
        Kind::Number => number.map(|number| number.to_string()),
        Kind::Seconds => number.map(|secs| format!("{secs} s")),
        Kind::Ipv4 | Kind::PersonIpv4 => number.map(|number| Ipv4Addr::from(number).to_string()),
        Kind::Ipv6 | Kind::PersonIpv6 => {
            let octets = <[u8; 16]>::try_from(value).ok();
            octets.map(|octets| Ipv6Addr::from(octets).to_string())
        }
        Kind::Time => number.map(|secs| {
            let at = Timestamp::from_secs(secs.into()).to_jiff();
            at.map_or_else(|| secs.to_string(), |at| at.to_string())
        }),
        Kind::Service => named(&[
            (service::LOGIN_USER, "Login-User"),
            (service::FRAMED_USER, "Framed-User"),
            (service::OUTBOUND_USER, "Outbound-User"),
            (service::ADMINISTRATIVE_USER, "Administrative-User"),
            (service::NAS_PROMPT_USER, "NAS-Prompt-User"),
            (service::AUTHENTICATE_ONLY, "Authenticate-Only"),
            (service::CALL_CHECK, "Call-Check"),
            (service::AUTHORIZE_ONLY, "Authorize-Only"),
        ]),
        Kind::Status => named(&[
            (status::START, "Start"),
            (status::STOP, "Stop"),
            (status::INTERIM, "Interim-Update"),
            (status::ON, "Accounting-On"),
            (status::OFF, "Accounting-Off"),
        ]),
        Kind::PortType => named(&[(5, "Virtual"), (15, "Ethernet"), (19, "Wireless-802.11")]),
        Kind::Cause => named(&TERMINATE_CAUSES),
        Kind::ErrorCause => named(&ERROR_CAUSES),
    };
    told.unwrap_or_else(|| format!("{} octets, which is the wrong length", value.len()))
}

fn person(value: &[u8], is_personal: bool) -> String {
    if is_personal {
        return text(value);
    }
    let Ok(name) = std::str::from_utf8(value) else {
        return format!("hidden ({} octets)", value.len());
    };
    if let Ok(number) = name.parse::<MobileNumber>() {
        return number.masked();
    }
    match name.parse::<Mac>() {
        Ok(mac) => mac.masked(),
        Err(_) => format!("hidden ({} octets)", value.len()),
    }
}

fn unknown(value: &[u8], is_personal: bool) -> String {
    if is_personal {
        hexadecimal(value)
    } else {
        format!("{} octets", value.len())
    }
}

/// In quotes; what could play tricks on a terminal is escaped.
fn text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => {
            let tame = |c: char| {
                // Marks that turn the direction of writing could hide what is there.
                let is_wild = c.is_control()
                    || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
                if is_wild {
                    c.escape_unicode().to_string()
                } else {
                    c.to_string()
                }
            };
            format!("\"{}\"", text.chars().map(tame).collect::<String>())
        }
        Err(_) => hexadecimal(value),
    }
}

fn hexadecimal(value: &[u8]) -> String {
    value
        .iter()
        .fold("0x".to_owned(), |text, octet| text + &format!("{octet:02x}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Draft, vendor};

    fn told(is_personal: bool, write: impl FnOnce(&mut Draft)) -> Vec<(String, String)> {
        let mut draft = Draft::request(Code::AccessRequest, [7; 16]);
        draft.without_message_authenticator();
        write(&mut draft);
        attributes(
            &Packet::parse(&draft.seal_request(1, b"secret").unwrap()).unwrap(),
            is_personal,
        )
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn names_and_values_are_those_of_the_rfcs() {
        let lines = told(false, |draft| {
            draft.u32(attr::SERVICE_TYPE, service::CALL_CHECK);
            draft.text(attr::NAS_IDENTIFIER, "stand-7");
            draft.u32(attr::SESSION_TIMEOUT, 3600);
            draft.vendor_u32(vendor::WISPR_BANDWIDTH_MAX_UP, 512_000);
            draft.u32(attr::ERROR_CAUSE, 503);
        });
        assert_eq!(
            lines,
            [
                pair("Service-Type", "Call-Check"),
                pair("NAS-Identifier", "\"stand-7\""),
                pair("Session-Timeout", "3600 s"),
                pair("WISPr-Bandwidth-Max-Up", "512000"),
                pair("Error-Cause", "503 Session-Context-Not-Found"),
            ]
        );
    }

    #[test]
    fn a_password_is_never_told_and_a_person_only_when_asked_for() {
        let write = |draft: &mut Draft| {
            draft.text(attr::USER_NAME, "9876543210");
            draft.octets(attr::USER_PASSWORD, &[65; 16]);
            draft.text(attr::CALLING_STATION_ID, "02-11-22-33-44-55");
            draft.ipv4(attr::FRAMED_IP_ADDRESS, [10, 80, 1, 2].into());
        };
        let masked = format!("{:?}", told(false, write));
        for personal in ["9876543210", "98765", "22-33", "22:33", "10.80.1.2", "4141", "AAAA"] {
            assert!(!masked.contains(personal), "{personal} in {masked}");
        }
        let open = format!("{:?}", told(true, write));
        assert!(open.contains("9876543210") && open.contains("10.80.1.2"), "{open}");
        assert!(!open.contains("4141") && !open.contains("AAAA"), "{open}");
    }

    #[test]
    fn what_a_password_can_be_computed_from_is_never_told() {
        let lines = told(true, |draft| {
            draft.octets(attr::CHAP_PASSWORD, &[0xab; 17]);
            draft.octets(attr::EAP_MESSAGE, b"\x02\x01\x00\x0b\x06123456");
            for kind in [1, 3, 11, 25, 26] {
                draft.vendor((311, kind), &[0xab; 50]);
            }
            draft.octets(attr::VENDOR_SPECIFIC, &[0, 0, 1, 55, 0xab, 0xab, 0xab]);
        });
        assert_eq!(lines.len(), 8);
        for (name, value) in &lines {
            assert!(value.starts_with("hidden ("), "{name}: {value}");
        }
    }

    #[test]
    fn a_name_cannot_play_tricks_on_the_terminal() {
        let lines = told(true, |draft| _ = draft.text(attr::USER_NAME, "\x1b[2J\u{202e}x\n"));
        assert!(
            lines[0].1.chars().all(|c| !c.is_control() && c != '\u{202e}'),
            "{lines:?}"
        );
    }

    #[test]
    fn a_value_of_the_wrong_length_is_called_so() {
        let lines = told(false, |draft| _ = draft.octets(attr::SESSION_TIMEOUT, &[1]));
        assert_eq!(lines, [pair("Session-Timeout", "1 octets, which is the wrong length")]);
    }

    proptest! {
        #[test]
        fn whatever_parses_can_be_told(octets in proptest::collection::vec(any::<u8>(), 0..300), is_personal: bool) {
            let mut packet = vec![1, 1, 0, 0];
            packet.extend_from_slice(&[0; 16]);
            packet.extend_from_slice(&octets);
            let length = u16::try_from(packet.len()).unwrap();
            packet[2..4].copy_from_slice(&length.to_be_bytes());
            if let Ok(packet) = Packet::parse(&packet) {
                prop_assert!(attributes(&packet, is_personal).len() >= packet.attributes().count());
            }
        }
    }
}

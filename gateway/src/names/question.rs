//! DNS messages (RFC 1035): what is asked, what is answered.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, RCODE, TYPE};

use super::garden::is_host_name;

/// Longer names carry something else than a name.
const LONGEST_NAME: usize = 100;

/// A question that browsers and operating systems ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// In lower case, without a dot at its end.
    pub name: String,
}

/// What to do with a datagram that should be a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To be answered.
    Plain(Question),
    /// A question of a kind that strangers need not ask, or that we cannot read.
    Other,
    /// Not a question.
    Nothing,
}

/// Reads what a device sent.
pub(crate) fn read(datagram: &[u8]) -> Asked {
    let Ok(packet) = Packet::parse(datagram) else {
        // Of a type that the parser does not know, or cut.
        return if datagram.len() > 12 && datagram.get(2).is_some_and(|flags| flags & 0x80 == 0) {
            Asked::Other
        } else {
            Asked::Nothing
        };
    };
    if packet.has_flags(PacketFlag::RESPONSE) {
        return Asked::Nothing;
    }
    let [question] = packet.questions.as_slice() else {
        return Asked::Nothing;
    };
    let is_usual = packet.opcode() == OPCODE::StandardQuery
        && packet.answers.is_empty()
        && matches!(question.qclass, QCLASS::CLASS(CLASS::IN))
        && matches!(
            question.qtype,
            QTYPE::TYPE(TYPE::A | TYPE::AAAA | TYPE::HTTPS | TYPE::SVCB | TYPE::PTR)
        );
    let name = question.qname.to_string().to_ascii_lowercase();
    if is_usual && name.len() <= LONGEST_NAME && is_host_name(&name) {
        Asked::Plain(Question { name })
    } else {
        Asked::Other
    }
}

/// The name that is asked for, in lower case and without a dot at its end, whatever else is in the question.
pub(crate) fn name(datagram: &[u8]) -> Option<String> {
    const QUERY_RESPONSE: u8 = 0x80;
    if datagram.get(2)? & QUERY_RESPONSE != 0 {
        return None;
    }
    let mut rest = question(datagram)?;
    let mut labels = Vec::new();
    while let Some((&length, after)) = rest.split_first()
        && length > 0
    {
        let (label, following) = after.split_at_checked(usize::from(length))?;
        labels.push(std::str::from_utf8(label).ok()?.to_ascii_lowercase());
        rest = following;
    }
    Some(labels.join("."))
}

/// The answer that there is no such name, as it is blocked (RFC 8914 §4.16, where the device can read that). `None`: it cannot be answered.
pub(crate) fn denial(datagram: &[u8]) -> Option<Vec<u8>> {
    const NO_SUCH_NAME: u8 = 3;
    // Root, OPT, 1232 octets, no flags; six octets of options: Extended DNS Error, two octets, Blocked.
    const BLOCKED: [u8; 17] = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 6, 0, 15, 0, 2, 0, 15];
    let mut answer = closing(datagram, NO_SUCH_NAME)?;
    let is_extended = Packet::parse(datagram).is_ok_and(|packet| packet.opt().is_some());
    if is_extended && let Some(additional) = answer.get_mut(11) {
        *additional = 1;
        answer.extend(BLOCKED);
    }
    Some(answer)
}

/// The answer REFUSED to a datagram that asked for too much; `None` if it cannot be answered at all. It repeats the question, without which
/// resolvers take no answer for theirs, and is never longer than what was asked.
pub(crate) fn refusal(datagram: &[u8]) -> Option<Vec<u8>> {
    const REFUSED: u8 = 5;
    closing(datagram, REFUSED)
}

/// The answer that there is such a name, and nothing of the kind that was asked for.
pub(crate) fn nothing(datagram: &[u8]) -> Option<Vec<u8>> {
    const NO_ERROR: u8 = 0;
    closing(datagram, NO_ERROR)
}

/// The host about which it is asked where it is served (SVCB and HTTPS, RFC 9460), of `name` as it stands in the question: with a port of its own it has
/// that and the protocol before it (§9.1). `None`: something else is asked.
pub(crate) fn served_host<'a>(datagram: &[u8], name: &'a str) -> Option<&'a str> {
    const SVCB: [u8; 2] = [0, 64];
    const HTTPS: [u8; 2] = [0, 65];
    let (kind, _class) = question(datagram)?.last_chunk::<4>()?.split_at(2);
    if kind != SVCB && kind != HTTPS {
        return None;
    }
    let mut host = name;
    while host.starts_with('_')
        && let Some((_, rest)) = host.split_once('.')
    {
        host = rest;
    }
    Some(host)
}

fn closing(datagram: &[u8], code: u8) -> Option<Vec<u8>> {
    const QUERY_RESPONSE: u8 = 0x80;
    const RECURSION_AVAILABLE: u8 = 0x80;
    let mut header: [u8; 12] = *datagram.first_chunk()?;
    let [_, _, high, low, counts @ ..] = &mut header;
    // Operation and "recursion desired" are repeated (RFC 1035 §4.1.1).
    *high = (*high & 0x79) | QUERY_RESPONSE;
    *low = RECURSION_AVAILABLE | code;
    counts.fill(0);
    let question = question(datagram).unwrap_or_default();
    if let ([_, count, ..], false) = (counts, question.is_empty()) {
        *count = 1;
    }
    Some([&header, question].concat())
}

/// The first question of a message, as it stands there: name, type and class.
fn question(datagram: &[u8]) -> Option<&[u8]> {
    const LONGEST_LABEL: u8 = 63;
    let body = datagram.get(12..)?;
    let mut end = 0;
    loop {
        let length = *body.get(end)?;
        end += 1 + usize::from(length);
        match length {
            0 => return body.get(..end + 4),
            1..=LONGEST_LABEL => {}
            // A reference to another name, which has no place in a question.
            _ => return None,
        }
    }
}

/// The addresses that an answer tells, and for how long they hold.
pub(crate) fn addresses(datagram: &[u8]) -> Vec<(IpAddr, Duration)> {
    let Ok(packet) = Packet::parse(datagram) else {
        return Vec::new();
    };
    if !packet.has_flags(PacketFlag::RESPONSE) || packet.rcode() != RCODE::NoError {
        return Vec::new();
    }
    let address = |rdata: &RData<'_>| match rdata {
        RData::A(one) => Some(IpAddr::V4(Ipv4Addr::from_bits(one.address))),
        RData::AAAA(one) => Some(IpAddr::V6(Ipv6Addr::from_bits(one.address))),
        _ => None,
    };
    packet
        .answers
        .iter()
        .filter_map(|one| Some((address(&one.rdata)?, Duration::from_secs(one.ttl.into()))))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simple_dns::rdata::{A, AAAA, CNAME};
    use simple_dns::{Name, ResourceRecord};

    use super::*;

    fn asked(name: &str, kind: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(7);
        let name = Name::new_unchecked(name);
        packet
            .questions
            .push(simple_dns::Question::new(name, kind.into(), CLASS::IN.into(), false));
        packet.build_bytes_vec().unwrap()
    }

    #[test]
    fn reads_the_questions_of_phones_and_no_others() {
        for kind in [TYPE::A, TYPE::AAAA, TYPE::HTTPS, TYPE::PTR] {
            let name = "CAPTIVE.apple.com".to_owned();
            assert_eq!(
                read(&asked(&name, kind)),
                Asked::Plain(Question {
                    name: name.to_lowercase()
                })
            );
        }
        for kind in [TYPE::TXT, TYPE::NULL, TYPE::MX, TYPE::CNAME, TYPE::SRV, TYPE::NS] {
            assert_eq!(read(&asked("t.example.org", kind)), Asked::Other, "{kind:?}");
        }
        let long = format!("{}.example.org", ["a".repeat(60), "b".repeat(60)].join("."));
        assert_eq!(read(&asked(&long, TYPE::A)), Asked::Other);
        assert_eq!(read(&asked("bin\u{1}ary.example.org", TYPE::A)), Asked::Other);
    }

    #[test]
    fn an_answer_is_no_question() {
        let mut answer = asked("example.org", TYPE::A);
        answer[2] |= 0x80;
        assert_eq!(read(&answer), Asked::Nothing);
        assert_eq!(read(&[]), Asked::Nothing);
        assert_eq!(read(&[0; 12]), Asked::Nothing);
    }

    #[test]
    fn a_refusal_is_an_answer_to_the_same_question() {
        let refused = refusal(&asked("t.example.org", TYPE::TXT)).unwrap();
        let packet = Packet::parse(&refused).unwrap();
        assert_eq!((packet.id(), packet.rcode()), (7, RCODE::Refused));
        assert!(packet.has_flags(PacketFlag::RESPONSE));
        assert_eq!(packet.questions[0].qname.to_string(), "t.example.org");
        let referring = [&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &[0xc0, 12, 0, 1, 0, 1]].concat();
        assert_eq!(
            refusal(&referring).unwrap().len(),
            12,
            "what is no question is not repeated"
        );
    }

    #[test]
    fn every_address_of_an_answer_is_found_behind_aliases_too() {
        let mut packet = Packet::new_reply(7);
        let name = || Name::new_unchecked("help.example.org");
        let record = |ttl, rdata| ResourceRecord::new(name(), CLASS::IN, ttl, rdata);
        packet
            .answers
            .push(record(60, RData::CNAME(CNAME(Name::new_unchecked("cdn.example.net")))));
        packet.answers.push(record(300, RData::A(A { address: 0xcb00_711e })));
        packet.answers.push(record(30, RData::AAAA(AAAA { address: 1 << 64 })));
        let found = addresses(&packet.build_bytes_vec().unwrap());
        assert_eq!(
            found,
            [
                ("203.0.113.30".parse().unwrap(), Duration::from_mins(5)),
                ("0:0:0:1::".parse().unwrap(), Duration::from_secs(30)),
            ]
        );
    }

    #[test]
    fn a_denial_says_that_there_is_no_such_name_and_why() {
        let plain = denial(&asked("bad.example.org", TYPE::TXT)).unwrap();
        let packet = Packet::parse(&plain).unwrap();
        assert_eq!((packet.id(), packet.rcode()), (7, RCODE::NameError));
        assert!(packet.opt().is_none());
        let mut extended = asked("bad.example.org", TYPE::A);
        extended[11] = 1;
        extended.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        let denied = denial(&extended).unwrap();
        let packet = Packet::parse(&denied).unwrap();
        let codes: Vec<_> = packet
            .opt()
            .unwrap()
            .opt_codes
            .iter()
            .map(|one| (one.code, one.data.to_vec()))
            .collect();
        assert_eq!(codes, [(15, vec![0, 15])]);
    }

    #[test]
    fn the_name_is_found_in_questions_of_every_kind() {
        assert_eq!(
            name(&asked("WWW.Example.org", TYPE::TXT)).as_deref(),
            Some("www.example.org")
        );
        let mut answer = asked("example.org", TYPE::A);
        answer[2] |= 0x80;
        assert_eq!(name(&answer), None);
        assert_eq!(name(&[0; 12]), None);
    }

    #[test]
    fn who_asks_where_a_host_is_served_asks_about_the_host() {
        for (name, kind, host) in [
            ("help.example.org", TYPE::HTTPS, Some("help.example.org")),
            ("help.example.org", TYPE::SVCB, Some("help.example.org")),
            ("_8443._https.help.example.org", TYPE::HTTPS, Some("help.example.org")),
            ("_", TYPE::HTTPS, Some("_")),
            ("help.example.org", TYPE::A, None),
            ("_8443._https.help.example.org", TYPE::TXT, None),
        ] {
            assert_eq!(served_host(&asked(name, kind), name), host, "{name} {kind:?}");
        }
        let empty = nothing(&asked("help.example.org", TYPE::HTTPS)).unwrap();
        let packet = Packet::parse(&empty).unwrap();
        assert_eq!((packet.rcode(), packet.answers.len()), (RCODE::NoError, 0));
        assert!(packet.has_flags(PacketFlag::RESPONSE));
    }

    proptest! {
        #[test]
        fn hostile_datagrams_never_panic_and_get_no_longer_answer(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = read(&bytes);
            let _ = addresses(&bytes);
            let _ = (name(&bytes), denial(&bytes), served_host(&bytes, "_"));
            prop_assert!(refusal(&bytes).is_none_or(|refused| refused.len() <= bytes.len()));
        }
    }
}

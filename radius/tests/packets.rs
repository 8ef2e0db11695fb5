//! Packets from text files (see `packets/README.md`): the RFCs' examples octet for octet, and what must be refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::fs;
use std::path::Path;

use kavadam_radius::wire::{
    Draft, ExtendedAttr, ExtendedSpace, Malformed, Packet, Tag, attr, chap_matches, hide_password, reveal_password,
};

#[derive(Default)]
struct Case {
    title: String,
    secret: Vec<u8>,
    /// The last packet, and the one before it.
    packet: Option<Result<Packet, Malformed>>,
    before: Option<Packet>,
    /// The last packet as it is in the file.
    octets: Vec<u8>,
}

impl Case {
    fn packet(&self) -> &Packet {
        let last = self
            .packet
            .as_ref()
            .unwrap_or_else(|| panic!("{}: no packet yet", self.title));
        last.as_ref().unwrap_or_else(|error| panic!("{}: {error}", self.title))
    }

    fn take(&mut self, datagram: &[u8]) {
        self.before = self.packet.take().and_then(Result::ok);
        self.packet = Some(Packet::parse(datagram));
        datagram.clone_into(&mut self.octets);
    }

    /// The last packet as we would write it.
    fn written_anew(&self) -> Vec<u8> {
        let packet = self.packet();
        let mut draft = match &self.before {
            Some(request) if packet.code().answers(request.code()) => Draft::reply(packet.code(), request),
            _ => Draft::request(packet.code(), *packet.authenticator()),
        };
        if !packet.has(attr::MESSAGE_AUTHENTICATOR) {
            draft.without_message_authenticator();
        }
        let mut rest = &self.octets[20..];
        while let [kind, length, ..] = *rest {
            let (attribute, others) = rest.split_at(length.into());
            if kind != attr::MESSAGE_AUTHENTICATOR {
                draft.octets(kind, &attribute[2..]);
            }
            rest = others;
        }
        draft.seal_request(packet.identifier(), &self.secret).unwrap()
    }

    fn check(&self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let at = || format!("{}: {line}", self.title);
        match verb {
            "malformed" => {
                let found = self
                    .packet
                    .as_ref()
                    .unwrap()
                    .as_ref()
                    .map(|_| ())
                    .map_err(ToString::to_string);
                assert_eq!(found, Err(rest.to_owned()), "{}", at());
            }
            "code" => assert_eq!(format!("{:?}", self.packet().code()), rest, "{}", at()),
            "text" => assert_eq!(self.packet().text(kind(rest)).as_deref(), Some(value(rest)), "{}", at()),
            "number" => assert_eq!(self.packet().u32(kind(rest)), value(rest).parse().ok(), "{}", at()),
            "address" => assert_eq!(self.packet().ipv4(kind(rest)), value(rest).parse().ok(), "{}", at()),
            "octets" => assert_eq!(self.packet().octets(kind(rest)), Some(hex(value(rest))), "{}", at()),
            "count" => {
                let found = self.packet().all_octets(kind(rest)).len();
                assert_eq!(found, value(rest).parse::<usize>().unwrap(), "{}", at());
            }
            "joined" => assert_eq!(self.packet().joined(kind(rest)), Some(hex(value(rest))), "{}", at()),
            "vendor" => {
                let found = self.packet().vendor_joined(vendor(rest));
                assert_eq!(found, Some(hex(value(rest))), "{}", at());
            }
            "extended" => {
                let found = self.packet().extended(extended(rest));
                assert!(found.contains(&hex(value(rest))), "{}: {found:x?}", at());
            }
            "no-extended" => assert!(self.packet().extended(extended(rest)).is_empty(), "{}", at()),
            "tagged" => {
                let (tag, octets) = value(rest).split_once(' ').unwrap();
                let wanted = (Tag::new(tag.parse().unwrap()), hex(octets));
                let found = self.packet().tagged_octets(kind(rest));
                assert!(found.contains(&wanted), "{}: {found:x?}", at());
            }
            "tunnel-password" => {
                let request = self.before.as_ref().unwrap_or_else(|| panic!("{}: no request", at()));
                let found = self.packet().tunnel_passwords(request.authenticator(), &self.secret);
                assert_eq!(found[0].1.as_slice(), rest.as_bytes(), "{}", at());
            }
            "password" => {
                let hidden = self.packet().octets(attr::USER_PASSWORD).unwrap();
                let found = reveal_password(&hidden, self.packet().authenticator(), &self.secret).unwrap();
                assert_eq!(found.as_slice(), rest.as_bytes(), "{}", at());
                let anew = hide_password(rest.as_bytes(), self.packet().authenticator(), &self.secret);
                assert_eq!(anew, hidden, "{}", at());
            }
            "ours" => assert_eq!(self.written_anew(), self.octets, "{}", at()),
            "chap" => {
                let found = self.packet().octets(attr::CHAP_PASSWORD).unwrap();
                let challenge = self.packet().octets(attr::CHAP_CHALLENGE);
                let challenge = challenge.unwrap_or_else(|| self.packet().authenticator().to_vec());
                let response = found[1..].try_into().unwrap();
                assert!(
                    chap_matches(found[0], response, &challenge, rest.as_bytes()),
                    "{}",
                    at()
                );
            }
            "genuine" | "forged" => {
                let (is_strict, reason) = match rest.strip_prefix("strict") {
                    Some(reason) => (true, reason.trim_start()),
                    None => (false, rest),
                };
                let found = self
                    .packet()
                    .verify_request(&self.secret, is_strict)
                    .map_err(|error| error.to_string());
                let wanted = if verb == "genuine" {
                    Ok(())
                } else {
                    Err(reason.to_owned())
                };
                assert_eq!(found, wanted, "{}", at());
            }
            "answers" | "no" => {
                let request = self.before.as_ref().unwrap_or_else(|| panic!("{}: no request", at()));
                let found = self.packet().verify_reply(request.authenticator(), &self.secret, false);
                let wanted = rest
                    .strip_prefix("answer ")
                    .map_or(Ok(()), |reason| Err(reason.to_owned()));
                assert_eq!(found.map_err(|error| error.to_string()), wanted, "{}", at());
                let is_for_it = self.packet().identifier() == request.identifier();
                assert!(is_for_it && self.packet().code().answers(request.code()), "{}", at());
            }
            _ => panic!("{}: unknown word", at()),
        }
    }
}

/// Of `245.1`.
fn extended(rest: &str) -> ExtendedAttr {
    let (space, kind) = dotted(rest);
    let space = ExtendedSpace::ALL
        .into_iter()
        .find(|at| u32::from(at.octet()) == space)
        .unwrap();
    ExtendedAttr { space, kind }
}

/// Of `14559.3`.
fn vendor(rest: &str) -> (u32, u8) {
    dotted(rest)
}

fn dotted(rest: &str) -> (u32, u8) {
    let (first, second) = rest.split(' ').next().unwrap().split_once('.').unwrap();
    (first.parse().unwrap(), second.parse().unwrap())
}

fn kind(rest: &str) -> u8 {
    rest.split(' ').next().unwrap().parse().unwrap()
}

fn value(rest: &str) -> &str {
    rest.split_once(' ').unwrap().1
}

fn hex(text: &str) -> Vec<u8> {
    let octet = |word: &str| u8::from_str_radix(word, 16).unwrap_or_else(|_| panic!("not an octet: {word}"));
    text.split_whitespace().map(octet).collect()
}

/// Lines without remarks, each with what continues it.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
    {
        match lines.last_mut() {
            Some(last) if line.starts_with(char::is_whitespace) => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => lines.push(line.trim_end().to_owned()),
        }
    }
    lines
}

/// How many cases the file holds.
fn play(text: &str) -> usize {
    let mut case = Case::default();
    let mut count = 0;
    for line in lines(text) {
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("case", title) => {
                count += 1;
                case = Case {
                    title: title.to_owned(),
                    ..Case::default()
                };
            }
            ("secret", secret) => case.secret = secret.as_bytes().to_vec(),
            ("packet", octets) => case.take(&hex(octets)),
            _ => case.check(&line),
        }
    }
    count
}

#[test]
fn every_packet_is_taken_for_what_its_file_says() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packets");
    let mut count = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "txt") {
            count += play(&fs::read_to_string(&path).unwrap());
        }
    }
    assert!(count >= 20, "{count} cases");
}

#[test]
#[should_panic(expected = "text 1 nobody")]
fn a_file_that_is_wrong_fails() {
    play(
        "case x\npacket 01 00 00 1a 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00\n  01 06 6e 65 6d 6f\ntext 1 nobody\n",
    );
}

//! Questions on their way over a connection, by identifier and by Token, and telling their answers.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Version;
use crate::wire::token::{reply_of_token, token_of, with_token};
use crate::wire::{Code, Draft, EncodeError, Packet, RADSEC_SECRET};

/// As many as a connection of RADIUS/1.0 tells apart.
#[cfg(any(feature = "client", test))]
pub(crate) const MOST: usize = 256;

/// Questions that nobody waits for any more, remembered to tell their late answers from forged ones.
const MOST_ENDED: usize = 1024;

/// Places for questions. Each has an identifier and a Token, so that it can be sent over connections of either version.
pub(crate) struct Flights {
    by_identifier: HashMap<u8, Flight>,
    /// Where to look first: the identifier used longest ago.
    next: u8,
    /// Of the next Token, above the eight bits of the identifier. It begins anywhere (RFC 9765 §4.2.1).
    count: u32,
    /// Of questions that ended without an answer: identifier and authenticator, the newest last.
    ended: VecDeque<(u8, [u8; 16])>,
}

/// What a packet turned out to be that comes as an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// What somebody waited for.
    Answer,
    /// Nobody waits for it, or no more, or it answers something else than was asked: passed over.
    Unasked,
    /// No packet, or not signed for what was asked: whoever sends that is to be hung up on (RFC 6613 §2.6.4).
    Broken,
}

struct Flight {
    token: u32,
    code: Code,
    /// In the form of RADIUS/1.0.
    packet: Vec<u8>,
    since: Instant,
    answer: oneshot::Sender<Packet>,
}

/// A question that was put.
pub(crate) struct Asked {
    pub(crate) token: u32,
    pub(crate) answer: oneshot::Receiver<Packet>,
}

impl Flights {
    pub(crate) fn new() -> Self {
        Self {
            by_identifier: HashMap::new(),
            next: 0,
            count: rand::random(),
            ended: VecDeque::new(),
        }
    }

    /// Takes a place for a question; `None` if all are taken.
    pub(crate) fn begin(&mut self, code: Code, draft: Draft) -> Option<Result<Asked, EncodeError>> {
        let mut order = (0..=u8::MAX).map(|step| self.next.wrapping_add(step));
        let identifier = order.find(|at| !self.by_identifier.contains_key(at))?;
        let packet = match draft.seal_request(identifier, RADSEC_SECRET) {
            Ok(packet) => packet,
            Err(error) => return Some(Err(error)),
        };
        self.next = identifier.wrapping_add(1);
        self.count = self.count.wrapping_add(1);
        let token = (self.count << 8) | u32::from(identifier);
        let (sender, answer) = oneshot::channel();
        let flight = Flight {
            token,
            code,
            packet,
            since: Instant::now(),
            answer: sender,
        };
        self.by_identifier.insert(identifier, flight);
        Some(Ok(Asked { token, answer }))
    }

    /// Nobody waits for that answer any more.
    pub(crate) fn end(&mut self, token: u32) {
        let Some(authenticator) = self.take(token).and_then(|flight| flight.authenticator()) else {
            return;
        };
        if self.ended.len() == MOST_ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back((identifier_of(token), authenticator));
    }

    /// A question as it goes over a connection.
    pub(crate) fn on_wire(&self, token: u32, version: Version) -> Option<Vec<u8>> {
        let flight = self.by_identifier.get(&identifier_of(token))?;
        (flight.token == token).then(|| flight.on_wire(version))?
    }

    /// Every question that is not answered, the oldest first.
    pub(crate) fn all_on_wire(&self, version: Version) -> Vec<Vec<u8>> {
        let mut all: Vec<&Flight> = self.by_identifier.values().collect();
        all.sort_by_key(|flight| flight.since);
        all.into_iter().filter_map(|flight| flight.on_wire(version)).collect()
    }

    /// Since when the oldest question waits.
    #[cfg(feature = "client")]
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.by_identifier.values().map(|flight| flight.since).min()
    }

    /// Gives an answer to whoever waits for it.
    pub(crate) fn answered(&mut self, version: Version, octets: &[u8]) -> Heard {
        let Some(flight) = self.meant(version, octets) else {
            return Heard::Unasked;
        };
        let packet = match version {
            Version::V1_0 => Packet::parse(octets),
            Version::V1_1 => reply_of_token(octets).and_then(|reply| Packet::parse(&reply)),
        };
        let Ok(packet) = packet else {
            return Heard::Broken;
        };
        if version == Version::V1_0 && !flight.authenticator().is_some_and(|asked| is_signed(&packet, &asked)) {
            return if self.is_late(&packet) {
                Heard::Unasked
            } else {
                Heard::Broken
            };
        }
        if !packet.code().answers(flight.code) {
            return Heard::Unasked;
        }
        let token = flight.token;
        match self.take(token).map(|flight| flight.answer.send(packet)) {
            Some(Ok(())) => Heard::Answer,
            _ => Heard::Unasked,
        }
    }

    /// The question that an answer says it is to.
    fn meant(&self, version: Version, octets: &[u8]) -> Option<&Flight> {
        match version {
            Version::V1_0 => self.by_identifier.get(octets.get(1)?),
            Version::V1_1 => {
                let token = token_of(octets)?;
                let flight = self.by_identifier.get(&identifier_of(token))?;
                (flight.token == token).then_some(flight)
            }
        }
    }

    /// Whether it answers a question that had the identifier before.
    fn is_late(&self, packet: &Packet) -> bool {
        let mut before = self.ended.iter().filter(|(of, _)| *of == packet.identifier());
        before.any(|(_, asked)| is_signed(packet, asked))
    }

    fn take(&mut self, token: u32) -> Option<Flight> {
        let identifier = identifier_of(token);
        let is_it = self
            .by_identifier
            .get(&identifier)
            .is_some_and(|flight| flight.token == token);
        is_it.then(|| self.by_identifier.remove(&identifier))?
    }
}

/// Message-Authenticator adds nothing to TLS, and old servers leave it out; one that is there must be right.
fn is_signed(packet: &Packet, asked: &[u8; 16]) -> bool {
    packet.verify_reply(asked, RADSEC_SECRET, false).is_ok()
}

/// The low octet of a Token of ours.
const fn identifier_of(token: u32) -> u8 {
    let [.., identifier] = token.to_be_bytes();
    identifier
}

impl Flight {
    fn authenticator(&self) -> Option<[u8; 16]> {
        self.packet.get(4..)?.first_chunk().copied()
    }

    fn on_wire(&self, version: Version) -> Option<Vec<u8>> {
        match version {
            Version::V1_0 => Some(self.packet.clone()),
            Version::V1_1 => with_token(&self.packet, self.token).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Draft {
        Draft::request(Code::StatusServer, [9; 16])
    }

    fn asked(flights: &mut Flights) -> Asked {
        flights.begin(Code::StatusServer, status()).unwrap().unwrap()
    }

    #[test]
    fn a_late_answer_never_goes_to_the_next_question_of_that_identifier() {
        let mut flights = Flights::new();
        let first = asked(&mut flights);
        let question = flights.on_wire(first.token, Version::V1_1).unwrap();
        flights.end(first.token);
        flights.next = 0;
        let mut second = asked(&mut flights);
        let mut answer = question;
        answer[0] = Code::AccessAccept.octet();
        assert_eq!(flights.answered(Version::V1_1, &answer), Heard::Unasked);
        assert!(second.answer.try_recv().is_err());
        answer[4..8].copy_from_slice(&second.token.to_be_bytes());
        assert_eq!(flights.answered(Version::V1_1, &answer), Heard::Answer);
        assert!(second.answer.try_recv().is_ok());
    }

    #[test]
    fn an_answer_of_the_wrong_kind_is_none_and_one_of_the_wrong_signature_breaks_the_connection() {
        let mut flights = Flights::new();
        let mut asked = asked(&mut flights);
        let question = Packet::parse(&flights.on_wire(asked.token, Version::V1_0).unwrap()).unwrap();
        let forged = Draft::reply(Code::AccessAccept, &question)
            .seal_reply(b"other")
            .unwrap();
        let other_kind = Draft::reply(Code::CoaAck, &question).seal_reply(RADSEC_SECRET).unwrap();
        let torn = [&question_of_nothing(&question)[..], &[1, 1]].concat();
        for octets in [forged, torn] {
            assert_eq!(flights.answered(Version::V1_0, &octets), Heard::Broken);
        }
        assert_eq!(flights.answered(Version::V1_0, &other_kind), Heard::Unasked);
        let right = Draft::reply(Code::AccessAccept, &question)
            .seal_reply(RADSEC_SECRET)
            .unwrap();
        assert_eq!(flights.answered(Version::V1_0, &right), Heard::Answer);
        assert_eq!(asked.answer.try_recv().unwrap().code(), Code::AccessAccept);
    }

    /// The head of an answer whose only attribute is of an impossible length.
    fn question_of_nothing(question: &Packet) -> Vec<u8> {
        [
            &[Code::AccessAccept.octet(), question.identifier(), 0, 22][..],
            &[0; 16],
        ]
        .concat()
    }

    #[test]
    fn a_late_answer_is_no_forged_one_though_its_identifier_was_given_again() {
        let mut flights = Flights::new();
        let first = asked(&mut flights);
        let question = Packet::parse(&flights.on_wire(first.token, Version::V1_0).unwrap()).unwrap();
        let late = Draft::reply(Code::AccessAccept, &question)
            .seal_reply(RADSEC_SECRET)
            .unwrap();
        flights.end(first.token);
        assert_eq!(flights.answered(Version::V1_0, &late), Heard::Unasked, "nobody waits");
        flights.next = identifier_of(first.token);
        let other = Draft::request(Code::StatusServer, [8; 16]);
        let mut second = flights.begin(Code::StatusServer, other).unwrap().unwrap();
        assert_eq!(identifier_of(second.token), identifier_of(first.token));
        assert_eq!(flights.answered(Version::V1_0, &late), Heard::Unasked, "another does");
        assert!(second.answer.try_recv().is_err());
    }

    #[test]
    fn there_is_no_place_for_a_question_too_many() {
        let mut flights = Flights::new();
        let all: Vec<_> = (0..MOST).map(|_| asked(&mut flights)).collect();
        assert!(flights.begin(Code::StatusServer, status()).is_none());
        assert_eq!(flights.all_on_wire(Version::V1_0).len(), MOST);
        flights.end(all[77].token);
        assert_eq!(asked(&mut flights).token & 0xff, 77);
    }
}

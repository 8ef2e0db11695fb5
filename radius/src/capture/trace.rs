//! Requests and the answers to them, as they are seen by somebody who takes no part.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use ipnet::IpNet;

use super::Datagram;
use crate::server::Overheard;
use crate::wire::token::{reply_of_token, request_of_token, token_of};
use crate::wire::{Code, Malformed, Packet, Secret, Unverified, attr};

/// Requests remembered, to tell their answers by.
const MOST_REQUESTS: usize = 16_384;

/// A gate whose packets can be verified.
#[derive(Debug, Clone)]
pub struct KnownGate {
    /// NAS-Identifier.
    pub name: String,
    /// Where it is.
    pub source: IpNet,
    /// Where the servers are that it shares the secret with, where that is known: with others it has another, or none.
    pub servers: Option<IpNet>,
    /// Shared secret.
    pub secret: Secret,
}

/// What is proven of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Its sender knows the secret, and it carries a Message-Authenticator where its code calls for one.
    Right,
    /// Its sender does not, or it lacks the Message-Authenticator.
    Wrong(Unverified),
    /// No gate that is known is at either end.
    NoSecret,
    /// An answer whose request was not seen.
    NoRequest,
    /// It came over a connection that proves its ends, by TLS.
    Connection,
}

/// A packet that passed.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What it says.
    pub packet: Packet,
    /// What is proven of it.
    pub proof: Proof,
    /// Name of the gate at either end, if it is known.
    pub gate: Option<String>,
    /// User-Name of the request, of an answer too.
    pub user: Option<String>,
    /// The same request as before, or the same answer.
    pub is_copy: bool,
    /// Since the request, microseconds.
    pub after_micros: Option<i64>,
}

struct Request {
    authenticator: [u8; 16],
    at_micros: Option<i64>,
    user: Option<String>,
    is_answered: bool,
}

/// Who asked, whom, with which identifier, or Token (RFC 9765).
type Key = (SocketAddr, SocketAddr, u32);

/// Follows requests to their answers. Bounded: the oldest requests are forgotten first.
pub struct Trace {
    gates: Vec<KnownGate>,
    requests: HashMap<Key, Request>,
    order: VecDeque<Key>,
}

impl Trace {
    /// Knows these gates, each once for every secret that it has; of several at an address those of the narrowest network count.
    #[must_use]
    pub fn new(mut gates: Vec<KnownGate>) -> Self {
        gates.sort_by_key(|gate| (std::cmp::Reverse(gate.source.prefix_len()), gate.source));
        Self {
            gates,
            requests: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Takes in what passed.
    ///
    /// # Errors
    /// It is no RADIUS packet.
    pub fn see(&mut self, datagram: &Datagram) -> Result<Seen, Malformed> {
        let packet = Packet::parse(&datagram.octets)?;
        let number = u32::from(packet.identifier());
        Ok(if packet.code().is_request() {
            self.datagram_of_a_request(packet, number, datagram)
        } else {
            self.datagram_of_a_reply(packet, number, datagram)
        })
    }

    /// Takes in what passed over TLS, at that gate. What was signed there with the secret that everybody knows (RFC 6614 §2.3) is not looked at:
    /// whoever is wrong in that has no connection for long.
    ///
    /// # Errors
    /// It is no RADIUS packet.
    pub fn overhear(&mut self, passed: &Overheard, gate: Option<String>) -> Result<Seen, Malformed> {
        let Overheard { from, to, octets, .. } = passed;
        let is_request = octets.first().and_then(|octet| Code::from_octet(*octet));
        let is_request = is_request.is_some_and(Code::is_request);
        let plain = match (passed.has_token, is_request) {
            (true, true) => request_of_token(octets)?,
            (true, false) => reply_of_token(octets)?,
            (false, _) => octets.clone(),
        };
        let packet = Packet::parse(&plain)?;
        let number = if passed.has_token {
            token_of(octets).unwrap_or_default()
        } else {
            u32::from(packet.identifier())
        };
        let (at, judged) = (Some(passed.at_micros), (gate, Proof::Connection));
        Ok(if is_request {
            self.request(packet, (*from, *to, number), at, judged)
        } else {
            self.reply(packet, &(*to, *from, number), at, judged)
        })
    }

    fn datagram_of_a_request(&mut self, packet: Packet, number: u32, datagram: &Datagram) -> Seen {
        let key = (datagram.from, datagram.to, number);
        // Orders go to the gate, all else comes from it.
        let (there, server) = match packet.code() {
            Code::DisconnectRequest | Code::CoaRequest => (datagram.to, datagram.from),
            _ => (datagram.from, datagram.to),
        };
        let judged = self.judge((there, server), |secret| packet.verify_request(secret, true));
        self.request(packet, key, datagram.at_micros, judged)
    }

    fn request(
        &mut self,
        packet: Packet,
        key: Key,
        at_micros: Option<i64>,
        (gate, proof): (Option<String>, Proof),
    ) -> Seen {
        let user = packet.text(attr::USER_NAME);
        let before = self.requests.get(&key);
        let is_copy = before.is_some_and(|before| before.authenticator == *packet.authenticator());
        if !is_copy {
            let request = Request {
                authenticator: *packet.authenticator(),
                at_micros,
                user: user.clone(),
                is_answered: false,
            };
            self.remember(key, request);
        }
        Seen {
            packet,
            proof,
            gate,
            user,
            is_copy,
            after_micros: None,
        }
    }

    fn datagram_of_a_reply(&mut self, packet: Packet, number: u32, datagram: &Datagram) -> Seen {
        let key = (datagram.to, datagram.from, number);
        let (there, server) = match packet.code() {
            Code::DisconnectAck | Code::DisconnectNak | Code::CoaAck | Code::CoaNak => (datagram.from, datagram.to),
            _ => (datagram.to, datagram.from),
        };
        let authenticator = self.requests.get(&key).map(|request| request.authenticator);
        let (gate, proof) = self.judge((there, server), |secret| match authenticator {
            Some(authenticator) => packet.verify_reply(&authenticator, secret, true),
            None => Err(Unverified::Authenticator),
        });
        let proof = if authenticator.is_some() {
            proof
        } else {
            Proof::NoRequest
        };
        self.reply(packet, &key, datagram.at_micros, (gate, proof))
    }

    fn reply(
        &mut self,
        packet: Packet,
        key: &Key,
        at_micros: Option<i64>,
        (gate, proof): (Option<String>, Proof),
    ) -> Seen {
        let Some(request) = self.requests.get_mut(key) else {
            return Seen {
                packet,
                proof,
                gate,
                user: None,
                is_copy: false,
                after_micros: None,
            };
        };
        let after = at_micros.zip(request.at_micros);
        Seen {
            packet,
            proof,
            gate,
            user: request.user.clone(),
            is_copy: std::mem::replace(&mut request.is_answered, true),
            after_micros: after.and_then(|(now, then)| now.checked_sub(then)),
        }
    }

    fn remember(&mut self, key: Key, request: Request) {
        if self.requests.insert(key, request).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > MOST_REQUESTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.requests.remove(&oldest);
        }
    }

    /// Of the gates of the narrowest network there the one whose secret proves it. Where none does, the name is that of the only one.
    fn judge(
        &self,
        (there, server): (SocketAddr, SocketAddr),
        verify: impl Fn(&[u8]) -> Result<(), Unverified>,
    ) -> (Option<String>, Proof) {
        let [there, server] = [there, server].map(|end| end.ip().to_canonical());
        let is_between = |gate: &&KnownGate| {
            gate.source.contains(&there) && gate.servers.is_none_or(|servers| servers.contains(&server))
        };
        let mut there = self.gates.iter().filter(is_between).peekable();
        let Some(first) = there.peek().copied() else {
            return (None, Proof::NoSecret);
        };
        let (mut name, mut proof) = (Some(&first.name), None);
        for gate in there.take_while(|gate| gate.source == first.source) {
            match verify(gate.secret.octets()) {
                Ok(()) => return (Some(gate.name.clone()), Proof::Right),
                Err(why) => proof = proof.or(Some(Proof::Wrong(why))),
            }
            name = name.filter(|name| **name == gate.name);
        }
        (name.cloned(), proof.unwrap_or(Proof::NoSecret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::token::with_token;
    use crate::wire::{Draft, RADSEC_SECRET};

    const SECRET: &[u8] = b"a-secret-of-sixteen";

    fn trace() -> Trace {
        Trace::new(vec![KnownGate {
            name: "gate-1".into(),
            source: "10.0.0.1/32".parse().unwrap(),
            servers: None,
            secret: Secret::new(SECRET),
        }])
    }

    #[test]
    fn of_gates_at_one_address_the_secret_tells_which_one_it_is() {
        let gate = |name: &str, secret: &[u8]| KnownGate {
            name: name.into(),
            source: "10.0.0.1/32".parse().unwrap(),
            servers: None,
            secret: Secret::new(secret),
        };
        let mut trace = Trace::new(vec![gate("gate-1", b"another secret"), gate("gate-2", SECRET)]);
        let request = |secret| {
            Draft::request(Code::StatusServer, [3; 16])
                .seal_request(3, secret)
                .unwrap()
        };
        let seen = trace.see(&datagram(request(SECRET), false, 0)).unwrap();
        assert_eq!((seen.gate.as_deref(), seen.proof), (Some("gate-2"), Proof::Right));
        let seen = trace.see(&datagram(request(b"nobody's secret"), false, 0)).unwrap();
        assert!(seen.gate.is_none() && matches!(seen.proof, Proof::Wrong(_)));
    }

    #[test]
    fn a_secret_for_some_servers_proves_nothing_of_what_passes_between_others() {
        let known = |servers: &str| KnownGate {
            name: "gate-1".into(),
            source: "0.0.0.0/0".parse().unwrap(),
            servers: Some(servers.parse().unwrap()),
            secret: Secret::new(SECRET),
        };
        let mut trace = Trace::new(vec![known("10.0.0.2/32")]);
        let seen = trace.see(&datagram(request(SECRET), false, 0)).unwrap();
        assert_eq!((seen.gate.as_deref(), seen.proof), (Some("gate-1"), Proof::Right));
        let mut trace = Trace::new(vec![known("10.0.0.1/32")]);
        let seen = trace.see(&datagram(request(SECRET), false, 0)).unwrap();
        assert_eq!((seen.gate, seen.proof), (None, Proof::NoSecret));
    }

    fn datagram(octets: Vec<u8>, is_reply: bool, at: i64) -> Datagram {
        let (gate, server) = ("10.0.0.1:5000".parse().unwrap(), "10.0.0.2:1812".parse().unwrap());
        let (from, to) = if is_reply { (server, gate) } else { (gate, server) };
        Datagram {
            at_micros: Some(at),
            from,
            to,
            octets,
        }
    }

    fn request(secret: &[u8]) -> Vec<u8> {
        let mut draft = Draft::request(Code::AccessRequest, [3; 16]);
        draft.text(attr::USER_NAME, "somebody");
        draft.seal_request(7, secret).unwrap()
    }

    fn reply(to: &[u8], secret: &[u8]) -> Vec<u8> {
        let request = Packet::parse(to).unwrap();
        Draft::reply(Code::AccessReject, &request).seal_reply(secret).unwrap()
    }

    #[test]
    fn an_answer_is_tied_to_its_request_and_both_are_verified() {
        let mut trace = trace();
        let asked = request(SECRET);
        let seen = trace.see(&datagram(asked.clone(), false, 1000)).unwrap();
        assert_eq!(
            (seen.proof, seen.gate.as_deref(), seen.is_copy),
            (Proof::Right, Some("gate-1"), false)
        );
        assert!(trace.see(&datagram(asked.clone(), false, 1500)).unwrap().is_copy);
        let seen = trace.see(&datagram(reply(&asked, SECRET), true, 3000)).unwrap();
        assert_eq!((seen.proof, seen.user.as_deref()), (Proof::Right, Some("somebody")));
        assert_eq!(seen.after_micros, Some(2000));
        assert!(trace.see(&datagram(reply(&asked, SECRET), true, 3500)).unwrap().is_copy);
    }

    #[test]
    fn over_tls_a_token_ties_an_answer_to_its_request() {
        let [gate, server] = ["192.0.2.7:40000", "192.0.2.1:2083"].map(|end| end.parse().unwrap());
        let passed = |at_micros, [from, to]: [SocketAddr; 2], octets: &[u8], token| Overheard {
            at_micros,
            nas: 1,
            from,
            to,
            has_token: true,
            octets: with_token(octets, token).unwrap(),
        };
        let (first, second) = (request(RADSEC_SECRET), request(RADSEC_SECRET));
        let answer = reply(&second, RADSEC_SECRET);
        let mut trace = Trace::new(Vec::new());
        let mut see = |at, ends, octets: &[u8], token| {
            let seen = trace.overhear(&passed(at, ends, octets, token), Some("stand-7".into()));
            seen.unwrap()
        };
        // Tokens that end alike: an identifier would not tell them apart.
        let seen = see(1000, [gate, server], &first, 0x0100);
        assert_eq!((seen.proof, seen.gate.as_deref()), (Proof::Connection, Some("stand-7")));
        assert!(!see(2000, [gate, server], &second, 0x0200).is_copy);
        assert!(see(2500, [gate, server], &second, 0x0200).is_copy);
        let seen = see(3000, [server, gate], &answer, 0x0100);
        assert_eq!(
            (seen.user.as_deref(), seen.after_micros),
            (Some("somebody"), Some(2000))
        );
        let seen = see(3000, [server, gate], &answer, 0x0300);
        assert_eq!(
            (seen.user, seen.after_micros, seen.proof),
            (None, None, Proof::Connection)
        );
    }

    #[test]
    fn a_wrong_secret_shows_on_either_side() {
        let mut trace = trace();
        let seen = trace.see(&datagram(request(b"another"), false, 0)).unwrap();
        assert_eq!(seen.proof, Proof::Wrong(Unverified::MessageAuthenticator));
        let asked = request(SECRET);
        trace.see(&datagram(asked.clone(), false, 0)).unwrap();
        let seen = trace.see(&datagram(reply(&asked, b"another"), true, 0)).unwrap();
        assert_eq!(seen.proof, Proof::Wrong(Unverified::Authenticator));
    }

    #[test]
    fn an_answer_to_nothing_is_called_so_and_a_flood_is_forgotten() {
        let mut trace = trace();
        let asked = request(SECRET);
        let seen = trace.see(&datagram(reply(&asked, SECRET), true, 0)).unwrap();
        assert_eq!(seen.proof, Proof::NoRequest);
        for port in 1..=u16::MAX {
            let mut flood = datagram(asked.clone(), false, 0);
            flood.from.set_port(port);
            trace.see(&flood).unwrap();
        }
        assert!(trace.requests.len() <= MOST_REQUESTS && trace.order.len() <= MOST_REQUESTS);
    }
}

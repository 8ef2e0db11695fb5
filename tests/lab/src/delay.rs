//! A long way: IPv4 packets go from one interface to another, later. For kernels without `netem`.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket, sockopt,
};

/// The longest frame, as long as the interfaces are told to merge none.
const FRAME_OCTETS: usize = 2048;
/// What a second of 100 Mbit/s needs, in either buffer.
const BUFFER_OCTETS: usize = 16 << 20;

/// Carries both ways until the process ends, each way so late.
///
/// # Errors
/// No root, or no such interfaces.
pub fn carry(interfaces: [&str; 2], delay: Duration) -> anyhow::Result<()> {
    let [one, other] = interfaces;
    let back = std::thread::spawn({
        let (from, to) = (open(other)?, open(one)?);
        move || pass(&from, to, delay)
    });
    pass(&open(one)?, open(other)?, delay)?;
    back.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?
}

fn pass(from: &OwnedFd, to: OwnedFd, delay: Duration) -> anyhow::Result<()> {
    let (arrived, departing) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        while let Ok((due, frame)) = departing.recv() {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            // A full queue loses packets, as on any way.
            _ = send(to.as_raw_fd(), &frame, MsgFlags::empty());
        }
    });
    let mut buffer = [0; FRAME_OCTETS];
    loop {
        let length = recv(from.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let frame = buffer.get(..length).unwrap_or_default().to_vec();
        arrived
            .send((Instant::now() + delay, frame))
            .context("nobody sends any more")?;
    }
}

/// Hears IPv4 that comes in there; of one protocol alone, since a socket for all would hear what we send as well.
fn open(interface: &str) -> anyhow::Result<OwnedFd> {
    let link = getifaddrs()?
        .filter(|one| one.interface_name == interface)
        .find_map(|one| one.address.as_ref()?.as_link_addr().copied());
    let link: LinkAddr = link.with_context(|| format!("there is no interface {interface}"))?;
    let wire = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthIp,
    )
    .context("cannot take packets: root is needed")?;
    setsockopt(&wire, sockopt::RcvBufForce, &BUFFER_OCTETS)?;
    setsockopt(&wire, sockopt::SndBufForce, &BUFFER_OCTETS)?;
    bind(wire.as_raw_fd(), &link)?;
    Ok(wire)
}

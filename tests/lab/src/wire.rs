//! Frames as they are on a wire.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::Context as _;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, bind, socket};

/// A socket for frames at this interface. It sends any; it receives what comes in of one protocol, since one for all would hear what we send as
/// well; without a protocol nothing.
///
/// # Errors
/// No root, or no such interface.
pub fn open(interface: &str, protocol: Option<SockProtocol>) -> anyhow::Result<OwnedFd> {
    let link = getifaddrs()?
        .filter(|one| one.interface_name == interface)
        .find_map(|one| one.address.as_ref()?.as_link_addr().copied());
    let link: LinkAddr = link.with_context(|| format!("there is no interface {interface}"))?;
    let wire = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
        .context("cannot send frames: root is needed")?;
    bind(wire.as_raw_fd(), &link)?;
    Ok(wire)
}

/// RFC 1071.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    let pair =
        |pair: &[u8]| u32::from(pair.first().copied().unwrap_or(0)) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    let sum: u32 = bytes.chunks(2).map(pair).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_its_sum_comes_to_nothing() {
        // RFC 1071 §3 by another author: the example of IPv4's header in common use.
        let mut header = [
            0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7,
        ];
        assert_eq!(checksum(&header), 0xb861);
        header[10..12].copy_from_slice(&0xb861_u16.to_be_bytes());
        assert_eq!(checksum(&header), 0);
    }
}

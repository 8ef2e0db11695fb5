//! Values of the gateway's part that are more than a number or an address.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Context as _;
use ipnet::IpNet;
use kavadam_domain::PortMapping;
use kavadam_gateway::{Garden, OtherLan, UPLINK_BITS_PER_SEC, Uplink};

use crate::config::File;
use crate::units;

/// An address, or a network with its length. Not everything: that would close the gate by the wrong key.
pub(super) fn network_of(text: &str) -> anyhow::Result<IpNet> {
    let parsed = text
        .parse()
        .or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address)));
    let net: IpNet = parsed.with_context(|| format!("`{text}` is no address: write 192.0.2.1 or 192.0.2.0/24"))?;
    anyhow::ensure!(net.prefix_len() > 0, "`{text}` is every address there is");
    Ok(net)
}

/// `tcp/25` or `udp/5060`, as the number of the protocol and the port.
pub(super) fn port_of(text: &str) -> anyhow::Result<(u8, u16)> {
    let read = || {
        let (protocol, port) = text.split_once('/')?;
        let number = match protocol {
            "tcp" => 6,
            "udp" => 17,
            _ => return None,
        };
        Some((number, port.parse().ok().filter(|port| *port > 0)?))
    };
    read().with_context(|| format!("`{text}` is no port: write tcp/25 or udp/5060"))
}

/// Octets, as many as the kernel can tell.
pub(super) fn burst(file: &File) -> anyhow::Result<u32> {
    let octets = units::octets(&file.gateway.burst).map_err(anyhow::Error::msg)?;
    u32::try_from(octets).map_err(|_| anyhow::anyhow!("`{}` is more than 4GB", file.gateway.burst))
}

/// Which device has which ports, if each is to have its own.
pub(super) fn ports(file: &File) -> anyhow::Result<Option<PortMapping>> {
    let nat = &file.gateway.nat;
    if nat.addresses.is_empty() {
        return Ok(None);
    }
    let [first, last] = &file.gateway.dnsmasq.range4;
    let addresses = nat.addresses.iter();
    let addresses = addresses.map(|text| text.parse().with_context(|| format!("`{text}` is no IPv4 address")));
    let addresses: Vec<Ipv4Addr> = addresses.collect::<anyhow::Result<_>>()?;
    let mut distinct = addresses.clone();
    distinct.sort_unstable();
    distinct.dedup();
    anyhow::ensure!(distinct.len() == addresses.len(), "an address is named twice");
    Ok(Some(PortMapping::new(
        first.parse()?,
        last.parse()?,
        addresses,
        nat.ports_each,
    )?))
}

/// Both speeds or none, and such as the kernel can tell.
pub(super) fn uplink(file: &File) -> anyhow::Result<Option<Uplink>> {
    let given = &file.gateway.uplink;
    if given.up.is_empty() && given.down.is_empty() {
        return Ok(None);
    }
    let speed = |key: &str, text: &str| {
        anyhow::ensure!(
            !text.is_empty(),
            "say `{key}` too: what the line carries in that direction"
        );
        let speed = units::rate(text).map_err(anyhow::Error::msg)?;
        anyhow::ensure!(
            UPLINK_BITS_PER_SEC.contains(&speed),
            "`{text}` is not within 100kbit to 30Gbit"
        );
        Ok(speed)
    };
    Ok(Some(Uplink {
        up_bits_per_sec: speed("up", &given.up)?,
        down_bits_per_sec: speed("down", &given.down)?,
    }))
}

/// Addresses and names, told apart.
pub(super) fn garden(entries: &[String]) -> anyhow::Result<(Vec<IpAddr>, Garden)> {
    let (mut addresses, mut names) = (Vec::new(), Garden::default());
    for entry in entries {
        match entry.parse() {
            Ok(address) => addresses.push(address),
            Err(_) if entry.parse::<IpNet>().is_ok() => {
                anyhow::bail!(
                    "`{entry}` is a network, and none is taken here: name each address, or a name such as *.example.org"
                )
            }
            Err(_) => names.add(entry)?,
        }
    }
    Ok((addresses, names))
}

/// `lan1`, whose gate has the table `kavadam-lan1`, or `lan1=TABLE`.
pub(super) fn other_lan(text: &str) -> OtherLan {
    let (interface, table) = text
        .split_once('=')
        .map_or((text, None), |(interface, table)| (interface, Some(table)));
    OtherLan {
        interface: interface.to_owned(),
        table: table.map_or_else(|| format!("kavadam-{interface}"), ToOwned::to_owned),
    }
}

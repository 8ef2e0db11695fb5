//! IPv4 over a service with IPv6 only: the provider's NAT64 (RFC 6146) and a phone's CLAT (RFC 6877), both by TAYGA.

use std::fs;

use crate::netns::{Netns, Process};
use crate::{Phone, World};

/// The well-known prefix (RFC 6052 §2.1).
pub const NAT64: &str = "64:ff9b::";
/// A server that only IPv4 leads to. Not of the addresses for documentation, which TAYGA takes for private ones: those must not be behind the
/// well-known prefix.
pub const WEB4: &str = "192.88.99.10";

/// Starts the provider's NAT64, and the name by which devices find it (RFC 7050).
///
/// # Errors
/// TAYGA is missing, or there are no tunnel interfaces.
pub fn nat64(world: &World) -> anyhow::Result<Process> {
    let config =
        format!("ipv4-addr 192.0.0.9\nipv6-addr 2001:db8:51::64\nprefix {NAT64}/96\ndynamic-pool 198.51.100.128/25\n");
    let translator = tayga(world, &world.internet, "nat64", &config)?;
    for words in [
        format!("addr add {WEB4}/32 dev lo"),
        "route add 198.51.100.128/25 dev nat64".to_owned(),
        format!("-6 route add {NAT64}/96 dev nat64"),
    ] {
        world.internet.ip(&words)?;
    }
    world.internet.run(
        "sysctl",
        &["-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"],
    )?;
    Ok(translator)
}

/// Starts a phone's CLAT: its IPv4 goes as IPv6 from this second address of its own.
///
/// # Errors
/// As [`nat64`].
pub fn clat(world: &World, phone: &Phone, own: &str) -> anyhow::Result<Process> {
    let config = format!("ipv4-addr 192.0.0.2\nprefix {NAT64}/96\nmap 192.0.0.4 {own}\n");
    // A router heeds no advertisements unless it is told to.
    for setting in [
        "net.ipv6.conf.eth0.accept_ra=2",
        "net.ipv6.conf.all.forwarding=1",
        "net.ipv6.conf.eth0.proxy_ndp=1",
    ] {
        phone.netns().run("sysctl", &["-qw", setting])?;
    }
    let translator = tayga(world, phone.netns(), "clat", &config)?;
    for words in [
        "addr add 192.0.0.4/32 dev clat".to_owned(),
        "route replace default dev clat src 192.0.0.4".to_owned(),
        format!("-6 route add {own}/128 dev clat"),
        format!("-6 neigh add proxy {own} dev eth0"),
    ] {
        phone.netns().ip(&words)?;
    }
    Ok(translator)
}

fn tayga(world: &World, netns: &Netns, device: &str, config: &str) -> anyhow::Result<Process> {
    let dir = world.dir().join(format!("{}-{device}", netns.name()));
    fs::create_dir_all(&dir)?;
    let path = dir.join("tayga.conf");
    fs::write(
        &path,
        format!("tun-device {device}\ndata-dir {}\n{config}", dir.display()),
    )?;
    let path = path.display().to_string();
    netns.run("tayga", &["-c", &path, "--mktun"])?;
    netns.ip(&format!("link set {device} up"))?;
    netns.start(&dir.join("log"), "tayga", &["-d", "-c", &path])
}

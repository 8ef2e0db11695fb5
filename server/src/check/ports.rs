//! Whether the ports are free, or held by ourselves.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use super::Findings;
use crate::config::{Config, Listen};
use kavadam_gateway::GatewayConfig;

/// A socket that listens, as the kernel's tables say.
const LISTENING: &str = "0A";
/// A UDP socket that is bound.
const BOUND: &str = "07";

/// Succeeds if the machine has the address; [`ErrorKind::AddrNotAvailable`] if it has not.
pub(super) fn find_here(address: IpAddr) -> Result<(), ErrorKind> {
    UdpSocket::bind((address, 0)).map(drop).map_err(|error| error.kind())
}

/// Whether the machine has the public addresses that devices are to be seen by.
pub(super) fn look_at_public_addresses(gateway: &GatewayConfig, findings: &mut Findings) {
    let Some(ports) = &gateway.ports else { return };
    for address in ports.addresses() {
        match find_here((*address).into()) {
            Ok(()) => findings.good(&format!("gateway.nat: {address} is this machine's")),
            Err(ErrorKind::AddrNotAvailable) => findings.bad(
                &format!(
                    "gateway.nat: this machine does not have the address {address}, so no answer finds its way back"
                ),
                &format!(
                    "give it to the interface: ip address add {address}/LENGTH dev {}",
                    gateway.wan_if
                ),
            ),
            Err(kind) => findings.unsure(&format!("gateway.nat: {address}: {kind}")),
        }
    }
}

/// `path` is the configuration's own file, by which another gate's process is told from ours.
pub(super) fn look(config: &Config, path: &Path, findings: &mut Findings) {
    let dnsmasq = config.file.gateway.dnsmasq.state_dir.join("dnsmasq.conf");
    let has_other_gates = !config.file.gateway.other_lans.is_empty();
    for listen in config.listens() {
        let Listen { key, address, is_udp } = listen;
        let what = format!("{key}: {} port {address}", if is_udp { "UDP" } else { "TCP" });
        let bound = if is_udp {
            UdpSocket::bind(address).map(drop)
        } else {
            TcpListener::bind(address).map(drop)
        };
        match bound.map_err(|error| error.kind()) {
            Ok(()) => findings.good(&format!("{what} is free")),
            Err(ErrorKind::AddrInUse) => match holder(address, is_udp) {
                Some(holder) if has_other_gates && holder.is_another_gate(path) => findings.bad(
                    &format!("{what} is held by another gate of this machine"),
                    "give each gate a port of its own; a coa_listen also to the centre (kavadam nas set --coa-port)",
                ),
                Some(holder) if holder.is_ours(&dnsmasq) => {
                    findings.good(&format!("{what} is held by {}, which runs", holder.name));
                }
                // Each serves its own interface.
                Some(holder) if has_other_gates && holder.is_dnsmasq_of_a_gate() => {
                    findings.good(&format!(
                        "{what} is shared with the dnsmasq of another gate (gateway.other_lans)"
                    ));
                }
                Some(holder) if holder.is_service_manager() => findings.unsure(&format!(
                    "{what} is kept by systemd: for kavadam while that is started anew, or for a unit that `systemctl list-sockets` names"
                )),
                Some(holder) => findings.bad(
                    &format!("{what} is taken by {} (process {})", holder.name, holder.pid),
                    "end that, or choose another port",
                ),
                None => findings.bad(
                    &format!("{what} is taken"),
                    "end what listens there (`ss -lntup` as root names it), or choose another port",
                ),
            },
            Err(ErrorKind::AddrNotAvailable) => look_at_address(&what, address.ip(), findings),
            Err(ErrorKind::PermissionDenied) => findings.unsure(&format!("{what}: run the check as root to know")),
            Err(kind) => findings.bad(&format!("{what}: {kind}"), "correct the address"),
        }
    }
}

/// Why nothing can listen at an address.
fn look_at_address(what: &str, address: IpAddr, findings: &mut Findings) {
    match withheld(address) {
        Some(Withheld::IsTentative) => findings.unsure(&format!(
            "{what}: the address is still being looked for at others (duplicate address detection), as long as the cable has no carrier"
        )),
        Some(Withheld::IsTaken) => findings.bad(
            &format!("{what}: another machine has this address"),
            "find who has it and take it away there, or give the interface another; then set the interface down and up",
        ),
        None => findings.bad(
            &format!("{what}: this machine does not have that address"),
            &format!("give it to the interface: ip address add {address}/LENGTH dev INTERFACE"),
        ),
    }
}

/// Why a machine does not use an address that it was given (RFC 4862 §5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Withheld {
    /// Whether somebody else has it is not known yet.
    IsTentative,
    /// Somebody else has it.
    IsTaken,
}

fn withheld(address: IpAddr) -> Option<Withheld> {
    let IpAddr::V6(address) = address else { return None };
    let table = fs::read_to_string("/proc/net/if_inet6").ok()?;
    table.lines().find_map(|line| withheld_by(line, address))
}

/// A line is: address, interface, length, scope, flags, name.
fn withheld_by(line: &str, address: Ipv6Addr) -> Option<Withheld> {
    const IFA_F_DADFAILED: u128 = 0x08;
    const IFA_F_TENTATIVE: u128 = 0x40;
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let hex = |at: usize| fields.get(at).and_then(|hex| u128::from_str_radix(hex, 16).ok());
    let flags = hex(4).filter(|_| hex(0) == Some(address.to_bits()))?;
    // What has failed stays tentative.
    if flags & IFA_F_DADFAILED != 0 {
        return Some(Withheld::IsTaken);
    }
    (flags & IFA_F_TENTATIVE != 0).then_some(Withheld::IsTentative)
}

struct Holder {
    name: String,
    pid: String,
    command: String,
}

impl Holder {
    fn is_ours(&self, dnsmasq: &Path) -> bool {
        self.name == "kavadam" || self.command.contains(&dnsmasq.display().to_string())
    }

    /// It has a copy of what each process keeps there (`FileDescriptorStoreMax=`), and holds ports for others (`.socket`).
    fn is_service_manager(&self) -> bool {
        self.pid == "1" && self.name == "systemd"
    }

    /// A process of ours that runs by another file.
    fn is_another_gate(&self, own: &Path) -> bool {
        self.name == "kavadam" && !self.command.contains(&own.display().to_string())
    }

    /// As [`crate::dnsmasq`] starts it.
    fn is_dnsmasq_of_a_gate(&self) -> bool {
        self.name == "dnsmasq" && self.command.contains("--conf-file=") && self.command.contains("--group=")
    }
}

/// Who has a socket at that address and port, or at that port of every address; the service manager if nobody else has it. `None` without the
/// right to know.
fn holder(wanted: SocketAddr, is_udp: bool) -> Option<Holder> {
    let (tables, state) = if is_udp {
        (["/proc/net/udp", "/proc/net/udp6"], BOUND)
    } else {
        (["/proc/net/tcp", "/proc/net/tcp6"], LISTENING)
    };
    let tables = tables.map(|table| fs::read_to_string(table).unwrap_or_default());
    let sockets: Vec<PathBuf> = tables
        .iter()
        .flat_map(|table| table.lines().filter_map(|line| socket(line, wanted, state)))
        .collect();
    let mut holders = fs::read_dir("/proc").ok()?.flatten().filter_map(|process| {
        // Besides processes there is `self` and more.
        process.file_name().to_str()?.parse::<u32>().ok()?;
        let mut files = fs::read_dir(process.path().join("fd")).ok()?.flatten();
        let holds = |file: fs::DirEntry| fs::read_link(file.path()).is_ok_and(|link| sockets.contains(&link));
        files.any(holds).then(|| Holder {
            name: read(&process.path().join("comm")),
            pid: process.file_name().to_string_lossy().into_owned(),
            command: read(&process.path().join("cmdline")),
        })
    });
    let first = holders.next()?;
    if first.is_service_manager() {
        return holders.next().or(Some(first));
    }
    Some(first)
}

/// What a descriptor of the socket in this line of the kernel's table links to, if it is one of ours to look for.
fn socket(line: &str, wanted: SocketAddr, state: &str) -> Option<PathBuf> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (ip, port) = fields.get(1)?.rsplit_once(':')?;
    let (ip, wanted_ip) = (local_ip(ip)?, wanted.ip());
    let is_there = ip == wanted_ip || ip.is_unspecified() || wanted_ip.is_unspecified();
    let is_it = is_there && u16::from_str_radix(port, 16) == Ok(wanted.port()) && fields.get(3) == Some(&state);
    is_it.then(|| PathBuf::from(format!("socket:[{}]", fields.get(9).unwrap_or(&""))))
}

/// As the kernel writes it: words of 32 bits in the machine's order, the octets within them in the network's.
fn local_ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let octets: [u8; 16] = [word(0)?, word(8)?, word(16)?, word(24)?].concat().try_into().ok()?;
            Some(IpAddr::from(octets).to_canonical())
        }
        _ => None,
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_not_used_yet_is_told_from_one_that_is() {
        let own: Ipv6Addr = "fd00:80::1".parse().unwrap();
        let line = |flags: &str| format!("fd000080000000000000000000000001 03 40 00 {flags}     lan0");
        for (flags, found) in [
            ("c0", Some(Withheld::IsTentative)),
            ("40", Some(Withheld::IsTentative)),
            ("c8", Some(Withheld::IsTaken)),
            ("80", None),
        ] {
            assert_eq!(withheld_by(&line(flags), own), found, "{flags}");
        }
        assert_eq!(withheld_by(&line("c8"), "fd00:80::2".parse().unwrap()), None);
        assert_eq!(withheld_by("fd00 nonsense", own), None);
        assert_eq!(withheld_by("", own), None);
    }

    #[test]
    fn a_port_that_is_taken_names_its_holder() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("[::1]:0").unwrap();
        let own = std::process::id().to_string();
        let tcp_holder = holder(tcp.local_addr().unwrap(), false).unwrap();
        let udp_holder = holder(udp.local_addr().unwrap(), true).unwrap();
        let elsewhere = SocketAddr::new([127, 0, 0, 2].into(), tcp.local_addr().unwrap().port());
        assert!(holder(elsewhere, false).is_none(), "another address is another port");
        assert_eq!((&tcp_holder.pid, &udp_holder.pid), (&own, &own));
        let foreign = Holder {
            name: "dnsmasq".to_owned(),
            pid: own,
            command: "dnsmasq\0--conf-file=/etc/dnsmasq.conf".to_owned(),
        };
        assert!(!foreign.is_ours(Path::new("/var/lib/kavadam-dnsmasq/dnsmasq.conf")));
        let gate = Holder {
            name: "kavadam".to_owned(),
            pid: String::new(),
            command: "kavadam\0--config\0/etc/kavadam/lan1.toml\0run".to_owned(),
        };
        assert!(gate.is_another_gate(Path::new("/etc/kavadam/kavadam.toml")));
        assert!(!gate.is_another_gate(Path::new("/etc/kavadam/lan1.toml")));
        assert!(foreign.is_ours(Path::new("/etc/dnsmasq.conf")));
    }
}

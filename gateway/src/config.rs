//! What a gateway must be told, already checked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use kavadam_firewall::Layout;
use kavadam_radius::Secret;

/// One gateway.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// NAS-Identifier, also `nasid` in redirects.
    pub nas_identifier: String,
    /// Holds the spool and the sockets.
    pub state_dir: PathBuf,
    /// Where dnsmasq tells of DHCP leases.
    pub lease_socket: PathBuf,
    /// dnsmasq's lease file.
    pub lease_file: PathBuf,
    /// LAN interface.
    pub lan_if: String,
    /// WAN interface.
    pub wan_if: String,
    /// Our IPv4 address and the devices' network.
    pub lan4: Ipv4Net,
    /// Our IPv6 address and the devices' network.
    pub lan6: Option<Ipv6Net>,
    /// Answers for every HTTP server a stranger asks for.
    pub capture_port: u16,
    /// UAM.
    pub uam_port: u16,
    /// TCP ports of this machine that strangers may reach besides: the portal's, where it runs here.
    pub other_ports: Vec<u16>,
    /// Where strangers are sent.
    pub portal_url: String,
    /// Signs redirects to the portal and binds logons.
    pub uam_secret: Secret,
    /// Only DHCP-leased MAC and address pairs may send.
    pub is_strict: bool,
    /// Sessions at once.
    pub max_sessions: u32,
    /// Open before login.
    pub walled_garden: Vec<IpAddr>,
    /// Between reports where the server sets none.
    pub interim: Duration,
    /// RADIUS servers.
    pub radius: RadiusConfig,
    /// Where CoA and Disconnect are obeyed.
    pub coa_listen: SocketAddr,
    /// RFC 8908, if there is a certificate.
    pub api: Option<ApiConfig>,
    /// DHCP and DNS.
    pub dnsmasq: DnsmasqConfig,
}

/// Whom to ask.
#[derive(Debug, Clone)]
pub struct RadiusConfig {
    /// Authentication servers in order of preference; each with its accounting port.
    pub servers: Vec<(SocketAddr, SocketAddr)>,
    /// Shared secret.
    pub secret: Secret,
    /// Patience with each sending.
    pub timeout: Duration,
    /// Sendings after the first.
    pub retries: u32,
}

/// The captive portal API (RFC 8908) over TLS.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Address and port.
    pub listen: SocketAddr,
    /// The name in the certificate.
    pub host_name: String,
    /// PEM chain.
    pub certificate_file: PathBuf,
    /// PEM key.
    pub key_file: PathBuf,
}

impl ApiConfig {
    /// What DHCP option 114 points to (RFC 8910 §2).
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}:{}/captive", self.host_name, self.listen.port())
    }
}

/// DHCP and DNS.
#[derive(Debug, Clone)]
pub struct DnsmasqConfig {
    /// DHCP lease time.
    pub lease: Duration,
    /// First and last address given out.
    pub range4: (Ipv4Addr, Ipv4Addr),
    /// Resolvers asked; empty: those of `/etc/resolv.conf`.
    pub upstream: Vec<IpAddr>,
    /// Domain told to devices.
    pub domain: String,
}

impl GatewayConfig {
    /// For the firewall.
    #[must_use]
    pub fn layout(&self) -> Layout {
        let mut local_ports = vec![self.capture_port, self.uam_port];
        local_ports.extend(self.api.as_ref().map(|api| api.listen.port()));
        local_ports.extend(&self.other_ports);
        local_ports.sort_unstable();
        local_ports.dedup();
        let v4 = |address: &IpAddr| if let IpAddr::V4(v4) = address { Some(*v4) } else { None };
        let v6 = |address: &IpAddr| if let IpAddr::V6(v6) = address { Some(*v6) } else { None };
        Layout {
            lan_if: self.lan_if.clone(),
            wan_if: self.wan_if.clone(),
            lan4: self.lan4,
            lan6: self.lan6,
            capture_port: self.capture_port,
            local_ports,
            garden4: self.walled_garden.iter().filter_map(v4).collect(),
            garden6: self.walled_garden.iter().filter_map(v6).collect(),
            strict: self.is_strict,
            max_sessions: self.max_sessions,
        }
    }
}

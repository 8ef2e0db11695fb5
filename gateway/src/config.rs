//! What a gateway must be told, already checked.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use kavadam_domain::{ClassName, FilterName, PortMapping};
use kavadam_firewall::{DhcpPool, Filter, Layout, OtherLan, ShapingClass, Uplink};
use kavadam_radius::client::{Client, ClientConfig, ServerAddress};
use kavadam_radius::dynamic::{Authority, DynamicConfig};
use kavadam_radius::tls::{Link, LinkConfig, LinkTimes, TlsError, TlsFiles, Versions};
use kavadam_radius::{NasIdentity, Retry, Secret};
use rustls::pki_types::ServerName;

use crate::advertise::Nat64Prefix;
use crate::names::{Blocklist, Garden};

/// Addresses that dnsmasq gives out at once: at each lease that it gives or renews it writes all of them anew, so that twice as many would cost it four
/// times as much.
pub const MOST_LEASES: u32 = 65_536;

/// One gateway.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a decision of its own")]
pub struct GatewayConfig {
    /// NAS-Identifier, also `nasid` in redirects.
    pub nas_identifier: String,
    /// Directory of `gateway.db`, which holds the spool; made if need be.
    pub state_dir: PathBuf,
    /// Where dnsmasq tells of DHCP leases.
    pub lease_socket: PathBuf,
    /// dnsmasq's lease file.
    pub lease_file: PathBuf,
    /// The name of our table in the kernel; gates of one machine have different ones.
    pub table: String,
    /// LANs of this machine that other gates guard.
    pub other_lans: Vec<OtherLan>,
    /// LAN interface.
    pub lan_if: String,
    /// WAN interface.
    pub wan_if: String,
    /// Our IPv4 address and the devices' network.
    pub lan4: Ipv4Net,
    /// Our IPv6 address and the devices' network.
    pub lan6: Option<Ipv6Net>,
    /// Devices have addresses of whatever other prefixes are on the LAN interface too, as a provider delegates them.
    pub is_delegated: bool,
    /// From whom devices learn that we are their router.
    pub advertiser: Advertiser,
    /// Under which prefix a translator has all of IPv4.
    pub nat64: Option<Nat64Prefix>,
    /// For how long a device that can do without IPv4 is to ask for no address of it (DHCP option 108); at least 300 s (RFC 8925 §3.4).
    pub ipv6_only_wait: Option<Duration>,
    /// Answers for every HTTP server a stranger asks for.
    pub capture_port: u16,
    /// UAM.
    pub uam_port: u16,
    /// Where strangers' DNS arrives.
    pub names_port: u16,
    /// Where the DNS of those online arrives, if something is open, free or blocked by name.
    pub citizen_names_port: u16,
    /// TCP ports of this machine that devices may reach besides, strangers too: the portal's, where it runs here.
    pub other_ports: Vec<u16>,
    /// Origin of the portal, `http://host[:port]` or `https://…`, without a slash at its end: redirects are signed over it.
    pub portal_url: String,
    /// Signs redirects to the portal and binds logons.
    pub uam_secret: Secret,
    /// Only DHCP-leased MAC and address pairs may send.
    pub is_strict: bool,
    /// Devices with IPv6 only, which hold no lease, may send over it.
    pub admits_ipv6_only: bool,
    /// Where the LAN is a bridge of ours: nothing passes from one of its ports to another.
    pub are_isolated: bool,
    /// What a device may send or get at once beyond its speed, octets.
    pub burst_octets: u32,
    /// Which ports of which public addresses each device has to itself.
    pub ports: Option<PortMapping>,
    /// What the way to the internet carries, to be shared fairly.
    pub uplink: Option<Uplink>,
    /// What of it those get together whose plan names one of these classes; 8 at most, and none without an uplink.
    pub classes: BTreeMap<ClassName, ShapingClass>,
    /// Sessions at once.
    pub max_sessions: u32,
    /// Open before login.
    pub walled_garden: Vec<IpAddr>,
    /// The same by name.
    pub garden_names: Garden,
    /// Closed before login, and charged to nobody after it.
    pub free: Vec<IpAddr>,
    /// The same by name.
    pub free_names: Garden,
    /// Where nobody may go.
    pub blocked: BlockedConfig,
    /// Whatever resolver devices ask, they are answered by us.
    pub is_every_resolver_ours: bool,
    /// Where those may not go besides whose plan names one of these filters; 64 at most.
    pub filters: BTreeMap<FilterName, BlockedConfig>,
    /// Between reports where the server sets none, at least 10 s.
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

/// Who sends router advertisements to the LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advertiser {
    /// [`crate::advertise`].
    Kavadam,
    /// dnsmasq, which tells of neither the captive portal nor the translator.
    Dnsmasq,
    /// Nobody of ours.
    Others,
}

/// Where nobody may go, or nobody of a filter, but for what is in the walled garden or free.
#[derive(Debug, Clone, Default)]
pub struct BlockedConfig {
    /// Names, with everything beneath them.
    pub names: Blocklist,
    /// Files with more of them, read again when they change.
    pub files: Vec<PathBuf>,
    /// Addresses.
    pub networks: Vec<IpNet>,
    /// Ports, each with the number of its protocol: 6 is TCP, 17 UDP.
    pub ports: Vec<(u8, u16)>,
}

impl BlockedConfig {
    fn has_names(&self) -> bool {
        !self.names.is_empty() || !self.files.is_empty()
    }

    fn filter(&self) -> Filter {
        let mut filter = Filter {
            ports: self.ports.clone(),
            ..Filter::default()
        };
        for net in &self.networks {
            match net {
                IpNet::V4(net) => filter.nets4.push(net.trunc()),
                IpNet::V6(net) => filter.nets6.push(net.trunc()),
            }
        }
        filter
    }
}

/// Whom to ask.
#[derive(Debug, Clone)]
pub struct RadiusConfig {
    /// Authentication servers in order of preference; each with its accounting port. They may give orders (CoA, Disconnect) too.
    pub servers: Vec<(SocketAddr, SocketAddr)>,
    /// Who else may give orders.
    pub order_sources: Vec<IpNet>,
    /// Shared secret.
    pub secret: Secret,
    /// Patience with each sending.
    pub timeout: Duration,
    /// Sendings after the first.
    pub retries: u32,
    /// Servers asked over TLS; then no other is, `servers` and `secret` play no part in asking, and orders come down these connections.
    pub tls: Option<TlsServers>,
}

/// RADIUS servers over TLS (RFC 6614).
#[derive(Debug, Clone)]
pub struct TlsServers {
    /// In order of preference: `HOST:PORT`, and the name in the server's certificate.
    pub servers: Vec<(String, ServerName<'static>)>,
    /// What we show, and whom we trust.
    pub files: TlsFiles,
    /// What may be spoken.
    pub versions: Versions,
}

/// The captive portal API (RFC 8908) over TLS.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Address and port.
    pub listen: SocketAddr,
    /// The name in the certificate.
    pub host_name: String,
    /// PEM: certificate, then intermediates. Read again when it changes.
    pub certificate_file: PathBuf,
    /// PEM: private key.
    pub key_file: PathBuf,
    /// `venue-info-url`; `None`: the portal's help page.
    pub venue_info_url: Option<String>,
}

impl ApiConfig {
    /// What DHCP option 114 points to (RFC 8910 §2).
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/captive", self.origin())
    }

    /// `https://NAME[:PORT]`.
    #[must_use]
    pub fn origin(&self) -> String {
        match self.listen.port() {
            443 => format!("https://{}", self.host_name),
            port => format!("https://{}:{port}", self.host_name),
        }
    }
}

/// DHCP and DNS.
#[derive(Debug, Clone)]
pub struct DnsmasqConfig {
    /// DHCP lease time.
    pub lease: Duration,
    /// First and last address given out.
    pub range4: (Ipv4Addr, Ipv4Addr),
    /// What strangers at one port of the LAN's bridge may hold of them where it has several, 1 to 100 %.
    pub port_share_percent: u8,
    /// Resolvers asked; empty: those of `/etc/resolv.conf`.
    pub upstream: Vec<IpAddr>,
    /// Domain told to devices.
    pub domain: String,
}

impl DnsmasqConfig {
    /// The addresses given out, as the firewall is told of them.
    #[must_use]
    pub fn pool(&self) -> DhcpPool {
        let [first, last] = [self.range4.0, self.range4.1].map(u32::from);
        DhcpPool {
            addresses: last.saturating_sub(first).saturating_add(1).min(MOST_LEASES),
            lease: self.lease,
            share_percent: self.port_share_percent,
        }
    }
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
        let blocked = self.blocked.filter();
        let filters = self.filters.iter().map(|(name, filter)| (*name, filter.filter()));
        Layout {
            table: self.table.clone(),
            other_lans: self.other_lans.clone(),
            lan_if: self.lan_if.clone(),
            wan_if: self.wan_if.clone(),
            lan4: self.lan4,
            lan6: self.lan6,
            delegated: self.is_delegated,
            capture_port: self.capture_port,
            names_port: self.names_port,
            citizen_names_port: self.reads_all_names().then_some(self.citizen_names_port),
            all_names: self.is_every_resolver_ours,
            local_ports,
            free4: self.free.iter().filter_map(v4).collect(),
            free6: self.free.iter().filter_map(v6).collect(),
            blocked4: blocked.nets4,
            blocked6: blocked.nets6,
            blocked_ports: blocked.ports,
            filters: filters.collect(),
            garden4: self.walled_garden.iter().filter_map(v4).collect(),
            garden6: self.walled_garden.iter().filter_map(v6).collect(),
            strict: self.is_strict,
            admit_ipv6_only: self.admits_ipv6_only,
            isolate: self.are_isolated,
            burst_octets: self.burst_octets,
            ports: self.ports.clone(),
            uplink: self.uplink,
            classes: self.classes.clone(),
            dhcp: self.dnsmasq.pool(),
            max_sessions: self.max_sessions,
        }
    }

    /// Whether the names that people online ask for matter: something is open, free or blocked by name.
    #[must_use]
    pub fn reads_all_names(&self) -> bool {
        let is_plain = self.garden_names.is_empty() && self.free_names.is_empty();
        !is_plain || self.blocked.has_names() || self.filters.values().any(BlockedConfig::has_names)
    }

    /// Our addresses on the LAN.
    pub(crate) fn lan_addresses(&self) -> Vec<IpAddr> {
        let lan6 = self.lan6.map(|net| IpAddr::V6(net.addr()));
        std::iter::once(IpAddr::V4(self.lan4.addr())).chain(lan6).collect()
    }

    /// Asks the servers; over TLS, their connections begin to be made.
    pub(crate) fn client(&self) -> Result<Client, TlsError> {
        let Some(tls) = &self.radius.tls else {
            return Ok(Client::new(self.udp_client()));
        };
        let link = |(address, server_name): &(String, ServerName<'static>)| {
            Link::open(LinkConfig {
                address: address.clone(),
                server_name: server_name.clone(),
                files: tls.files.clone(),
                versions: tls.versions,
                nas: self.nas(),
                times: LinkTimes::default(),
            })
        };
        let links = tls.servers.iter().map(link).collect::<Result<_, _>>()?;
        Ok(Client::over_tls(links, self.nas(), self.retry()))
    }

    fn nas(&self) -> NasIdentity {
        NasIdentity {
            identifier: self.nas_identifier.clone(),
            address: Some(IpAddr::V4(self.lan4.addr())),
            ..NasIdentity::default()
        }
    }

    fn retry(&self) -> Retry {
        Retry {
            first_wait: self.radius.timeout,
            tries: self.radius.retries.saturating_add(1),
        }
    }

    fn udp_client(&self) -> ClientConfig {
        let server = |(auth, acct): &(SocketAddr, SocketAddr)| ServerAddress {
            auth: *auth,
            acct: *acct,
            secret: self.radius.secret.clone(),
        };
        ClientConfig {
            servers: self.radius.servers.iter().map(server).collect(),
            nas: self.nas(),
            retry: self.retry(),
            source: None,
            requires_message_authenticator: true,
        }
    }

    pub(crate) fn dynamic(&self) -> DynamicConfig {
        // Over TLS a server's orders come down its connection; the secret is for other sources alone.
        let asked = if self.radius.tls.is_some() {
            &[][..]
        } else {
            &self.radius.servers
        };
        let servers = asked.iter().map(|(auth, _)| IpNet::from(auth.ip()));
        let authority = |source| Authority {
            source,
            secret: self.radius.secret.clone(),
        };
        let sources = servers.chain(self.radius.order_sources.iter().copied());
        DynamicConfig {
            listen: self.coa_listen,
            authorities: sources.map(authority).collect(),
            nas_identifier: self.nas_identifier.clone(),
            nas_addresses: self.lan_addresses(),
            is_strict: true,
        }
    }
}

#[cfg(test)]
mod tests;

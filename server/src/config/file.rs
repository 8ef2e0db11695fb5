//! The configuration file, key by key. Defaults are those of `kavadam.example.toml`, which a test compares.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    pub role: Role,
    pub state_dir: PathBuf,
    pub database: Database,
    pub secrets: Secrets,
    pub log: Log,
    pub radius: Radius,
    pub metrics: Metrics,
    pub portal: Portal,
    pub challenge: Challenge,
    pub sms: Sms,
    pub gateway: Gateway,
}

/// Which parts this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    AllInOne,
    Centre,
    Portal,
    Radius,
    Gateway,
}

impl Role {
    pub const fn has_portal(self) -> bool {
        matches!(self, Self::AllInOne | Self::Centre | Self::Portal)
    }

    pub const fn has_radius(self) -> bool {
        matches!(self, Self::AllInOne | Self::Centre | Self::Radius)
    }

    pub const fn has_centre(self) -> bool {
        self.has_portal() || self.has_radius()
    }

    pub const fn has_gateway(self) -> bool {
        matches!(self, Self::AllInOne | Self::Gateway)
    }

    /// Several centre processes share one database.
    pub const fn is_half(self) -> bool {
        matches!(self, Self::Portal | Self::Radius)
    }
}

/// An address to listen at, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected an address, or a list of addresses")]
pub enum Addresses {
    One(String),
    Several(Vec<String>),
}

impl Addresses {
    pub fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Several(texts) => texts,
        }
    }
}

/// Declares a section with its defaults in one place.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty = $default:expr),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $(pub $field: $type),* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),* }
            }
        }
    };
}

impl Default for File {
    fn default() -> Self {
        Self {
            role: Role::AllInOne,
            state_dir: "/var/lib/kavadam".into(),
            database: Database::default(),
            secrets: Secrets::default(),
            log: Log::default(),
            radius: Radius::default(),
            metrics: Metrics::default(),
            portal: Portal::default(),
            challenge: Challenge::default(),
            sms: Sms::default(),
            gateway: Gateway::default(),
        }
    }
}

section! {
    /// Where the centre keeps everything.
    Database { url: String = String::new() }
}

section! {
    /// The master key.
    Secrets { master_key_file: PathBuf = PathBuf::new() }
}

section! {
    /// What is written about.
    Log { level: String = "info".into(), format: String = "text".into() }
}

section! {
    /// The RADIUS server.
    Radius {
        auth_listen: Addresses = Addresses::One("127.0.0.1:1812".into()),
        acct_listen: Addresses = Addresses::One("127.0.0.1:1813".into()),
        profiles: PathBuf = PathBuf::new(),
        tls: RadiusTls = RadiusTls::default(),
    }
}

section! {
    /// RADIUS over TLS, at the server.
    RadiusTls {
        listen: String = "0.0.0.0:2083".into(),
        certificate_file: PathBuf = PathBuf::new(),
        key_file: PathBuf = PathBuf::new(),
        client_ca_file: PathBuf = PathBuf::new(),
        crl_file: PathBuf = PathBuf::new(),
        version: String = "any".into(),
        max_connections: u32 = 8192,
        max_per_source: u32 = 64,
    }
}

section! {
    /// Figures for a collector.
    Metrics { listen: String = String::new() }
}

section! {
    /// The citizens' pages.
    Portal {
        listen: String = "10.80.0.1:8081".into(),
        public_url: String = "http://10.80.0.1:8081".into(),
        service_en: String = "Public Wi-Fi".into(),
        service_ml: String = "പൊതു വൈഫൈ".into(),
        operator: String = "Kerala State IT Mission".into(),
        operator_ml: String = "കേരള സംസ്ഥാന ഐ.ടി. മിഷൻ".into(),
        helpdesk: String = "155300".into(),
    }
}

section! {
    /// Limits of codes.
    Challenge {
        resend_after_secs: u32 = 30,
        number_per_10_min: u32 = 3,
        number_per_day: u32 = 10,
        device_per_10_min: u32 = 5,
        address_per_10_min: u32 = 10,
        site_per_minute: u32 = 120,
    }
}

section! {
    /// How codes are sent.
    Sms {
        route: String = "mobile-seva".into(),
        url: String = "https://msdgweb.mgov.gov.in/esms/sendsmsrequestDLT".into(),
        username: String = String::new(),
        password_file: PathBuf = PathBuf::new(),
        secure_key_file: PathBuf = PathBuf::new(),
        sender_id: String = "KAVADM".into(),
        template_id_en: String = String::new(),
        template_id_ml: String = String::new(),
        text_en: String = "{code} is your Wi-Fi code, valid for {minutes} minutes. Do not share it.".into(),
        text_ml: String =
            "{code} ആണ് നിങ്ങളുടെ വൈഫൈ കോഡ്. {minutes} മിനിറ്റ് സാധുവാണ്. ആരുമായും പങ്കുവയ്ക്കരുത്.".into(),
    }
}

section! {
    /// Our NAS.
    Gateway {
        nas_identifier: String = "local".into(),
        lan_if: String = "lan0".into(),
        wan_if: String = "wan0".into(),
        lan4: String = "10.80.0.1/16".into(),
        lan6: String = "fd00:80::1/64".into(),
        delegated_prefixes: bool = false,
        router_advertisements: String = "kavadam".into(),
        nat64_prefix: String = String::new(),
        ipv6_only_preferred: String = String::new(),
        capture_port: u16 = 8080,
        uam_port: u16 = 3990,
        names_port: u16 = 5300,
        citizen_names_port: u16 = 5301,
        lease_socket: PathBuf = "/run/kavadam/lease.sock".into(),
        portal_url: String = String::new(),
        uam_secret_file: PathBuf = PathBuf::new(),
        local_ports: Vec<u16> = Vec::new(),
        other_lans: Vec<String> = Vec::new(),
        table: String = "kavadam".into(),
        strict: bool = true,
        admit_ipv6_only: bool = false,
        isolate_clients: bool = true,
        max_sessions: u32 = 131_072,
        burst: String = "0B".into(),
        walled_garden: Vec<String> = Vec::new(),
        free: Vec<String> = Vec::new(),
        interim_secs: u32 = 60,
        coa_listen: String = "127.0.0.1:3799".into(),
        radius: GatewayRadius = GatewayRadius::default(),
        api: Api = Api::default(),
        blocked: Blocked = Blocked::default(),
        filters: BTreeMap<String, Filter> = BTreeMap::new(),
        uplink: Uplink = Uplink::default(),
        nat: Nat = Nat::default(),
        dnsmasq: Dnsmasq = Dnsmasq::default(),
    }
}

section! {
    /// Where nobody may go.
    Blocked {
        names: Vec<String> = Vec::new(),
        files: Vec<PathBuf> = Vec::new(),
        addresses: Vec<String> = Vec::new(),
        ports: Vec<String> = Vec::new(),
        every_resolver: bool = false,
    }
}

section! {
    /// Where those may not go whose plan names it.
    Filter {
        names: Vec<String> = Vec::new(),
        files: Vec<PathBuf> = Vec::new(),
        addresses: Vec<String> = Vec::new(),
        ports: Vec<String> = Vec::new(),
    }
}

section! {
    /// How the internet sees the devices.
    Nat {
        addresses: Vec<String> = Vec::new(),
        ports_each: u32 = 512,
    }
}

section! {
    /// What the way to the internet carries.
    Uplink {
        up: String = String::new(),
        down: String = String::new(),
        classes: BTreeMap<String, UplinkClass> = BTreeMap::new(),
    }
}

section! {
    /// What of it those get together whose plan names it.
    UplinkClass {
        at_least: String = String::new(),
        at_most: String = String::new(),
    }
}

section! {
    /// Whom the gateway asks.
    GatewayRadius {
        auth_servers: Vec<String> = vec!["127.0.0.1:1812".into()],
        acct_servers: Vec<String> = vec!["127.0.0.1:1813".into()],
        order_sources: Vec<String> = Vec::new(),
        secret_file: PathBuf = PathBuf::new(),
        timeout_ms: u32 = 1000,
        retries: u32 = 3,
        tls: GatewayTls = GatewayTls::default(),
    }
}

section! {
    /// RADIUS over TLS, at the gateway.
    GatewayTls {
        servers: Vec<String> = Vec::new(),
        server_name: String = String::new(),
        certificate_file: PathBuf = PathBuf::new(),
        key_file: PathBuf = PathBuf::new(),
        ca_file: PathBuf = PathBuf::new(),
        crl_file: PathBuf = PathBuf::new(),
        version: String = "any".into(),
    }
}

section! {
    /// RFC 8908.
    Api {
        listen: String = "10.80.0.1:8443".into(),
        host_name: String = String::new(),
        certificate_file: PathBuf = PathBuf::new(),
        key_file: PathBuf = PathBuf::new(),
        venue_info_url: String = String::new(),
    }
}

section! {
    /// DHCP and DNS.
    Dnsmasq {
        state_dir: PathBuf = "/var/lib/kavadam-dnsmasq".into(),
        lease_secs: u32 = 3600,
        range4: [String; 2] = ["10.80.1.0".into(), "10.80.254.255".into()],
        port_share_percent: u8 = 50,
        upstream: Vec<String> = Vec::new(),
        domain: String = "wifi.internal".into(),
    }
}

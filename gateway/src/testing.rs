//! A gateway's configuration for tests.

use std::time::Duration;

use kavadam_radius::Secret;

use crate::config::{Advertiser, ApiConfig, DnsmasqConfig, GatewayConfig, RadiusConfig};

pub(crate) fn sample_config() -> GatewayConfig {
    GatewayConfig {
        nas_identifier: "local".into(),
        state_dir: "/var/lib/kavadam".into(),
        lease_socket: "/run/kavadam/lease.sock".into(),
        lease_file: "/var/lib/kavadam/dnsmasq.leases".into(),
        table: "kavadam".into(),
        other_lans: Vec::new(),
        lan_if: "lan0".into(),
        wan_if: "wan0".into(),
        lan4: "10.80.0.1/16".parse().unwrap(),
        lan6: Some("fd00:80::1/64".parse().unwrap()),
        is_delegated: false,
        advertiser: Advertiser::Kavadam,
        nat64: None,
        ipv6_only_wait: None,
        capture_port: 8080,
        uam_port: 3990,
        names_port: 5300,
        citizen_names_port: 5301,
        other_ports: vec![8081],
        portal_url: "http://10.80.0.1:8081".into(),
        uam_secret: Secret::new(b"uam secret".to_vec()),
        is_strict: true,
        admits_ipv6_only: false,
        are_isolated: true,
        burst_octets: 0,
        ports: None,
        uplink: None,
        classes: std::collections::BTreeMap::new(),
        max_sessions: 1000,
        walled_garden: vec!["203.0.113.30".parse().unwrap(), "2001:db8::30".parse().unwrap()],
        garden_names: crate::names::Garden::default(),
        free: Vec::new(),
        free_names: crate::names::Garden::default(),
        blocked: crate::config::BlockedConfig::default(),
        is_every_resolver_ours: false,
        filters: std::collections::BTreeMap::new(),
        interim: Duration::from_mins(1),
        radius: RadiusConfig {
            servers: vec![("127.0.0.1:1812".parse().unwrap(), "127.0.0.1:1813".parse().unwrap())],
            order_sources: Vec::new(),
            secret: Secret::new(b"radius secret".to_vec()),
            timeout: Duration::from_secs(1),
            retries: 3,
            tls: None,
        },
        coa_listen: "127.0.0.1:3799".parse().unwrap(),
        api: Some(ApiConfig {
            listen: "10.80.0.1:8443".parse().unwrap(),
            host_name: "gate.wifi.internal".into(),
            certificate_file: "/etc/kavadam/gate.pem".into(),
            key_file: "/etc/kavadam/gate.key".into(),
            venue_info_url: None,
        }),
        dnsmasq: DnsmasqConfig {
            lease: Duration::from_hours(1),
            range4: ("10.80.1.0".parse().unwrap(), "10.80.254.255".parse().unwrap()),
            port_share_percent: 50,
            upstream: vec!["203.0.113.53".parse().unwrap()],
            domain: "wifi.internal".into(),
        },
    }
}

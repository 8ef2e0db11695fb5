use super::*;
use crate::testing::sample_config;

#[test]
fn orders_are_taken_from_the_servers_and_from_whoever_else_is_named() {
    let mut config = sample_config();
    config.radius.order_sources = vec!["192.0.2.0/24".parse().unwrap()];
    let sources: Vec<String> = config
        .dynamic()
        .authorities
        .iter()
        .map(|authority| authority.source.to_string())
        .collect();
    assert_eq!(sources, ["127.0.0.1/32", "192.0.2.0/24"]);
}

#[test]
fn a_server_over_tls_gives_its_orders_down_the_connection_alone() {
    let mut config = sample_config();
    config.radius.tls = Some(TlsServers {
        servers: vec![(
            "centre.example.org:2083".into(),
            "centre.example.org".try_into().unwrap(),
        )],
        files: TlsFiles {
            certificate: "/x".into(),
            key: "/x".into(),
            authorities: "/x".into(),
            revoked: None,
        },
        versions: Versions::Any,
    });
    assert!(config.dynamic().authorities.is_empty());
    assert!(config.client().is_err(), "there are no such files");
}

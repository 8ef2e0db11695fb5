//! Which of the gates that one record may stand for sent a request.
//!
//! A vendor's record may stand for the access points of a network, or for what is behind a proxy. What they call themselves proves nothing, and
//! need not: whoever has the record's secret may speak for all of it. It keeps their sessions apart, which each of them numbers by itself.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use kavadam_access::api::{NasEntry, named_by};
use kavadam_domain::gate::OWN_PROFILE;

use crate::wire::{Packet, attr};

/// By what the centre knows the session that a gate calls `acct_session_id`. Our own gateways give no number twice.
pub(super) fn session_name(acct_session_id: String, packet: &Packet, nas: &NasEntry) -> String {
    if nas.profile == OWN_PROFILE {
        return acct_session_id;
    }
    named_by(acct_session_id, |name| {
        packet.write_id(attr::NAS_IDENTIFIER, name);
        let v4 = packet.ipv4(attr::NAS_IP_ADDRESS).map(IpAddr::V4);
        let v6 = packet.ipv6(attr::NAS_IPV6_ADDRESS).map(IpAddr::V6);
        for address in v4.into_iter().chain(v6) {
            // Nothing that writes to a text fails.
            _ = write!(name, "/{address}");
        }
    })
}

/// Where orders reach whoever sent a request, where its record does not tell. A proxy takes them for all behind it, whichever of several proxies
/// that was.
pub(super) fn source_of(packet: &Packet, nas: &NasEntry, from: SocketAddr) -> Option<IpAddr> {
    let is_of_a_network = nas.profile != OWN_PROFILE && nas.source.prefix_len() < nas.source.max_prefix_len();
    let from = from.ip().to_canonical();
    (is_of_a_network && nas.source.contains(&from) && !packet.has(attr::PROXY_STATE)).then_some(from)
}

#[cfg(test)]
mod tests {
    use kavadam_access::api::NasProof;
    use kavadam_domain::gate::Abilities;
    use kavadam_domain::{NasId, SiteId};

    use super::*;
    use crate::wire::{Code, Draft};

    fn gate(profile: &str, source: &str) -> NasEntry {
        NasEntry {
            id: NasId(1),
            name: "stand".into(),
            site: SiteId(1),
            source: source.parse().unwrap(),
            secret: Vec::new().into(),
            proof: NasProof::default(),
            uam_secret: Vec::new().into(),
            coa_port: 3799,
            coa_host: None,
            profile: profile.into(),
            abilities: Abilities::STANDARD,
        }
    }

    fn packet(write: impl FnOnce(&mut Draft)) -> Packet {
        let mut draft = Draft::request(Code::AccountingRequest, [0; 16]);
        write(&mut draft);
        Packet::parse(&draft.seal_request(1, b"secret").unwrap()).unwrap()
    }

    #[test]
    fn a_session_has_the_name_that_its_gate_gave_it_and_that_gates() {
        let vendors = gate("mikrotik", "10.9.0.2/32");
        let name = |packet: &Packet| session_name("s1".to_owned(), packet, &vendors);
        let whole = packet(|draft| {
            draft.octets(attr::NAS_IDENTIFIER, b"ap\xff@%");
            draft.ipv4(attr::NAS_IP_ADDRESS, [10, 9, 0, 7].into());
            draft.ipv6(attr::NAS_IPV6_ADDRESS, "2001:db8::7".parse().unwrap());
        });
        assert_eq!(name(&whole), "s1%@ap%FF@%25/10.9.0.7/2001:db8::7");
        assert_eq!(name(&packet(|_| {})), "s1");
        assert_eq!(session_name(String::new(), &whole, &vendors), "");
        assert_eq!(
            session_name("s1".to_owned(), &whole, &gate(OWN_PROFILE, "10.9.0.0/24")),
            "s1"
        );
    }

    #[test]
    fn orders_follow_a_session_within_a_network_of_a_vendors_and_no_proxy() {
        let (plain, from) = (packet(|_| {}), "10.9.0.7:40000".parse().unwrap());
        let network = gate("mikrotik", "10.9.0.0/24");
        assert_eq!(source_of(&plain, &network, from), Some(from.ip()));
        let mapped = "[::ffff:10.9.0.7]:40000".parse().unwrap();
        assert_eq!(source_of(&plain, &network, mapped), Some(from.ip()));
        let proxied = packet(|draft| _ = draft.octets(attr::PROXY_STATE, b"1"));
        assert_eq!(source_of(&proxied, &network, from), None);
        // Over TLS it may come from anywhere.
        assert_eq!(source_of(&plain, &network, "192.0.2.1:0".parse().unwrap()), None);
        assert_eq!(source_of(&plain, &gate("mikrotik", "10.9.0.7/32"), from), None);
        assert_eq!(source_of(&plain, &gate(OWN_PROFILE, "10.9.0.0/24"), from), None);
    }
}

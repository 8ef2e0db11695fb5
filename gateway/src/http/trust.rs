//! Who may change how a device stands, or hear what is the device's alone.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Response, Uri};
use axum::middleware::Next;

use super::{Doors, found};
use crate::core::Device;

/// Whether only the table of neighbours says who the device is, though it has a lease: over IPv6 neighbours write that table, while nobody else is heard
/// from a leased address of IPv4.
pub(super) const fn is_hearsay(device: &Device) -> bool {
    device.ipv6.is_some() && device.ipv4.is_some()
}

/// Sends whom only hearsay makes known to the same door over IPv4. Who has no lease has no other way.
pub(super) async fn vouched(
    State(doors): State<Doors>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response<Body> {
    match doors.device(peer).filter(is_hearsay) {
        Some(_) => found(&doors.over_ipv4(request.uri())),
        None => next.run(request).await,
    }
}

impl Doors {
    fn over_ipv4(&self, asked: &Uri) -> String {
        let portal = &self.0.portal;
        let mut url = format!("http://{}:{}{}", portal.lan4, portal.uam_port, asked.path());
        let is_plain = |query: &&str| query.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'"');
        if let Some(query) = asked.query().filter(is_plain) {
            url.push('?');
            url.push_str(query);
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Devices;
    use crate::engine::EngineHandle;
    use crate::testing::sample_config;
    use kavadam_domain::Mac;

    fn doors() -> Doors {
        let (engine, _) = EngineHandle::new();
        Doors::new(&sample_config(), Mac([2; 6]), engine, Devices::default())
    }

    #[test]
    fn who_came_over_ipv6_and_has_a_lease_is_known_by_hearsay() {
        let (ipv4, ipv6) = ("10.80.1.2".parse().ok(), "fd00:80::2".parse().ok());
        let is = |ipv4, ipv6| {
            is_hearsay(&Device {
                mac: Mac([2; 6]),
                ipv4,
                ipv6,
            })
        };
        assert!(is(ipv4, ipv6));
        assert!(!is(ipv4, None), "the kernel vouches for it");
        assert!(!is(None, ipv6), "there is no other way");
    }

    #[test]
    fn the_same_is_asked_over_ipv4() {
        let over_ipv4 = |asked: &str| doors().over_ipv4(&asked.parse().unwrap());
        for (asked, to) in [
            ("/logoff", "http://10.80.0.1:3990/logoff"),
            ("http://[fd00:80::1]:3990/logout", "http://10.80.0.1:3990/logout"),
            (
                "/json/logon?username=a&response=%41",
                "http://10.80.0.1:3990/json/logon?username=a&response=%41",
            ),
        ] {
            assert_eq!(over_ipv4(asked), to);
        }
    }
}

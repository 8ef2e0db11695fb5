//! Who may change how a device stands, or hear what is the device's alone.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use axum::middleware::Next;

use super::{Doors, found, plain};
use crate::core::Device;

/// Whether only the table of neighbours says who the device is, though it has a lease: over IPv6 neighbours write that table, while nobody else is heard
/// from a leased address of IPv4.
pub(super) const fn is_hearsay(device: &Device) -> bool {
    device.ipv6.is_some() && device.ipv4.is_some()
}

/// How a door is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    Clear,
    Tls,
}

/// Sends whom only hearsay makes known to the same door over IPv4. Who has no lease has no other way.
///
/// Not from the door that speaks TLS: its certificate names no address, and what was asked there, with number and response, must not be said in clear. Its
/// name is for both families, so there the device is told to use another connection (RFC 9110 §15.5.20).
pub(super) async fn vouched(
    State((doors, speech)): State<(Doors, Speech)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response<Body> {
    match (doors.device(peer).filter(is_hearsay), speech) {
        (Some(_), Speech::Clear) => found(&doors.over_ipv4(request.uri())),
        (Some(_), Speech::Tls) => plain(
            StatusCode::MISDIRECTED_REQUEST,
            "This can be asked over IPv4 only: over IPv6 nobody vouches for who asks.\n",
        ),
        (None, _) => next.run(request).await,
    }
}

/// Refuses what a page of somebody else has the browser ask for, such as a picture at `/logoff`: whoever looks at that page would be offline.
pub(super) async fn willed(State(doors): State<Doors>, request: Request, next: Next) -> Response<Body> {
    if is_of_a_foreign_page(request.headers(), origin(&doors.0.portal.url)) {
        return plain(StatusCode::FORBIDDEN, "The page of somebody else cannot log you off.\n");
    }
    next.run(request).await
}

/// Whether a browser asks for a part of a page that is neither the portal's nor ours. A page that it goes to, and whatever is no browser, is not.
fn is_of_a_foreign_page(headers: &HeaderMap, portal: &str) -> bool {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if ["origin", "referer"]
        .into_iter()
        .filter_map(header)
        .any(|from| origin(from) == portal)
    {
        return false;
    }
    if let Some(site) = header("sec-fetch-site") {
        return site == "cross-site" && header("sec-fetch-dest") != Some("document");
    }
    // Browsers say as much over TLS alone. But pages they ask for as such, and pictures and scripts as anything or as pictures.
    let is_browser = header("user-agent").is_some_and(|agent| agent.starts_with("Mozilla/"));
    is_browser && !header("accept").is_some_and(|accept| accept.contains("text/html"))
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(host..).and_then(|rest| rest.find('/')).map(|at| host + at);
    end.and_then(|end| url.get(..end)).unwrap_or(url)
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
    use crate::core::Told;
    use crate::devices::Devices;
    use crate::engine::{EngineHandle, Message};
    use crate::testing::sample_config;
    use kavadam_domain::Mac;
    use tower::ServiceExt as _;

    const CHROME: (&str, &str) = ("user-agent", "Mozilla/5.0 (Linux; Android 15) Chrome/140.0 Mobile");
    const PAGE: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    const PICTURE: (&str, &str) = ("accept", "image/avif,image/webp,*/*;q=0.8");
    const SCRIPT: (&str, &str) = ("accept", "*/*");

    fn doors() -> Doors {
        let (engine, _) = EngineHandle::new();
        Doors::new(&sample_config(), Mac([2; 6]), engine, Devices::default())
    }

    /// What becomes of a request of a device with a lease; whether it was logged off.
    async fn asked(path: &str, headers: &[(&str, &str)]) -> (StatusCode, bool) {
        let peer: SocketAddr = "10.80.1.2:1".parse().unwrap();
        let devices = Devices::default();
        devices.lease(Mac([2; 6]), "10.80.1.2".parse().unwrap());
        let (engine, mut messages) = EngineHandle::new();
        let answers = tokio::spawn(async move {
            let mut is_logged_off = false;
            while let Some(message) = messages.recv().await {
                match message {
                    Message::Logoff(_, reply) => is_logged_off = reply.send(Told::Over).is_ok(),
                    Message::View(_, reply) => drop(reply.send(None)),
                    other => panic!("{other:?}"),
                }
            }
            is_logged_off
        });
        let doors = Doors::new(&sample_config(), Mac([2; 6]), engine, devices);
        let mut request = Request::get(path).extension(ConnectInfo(peer));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = doors.uam().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        drop(doors);
        (answer.status(), answers.await.unwrap())
    }

    #[tokio::test]
    async fn a_page_of_somebody_else_logs_nobody_off() {
        let cross = ("sec-fetch-site", "cross-site");
        for path in ["/logoff", "/logout", "/json/logoff", "/json/logoff?callback=x"] {
            for headers in [
                &[CHROME, PICTURE] as &[_],
                &[CHROME, SCRIPT],
                &[CHROME, SCRIPT, ("referer", "http://10.80.0.1:80810/")],
                &[CHROME, PICTURE, cross, ("sec-fetch-dest", "image")],
                &[CHROME, PAGE, cross, ("sec-fetch-dest", "iframe")],
            ] {
                assert_eq!(
                    asked(path, headers).await,
                    (StatusCode::FORBIDDEN, false),
                    "{path} {headers:?}"
                );
            }
        }
    }

    #[tokio::test]
    async fn a_person_the_portal_and_whatever_is_no_browser_does() {
        let cross = ("sec-fetch-site", "cross-site");
        for headers in [
            &[] as &[_],
            &[("user-agent", "curl/8.14"), SCRIPT],
            &[CHROME, PAGE],
            &[CHROME, PAGE, cross, ("sec-fetch-dest", "document")],
            &[CHROME, SCRIPT, ("sec-fetch-site", "same-origin")],
            &[CHROME, SCRIPT, ("referer", "http://10.80.0.1:8081/status")],
            &[CHROME, SCRIPT, cross, ("origin", "http://10.80.0.1:8081")],
        ] {
            assert_eq!(
                asked("/logoff", headers).await,
                (StatusCode::FOUND, true),
                "{headers:?}"
            );
            assert_eq!(
                asked("/json/logoff", headers).await,
                (StatusCode::OK, true),
                "{headers:?}"
            );
        }
        assert_eq!(asked("/json/status", &[CHROME, SCRIPT]).await, (StatusCode::OK, false));
    }

    #[test]
    fn an_origin_ends_with_host_and_port() {
        for url in ["https://p.example.org:8443", "https://p.example.org:8443/wifi/?a=b"] {
            assert_eq!(origin(url), "https://p.example.org:8443");
        }
        assert_eq!(origin("null"), "null");
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

    #[tokio::test]
    async fn what_is_asked_over_tls_is_never_sent_on_in_clear() {
        let devices = Devices::beside(|_, _| Ok(Some(Mac([2; 6]))));
        devices.lease(Mac([2; 6]), "10.80.1.2".parse().unwrap());
        let (engine, mut messages) = EngineHandle::new();
        let doors = Doors::new(&sample_config(), Mac([2; 6]), engine, devices);
        let asked = async |router: axum::Router, path: &str| {
            let peer: SocketAddr = "[fd00:80::2]:1".parse().unwrap();
            let request = Request::get(path).extension(ConnectInfo(peer));
            let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            let to = answer.headers().get("location").cloned();
            (answer.status(), to.map(|to| to.to_str().unwrap().to_owned()))
        };
        for path in ["/logon", "/login", "/json/logon", "/logoff", "/logout", "/json/logoff"] {
            let path = format!("{path}?username=9876543210&response=aa");
            let in_clear = Some(format!("http://10.80.0.1:3990{path}"));
            assert_eq!(asked(doors.uam(), &path).await, (StatusCode::FOUND, in_clear));
            assert_eq!(
                asked(doors.api(), &path).await,
                (StatusCode::MISDIRECTED_REQUEST, None),
                "{path}"
            );
        }
        assert!(messages.try_recv().is_err(), "nothing was done");
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

//! Gates of every vendor, as FreeRADIUS's client and dictionaries read what they are told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod radclient;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use kavadam_access::api::{Accounted, AccountingReport, AuthorizeRequest, Decision, Grant, NasEntry, Seen};
use kavadam_domain::gate::Abilities;
use kavadam_domain::{Limits, NasId, SessionId, SiteId, Timestamp};
use kavadam_radius::profile::Profiles;
use kavadam_radius::server::{Centre, RadiusServer, ServerConfig};
use tokio_util::sync::CancellationToken;

const SECRET: &str = "a-secret-of-the-gate";

/// Lets everybody in, at a gate of this profile.
#[derive(Clone)]
struct Open {
    profile: &'static str,
    is_throttled: bool,
    seen: Arc<Mutex<Seen>>,
}

impl Centre for Open {
    type Error = Infallible;

    async fn nas_by_source(&self, source: IpAddr) -> Result<Option<NasEntry>, Infallible> {
        Ok(Some(NasEntry {
            id: NasId(1),
            name: "gate-1".into(),
            site: SiteId(1),
            source: source.into(),
            secret: SECRET.as_bytes().to_vec().into(),
            uam_secret: Vec::new().into(),
            coa_port: 3799,
            coa_host: None,
            profile: self.profile.into(),
            abilities: Abilities::STANDARD,
        }))
    }

    async fn nas_seen(&self, _: NasId, _: SocketAddr, _: Timestamp) -> Result<(), Infallible> {
        Ok(())
    }

    async fn authorize(&self, request: AuthorizeRequest, _: Timestamp) -> Result<Decision, Infallible> {
        *self.seen.lock().unwrap() = request.seen;
        Ok(Decision::Accept(Grant {
            session: SessionId(1),
            user_name: "alias".into(),
            class: b"class".to_vec(),
            cui: b"alias".to_vec(),
            limits: Limits {
                max_total_octets: Some((1 << 32) + 5),
                up_bits_per_sec: Some(2_000_000),
                down_bits_per_sec: Some(10_000_000),
                session_secs: Some(14_400),
                idle_secs: Some(600),
                interim_secs: Some(60),
                remaining_octets: None,
            },
            is_renewable: false,
            plan: "citizen".into(),
            is_throttled: self.is_throttled,
        }))
    }

    async fn account(&self, _: AccountingReport, _: Timestamp) -> Result<Accounted, Infallible> {
        Ok(Accounted::Unknown)
    }
}

/// What radclient prints of the answer to a login at such a gate, and what the centre was told of it.
async fn told(profile: &'static str, is_throttled: bool, more: &str) -> (String, Seen) {
    let seen = Arc::default();
    let centre = Open {
        profile,
        is_throttled,
        seen: Arc::clone(&seen),
    };
    let any = "127.0.0.1:0".parse().unwrap();
    let server = RadiusServer::bind(ServerConfig { auth: any, acct: any }, centre)
        .unwrap()
        .with_profiles(Arc::new(Profiles::built_in().unwrap()));
    let at = server.auth_addr().unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(server.run(stop.clone()));
    let request = format!("User-Name = \"t-1\"\nUser-Password = \"x\"\nMessage-Authenticator = 0x00\n{more}");
    let answer = radclient::radclient(at, "auth", SECRET, request).await;
    stop.cancel();
    running.await.unwrap();
    let seen = seen.lock().unwrap().clone();
    (answer, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_reads_in_every_vendors_answer_what_was_meant() {
    for (profile, wanted) in [
        (
            "mikrotik",
            [
                "Mikrotik-Rate-Limit = \"2000k/10000k\"",
                "Mikrotik-Total-Limit = 5",
                "Mikrotik-Total-Limit-Gigawords = 1",
            ],
        ),
        (
            "coovachilli",
            [
                "WISPr-Bandwidth-Max-Down = 10000000",
                "ChilliSpot-Max-Total-Octets = 5",
                "Attr-26.14559.23 = 0x00000001",
            ],
        ),
        (
            "cisco",
            [
                "Airespace-Data-Bandwidth-Average-Contract = 10000",
                "Airespace-Real-Time-Bandwidth-Average-Contract-Upstream = 2000",
                "Idle-Timeout = 600",
            ],
        ),
        (
            "cambium",
            [
                "Cambium-Traffic-Quota-Limit-Total = 5",
                "Cambium-Traffic-Quota-Limit-Total-Gigwords = 1",
                "WISPr-Bandwidth-Max-Up = 2000000",
            ],
        ),
        (
            "pfsense",
            [
                "pfSense-Max-Total-Octets = 4294967295",
                "WISPr-Bandwidth-Max-Up = 2000000",
                "Idle-Timeout = 600",
            ],
        ),
        (
            "aruba",
            [
                "Aruba-User-Role = \"citizen\"",
                "Idle-Timeout = 600",
                "Class = 0x636c617373",
            ],
        ),
        (
            "meraki",
            [
                "Filter-Id = \"citizen\"",
                "Acct-Interim-Interval = 300",
                "Session-Timeout = 14400",
            ],
        ),
        (
            "ruckus",
            [
                "WISPr-Bandwidth-Max-Up = 2000000",
                "WISPr-Bandwidth-Max-Down = 10000000",
                "Idle-Timeout = 600",
            ],
        ),
    ] {
        let (answer, _) = told(profile, false, "").await;
        assert!(answer.contains("Received Access-Accept"), "{answer}");
        for wanted in wanted
            .into_iter()
            .chain(["Session-Timeout = 14400", "User-Name = \"alias\""])
        {
            assert!(answer.contains(wanted), "{profile}: {wanted} is missing from\n{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_goes_on_slowly_has_a_role_of_its_own() {
    let (answer, _) = told("aruba", true, "").await;
    assert!(answer.contains("Aruba-User-Role = \"citizen-slow\""), "{answer}");
    assert_eq!(answer.matches("Aruba-User-Role").count(), 1, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_says_in_a_vendors_words_reaches_the_centre() {
    let words = "Cisco-AVPair = \"audit-session-id=0A0700020000001A\"\nCalled-Station-Id = \"02-00-00-00-00-07:Kerala Wi-Fi\"\n";
    let (_, seen) = told("cisco", false, words).await;
    assert_eq!(seen.handle.as_deref(), Some("0A0700020000001A"));
    assert_eq!(seen.ssid.as_deref(), Some("Kerala Wi-Fi"));
}

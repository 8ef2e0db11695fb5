//! DHCP leases, as dnsmasq tells of them: by its script, through [`send_event`], and in its lease file.

use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use kavadam_domain::{Mac, Timestamp};

use crate::fingerprints::Fingerprint;

/// What became of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseAction {
    /// Given, or renewed.
    Held,
    /// Ended or given back.
    Ended,
}

/// One IPv4 lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Whose.
    pub mac: Mac,
    /// What.
    pub ipv4: Ipv4Addr,
    /// Until when; `None`: for ever, or not said.
    pub until: Option<Timestamp>,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseEvent {
    /// What became of it.
    pub action: LeaseAction,
    /// The lease.
    pub lease: Lease,
    /// Where the device is, as a relay or an access point says (option 82, RFC 3046); see [`place_of`].
    pub place: Option<String>,
    /// How it asked.
    pub fingerprint: Option<Fingerprint>,
}

/// What stands for a place that nobody told.
const NOWHERE: &str = "-";

/// The longest that is kept of a place, octets.
const PLACE_OCTETS: usize = 120;

/// Where a device is, out of Remote-ID and Circuit-ID of its relay agent: as text if they are, else in hexadecimal. `None`: neither says a
/// thing.
#[must_use]
pub fn place_of(remote: &[u8], circuit: &[u8]) -> Option<String> {
    let shown = |id: &[u8]| match std::str::from_utf8(id) {
        Ok(text) if text.chars().all(|c| !c.is_control() && !c.is_whitespace()) => text.to_owned(),
        _ => data_encoding::HEXLOWER.encode(id),
    };
    let parts: Vec<String> = [remote, circuit]
        .into_iter()
        .filter(|id| !id.is_empty())
        .map(shown)
        .collect();
    let place = parts.join("/");
    let end = place
        .char_indices()
        .map(|(at, _)| at)
        .find(|at| *at >= PLACE_OCTETS)
        .unwrap_or(place.len());
    (!place.is_empty()).then(|| place.get(..end).unwrap_or_default().to_owned())
}

/// The arguments of dnsmasq's script make no event of ours.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Neither `add`, `old` nor `del`, or what follows is no MAC and IPv4 address.
    #[error("not a lease event: expected add|old|del MAC IPV4")]
    Malformed,
    /// The gateway does not listen; it will read the lease file when it starts.
    #[error("cannot tell the gateway: {0}")]
    Socket(#[from] io::Error),
}

/// Tells the gateway that listens on `socket` of an event, from the arguments that dnsmasq gives its script
/// (`add|old|del MAC IP [name]`), where the device is, from [`place_of`], and how it asked. Kinds of event that do not concern us (IPv6, TFTP) are no error
/// and go nowhere.
///
/// # Errors
/// [`LeaseError`].
pub fn send_event(
    socket: &Path,
    arguments: &[String],
    place: Option<&str>,
    fingerprint: Option<Fingerprint>,
) -> Result<(), LeaseError> {
    let [action, mac, ip, ..] = arguments else {
        return match arguments.first().map(String::as_str) {
            Some("add" | "old" | "del") | None => Err(LeaseError::Malformed),
            Some(_) => Ok(()),
        };
    };
    let is_ours = matches!(action.as_str(), "add" | "old" | "del");
    if !is_ours || ip.contains(':') {
        return Ok(());
    }
    let (place, fingerprint) = (place.unwrap_or(NOWHERE), fingerprint.map(Fingerprint::written));
    let text = format!("{action} {mac} {ip} {place} {}", fingerprint.unwrap_or_default());
    read_event(&text).ok_or(LeaseError::Malformed)?;
    UnixDatagram::unbound()?.send_to(text.as_bytes(), socket)?;
    Ok(())
}

/// Reads an event; `None` if it is none.
pub(crate) fn read_event(text: &str) -> Option<LeaseEvent> {
    let mut words = text.split_ascii_whitespace();
    let action = match words.next()? {
        "add" | "old" => LeaseAction::Held,
        "del" => LeaseAction::Ended,
        _ => return None,
    };
    let lease = Lease {
        mac: words.next()?.parse().ok()?,
        ipv4: words.next()?.parse().ok()?,
        until: None,
    };
    let place = words.next().filter(|word| *word != NOWHERE);
    Some(LeaseEvent {
        action,
        lease,
        place: place.and_then(|word| place_of(&[], word.as_bytes())),
        fingerprint: words.next().and_then(Fingerprint::read),
    })
}

/// Reads dnsmasq's lease file: `EXPIRY MAC IP NAME CLIENT-ID` a line, IPv6 after a line `duid …`. What it cannot read it leaves out.
pub(crate) fn read_file(text: &str) -> Vec<Lease> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let expiry: i64 = words.next()?.parse().ok()?;
        Some(Lease {
            mac: words.next()?.parse().ok()?,
            ipv4: words.next()?.parse().ok()?,
            until: (expiry != 0).then(|| Timestamp::from_secs(expiry)),
        })
    };
    text.lines().filter_map(line).collect()
}

/// The socket that [`send_event`] speaks to; what a former process left in its place is removed.
///
/// # Errors
/// No such directory, or no permission.
pub(crate) fn listen(path: &Path) -> io::Result<tokio::net::UnixDatagram> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = tokio::net::UnixDatagram::bind(path)?;
    // The group is dnsmasq's; nobody else may admit devices.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn carries_an_event_from_the_script_to_the_gateway() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lease.sock");
        let socket = listen(&path).unwrap();
        send_event(
            &path,
            &words("add 02:00:00:00:00:01 10.80.1.2 phone"),
            Some("ap-7/wlan0"),
            None,
        )
        .unwrap();
        let fingerprint = Fingerprint::of(b"", b"android-dhcp-15", b"1,3,6");
        let ended = words("del 02:00:00:00:00:01 10.80.1.2");
        send_event(&path, &ended, None, fingerprint).unwrap();
        let mut buffer = [0; 256];
        for action in [LeaseAction::Held, LeaseAction::Ended] {
            let length = socket.recv(&mut buffer).await.unwrap();
            let event = read_event(std::str::from_utf8(&buffer[..length]).unwrap()).unwrap();
            assert_eq!(event.action, action);
            assert_eq!(event.lease.mac, Mac([2, 0, 0, 0, 0, 1]));
            assert_eq!(event.lease.ipv4, Ipv4Addr::new(10, 80, 1, 2));
            let place = (action == LeaseAction::Held).then_some("ap-7/wlan0");
            assert_eq!(event.place.as_deref(), place);
            let told = fingerprint.filter(|_| place.is_none());
            assert_eq!(event.fingerprint, told);
        }
        // A second start takes the socket's place.
        listen(&path).unwrap();
    }

    #[test]
    fn a_place_is_text_where_it_can_be() {
        assert_eq!(place_of(b"ap-7", b"wlan0").as_deref(), Some("ap-7/wlan0"));
        assert_eq!(place_of(&[2, 0, 0, 0, 0, 7], b"").as_deref(), Some("020000000007"));
        assert_eq!(
            place_of(b"", b"two words").as_deref(),
            Some("74776f20776f726473"),
            "a space would be another word"
        );
        assert_eq!(place_of(b"", b""), None);
        assert_eq!(place_of(&[b'a'; 500], b"").unwrap().len(), PLACE_OCTETS);
    }

    #[test]
    fn sends_nothing_for_what_is_not_ours_and_refuses_what_is_malformed() {
        let nowhere = Path::new("/nonexistent/lease.sock");
        for text in ["tftp 12 10.80.1.2 /file", "init", "add 00:01:00:01 fd00:80::5"] {
            assert!(send_event(nowhere, &words(text), None, None).is_ok(), "{text}");
        }
        for text in ["add", "add me 10.80.1.2", "del 02:00:00:00:00:01 somewhere"] {
            assert!(
                matches!(
                    send_event(nowhere, &words(text), None, None),
                    Err(LeaseError::Malformed)
                ),
                "{text}"
            );
        }
        assert!(matches!(
            send_event(nowhere, &words("add 02:00:00:00:00:01 10.80.1.2"), None, None),
            Err(LeaseError::Socket(_))
        ));
    }

    #[test]
    fn reads_the_lease_file_and_passes_over_what_is_not_ipv4() {
        let text = "1764000000 02:00:00:00:00:01 10.80.1.2 phone 01:02\n0 02:00:00:00:00:02 10.80.1.3 * *\n\
            duid 00:01:00:01\n1764000000 123 fd00:80::5 phone 00:01\ngarbage\n";
        let leases = read_file(text);
        assert_eq!(leases.len(), 2);
        assert_eq!(leases[0].until, Some(Timestamp::from_secs(1_764_000_000)));
        assert_eq!((leases[1].until, leases[1].ipv4), (None, Ipv4Addr::new(10, 80, 1, 3)));
    }

    proptest! {
        #[test]
        fn reading_hostile_text_never_panics(text in ".{0,200}") {
            prop_assert!(read_file(&text).len() <= text.lines().count());
            let _ = read_event(&text);
        }
    }
}

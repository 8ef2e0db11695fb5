//! Amounts and networks as people write them: `1GB`, `10Mbit`, `4h`, `10.7.0.2`.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use ipnet::IpNet;
use kavadam_domain::{CertificateName, Timestamp};

use crate::clock;

/// Octets: a whole number with `B`, `kB`, `MB`, `GB`, `TB` (powers of 1000) or `KiB`, `MiB`, `GiB`, `TiB`.
///
/// # Errors
/// What would be right.
pub fn octets(text: &str) -> Result<u64, String> {
    let units = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
    ];
    measure(text, &units).ok_or_else(|| format!("`{text}` is no amount of data: write it like 300MB or 1GB"))
}

/// Bits per second: a whole number with `kbit`, `Mbit` or `Gbit`.
///
/// # Errors
/// What would be right.
pub fn rate(text: &str) -> Result<u64, String> {
    let units = [("kbit", 1_000), ("Mbit", 1_000_000), ("Gbit", 1_000_000_000)];
    measure(text, &units).ok_or_else(|| format!("`{text}` is no speed: write it like 512kbit or 10Mbit"))
}

/// A span of time: a whole number with `s`, `m`, `h` or `d`.
///
/// # Errors
/// What would be right.
pub fn span(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    let secs = measure(text, &units).filter(|secs| *secs <= 100 * 366 * 86_400);
    secs.map(Duration::from_secs)
        .ok_or_else(|| format!("`{text}` is no span of time: write it like 10m, 4h or 14d"))
}

/// A span of time that is not over at once.
///
/// # Errors
/// What would be right.
pub fn some_time(text: &str) -> Result<Duration, String> {
    match span(text)? {
        Duration::ZERO => Err(format!("`{text}` is over at once: write it like 4h or 30d")),
        some => Ok(some),
    }
}

/// An address, or a network such as `10.7.0.0/24`.
///
/// # Errors
/// What would be right.
pub fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse().map(|address: IpAddr| IpNet::from(address));
    text.parse()
        .or_else(|_| address())
        .map_err(|_| format!("`{text}` is neither an address such as 10.7.0.2 nor a network such as 10.7.0.0/24"))
}

/// A time to come: a date such as `2027-03-31` (to its end, where this machine is), a span such as `2h` from now, or `now`.
///
/// # Errors
/// What would be right.
pub fn until(text: &str) -> Result<Timestamp, String> {
    let now = clock::now();
    if text == "now" {
        return Ok(now);
    }
    let until = match span(text) {
        Ok(span) => now + span,
        Err(_) => end_of_day(text)
            .ok_or_else(|| format!("`{text}` is no date: write it like 2027-03-31, 2h or 14d, or now"))?,
    };
    if until > now {
        Ok(until)
    } else {
        Err(format!("`{text}` is past: to end it at once write now"))
    }
}

fn end_of_day(date: &str) -> Option<Timestamp> {
    let next = jiff::civil::Date::strptime("%Y-%m-%d", date).ok()?.tomorrow().ok()?;
    let end = jiff::tz::TimeZone::system().to_timestamp(next.into()).ok()?;
    Some(Timestamp(end.as_microsecond()))
}

/// A moment with its time zone, such as `2026-11-30T08:15:00+05:30` or `2026-11-30T02:45:00Z` (RFC 3339).
///
/// # Errors
/// What would be right.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    let wrong = |_| format!("`{text}` is no moment: write it like 2026-11-30T08:15:00+05:30, with its time zone");
    let moment: jiff::Timestamp = text.parse().map_err(wrong)?;
    Ok(Timestamp(moment.as_microsecond()))
}

/// A name in a certificate, or `none`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate(pub Option<CertificateName>);

/// What a gate's certificate is known by; `none` ties it to no certificate.
///
/// # Errors
/// What would be right.
pub fn certificate(text: &str) -> Result<Certificate, String> {
    if text == "none" {
        return Ok(Certificate(None));
    }
    let name = text
        .parse()
        .map_err(|error: kavadam_domain::certificate_name::InvalidCertificateName| format!("`{text}` is {error}"))?;
    Ok(Certificate(Some(name)))
}

/// An IPv4 address with a port, such as `198.51.100.2:5321`.
///
/// # Errors
/// What would be right.
pub fn endpoint4(text: &str) -> Result<SocketAddrV4, String> {
    let wrong = |_| format!("`{text}` is no IPv4 address with a port: write it like 198.51.100.2:5321");
    text.parse().map_err(wrong)
}

/// An address with a port, such as `192.0.2.5:1812` or `[2001:db8::5]:1812`.
///
/// # Errors
/// What would be right.
pub fn endpoint(text: &str) -> Result<SocketAddr, String> {
    let wrong = |_| format!("`{text}` is no address with a port: write it like 192.0.2.5:1812, without a name");
    text.parse().map_err(wrong)
}

/// The number that a list shows in its first column.
///
/// # Errors
/// What would be right.
pub fn number(text: &str) -> Result<i64, String> {
    let read = text.parse().ok().filter(|number| *number >= 0);
    read.ok_or_else(|| format!("`{text}` is no number such as 4711: it stands first in the list"))
}

/// Octets, as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hex(pub Vec<u8>);

/// Octets in hexadecimal, such as `0x0102`.
///
/// # Errors
/// What would be right.
pub fn octets_in_hex(text: &str) -> Result<Hex, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let read = data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes());
    read.map(Hex)
        .map_err(|_| format!("`{text}` is no hexadecimal: write it like 0x0102"))
}

/// The first unit that fits; `None` for anything but a whole number and a unit, or a product past 64 bits.
fn measure(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    units.iter().find_map(|(unit, factor)| {
        let digits = text.trim().strip_suffix(unit)?.trim_end();
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        plain
            .then(|| digits.parse::<u64>().ok()?.checked_mul(*factor))
            .flatten()
    })
}

/// Octets in the largest unit that keeps the number above one.
pub fn show_octets(octets: u64) -> String {
    scaled(octets, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// Bits per second likewise.
pub fn show_rate(rate: Option<u64>) -> String {
    rate.map_or_else(
        || "unlimited".to_owned(),
        |rate| scaled(rate, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s"]),
    )
}

fn scaled(value: u64, units: &[&str]) -> String {
    let (mut factor, mut unit) = (1_u64, units.first().copied().unwrap_or_default());
    for next in units.iter().skip(1) {
        match factor.checked_mul(1000) {
            Some(larger) if value >= larger => (factor, unit) = (larger, next),
            _ => break,
        }
    }
    let tenths = u128::from(value) * 10 / u128::from(factor);
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        tenth => format!("{}.{tenth} {unit}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!(octets("1GB"), Ok(1_000_000_000));
        assert_eq!(octets("20 MB"), Ok(20_000_000));
        assert_eq!(octets("1MiB"), Ok(1_048_576));
        assert_eq!(octets("7B"), Ok(7));
        assert_eq!(rate("10Mbit"), Ok(10_000_000));
        assert_eq!(span("14d"), Ok(Duration::from_hours(14 * 24)));
    }

    #[test]
    fn a_moment_has_a_time_zone() {
        let read = |text| moment(text).map(Timestamp::as_secs);
        assert_eq!(read("2026-11-30T08:15:00+05:30"), Ok(1_796_006_700));
        assert_eq!(read("2026-11-30T02:45:00Z"), Ok(1_796_006_700));
        for wrong in ["2026-11-30", "2026-11-30 08:15:00", "08:15", "yesterday", ""] {
            assert!(read(wrong).unwrap_err().contains("time zone"), "{wrong}");
        }
    }

    #[test]
    fn reads_an_address_as_a_network_of_one() {
        let read = |text| network(text).map(|net| net.to_string());
        assert_eq!(read("10.0.0.1"), Ok("10.0.0.1/32".to_owned()));
        assert_eq!(read("fd00::1"), Ok("fd00::1/128".to_owned()));
        assert_eq!(read("10.7.0.0/24"), Ok("10.7.0.0/24".to_owned()));
        assert!(read("10.7.0.2/99").is_err() && read("everywhere").is_err());
    }

    #[test]
    fn reads_a_time_to_come() {
        let now = clock::now();
        let in_two_hours = until("2h").unwrap();
        assert!((7200..7260).contains(&in_two_hours.since(now).as_secs()));
        assert!(until("now").unwrap().since(now) < Duration::from_mins(1));
        let (day, next) = (until("2027-03-31").unwrap(), until("2027-04-01").unwrap());
        assert_eq!(next.since(day), Duration::from_hours(24));
        for text in ["", "never", "31.3.2027", "2027-02-30", "2027-03-31T10:00"] {
            assert!(until(text).is_err(), "{text}");
        }
        for past in ["2020-01-31", "0s"] {
            assert!(until(past).unwrap_err().contains("is past"), "{past}");
            assert!(some_time(past).is_err(), "{past}");
        }
    }

    #[test]
    fn reads_octets_in_hexadecimal() {
        assert_eq!(octets_in_hex("0x0aFF"), Ok(Hex(vec![10, 255])));
        assert_eq!(octets_in_hex("0a"), Ok(Hex(vec![10])));
        assert!(octets_in_hex("0x1").is_err() && octets_in_hex("class").is_err());
    }

    #[test]
    fn refuses_what_it_cannot_mean() {
        for text in [
            "",
            "GB",
            "1",
            "-1GB",
            "1.5GB",
            "1gb",
            "99999999999999999999GB",
            "18446744073709551615GB",
            "1 G B",
            "൧GB",
        ] {
            assert!(octets(text).is_err(), "{text}");
        }
        for text in ["10", "10Mbps", "+10Mbit", "10mbit"] {
            assert!(rate(text).is_err(), "{text}");
        }
        for text in ["4 hours", "99999999d", "h"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shows_amounts_short() {
        assert_eq!(show_octets(0), "0 B");
        assert_eq!(show_octets(999), "999 B");
        assert_eq!(show_octets(1_550_000), "1.5 MB");
        assert_eq!(show_octets(u64::MAX), "18.4 EB");
        assert_eq!(show_rate(Some(10_000_000)), "10 Mbit/s");
        assert_eq!(show_rate(None), "unlimited");
    }
}

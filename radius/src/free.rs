//! What a session moved free of charge, as text in an Accounting-Request (CoovaChilli-Config): no standard has an attribute for it, and no vendor's number
//! is ours. A server that is not ours passes over it.

use kavadam_domain::accounting::FreeOctets;

use crate::wire::{Draft, Packet, vendor};

const FREE: &str = "kavadam.free=";
/// What a database keeps.
const MOST_OCTETS: u64 = i64::MAX.unsigned_abs();

pub(crate) fn write(draft: &mut Draft, free: FreeOctets) {
    let FreeOctets { up, down } = free;
    draft.vendor(vendor::CHILLISPOT_CONFIG, format!("{FREE}{up}/{down}").as_bytes());
}

/// `None` if it is not told, cannot be read, or is told more than once: nothing is charged by it, so that the rest of the report stands.
pub(crate) fn read(packet: &Packet) -> Option<FreeOctets> {
    let config = packet.vendor_texts(vendor::CHILLISPOT_CONFIG);
    let told: Vec<&str> = config.iter().filter_map(|text| text.strip_prefix(FREE)).collect();
    let free = match told.as_slice() {
        [] => return None,
        [only] => parse(only),
        _ => None,
    };
    if free.is_none() {
        tracing::debug!("a report says {FREE} in a way that cannot be read, or more than once: passed over");
    }
    free
}

/// `UP/DOWN`, decimal.
fn parse(text: &str) -> Option<FreeOctets> {
    let (up, down) = text.split_once('/')?;
    Some(FreeOctets {
        up: octets(up)?,
        down: octets(down)?,
    })
}

fn octets(text: &str) -> Option<u64> {
    let is_decimal = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    text.parse().ok().filter(|octets| is_decimal && *octets <= MOST_OCTETS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Code;

    fn told(texts: &[&str]) -> Option<FreeOctets> {
        let mut draft = Draft::request(Code::AccountingRequest, [0; 16]);
        for text in texts {
            draft.vendor(vendor::CHILLISPOT_CONFIG, text.as_bytes());
        }
        let packet = draft.seal_request(1, b"secret").unwrap();
        read(&Packet::parse(&packet).unwrap())
    }

    #[test]
    fn reads_what_it_wrote() {
        for (up, down) in [(0, 0), (1, 5_000_000_000), (MOST_OCTETS, MOST_OCTETS)] {
            let mut draft = Draft::request(Code::AccountingRequest, [0; 16]);
            write(&mut draft, FreeOctets { up, down });
            let packet = draft.seal_request(1, b"secret").unwrap();
            assert_eq!(read(&Packet::parse(&packet).unwrap()), Some(FreeOctets { up, down }));
        }
    }

    #[test]
    fn passes_over_what_is_not_two_numbers() {
        assert_eq!(told(&["kavadam.free=10/20"]), Some(FreeOctets { up: 10, down: 20 }));
        assert_eq!(
            told(&[
                "uamallowed=help.example.org",
                "kavadam.class=free",
                "kavadam.free=10/20"
            ]),
            Some(FreeOctets { up: 10, down: 20 }),
            "beside other texts"
        );
        for text in [
            "",
            "10",
            "10/",
            "/20",
            "10/20/30",
            "-1/20",
            "+1/20",
            " 1/20",
            "1/20 ",
            "0x1/20",
            "1.5/20",
            "9223372036854775808/0",
            "0/99999999999999999999999999",
            "١/٢",
        ] {
            assert_eq!(told(&[&format!("kavadam.free={text}")]), None, "{text:?}");
        }
        assert_eq!(told(&[]), None);
        assert_eq!(told(&["kavadam.free=1/2", "kavadam.free=1/2"]), None, "more than once");
    }
}

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use kavadam_access::api::{Calls, Destination, NasEntry, NasProof, Order, OrderAction, Role};
use kavadam_domain::gate::Deed;
use kavadam_domain::{Limits, Mac, NasId, SessionId, SiteId, SubscriberId, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::wire::{Code, Draft, Packet, attr};
use crate::{AccessReply, Grant};

mod files;
mod naming;
mod roles;

const SECRET: &[u8] = b"a-secret-of-the-gate";

fn built_in() -> Profiles {
    Profiles::built_in().unwrap()
}

/// The answer that a gate of this profile gets.
fn accepted(profile: &Profile, limits: Limits, is_throttled: bool) -> Packet {
    let request = Draft::request(Code::AccessRequest, [7; 16])
        .seal_request(9, SECRET)
        .unwrap();
    let request = Packet::parse(&request).unwrap();
    let dialect = Dialect {
        profile,
        plan: "citizen",
        is_throttled,
    };
    let reply = AccessReply::Accept(Grant {
        limits,
        classes: vec![b"class".to_vec()],
        user_name: Some("alias".into()),
        ..Grant::default()
    });
    Packet::parse(&reply.encode_in(&dialect, &request, SECRET).unwrap()).unwrap()
}

/// The figure of an attribute, read by its dictionary alone.
fn figure(packet: &Packet, field: &Field) -> Option<u64> {
    let value = match field.vendor {
        Some(vendor) => packet
            .vendor_octets((vendor.number, u8::try_from(field.number).unwrap()))
            .pop(),
        None => packet.octets(u8::try_from(field.number).unwrap()),
    }?;
    assert_eq!(value.len(), usize::from(field.octets), "{field:?}");
    Some(value.iter().fold(0, |figure, octet| figure << 8 | u64::from(*octet)))
}

fn number(packet: &Packet, number: Option<&Number>) -> Option<u64> {
    let number = number?;
    let low = figure(packet, &number.field)?;
    for field in &number.also {
        assert_eq!(figure(packet, field), Some(low), "said twice, said alike");
    }
    let high = number
        .gigawords
        .as_ref()
        .map_or(0, |field| figure(packet, field).unwrap());
    Some((high << 32 | low) * u64::from(number.unit))
}

/// What a gate makes of what it was told.
fn understood(packet: &Packet, mapping: &Mapping) -> Limits {
    let (mut up, mut down) = (
        number(packet, mapping.up_bits_per_sec.as_ref()),
        number(packet, mapping.down_bits_per_sec.as_ref()),
    );
    if let Some((field, text)) = &mapping.rate {
        let kind = (field.vendor.unwrap().number, u8::try_from(field.number).unwrap());
        if let Some(said) = packet.vendor_texts(kind).pop() {
            (up, down) = text.speeds(&said).unwrap();
        }
    }
    let secs = |limit: &Option<Number>| number(packet, limit.as_ref()).map(|secs| u32::try_from(secs).unwrap());
    Limits {
        max_total_octets: number(packet, mapping.max_total_octets.as_ref()),
        up_bits_per_sec: up,
        down_bits_per_sec: down,
        session_secs: secs(&mapping.session_secs),
        idle_secs: secs(&mapping.idle_secs),
        interim_secs: secs(&mapping.interim_secs),
        remaining_octets: None,
        filter: None,
        class: None,
    }
}

/// Limits as a plan that can be made has them.
fn limits() -> impl Strategy<Value = Limits> {
    let rate = proptest::option::of(8_000..=u64::from(u32::MAX));
    (
        proptest::option::of(1..=u64::MAX),
        rate.clone(),
        rate,
        proptest::option::of(1..=u32::MAX),
        proptest::option::of(1..=u32::MAX),
        proptest::option::of(1..=3_600_u32),
    )
        .prop_map(|(octets, up, down, session, idle, interim)| Limits {
            max_total_octets: octets,
            up_bits_per_sec: up,
            down_bits_per_sec: down,
            session_secs: session,
            idle_secs: idle,
            interim_secs: interim,
            remaining_octets: None,
            filter: None,
            class: None,
        })
}

/// Whether a gate understood what was meant: nothing wider, and narrower by no more than its unit, or than its largest number.
fn fits(meant: Option<u64>, heard: Option<u64>, unit: u64, most: u64) -> bool {
    match (meant, heard) {
        (None, None) => true,
        (Some(meant), Some(heard)) => heard <= meant && (meant - heard < unit || heard >= most),
        _ => false,
    }
}

proptest! {
    #[test]
    fn every_vendor_is_told_the_limits_up_to_its_unit_and_never_more_than_the_plan(limits in limits(), is_throttled: bool) {
        for profile in built_in().iter() {
            let Some(mapping) = &profile.limits else { continue };
            let heard = understood(&accepted(profile, limits, is_throttled), mapping);
            let name = &profile.name;
            let secs = |meant: Option<u32>, heard: Option<u32>| fits(meant.map(u64::from), heard.map(u64::from), 1, u64::MAX);
            prop_assert!(secs(limits.session_secs, heard.session_secs), "{name}");
            if mapping.idle_secs.is_some() {
                prop_assert!(secs(limits.idle_secs, heard.idle_secs), "{name}");
            }
            if let Some(interim) = &mapping.interim_secs {
                let wanted = limits.interim_secs.map(|secs| secs.max(interim.least));
                prop_assert_eq!(heard.interim_secs, wanted, "{}", name);
            }
            if let Some(octets) = &mapping.max_total_octets {
                let most = if octets.gigawords.is_some() { u64::MAX } else { u64::from(u32::MAX) };
                prop_assert!(fits(limits.max_total_octets, heard.max_total_octets, 1, most), "{name}");
            }
            if profile.abilities().rate > Hold::Never && profile.throttled.is_empty() {
                let unit = mapping.up_bits_per_sec.as_ref().map_or(1_000, |number| u64::from(number.unit));
                prop_assert!(fits(limits.up_bits_per_sec, heard.up_bits_per_sec, unit, u64::MAX), "{name}");
                prop_assert!(fits(limits.down_bits_per_sec, heard.down_bits_per_sec, unit, u64::MAX), "{name}");
            }
        }
    }

    #[test]
    fn a_mac_is_spelled_in_every_vendors_way(octets: [u8; 6]) {
        for example in ["AA-BB-CC-DD-EE-FF", "aa:bb:cc:dd:ee:ff", "aabb.ccdd.eeff", "AABBCC-DDEEFF", "aabbccddeeff"] {
            let spelling = Spelling::of(example).unwrap();
            let spelled = spelling.spell(Mac(octets));
            prop_assert_eq!(spelled.len(), example.len());
            let digits: String = spelled.chars().filter(char::is_ascii_hexdigit).collect();
            prop_assert_eq!(digits.parse::<Mac>(), Ok(Mac(octets)));
        }
    }
}

/// As an administrator of a plan of 1 GB a day has them at noon.
fn citizen() -> Limits {
    Limits {
        max_total_octets: Some(5_000_000_000),
        up_bits_per_sec: Some(2_000_000),
        down_bits_per_sec: Some(10_000_000),
        session_secs: Some(14_400),
        idle_secs: Some(600),
        interim_secs: Some(60),
        remaining_octets: Some(5_000_000_000),
        filter: None,
        class: None,
    }
}

fn nas(profile: &str) -> NasEntry {
    NasEntry {
        id: NasId(1),
        name: "gate-1".into(),
        site: SiteId(1),
        source: "10.7.0.2/32".parse().unwrap(),
        secret: SECRET.to_vec().into(),
        proof: NasProof::default(),
        uam_secret: Vec::new().into(),
        coa_port: 3799,
        coa_host: None,
        profile: profile.into(),
        abilities: Abilities::ALL,
    }
}

fn request(write: impl FnOnce(&mut Draft)) -> Packet {
    let mut draft = Draft::request(Code::AccessRequest, [7; 16]);
    write(&mut draft);
    Packet::parse(&draft.seal_request(1, SECRET).unwrap()).unwrap()
}

fn order(action: OrderAction) -> Order {
    Order {
        session: SessionId(1),
        subscriber: SubscriberId(1),
        number: 1,
        nas: NasId(1),
        to: Destination::Given("10.7.0.2".into(), 3799),
        acct_session_id: "81800003".into(),
        user_name: "t-login".into(),
        class: b"class".to_vec(),
        mac: Some(Mac([2, 0, 0, 0xaa, 0xbb, 1])),
        ip: Some("10.80.1.1".parse().unwrap()),
        handle: Some("0A0700020000001A".into()),
        role: (action != OrderAction::End).then(|| Role {
            plan: "citizen".into(),
            is_throttled: false,
        }),
        calls: Calls {
            nas_identifier: Some("ap-7".into()),
            nas_ip: Some("10.7.0.7".parse().unwrap()),
            called_station_id: Some("02-00-00-00-00-07:Kerala Wi-Fi".into()),
        },
        action,
        attempts: 0,
    }
}

fn noon() -> Timestamp {
    Timestamp::from_secs(1_800_000_000)
}

/// Attribute by attribute, in order, by number and octets: what an engineer compares with a capture.
fn shown(packet: &Packet) -> String {
    let mut text = format!("{:?}\n", packet.code());
    let vendors: Vec<_> = packet
        .vendor_attributes()
        .map(|found| {
            let ((vendor, kind), value) = found.unwrap();
            format!("26.{vendor}.{kind}{}", value_of(value))
        })
        .collect();
    let mut vendors = vendors.into_iter();
    let mut seen = std::collections::HashMap::new();
    for kind in packet.kinds() {
        let line = match kind {
            attr::VENDOR_SPECIFIC => vendors.next().unwrap(),
            attr::MESSAGE_AUTHENTICATOR => "80 (Message-Authenticator)".to_owned(),
            _ => {
                let at = seen.entry(kind).or_insert(0_usize);
                let value = &packet.all_octets(kind)[*at];
                *at += 1;
                format!("{kind}{}", value_of(value))
            }
        };
        writeln!(text, "  {line}").unwrap();
    }
    text
}

fn value_of(value: &[u8]) -> String {
    let hex = value
        .iter()
        .map(|octet| format!(" {octet:02x}"))
        .collect::<Vec<_>>()
        .concat();
    match std::str::from_utf8(value) {
        Ok(text) if text.chars().all(|c| c.is_ascii_graphic() || c == ' ') && value.len() != 4 => {
            format!(" \"{text}\"")
        }
        _ => hex,
    }
}

fn snapshot_of(profile: &Profile) -> String {
    let mut text = format!(
        "# What a gate of the profile `{}` is told. Compared by a test of radius/src/profile; KAVADAM_BLESS=1 writes it anew.\n",
        profile.name
    );
    for (title, limits, is_throttled) in [
        ("a citizen logs in", citizen(), false),
        (
            "the quota is used up and the plan goes on slowly",
            Limits {
                max_total_octets: None,
                up_bits_per_sec: Some(256_000),
                down_bits_per_sec: Some(256_000),
                ..citizen()
            },
            true,
        ),
        ("a plan without limits", Limits::default(), false),
        (
            "a plan with a filter and a class",
            Limits {
                filter: "minors".parse().ok(),
                class: "free".parse().ok(),
                ..citizen()
            },
            false,
        ),
    ] {
        if limits.filter.is_some() && !profile.is_own() {
            continue;
        }
        write!(text, "\n# {title}\n{}", shown(&accepted(profile, limits, is_throttled))).unwrap();
    }
    let can = profile.abilities();
    let mut actions = Vec::new();
    if can.is_cut {
        actions.push(("the session is to end", OrderAction::End));
    }
    let wider = Limits {
        down_bits_per_sec: Some(20_000_000),
        ..citizen()
    };
    if can.deed(Some(citizen()), &wider) == Deed::Change {
        actions.push(("another speed", OrderAction::Change(wider)));
        let lifted = Limits {
            up_bits_per_sec: None,
            down_bits_per_sec: None,
            ..citizen()
        };
        actions.push(("no speed limit any more", OrderAction::Change(lifted)));
        let filtered = Limits {
            filter: "minors".parse().ok(),
            class: "free".parse().ok(),
            ..citizen()
        };
        actions.extend(
            profile
                .is_own()
                .then_some(("a filter and a class", OrderAction::Change(filtered))),
        );
    }
    let shorter = Limits {
        session_secs: Some(600),
        ..citizen()
    };
    if can.rate < Hold::Always && can.deed(Some(citizen()), &shorter) == Deed::Change {
        actions.push(("a shorter time", OrderAction::Change(shorter)));
    }
    let mut orders: Vec<(&str, Order)> = actions
        .into_iter()
        .map(|(title, action)| (title, order(action)))
        .collect();
    if profile.orders.changes.role {
        let mut slowed = order(OrderAction::Change(citizen()));
        slowed.role.as_mut().unwrap().is_throttled = true;
        orders.push(("the quota is used up and the plan goes on slowly", slowed));
    }
    for (title, order) in orders {
        for (at, way) in profile.ways(None).enumerate() {
            let (_, draft) = profile.order(&order, &nas(&profile.name), way, noon()).unwrap();
            let packet = Packet::parse(&draft.seal_request(1, SECRET).unwrap()).unwrap();
            write!(text, "\n# {title}, asked by name {}\n{}", at + 1, shown(&packet)).unwrap();
        }
    }
    text
}

#[test]
fn every_vendor_is_spoken_to_as_its_file_of_packets_says() {
    let dir: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packets/vendors");
    let profiles = built_in();
    for profile in profiles.iter() {
        let path = dir.join(format!("{}.txt", profile.name));
        let found = snapshot_of(profile);
        if std::env::var_os("KAVADAM_BLESS").is_some() {
            fs::create_dir_all(&dir).unwrap();
            fs::write(&path, &found).unwrap();
        }
        let wanted = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(found, wanted, "{}", path.display());
    }
    let files = fs::read_dir(&dir).unwrap().count();
    assert_eq!(files, profiles.iter().count(), "a file of packets has lost its profile");
}

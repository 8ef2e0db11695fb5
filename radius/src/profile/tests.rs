use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use kavadam_access::api::{Destination, NasEntry, Order, OrderAction};
use kavadam_domain::gate::Deed;
use kavadam_domain::{Limits, NasId, SessionId, SiteId, SubscriberId, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::wire::{Code, Draft, Packet, attr};
use crate::{AccessReply, Grant};

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
    }
}

fn nas(profile: &str) -> NasEntry {
    NasEntry {
        id: NasId(1),
        name: "gate-1".into(),
        site: SiteId(1),
        source: "10.7.0.2/32".parse().unwrap(),
        secret: SECRET.to_vec().into(),
        uam_secret: Vec::new().into(),
        coa_port: 3799,
        coa_host: None,
        profile: profile.into(),
        abilities: Abilities::ALL,
    }
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
    ] {
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
    }
    for (title, action) in actions {
        for way in 0..profile.ways() {
            let (_, draft) = profile
                .order(&order(action.clone()), &nas(&profile.name), way, noon())
                .unwrap();
            let packet = Packet::parse(&draft.seal_request(1, SECRET).unwrap()).unwrap();
            write!(text, "\n# {title}, asked by name {}\n{}", way + 1, shown(&packet)).unwrap();
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

#[test]
fn every_file_of_the_vendors_directory_is_built_in() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("vendors");
    let mut files: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut known: Vec<&str> = Profiles::files().iter().map(|file| file.name).collect();
    known.sort_unstable();
    assert_eq!(files, known);
}

fn own(name: &str, text: &str) -> Result<Profiles, String> {
    let files = [(name.to_owned(), text.to_owned())];
    Profiles::read(&files).map_err(|problems| problems.iter().map(|p| format!("{p}\n")).collect::<Vec<_>>().concat())
}

const MINE: &str = "name = 'mine'\ntitle = 'Mine'\n[limits]\nsession_secs = { attribute = 'Session-Timeout' }\n\
                    [orders]\nsession = [['Acct-Session-Id']]\n";

#[test]
fn an_engineer_adds_a_vendor_without_a_line_of_ours() {
    let files = [
        (
            "dictionary.acme".to_owned(),
            "VENDOR Acme 4711 format=2,1\nBEGIN-VENDOR Acme\nATTRIBUTE Acme-MB 300 short\nATTRIBUTE Acme-Class 2 integer\n\
             VALUE Acme-Class Guest 7\nEND-VENDOR Acme\n"
                .to_owned(),
        ),
        (
            "acme.toml".to_owned(),
            format!("{MINE}[always]\nAcme-Class = 'Guest'\n'Tunnel-Private-Group-Id:1' = '42'\n'Tunnel-Type:1' = 'VLAN'\n")
                .replace("[orders]", "max_total_octets = { attribute = 'Acme-MB' }\n[orders]"),
        ),
        ("README".to_owned(), "not one of ours".to_owned()),
    ];
    let profiles = Profiles::read(&files).unwrap();
    let packet = accepted(profiles.get("mine"), citizen(), false);
    let vendors = packet.all_octets(attr::VENDOR_SPECIFIC);
    assert_eq!(
        vendors[0],
        [0, 0, 0x12, 0x67, 0x01, 0x2c, 5, 0xff, 0xff],
        "the most that a short can say"
    );
    assert_eq!(vendors[1], [0, 0, 0x12, 0x67, 0, 2, 7, 0, 0, 0, 7]);
    assert_eq!(packet.octets(64).unwrap(), [1, 0, 0, 13]);
    assert_eq!(packet.octets(81).unwrap(), b"\x0142");
}

/// The blocks of a page, each with the file's name that its first line gives.
fn files_of_the_page() -> Vec<(String, String)> {
    let page = include_str!("../../../docs/vendors.md");
    let blocks = page.split("```").skip(1).step_by(2);
    let named = blocks.filter_map(|block| {
        let text = block.split_once('\n')?.1;
        let (_, name) = text.lines().next()?.split_once("radius.d/")?;
        let name = name.split([';', ' ']).next()?;
        Some((name.to_owned(), text.to_owned()))
    });
    named.collect()
}

#[test]
fn the_vendor_on_the_page_for_engineers_is_one() {
    let mut files = files_of_the_page();
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["dictionary.acme", "acme.toml"]);
    let profiles = Profiles::read(&files).unwrap();
    let packet = accepted(profiles.get("acme"), citizen(), true);
    assert_eq!(packet.vendor_texts((4711, 3)), ["10000/2000"]);
    assert_eq!(packet.text(11).unwrap(), "citizen-slow");
    files[1].1 = files[1].1.replace("Acme-Quota-Low", "Acme-Quota-Lo");
    let problem = Profiles::read(&files).unwrap_err().remove(0).to_string();
    let page = include_str!("../../../docs/vendors.md");
    assert!(page.contains(&format!("``{problem}``")), "{problem}");
}

#[test]
fn a_limit_that_is_no_more_is_lifted_as_the_gate_understands() {
    let rates = "up_bits_per_sec = { attribute = 'WISPr-Bandwidth-Max-Up', lifted = 0 }\n\
                 down_bits_per_sec = { attribute = 'WISPr-Bandwidth-Max-Down' }\n[orders]\nchange = ['rate']";
    let profiles = own("mine.toml", &MINE.replace("[orders]", rates)).unwrap();
    let change = order(OrderAction::Change(Limits::default()));
    let (_, draft) = profiles.get("mine").order(&change, &nas("mine"), 0, noon()).unwrap();
    let packet = Packet::parse(&draft.seal_request(1, SECRET).unwrap()).unwrap();
    assert_eq!(packet.vendor_u32((14122, 7)), Some(0));
    assert_eq!(packet.vendor_u32((14122, 8)), None, "not being there lifts it");
}

#[test]
fn a_file_of_an_engineer_replaces_the_one_that_is_built_in() {
    let text = MINE.replace("mine", "mikrotik");
    let profiles = own("mikrotik.toml", &text).unwrap();
    assert_eq!(profiles.get("mikrotik").title, "Mine");
    assert_eq!(profiles.iter().count(), built_in().iter().count());
}

#[test]
fn two_files_of_one_name_are_not_chosen_from_by_chance() {
    let files = ["a.toml", "b.toml"].map(|name| (name.to_owned(), MINE.to_owned()));
    let problems = Profiles::read(&files).unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        "b.toml: profile `mine` is that of a.toml too: give it another name"
    );
}

#[test]
fn a_gate_of_a_vendor_that_is_not_known_is_spoken_to_by_the_rfcs() {
    assert_eq!(built_in().get("nobody").name, "standard");
    assert!(!built_in().knows("nobody"));
}

#[test]
fn every_mistake_in_a_profile_is_told_with_its_line_and_its_remedy() {
    for (from, to, wanted) in [
        ("title = 'Mine'", "titel = 'Mine'", "x.toml:2: unknown field `titel`"),
        (
            "name = 'mine'",
            "name = 'My Own'",
            "x.toml:1: name: use 1 to 32 lower case letters",
        ),
        (
            "name = 'mine'",
            "name = 'kavadam'",
            "x.toml:1: name: `kavadam` is our own gateway's dialect",
        ),
        (
            "Session-Timeout",
            "Session-Timeuot",
            "x.toml:4: no dictionary knows `Session-Timeuot`: did you mean `Session-Timeout`?",
        ),
        (
            "'Session-Timeout'",
            "'Filter-Id'",
            "x.toml:4: `Filter-Id` is no plain number",
        ),
        (
            "'Session-Timeout'",
            "'Session-Timeout', unit = 'h'",
            "x.toml:4: unit `h`: use bit/s, kbit/s or Mbit/s",
        ),
        (
            "'Session-Timeout'",
            "'Session-Timeout', least = 60",
            "x.toml:4: least: for interim_secs alone",
        ),
        ("session_secs", "idle_secs", "x.toml:3: session_secs is missing"),
        (
            "'Acct-Session-Id'",
            "'Acct-Id'",
            "x.toml:6: `Acct-Id` names no session: use User-Name,",
        ),
        (
            "'Acct-Session-Id'",
            "'handle'",
            "x.toml:6: `handle` names a session by what [seen] handle says",
        ),
        (
            "[orders]",
            "[always]\nSession-Timeout = 5\n[orders]",
            "x.toml:4: `Session-Timeout` is written by [limits] already",
        ),
        (
            "[orders]",
            "[always]\nFilter-Id = 5\n[orders]",
            "x.toml:6: `Filter-Id` takes text in quotes",
        ),
        (
            "'Acct-Session-Id'",
            "'User-Name'",
            "x.toml:6: session: User-Name is a person",
        ),
        (
            "[orders]",
            "[orders]\nmac = '00'",
            "x.toml:6: mac `00`: spell AA-BB-CC-DD-EE-FF",
        ),
        (
            "[orders]",
            "[orders]\nchange = ['volume']",
            "x.toml:6: `volume`: use octets, rate,",
        ),
        (
            "[orders]",
            "rate = { attribute = 'Filter-Id', text = '{up}', unlimited = '0' }\n[orders]",
            "x.toml:5: text: `{up}` is no speed",
        ),
        ("= [['Acct-Session-Id']]", "=", "x.toml:6: "),
    ] {
        let text = MINE.replace(from, to);
        assert_ne!(text, MINE, "{from}");
        let found = own("x.toml", &text).map(|_| ()).unwrap_err();
        assert!(found.contains(wanted), "{to}: {found}");
    }
}

#[test]
fn a_directory_is_read_and_what_is_wrong_there_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine.toml"), MINE).unwrap();
    fs::write(dir.path().join("mine.toml~"), "an editor's copy").unwrap();
    assert!(Profiles::load(dir.path()).unwrap().knows("mine"));
    fs::write(dir.path().join("dictionary.x"), "ATTRIBUTE").unwrap();
    fs::write(dir.path().join("other.toml"), "name = 1").unwrap();
    let problems = Profiles::load(dir.path()).unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|text| text.starts_with("dictionary.x:1: ")), "{told:?}");
    assert!(told.iter().any(|text| text.starts_with("other.toml:1: ")), "{told:?}");
    assert!(Profiles::load(&dir.path().join("nowhere")).is_err());
}

#[test]
fn a_stock_dictionary_of_freeradius_is_read() {
    let stock = Path::new("/usr/share/freeradius");
    if !stock.exists() {
        return;
    }
    for name in [
        "mikrotik",
        "ruckus",
        "cambium",
        "wimax",
        "usr",
        "lucent",
        "cisco",
        "rfc2868",
        "freeradius.internal",
        "starent",
    ] {
        let text = fs::read_to_string(stock.join(format!("dictionary.{name}"))).unwrap();
        let mut dictionary = Dictionary::default();
        dictionary.add(name, &text).unwrap();
        assert!(!dictionary.is_empty(), "{name}");
    }
}

fn request(write: impl FnOnce(&mut Draft)) -> Packet {
    let mut draft = Draft::request(Code::AccessRequest, [7; 16]);
    write(&mut draft);
    Packet::parse(&draft.seal_request(1, SECRET).unwrap()).unwrap()
}

#[test]
fn what_a_vendor_says_of_a_session_is_kept() {
    let profiles = built_in();
    let packet = request(|draft| {
        draft.text(attr::CALLED_STATION_ID, "02-00-00-00-00-07:Kerala Wi-Fi");
        draft.vendor((9, 1), b"service-type=Call Check");
        draft.vendor((9, 1), b"audit-session-id=0A0700020000001A");
        draft.vendor((25053, 3), b"Lobby");
    });
    let cisco = profiles.get("cisco").seen(&packet);
    assert_eq!(cisco.handle.as_deref(), Some("0A0700020000001A"));
    assert_eq!(cisco.ssid.as_deref(), Some("Kerala Wi-Fi"), "of the Called-Station-Id");
    assert_eq!(cisco.access_point.as_deref(), Some("02-00-00-00-00-07"));
    assert_eq!(profiles.get("ruckus").seen(&packet).ssid.as_deref(), Some("Lobby"));
    assert_eq!(
        profiles.get(OWN_PROFILE).seen(&packet),
        kavadam_access::api::Seen::default()
    );
    let hotspot = request(|draft| _ = draft.text(attr::CALLED_STATION_ID, "hotspot1"));
    let mikrotik = profiles.get("mikrotik").seen(&hotspot);
    assert_eq!(
        (mikrotik.access_point.as_deref(), mikrotik.ssid),
        (Some("hotspot1"), None)
    );
}

#[test]
fn a_session_whose_handle_is_not_known_is_named_otherwise() {
    let profiles = built_in();
    let nameless = Order {
        handle: None,
        ..order(OrderAction::End)
    };
    let cisco = profiles.get("cisco");
    assert!(cisco.order(&nameless, &nas("cisco"), 0, noon()).is_none());
    assert!(cisco.order(&nameless, &nas("cisco"), 1, noon()).is_some());
}

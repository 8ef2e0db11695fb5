//! Files of engineers: read, refused, and what becomes of them.

use super::*;

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

#[test]
fn what_a_gates_owner_must_set_before_it_holds_anything_stands_in_its_notes() {
    for (profile, settings) in [
        (
            "pfsense",
            ["Session-Timeout", "traffic quota", "bandwidth", "Interim"].as_slice(),
        ),
        ("uspot", &["das_secret", "counters"]),
        ("uspot-2025", &["das_secret", "counters"]),
        ("coovachilli", &["coaport"]),
        ("mikrotik", &["/radius incoming"]),
    ] {
        let profiles = built_in();
        let notes = &profiles.get(profile).notes;
        assert!(settings.iter().all(|setting| notes.contains(setting)), "{notes}");
    }
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

#[test]
fn a_gate_is_called_in_its_orders_as_it_calls_itself() {
    let names = "[['Acct-Session-Id', 'NAS-Identifier', 'NAS-IP-Address', 'Called-Station-Id']]";
    let profiles = own("mine.toml", &MINE.replace("[['Acct-Session-Id']]", names)).unwrap();
    let mine = profiles.get("mine");
    let asked = request(|draft| {
        draft.octets(attr::NAS_IDENTIFIER, b"ap%\xff7");
        draft.ipv6(attr::NAS_IPV6_ADDRESS, "2001:db8::7".parse().unwrap());
        draft.text(attr::CALLED_STATION_ID, "02-00-00-00-00-07:Kerala Wi-Fi");
    });
    let told = |calls| {
        let end = Order {
            calls,
            ..order(OrderAction::End)
        };
        let way = mine.ways(None).next().unwrap();
        let (_, draft) = mine.order(&end, &nas("mine"), way, noon()).unwrap();
        Packet::parse(&draft.seal_request(1, SECRET).unwrap()).unwrap()
    };
    let order = told(mine.seen(&asked).calls);
    for attribute in [attr::NAS_IDENTIFIER, attr::NAS_IPV6_ADDRESS, attr::CALLED_STATION_ID] {
        assert_eq!(order.octets(attribute), asked.octets(attribute), "{attribute}");
    }
    let silent = told(Calls::default());
    assert_eq!(
        silent.text(attr::NAS_IDENTIFIER).as_deref(),
        Some("gate-1"),
        "its name here"
    );
    assert!(!silent.has(attr::NAS_IPV6_ADDRESS) && !silent.has(attr::CALLED_STATION_ID));
    let of_others = profiles.get("mikrotik").seen(&asked).calls;
    assert_eq!(of_others, Calls::default(), "kept where it is of use");
}

#[test]
fn what_a_gate_calls_itself_names_no_session() {
    let names = "[['NAS-IP-Address', 'Called-Station-Id']]";
    let problems = own("mine.toml", &MINE.replace("[['Acct-Session-Id']]", names)).unwrap_err();
    assert!(problems.contains("name something else besides"), "{problems}");
}

/// The blocks of a page, each with the file's name that its first line gives.
fn files_of_the_page() -> Vec<(String, String)> {
    let page = include_str!("../../../../docs/vendors.md");
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
    let page = include_str!("../../../../docs/vendors.md");
    assert!(page.contains(&format!("``{problem}``")), "{problem}");
}

#[test]
fn a_plans_filter_goes_into_what_the_file_says_and_is_left_out_where_there_is_none() {
    let text =
        format!("{MINE}[always]\nFilter-Id = 'web-{{filter}}'\n[throttled]\nFilter-Id = '{{plan}}-slow-{{filter}}'\n");
    let profiles = own("mine.toml", &text).unwrap();
    let filtered = Limits {
        filter: "minors".parse().ok(),
        ..citizen()
    };
    let told = |limits, is_slow| accepted(profiles.get("mine"), limits, is_slow).text(attr::FILTER_ID);
    assert_eq!(told(filtered, false).as_deref(), Some("web-minors"));
    assert_eq!(told(filtered, true).as_deref(), Some("citizen-slow-minors"));
    assert_eq!(told(citizen(), false), None);
    assert_eq!(told(citizen(), true), None);
}

#[test]
fn a_plans_class_goes_into_what_the_file_says_and_is_left_out_where_there_is_none() {
    let text = format!("{MINE}[always]\nFilter-Id = 'queue-{{class}}'\n");
    let profiles = own("mine.toml", &text).unwrap();
    let classed = Limits {
        class: "free".parse().ok(),
        ..citizen()
    };
    let told = |limits| accepted(profiles.get("mine"), limits, false).text(attr::FILTER_ID);
    assert_eq!(told(classed).as_deref(), Some("queue-free"));
    assert_eq!(told(citizen()), None);
}

#[test]
fn a_limit_that_is_no_more_is_lifted_as_the_gate_understands() {
    let rates = "up_bits_per_sec = { attribute = 'WISPr-Bandwidth-Max-Up', lifted = 0 }\n\
                 down_bits_per_sec = { attribute = 'WISPr-Bandwidth-Max-Down' }\n[orders]\nchange = ['rate']";
    let profiles = own("mine.toml", &MINE.replace("[orders]", rates)).unwrap();
    let change = order(OrderAction::Change(Limits::default()));
    let mine = profiles.get("mine");
    let way = mine.ways(None).next().unwrap();
    let (_, draft) = mine.order(&change, &nas("mine"), way, noon()).unwrap();
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
fn a_value_of_no_use_is_told_in_words_and_not_as_a_shape() {
    for (from, to, wanted) in [
        (
            "[orders]",
            "[orders]\nport = '3799'",
            "x.toml:6: port: give a UDP port, or several as [3799, 1700]",
        ),
        (
            "[orders]",
            "[orders]\nport = [3799, 3799]",
            "x.toml:6: port: 3799 is none, or is there twice",
        ),
        (
            "[orders]",
            "[orders]\nport = []",
            "x.toml:6: port: give one, or several",
        ),
        (
            "[orders]",
            "[orders]\nport = 70000",
            "x.toml:6: port: give a UDP port, or several",
        ),
        (
            "[orders]",
            "[always]\nFilter-Id = 1.5\n[orders]",
            "x.toml:6: a value is text in quotes or a number",
        ),
    ] {
        let found = own("x.toml", &MINE.replace(from, to)).map(|_| ()).unwrap_err();
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

//! Our gateway at somebody else's centre: FreeRADIUS as Debian configures it, and no portal of ours.

use std::fs;
use std::path::Path;
use std::time::Duration;

use data_encoding::HEXLOWER_PERMISSIVE;
use kavadam_lab::certificates::Authority;
use kavadam_lab::citizen::CHECK;
use kavadam_lab::freeradius::FreeRadius;
use kavadam_lab::secrets::secret_file;
use kavadam_lab::world::until;
use kavadam_lab::{Phone, Tally, World};
use md5::{Digest as _, Md5};
use tempfile::TempDir;

use crate::names::fetches;
use crate::proxies::radsecproxy;
use crate::{ENDLESS, MERGED_PACKET, beside_others, is_online, phone, program};

const CENTRE: &str = "198.51.100.1";
const GATE: &str = "198.51.100.2";
const RADIUS_SECRET: &str = "a secret of gate and centre";
const UAM_SECRET: &str = "a secret of gate and portal";
const QUOTA: u64 = 5_000_000;

/// Two people: one logs in by name and password, the other's device is known by its MAC.
const USERS: &str = "\
staff Cleartext-Password := \"a password\"
\tSession-Timeout = 600, Idle-Timeout = 300, Acct-Interim-Interval = 60, Class = \"of staff\",
\tWISPr-Bandwidth-Max-Down = 20000000, WISPr-Bandwidth-Max-Up = 20000000, ChilliSpot-Max-Total-Octets = 5000000

02-00-5E-00-00-02 Cleartext-Password := \"02-00-5E-00-00-02\"
\tSession-Timeout = 600, WISPr-Bandwidth-Max-Down = 20000000, Class = \"of a device\"

DEFAULT Auth-Type := Reject
\tReply-Message = \"Nobody knows you.\"
";

/// A gate, and its centre as it is at the gate's end.
struct Scene {
    world: World,
    centre: FreeRadius,
    secrets: TempDir,
}

impl Scene {
    /// FreeRADIUS, which signs its answers.
    fn new() -> Self {
        Self::with(FreeRadius::sign_answers)
    }

    /// FreeRADIUS with a change of its configuration.
    fn with(change: impl FnOnce(&FreeRadius) -> anyhow::Result<()>) -> Self {
        let secrets = tempfile::tempdir().unwrap();
        let radius = over_udp(&secrets);
        Self::built(secrets, &radius, change)
    }

    /// The same with a gate that finds its centre so.
    fn built(secrets: TempDir, radius: &str, change: impl FnOnce(&FreeRadius) -> anyhow::Result<()>) -> Self {
        let uam = secret_file(secrets.path(), "uam", UAM_SECRET).unwrap();
        let config = format!(
            "portal_url = \"http://203.0.113.10\"\nuam_secret_file = \"{uam}\"\ncoa_listen = \"{GATE}:3799\"\n{radius}"
        );
        let lab = Path::new(env!("CARGO_BIN_EXE_kavadam-lab"));
        let world = World::build_as("gateway", &program(), lab, &config);
        let world = world.unwrap_or_else(|error| panic!("no world: {error:#}"));
        let mut centre = FreeRadius::stock(&world.dir().join("freeradius")).unwrap();
        let client = |name: &str, address: &str| {
            format!(
                "client {name} {{\nipaddr = {address}\nsecret = \"{RADIUS_SECRET}\"\nrequire_message_authenticator = yes\n}}\n"
            )
        };
        let clients = client("gate", GATE) + &client("proxy", "127.0.0.1");
        centre.write("clients.conf", &clients).unwrap();
        centre.write("mods-config/files/authorize", USERS).unwrap();
        change(&centre).unwrap();
        centre.start(&world.internet).unwrap();
        Self { world, centre, secrets }
    }
}

/// How the gate finds its centre.
fn over_udp(secrets: &TempDir) -> String {
    let secret = secret_file(secrets.path(), "radius", RADIUS_SECRET).unwrap();
    format!(
        "[gateway.radius]\nsecret_file = \"{secret}\"\ntimeout_ms = 1500\nretries = 1\n\
         auth_servers = [\"{CENTRE}:1812\"]\nacct_servers = [\"{CENTRE}:1813\"]\n"
    )
}

/// What a portal of CoovaChilli's dialect does with the password: `/logon`, and where that leads.
fn log_on(phone: &Phone, name: &str, password: &str) -> String {
    let (_, portal) = phone.probe(CHECK).unwrap();
    let challenge = portal
        .split(['?', '&'])
        .find_map(|pair| pair.strip_prefix("challenge="));
    let challenge = HEXLOWER_PERMISSIVE.decode(challenge.unwrap().as_bytes()).unwrap();
    let bound = Md5::new().chain_update(challenge).chain_update(UAM_SECRET).finalize();
    let response = Md5::new()
        .chain_update([0])
        .chain_update(password)
        .chain_update(bound)
        .finalize();
    let response = HEXLOWER_PERMISSIVE.encode(&response);
    let url = format!("http://10.80.0.1:3990/logon?username={name}&response={response}");
    phone.probe(&url).unwrap().1
}

/// An order by radclient, from where the centre is.
fn order(world: &World, kind: &str, attributes: &str) -> String {
    let secret = world.dir().join("order.secret");
    let request = world.dir().join("order.txt");
    fs::write(&secret, RADIUS_SECRET).unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let signed = format!("Message-Authenticator = 0x00\nEvent-Timestamp = {now}");
    fs::write(&request, format!("{attributes}\n{signed}\n")).unwrap();
    let [secret, request] = [secret, request].map(|path| path.display().to_string());
    let words = [
        "-x",
        "-r",
        "1",
        "-t",
        "3",
        "-S",
        &secret,
        "-f",
        &request,
        &format!("{GATE}:3799"),
        kind,
    ];
    let output = world.internet.output("radclient", &words).unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The reports of one user in FreeRADIUS's detail file, in order of arrival.
fn reports(centre: &FreeRadius, user: &str) -> Vec<String> {
    let name = format!("User-Name = \"{user}\"");
    let detail = centre.detail();
    let reports = detail.split("\n\n").filter(|report| report.contains(&name));
    reports.map(str::to_owned).collect()
}

/// What a report says of an attribute.
fn said<'a>(report: &'a str, attribute: &str) -> &'a str {
    let mut lines = report.lines().filter_map(|line| line.trim().split_once(" = "));
    lines
        .find(|(name, _)| *name == attribute)
        .unwrap_or_else(|| panic!("no {attribute} in {report}"))
        .1
}

/// Waits for the Stop of a user, and returns every report.
fn stopped(centre: &FreeRadius, user: &str) -> Vec<String> {
    let is_over = until(Duration::from_secs(20), || {
        let last = reports(centre, user).pop();
        last.is_some_and(|report| said(&report, "Acct-Status-Type") == "Stop")
    });
    assert!(is_over, "no Stop of {user}: {}", centre.detail());
    reports(centre, user)
}

#[test]
fn a_stock_freeradius_lets_people_in_by_password_and_its_quota_holds() {
    let _machine = beside_others();
    let Scene {
        mut world,
        centre,
        secrets: _secrets,
    } = Scene::new();
    let phone = phone(&mut world);
    let tally = Tally::begin(&world, &[&phone]).unwrap();

    let refused = log_on(&phone, "staff", "a wrong password");
    assert!(refused.contains("res=failed"), "{refused}");
    let refused = log_on(&phone, "nobody", "a password");
    assert!(refused.contains("reply=Nobody%20knows%20you"), "{refused}");
    assert!(!is_online(&phone));
    let welcome = log_on(&phone, "staff", "a password");
    assert!(welcome.contains("res=success"), "{welcome}");
    assert!(is_online(&phone));

    let _flow = phone.download(ENDLESS).unwrap();
    let reports = stopped(&centre, "staff");
    assert!(!is_online(&phone));
    std::thread::sleep(Duration::from_millis(200));
    let crossed = tally.both().unwrap();
    assert!((QUOTA - MERGED_PACKET..=QUOTA).contains(&crossed), "{crossed} crossed");
    assert_eq!(said(&reports[0], "Acct-Status-Type"), "Start");
    let stop = reports.last().unwrap();
    let octets = |attribute| said(stop, attribute).parse::<u64>().unwrap();
    let charged = octets("Acct-Input-Octets") + octets("Acct-Output-Octets");
    assert!(
        (crossed..=QUOTA).contains(&charged),
        "{charged} charged, {crossed} crossed"
    );
    assert_eq!(
        said(stop, "Class"),
        format!("0x{}", HEXLOWER_PERMISSIVE.encode(b"of staff"))
    );
    assert_eq!(said(stop, "Acct-Terminate-Cause"), "NAS-Request");
}

#[test]
fn a_stock_freeradius_lets_a_device_in_by_its_mac_and_radclient_changes_and_ends_its_session() {
    const MAC: &str = "02-00-5E-00-00-02";
    let _machine = beside_others();
    let Scene {
        mut world,
        centre,
        secrets: _secrets,
    } = Scene::new();
    // The second of the world has that MAC.
    let (stranger, known) = (phone(&mut world), phone(&mut world));
    let is_in = until(Duration::from_secs(10), || is_online(&known));
    assert!(is_in, "not let in by its MAC: {}", centre.detail());
    assert!(!is_online(&stranger));
    let start = reports(&centre, MAC).remove(0);
    let session = format!(
        "Acct-Session-Id = {}\nUser-Name = \"{MAC}\"",
        said(&start, "Acct-Session-Id")
    );

    let answer = order(&world, "coa", &format!("{session}\nWISPr-Bandwidth-Max-Down = 1000000"));
    assert!(answer.contains("Received CoA-ACK"), "{answer}");
    let _flow = known.download(ENDLESS).unwrap();
    let tally = Tally::begin(&world, &[&known]).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    let slow = tally.down().unwrap();
    // A second of the rate at once, and then the rate; the limit before would have let ten million pass.
    assert!((300_000..=1_000_000).contains(&slow), "{slow} octets in four seconds");

    let answer = order(&world, "disconnect", "Acct-Session-Id = \"another\"");
    assert!(answer.contains("Error-Cause = Session-Context-Not-Found"), "{answer}");
    let answer = order(&world, "disconnect", &session);
    assert!(answer.contains("Received Disconnect-ACK"), "{answer}");
    let stop = stopped(&centre, MAC).pop().unwrap();
    assert_eq!(said(&stop, "Acct-Terminate-Cause"), "Admin-Reset");
}

#[test]
fn a_filter_of_a_stock_freeradius_holds_and_one_that_the_gate_has_not_lets_nobody_in() {
    let _machine = beside_others();
    let secrets = tempfile::tempdir().unwrap();
    let config = over_udp(&secrets) + "[gateway.filters.minors]\nports = [\"tcp/8000\"]\n";
    let mut scene = Scene::built(secrets, &config, |centre| {
        let filtered = USERS
            .replace(
                "\tSession-Timeout = 600, Idle",
                "\tFilter-Id = \"minors\", Session-Timeout = 600, Idle",
            )
            .replace(
                "\tSession-Timeout = 600, WISPr",
                "\tFilter-Id = \"std.ppp\", Session-Timeout = 600, WISPr",
            );
        centre.write("mods-config/files/authorize", &filtered)?;
        centre.sign_answers()
    });
    // The second of the world has the MAC that the centre knows.
    let (staff, known) = (phone(&mut scene.world), phone(&mut scene.world));
    let welcome = log_on(&staff, "staff", "a password");
    assert!(welcome.contains("res=success"), "{welcome}");
    let fetches = || fetches(&staff, "-4", "http://203.0.113.10:8000/bytes/1");
    assert!(is_online(&staff) && !fetches());
    let answer = |filter: &str| {
        let attributes = format!("User-Name = \"staff\"\nFilter-Id = \"{filter}\"");
        order(&scene.world, "coa", &attributes)
    };
    let refused = answer("nobodys");
    assert!(refused.contains("Error-Cause = Invalid-Attribute-Value"), "{refused}");
    assert!(!fetches());
    let obeyed = answer("none");
    assert!(obeyed.contains("Received CoA-ACK"), "{obeyed}");
    assert!(fetches());
    let said = |words: &str| fs::read_to_string(scene.world.gateway.log()).unwrap().contains(words);
    let is_refused = until(Duration::from_secs(10), || {
        !is_online(&known) && said("Filter-Id is no name of a filter")
    });
    assert!(is_refused && said("filter=nobodys"));
}

#[test]
fn a_class_of_a_stock_freeradius_holds_and_what_is_none_lets_people_in_without() {
    let _machine = beside_others();
    let secrets = tempfile::tempdir().unwrap();
    let line =
        "[gateway.uplink]\nup = \"20Mbit\"\ndown = \"20Mbit\"\n[gateway.uplink.classes.free]\nat_most = \"50%\"\n";
    let config = over_udp(&secrets) + line;
    let mut scene = Scene::built(secrets, &config, |centre| {
        let class = |name: &str| format!("\tChilliSpot-Config = \"kavadam.class={name}\", Session-Timeout = 600, ");
        let classed = USERS
            .replace("\tSession-Timeout = 600, Idle", &(class("free") + "Idle"))
            .replace("\tSession-Timeout = 600, WISPr", &(class("Free Of Charge") + "WISPr"));
        centre.write("mods-config/files/authorize", &classed)?;
        centre.sign_answers()
    });
    let (staff, known) = (phone(&mut scene.world), phone(&mut scene.world));
    let welcome = log_on(&staff, "staff", "a password");
    assert!(welcome.contains("res=success"), "{welcome}");
    assert!(until(Duration::from_secs(10), || is_online(&known)), "without a class");
    let said = |words: &str| fs::read_to_string(scene.world.gateway.log()).unwrap().contains(words);
    assert!(said("kavadam.class is no name of a class"));
    let class_of = |phone: &Phone| {
        let trace = scene.world.admin_json(&["gate", "trace", phone.mac()]).unwrap();
        let facts = trace["steps"].as_array().unwrap().clone();
        let step = facts.into_iter().find(|step| step["rule"] == "classed");
        step.map(|step| step["fact"].as_str().unwrap().to_owned())
    };
    assert!(class_of(&staff).unwrap().ends_with("of the class free"));
    assert_eq!(class_of(&known), None);
    for (class, fact) in [
        ("nobodys", Some("its class nobodys is not among")),
        ("free", Some("of the class free")),
        ("none", None),
    ] {
        let attributes = format!("User-Name = \"staff\"\nChilliSpot-Config = \"kavadam.class={class}\"");
        let answer = order(&scene.world, "coa", &attributes);
        assert!(answer.contains("Received CoA-ACK"), "{answer}");
        let told = class_of(&staff);
        assert!(told.is_some() == fact.is_some() && told.unwrap_or_default().contains(fact.unwrap_or_default()));
    }
    let refused = order(
        &scene.world,
        "coa",
        "User-Name = \"staff\"\nChilliSpot-Config = \"kavadam.class=\"",
    );
    assert!(refused.contains("Error-Cause = Invalid-Attribute-Value"), "{refused}");
    assert!(is_online(&staff) && is_online(&known));
}

#[test]
fn the_log_says_why_a_centre_that_does_not_sign_is_not_heard() {
    let _machine = beside_others();
    let mut scene = Scene::with(|_| Ok(()));
    let phone = phone(&mut scene.world);
    let refused = log_on(&phone, "staff", "a password");
    assert!(refused.contains("res=failed"), "{refused}");
    let log = fs::read_to_string(scene.world.gateway.log()).unwrap();
    assert!(
        log.contains("dropped") && log.contains("no Message-Authenticator"),
        "{log}"
    );
    assert!(!is_online(&phone));
}

#[test]
fn our_gate_reaches_a_stock_freeradius_over_tls_by_way_of_radsecproxy() {
    let _machine = beside_others();
    let secrets = tempfile::tempdir().unwrap();
    let authority = Authority::new(secrets.path()).unwrap();
    let [centres, gates] = ["centre.example", "gate.example"].map(|name| authority.issue(name).unwrap());
    let authority = authority.certificate();
    let radius = format!(
        "[gateway.radius.tls]\nservers = [\"{CENTRE}:2083\"]\nserver_name = \"centre.example\"\nca_file = \"{authority}\"\n\
         certificate_file = \"{}\"\nkey_file = \"{}\"\n",
        gates.certificate, gates.key
    );
    let mut scene = Scene::built(secrets, &radius, |_| Ok(()));
    let server = |name: &str, port: u16| {
        format!("server {name} {{\nhost 127.0.0.1\nport {port}\ntype udp\nsecret \"{RADIUS_SECRET}\"\n}}\n")
    };
    let proxy = format!(
        "tls default {{\nCACertificateFile {authority}\nCertificateFile {}\nCertificateKeyFile {}\n}}\n\
         ListenTLS {CENTRE}:2083\nclient gate {{\nhost {GATE}\ntype tls\nsecret radsec\ncertificateNameCheck off\n}}\n{}{}\
         realm * {{\nserver auth\naccountingServer acct\n}}\n",
        centres.certificate,
        centres.key,
        server("auth", 1812),
        server("acct", 1813)
    );
    let _proxy = radsecproxy(&scene.world, &scene.world.internet, &proxy);
    let phone = phone(&mut scene.world);
    // The gate's link stands some moments after the proxy does.
    let is_in = until(Duration::from_secs(10), || {
        log_on(&phone, "staff", "a password").contains("res=success")
    });
    assert!(is_in, "{}", fs::read_to_string(scene.world.gateway.log()).unwrap());
    let _flow = phone.download(ENDLESS).unwrap();
    let stop = stopped(&scene.centre, "staff").pop().unwrap();
    assert_eq!(said(&stop, "Acct-Terminate-Cause"), "NAS-Request");
}

//! hostapd as NAS: a wired port with 802.1X, where people log in by EAP-TTLS. FreeRADIUS beside it unwraps that and passes the number
//! and the code within on to our centre; accounting and orders pass between hostapd and our centre themselves.

use std::fs;
use std::time::Duration;

use kavadam_lab::freeradius::FreeRadius;
use kavadam_lab::netns::{Netns, Process, sh};
use kavadam_lab::secrets::secret_file;
use kavadam_lab::world::until;
use kavadam_lab::{Citizen, World};

use crate::{NUMBER, beside_others, end, phone, sessions, world_with};

const SECRET: &str = "a-secret-of-hostapd";
/// Where the centre hears hostapd.
const CENTRE: &str = "10.99.0.1";
const NAS: &str = "10.99.0.2";

/// A port with 802.1X and a laptop at it.
struct Port {
    laptop: Netns,
    nas: Netns,
}

impl Port {
    /// Connects it with the centre, which is told of the NAS.
    fn new(world: &World) -> Self {
        let name = |end: &str| format!("{}-{end}", world.gate.name());
        let (nas, laptop) = (Netns::new(&name("nas")).unwrap(), Netns::new(&name("laptop")).unwrap());
        connect((&world.gate, "nas0"), (&nas, "up0"));
        connect((&nas, "port0"), (&laptop, "eth0"));
        world.gate.ip(&format!("addr add {CENTRE}/30 dev nas0")).unwrap();
        nas.ip(&format!("addr add {NAS}/30 dev up0")).unwrap();
        let port = Self { laptop, nas };
        port.register(world);
        port
    }

    fn register(&self, world: &World) {
        let secret = secret_file(world.dir(), "hostapd.secret", SECRET).unwrap();
        let sites = world.admin_json(&["site", "list"]).unwrap();
        let (site, source) = (sites[0]["name"].as_str().unwrap(), format!("{NAS}/32"));
        let words = ["nas", "set", "port-1", "--site", site, "--source", &source];
        let secrets = ["--secret-file", &secret, "--uam-secret-file", &secret];
        world.admin(&[&words[..], &secrets[..]].concat()).unwrap();
        // The running centre looks for new gates every few seconds.
        let request = world.dir().join("status.txt");
        fs::write(&request, "Message-Authenticator = 0x00\n").unwrap();
        let (request, centre) = (request.display().to_string(), format!("{CENTRE}:1812"));
        let words = ["-r", "1", "-t", "1", "-S", &secret, "-f", &request, &centre, "status"];
        let is_known = until(Duration::from_secs(10), || {
            self.nas.output("radclient", &words).unwrap().status.success()
        });
        assert!(is_known, "the centre does not answer the new NAS");
    }

    /// hostapd, which asks this server about the EAP of its people.
    fn hostapd(&self, world: &World, server: &str) -> Process {
        let config = format!(
            "interface=port0\ndriver=wired\nieee8021x=1\nlogger_stdout=-1\nlogger_stdout_level=0\n\
             own_ip_addr={NAS}\nnas_identifier=port-1\n\
             auth_server_addr={server}\nauth_server_port=1812\nauth_server_shared_secret={SECRET}\n\
             acct_server_addr={CENTRE}\nacct_server_port=1813\nacct_server_shared_secret={SECRET}\n\
             radius_das_port=3799\nradius_das_client={CENTRE} {SECRET}\nradius_das_time_window=300\n\
             radius_das_require_event_timestamp=1\nradius_das_require_message_authenticator=1\n"
        );
        start(world, &self.nas, "hostapd", &config, &["-d"])
    }

    /// The laptop's supplicant, with a number and its code.
    fn supplicant(&self, world: &World, code: &str) -> Process {
        let config = format!(
            "ap_scan=0\nnetwork={{\nkey_mgmt=IEEE8021X\neap=TTLS\nphase2=\"auth=PAP\"\nanonymous_identity=\"anonymous\"\n\
             identity=\"{NUMBER}\"\npassword=\"{code}\"\neapol_flags=0\n}}\n"
        );
        start(
            world,
            &self.laptop,
            "wpa_supplicant",
            &config,
            &["-Dwired", "-ieth0", "-c"],
        )
    }

    /// FreeRADIUS, which unwraps EAP-TTLS and asks the centre about what is within.
    fn unwrapper(&self, world: &World) -> FreeRadius {
        let mut radius = FreeRadius::stock(&world.dir().join("freeradius")).unwrap();
        let client = format!("client nas {{\nipaddr = 127.0.0.1\nsecret = {SECRET}\n}}\n");
        radius.write("clients.conf", &client).unwrap();
        let realms = format!(
            "proxy server {{\ndefault_fallback = no\n}}\n\
             home_server kavadam {{\ntype = auth\nipaddr = {CENTRE}\nport = 1812\nsecret = {SECRET}\n}}\n\
             home_server_pool kavadam {{\nhome_server = kavadam\n}}\nrealm kavadam {{\nauth_pool = kavadam\n}}\n"
        );
        radius.write("proxy.conf", &realms).unwrap();
        for (file, from, to) in [
            (
                "mods-available/eap",
                "copy_request_to_tunnel = no",
                "copy_request_to_tunnel = yes",
            ),
            (
                "mods-available/eap",
                "use_tunneled_reply = no",
                "use_tunneled_reply = yes",
            ),
            (
                "sites-available/inner-tunnel",
                "&Proxy-To-Realm := LOCAL",
                "&Proxy-To-Realm := kavadam",
            ),
        ] {
            radius.replace(file, from, to).unwrap();
        }
        radius.start(&self.nas).unwrap();
        radius
    }
}

fn connect(one: (&Netns, &str), other: (&Netns, &str)) {
    let words = ["link", "add", one.1, "netns", one.0.name(), "type", "veth"];
    let peer = ["peer", "name", other.1, "netns", other.0.name()];
    sh("ip", &[&words[..], &peer[..]].concat()).unwrap();
    for (netns, link) in [one, other] {
        netns.ip(&format!("link set {link} up")).unwrap();
    }
}

/// Starts a program whose last argument is its configuration.
fn start(world: &World, netns: &Netns, program: &str, config: &str, words: &[&str]) -> Process {
    let path = world.dir().join(program).with_extension("conf");
    fs::write(&path, config).unwrap();
    let log = path.with_extension("log");
    // Of an earlier one.
    let _ = fs::remove_file(&log);
    let path = path.display().to_string();
    netns.start(&log, program, &[words, &[&path]].concat()).unwrap()
}

/// Waits until a program said this.
fn hears(world: &World, program: &str, wanted: &str) {
    let log = world.dir().join(program).with_extension("log");
    let text = || fs::read_to_string(&log).unwrap_or_default();
    let has_said = until(Duration::from_secs(15), || text().contains(wanted));
    assert!(has_said, "{program} did not say `{wanted}`, but:\n{}", text());
}

#[test]
fn hostapd_is_refused_eap_and_opens_and_closes_its_port_where_that_is_unwrapped() {
    let _machine = beside_others();
    let listen = "[radius]\nauth_listen = \"0.0.0.0:1812\"\nacct_listen = \"0.0.0.0:1813\"\n";
    let mut world = world_with(listen, &["--quota", "none"]);
    let port = Port::new(&world);
    let _unwrapper = port.unwrapper(&world);
    let phone = phone(&mut world);
    let citizen = Citizen {
        phone: &phone,
        number: NUMBER,
    };
    citizen.give_number(&citizen.arrive().unwrap()).unwrap();
    let (_, code) = citizen.read_code(&world, 0).unwrap();
    {
        let _hostapd = port.hostapd(&world, CENTRE);
        let _supplicant = port.supplicant(&world, &code);
        hears(&world, "wpa_supplicant", "CTRL-EVENT-EAP-FAILURE");
        hears(&world, "hostapd", "from RADIUS server: EAP Failure");
    }
    assert!(sessions(&world).is_empty());

    let _hostapd = port.hostapd(&world, "127.0.0.1");
    let _supplicant = port.supplicant(&world, &code);
    hears(&world, "wpa_supplicant", "CTRL-EVENT-CONNECTED");
    hears(&world, "hostapd", "authorizing port");
    let is_open = until(Duration::from_secs(10), || {
        sessions(&world)
            .first()
            .is_some_and(|session| session["state"] == "open")
    });
    assert!(is_open, "the Start did not arrive: {:?}", sessions(&world));
    assert_eq!(sessions(&world)[0]["nas"], "port-1");
    std::thread::sleep(Duration::from_secs(2));
    end(&world);
    hears(&world, "hostapd", "Found a matching session");
    let session = &sessions(&world)[0];
    assert!(
        (1..=10).contains(&session["session_secs"].as_u64().unwrap()),
        "{session}"
    );
}

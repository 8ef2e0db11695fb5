//! Strangers' proxies between our gateway and our centre.

use std::fs;
use std::time::Duration;

use kavadam_lab::certificates::Authority;
use kavadam_lab::freeradius::FreeRadius;
use kavadam_lab::netns::{Netns, Process};
use kavadam_lab::world::until;
use kavadam_lab::{Phone, Tally, World};

use crate::{
    ENDLESS, MERGED_PACKET, NUMBER, beside_others, end, is_online, is_over, log_in, octets, phone, sessions, world_with,
};

pub const PROXY: u16 = 11_812;

/// A world whose gate asks a proxy, with more configuration.
pub fn world(more: &str) -> World {
    let acct = PROXY + 1;
    let extra = format!(
        "[gateway.radius]\nauth_servers = [\"127.0.0.1:{PROXY}\"]\nacct_servers = [\"127.0.0.1:{acct}\"]\n{more}"
    );
    world_with(&extra, &["--quota", "20MB", "--down", "none", "--up", "none"])
}

/// The secret that gate and centre share, and the proxy with both.
pub fn secret(world: &World) -> String {
    let path = world.dir().join("state/local-nas.secret");
    fs::read_to_string(path).unwrap().trim().to_owned()
}

/// Login, renewal of the lease, an administrator's end, return by MAC, the end of the quota: each octet is charged.
fn a_day_through_the_proxy(world: &mut World) {
    let phone = phone(world);
    let tally = Tally::begin(world, &[&phone]).unwrap();
    log_in(world, &phone, NUMBER);
    let some = ENDLESS.replace("1000000000000", "12000000");
    phone.curl(&["-o", "/dev/null", &some]).unwrap();
    end(world);
    phone.dhcp().unwrap();
    let is_back = until(Duration::from_secs(10), || is_online(&phone));
    assert!(is_back, "not let in by its MAC");
    use_up(world, &phone, &tally);
    assert_eq!(sessions(world).len(), 2);
}

fn use_up(world: &World, phone: &Phone, tally: &Tally) {
    let _flow = phone.download(ENDLESS).unwrap();
    assert!(is_over(world, Duration::from_secs(20)), "{:?}", sessions(world));
    assert!(!is_online(phone));
    std::thread::sleep(Duration::from_millis(200));
    let (charged, crossed) = (sessions(world).iter().map(octets).sum::<u64>(), tally.both().unwrap());
    assert!(
        (crossed..=20_000_000).contains(&charged),
        "{charged} charged, {crossed} crossed"
    );
    assert!(crossed > 20_000_000 - MERGED_PACKET, "{crossed} crossed");
}

/// FreeRADIUS at this port of the gate, before our centre, with a change of its configuration.
pub fn freeradius(world: &World, change: impl FnOnce(&FreeRadius) -> anyhow::Result<()>) -> FreeRadius {
    let secret = secret(world);
    let mut proxy = FreeRadius::stock(&world.dir().join("freeradius")).unwrap();
    let client =
        format!("client gate {{\nipaddr = 127.0.0.1\nsecret = \"{secret}\"\nrequire_message_authenticator = yes\n}}\n");
    proxy.write("clients.conf", &client).unwrap();
    let realm = format!(
        "proxy server {{\ndefault_fallback = no\n}}\n\
         home_server kavadam {{\ntype = auth+acct\nipaddr = 127.0.0.1\nport = 1812\nsecret = \"{secret}\"\n\
         status_check = status-server\ncheck_interval = 6\nresponse_window = 5\nnum_answers_to_alive = 3\n}}\n\
         home_server_pool kavadam {{\nhome_server = kavadam\n}}\n\
         realm NULL {{\npool = kavadam\n}}\n"
    );
    proxy.write("proxy.conf", &realm).unwrap();
    proxy.listen(PROXY).unwrap();
    change(&proxy).unwrap();
    proxy.start(&world.gate).unwrap();
    proxy
}

#[test]
fn a_citizens_day_passes_freeradius_as_proxy() {
    let _machine = beside_others();
    let mut world = world("");
    let proxy = freeradius(&world, |_| Ok(()));
    a_day_through_the_proxy(&mut world);
    let detail = proxy.detail();
    assert!(detail.contains("Acct-Status-Type = Stop"), "it did not pass: {detail}");
}

#[test]
fn freeradius_as_proxy_sees_by_status_server_that_our_centre_is_back() {
    // Beside the others: it waits for some seconds and measures nothing.
    let mut world = world("");
    let proxy = freeradius(&world, |_| Ok(()));
    world.gateway.stop().unwrap();
    let (request, secret) = (
        world.dir().join("request.txt"),
        world.dir().join("state/local-nas.secret"),
    );
    fs::write(
        &request,
        "User-Name = \"nobody\"\nUser-Password = \"x\"\nMessage-Authenticator = 0x00\n",
    )
    .unwrap();
    let [request, secret] = [request, secret].map(|path| path.display().to_string());
    let address = format!("127.0.0.1:{PROXY}");
    let words = ["-r", "1", "-t", "10", "-S", &secret, "-f", &request, &address, "auth"];
    let _unanswered = world.gate.output("radclient", &words).unwrap();
    assert!(proxy.said().contains("port 1812 as zombie"), "{}", proxy.said());
    let World { gateway, gate, .. } = &mut world;
    gateway.start(gate).unwrap();
    let is_back = until(Duration::from_secs(20), || {
        proxy.said().contains("Received response to status check")
    });
    assert!(is_back, "{}", proxy.said());
}

#[test]
fn a_citizens_day_passes_radsecproxy() {
    let _machine = beside_others();
    let mut world = world("");
    let secret = secret(&world);
    let server = |name: &str, port: u16| {
        format!("server {name} {{\nhost 127.0.0.1\nport {port}\ntype udp\nsecret {secret}\nstatusServer on\n}}\n")
    };
    let servers = format!(
        "SourceUDP 127.0.0.1:*\n{}{}{UDP_CLIENT} {secret}\n}}\nrealm * {{\nserver auth\naccountingServer acct\n}}\n",
        server("auth", 1812),
        server("acct", 1813)
    );
    let _proxy = radsecproxy(&world, &world.gate, &servers);
    a_day_through_the_proxy(&mut world);
}

/// Up to its secret.
const UDP_CLIENT: &str =
    "ListenUDP 127.0.0.1:11812\nListenUDP 127.0.0.1:11813\nclient gate {\nhost 127.0.0.1\ntype udp\nsecret";

#[test]
fn radsecproxy_brings_what_gates_say_over_udp_to_our_centre_over_tls() {
    const NAME: &str = "proxy.example";
    let _machine = beside_others();
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path()).unwrap();
    let (own, proxys) = (
        authority.issue("centre.example").unwrap(),
        authority.issue(NAME).unwrap(),
    );
    let tls = format!(
        "[radius.tls]\nlisten = \"127.0.0.1:2083\"\ncertificate_file = \"{}\"\nkey_file = \"{}\"\nclient_ca_file = \"{}\"\n",
        own.certificate,
        own.key,
        authority.certificate()
    );
    let mut world = world(&tls);
    world
        .admin(&["nas", "set", "local", "--certificate-name", NAME])
        .unwrap();
    let secret = secret(&world);
    let servers = format!(
        "tls default {{\nCACertificateFile {}\nCertificateFile {}\nCertificateKeyFile {}\n}}\n\
         server centre.example {{\nhost 127.0.0.1\nport 2083\ntype tls\nsecret radsec\nstatusServer on\ncertificateNameCheck off\n}}\n\
         {UDP_CLIENT} {secret}\n}}\nrealm * {{\nserver centre.example\naccountingServer centre.example\n}}\n",
        authority.certificate(),
        proxys.certificate,
        proxys.key
    );
    let _proxy = radsecproxy(&world, &world.gate, &servers);
    let phone = phone(&mut world);
    let tally = Tally::begin(&world, &[&phone]).unwrap();
    log_in(&world, &phone, NUMBER);
    use_up(&world, &phone, &tally);
}

/// radsecproxy, with this configuration.
pub fn radsecproxy(world: &World, netns: &Netns, config: &str) -> Process {
    let path = world.dir().join("radsecproxy.conf");
    fs::write(&path, format!("LogLevel 3\n{config}")).unwrap();
    let log = world.dir().join("radsecproxy.log");
    let words = ["-f", "-c", &path.display().to_string()];
    let mut proxy = netns.start(&log, "radsecproxy", &words).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(proxy.is_running(), "{}", fs::read_to_string(&log).unwrap());
    proxy
}

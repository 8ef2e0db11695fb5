//! Strangers' proxies between our gateway and our centre.

use std::fs;
use std::time::Duration;

use kavadam_lab::freeradius::FreeRadius;
use kavadam_lab::netns::Process;
use kavadam_lab::world::until;
use kavadam_lab::{Phone, Tally, World};

const PROXY: u16 = 11_812;

use crate::{ENDLESS, NUMBER, beside_others, end, is_online, is_over, log_in, octets, phone, sessions, world_with};

/// A world whose gate asks a proxy at this port, and the next for accounting.
fn world(port: u16) -> World {
    let extra = format!(
        "[gateway.radius]\nauth_servers = [\"127.0.0.1:{port}\"]\nacct_servers = [\"127.0.0.1:{}\"]\n",
        port + 1
    );
    world_with(&extra, &["--quota", "20MB", "--down", "none", "--up", "none"])
}

/// The secret that gate and centre share, and the proxy with both.
fn secret(world: &World) -> String {
    let path = world.dir().join("state/local-nas.secret");
    fs::read_to_string(path).unwrap().trim().to_owned()
}

/// Login, renewal of the lease, the end of the quota, return by MAC, an administrator's end: each octet is charged.
fn a_day_through_the_proxy(world: &mut World) {
    let phone = phone(world);
    let tally = Tally::begin(world, &[&phone]).unwrap();
    log_in(world, &phone, NUMBER);
    let download = |phone: &Phone, octets: &str| {
        let url = ENDLESS.replace("1000000000000", octets);
        phone.curl(&["-o", "/dev/null", &url]).unwrap();
    };
    download(&phone, "12000000");
    end(world);
    phone.dhcp().unwrap();
    let is_back = until(Duration::from_secs(10), || is_online(&phone));
    assert!(is_back, "not let in by its MAC");
    let _flow = phone.download(ENDLESS).unwrap();
    let is_used_up =
        until(Duration::from_secs(5), || sessions(world).len() == 2) && is_over(world, Duration::from_secs(20));
    assert!(is_used_up, "{:?}", sessions(world));
    std::thread::sleep(Duration::from_millis(200));
    let (charged, crossed) = (sessions(world).iter().map(octets).sum::<u64>(), tally.both().unwrap());
    assert!(
        (crossed..=20_000_000).contains(&charged),
        "{charged} charged, {crossed} crossed"
    );
}

/// FreeRADIUS at this port of the gate, before our centre.
fn freeradius(world: &World) -> FreeRadius {
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
    proxy.start(&world.gate).unwrap();
    proxy
}

#[test]
fn a_citizens_day_passes_freeradius_as_proxy() {
    let _machine = beside_others();
    let mut world = world(PROXY);
    let proxy = freeradius(&world);
    a_day_through_the_proxy(&mut world);
    let detail = proxy.detail();
    assert!(detail.contains("Acct-Status-Type = Stop"), "it did not pass: {detail}");
}

#[test]
fn freeradius_as_proxy_sees_by_status_server_that_our_centre_is_back() {
    // Beside the others: it waits for some seconds and measures nothing.
    let mut world = world(PROXY);
    let proxy = freeradius(&world);
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
    let mut world = world(PROXY);
    let _proxy = radsecproxy(&world, PROXY);
    a_day_through_the_proxy(&mut world);
}

fn radsecproxy(world: &World, port: u16) -> Process {
    let (secret, config) = (secret(world), world.dir().join("radsecproxy.conf"));
    let server = |name: &str, port: u16| {
        format!("server {name} {{\nhost 127.0.0.1\nport {port}\ntype udp\nsecret {secret}\nstatusServer on\n}}\n")
    };
    let text = format!(
        "ListenUDP 127.0.0.1:{port}\nListenUDP 127.0.0.1:{}\nSourceUDP 127.0.0.1:*\nLogLevel 3\n\
         client gate {{\nhost 127.0.0.1\ntype udp\nsecret {secret}\n}}\n{}{}\
         realm * {{\nserver auth\naccountingServer acct\n}}\n",
        port + 1,
        server("auth", 1812),
        server("acct", 1813),
    );
    fs::write(&config, text).unwrap();
    let log = world.dir().join("radsecproxy.log");
    let mut proxy = world
        .gate
        .start(&log, "radsecproxy", &["-f", "-c", &config.display().to_string()])
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(proxy.is_running(), "{}", fs::read_to_string(&log).unwrap());
    proxy
}

//! Values that have the right type and still cannot work, each with its key.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use kavadam_radius::profile::Profiles;

use super::file::{Addresses, File, Portal, Radius};
use super::problems::Problems;
use super::secret::{credential, read_secret, require_private};
use super::{Config, Listen, Places, RadiusListen, gateway, tls};

/// Finds what cannot work. An address that is none is replaced by the default, so that the rest can be looked at.
pub(super) fn check(file: File, problems: &mut Problems) -> Config {
    let listens = Listens::read(&file, problems);
    centre(&file, problems);
    if file.role.has_gateway() {
        gateway::check(&file, problems);
    }
    let profiles = profiles(&file, problems);
    let config = Config {
        profiles,
        radius_listen: listens.radius,
        radsec_listen: tls::is_served(&file).then_some(listens.radsec),
        portal_listen: listens.portal,
        metrics_listen: listens.metrics,
        file,
    };
    ports(&config, problems);
    config
}

/// Those built in, and those of the directory; what is wrong there is told with its file and line.
fn profiles(file: &File, problems: &mut Problems) -> Arc<Profiles> {
    let directory = &file.radius.profiles;
    let loaded = if directory.as_os_str().is_empty() || !file.role.has_centre() {
        Profiles::built_in()
    } else {
        Profiles::load(directory)
    };
    Arc::new(loaded.unwrap_or_else(|found| {
        for problem in found {
            problems.add("radius.profiles", &problem.to_string());
        }
        Profiles::default()
    }))
}

struct Listens {
    radius: RadiusListen,
    radsec: SocketAddr,
    portal: SocketAddr,
    metrics: Option<SocketAddr>,
}

impl Listens {
    fn read(file: &File, problems: &mut Problems) -> Self {
        let (radius, portal) = (Radius::default(), Portal::default());
        let radius_listen = RadiusListen {
            auth: places(
                "radius.auth_listen",
                &file.radius.auth_listen,
                &radius.auth_listen,
                problems,
            ),
            acct: places(
                "radius.acct_listen",
                &file.radius.acct_listen,
                &radius.acct_listen,
                problems,
            ),
        };
        let mut read = |key: &str, value: &str, default: &str| {
            let none = || SocketAddr::from(([0, 0, 0, 0], 0));
            problems
                .read(key, value, "ADDRESS:PORT")
                .unwrap_or_else(|| default.parse().unwrap_or_else(|_| none()))
        };
        let metrics = Some(file.metrics.listen.as_str()).filter(|listen| !listen.is_empty());
        Self {
            radius: radius_listen,
            radsec: read("radius.tls.listen", &file.radius.tls.listen, &radius.tls.listen),
            portal: read("portal.listen", &file.portal.listen, &portal.listen),
            metrics: metrics.map(|listen| read("metrics.listen", listen, "127.0.0.1:9464")),
        }
    }
}

/// Each of the addresses at such a key; of those that are none, the default.
fn places(key: &str, given: &Addresses, default: &Addresses, problems: &mut Problems) -> Places {
    problems.require(!given.texts().is_empty(), key, "name at least one address");
    let read = |text: &String| problems.read(key, text, "ADDRESS:PORT");
    let mut all: VecDeque<SocketAddr> = given.texts().iter().filter_map(read).collect();
    let none = || SocketAddr::from(([0, 0, 0, 0], 0));
    let fallback = || default.texts().first().and_then(|text| text.parse().ok());
    Places {
        first: all.pop_front().or_else(fallback).unwrap_or_else(none),
        others: all.into(),
    }
}

fn centre(file: &File, problems: &mut Problems) {
    let _: Option<kavadam_portal::PublicUrl> = problems.read(
        "portal.public_url",
        &file.portal.public_url,
        "http://host[:port] without a path",
    );
    let url = &file.database.url;
    let begins = |starts: &[&str]| starts.iter().any(|start| url.starts_with(start));
    problems.require(
        url.is_empty() || begins(&["sqlite:", "postgres://", "postgresql://"]),
        "database.url",
        "begin with sqlite: or postgres://",
    );
    if file.role.is_half() {
        problems.require(
            begins(&["postgres"]),
            "database.url",
            "a portal and a radius process share one database, which must be PostgreSQL",
        );
        problems.require(
            !file.secrets.master_key_file.as_os_str().is_empty() || credential("master.key").is_some(),
            "secrets.master_key_file",
            "a portal and a radius process share one master key: name the file with a copy of it",
        );
    }
    problems.require(
        ["error", "warn", "info", "debug", "trace"].contains(&file.log.level.as_str()),
        "log.level",
        "use error, warn, info, debug or trace",
    );
    problems.require(
        ["text", "json"].contains(&file.log.format.as_str()),
        "log.format",
        "use text or json",
    );
    if file.role.has_radius() {
        tls::check_server(file, problems);
    }
    if file.role.has_portal() {
        limits(file, problems);
        sms(file, problems);
    }
}

/// A limit of nothing would let nobody in.
fn limits(file: &File, problems: &mut Problems) {
    let limits = &file.challenge;
    for (key, limit) in [
        ("challenge.resend_after_secs", limits.resend_after_secs),
        ("challenge.number_per_10_min", limits.number_per_10_min),
        ("challenge.number_per_day", limits.number_per_day),
        ("challenge.device_per_10_min", limits.device_per_10_min),
        ("challenge.address_per_10_min", limits.address_per_10_min),
        ("challenge.site_per_minute", limits.site_per_minute),
    ] {
        problems.require(limit > 0, key, "at least 1: with 0 nobody could ask for a code");
    }
}

fn sms(file: &File, problems: &mut Problems) {
    let sms = &file.sms;
    match sms.route.as_str() {
        "log-nothing" => {}
        "mobile-seva" => {
            for (key, is_there) in [
                ("sms.username", !sms.username.is_empty()),
                ("sms.password_file", !sms.password_file.as_os_str().is_empty()),
                ("sms.secure_key_file", !sms.secure_key_file.as_os_str().is_empty()),
                ("sms.template_id_en", !sms.template_id_en.is_empty()),
                ("sms.template_id_ml", !sms.template_id_ml.is_empty()),
            ] {
                let text =
                    "codes are sent by message: give it, or set sms.route = \"log-nothing\" for vouchers or apps alone";
                problems.require(is_there, key, text);
            }
            problems.require(
                sms.url.starts_with("https://") || sms.url.starts_with("http://"),
                "sms.url",
                "begin with https://",
            );
        }
        _ => problems.add("sms.route", "use mobile-seva or log-nothing"),
    }
    for (key, text) in [("sms.text_en", &sms.text_en), ("sms.text_ml", &sms.text_ml)] {
        problems.require(text.contains("{code}"), key, "the text must contain {code}");
    }
}

/// Two listeners cannot share one port.
fn ports(config: &Config, problems: &mut Problems) {
    let listens = own_listens(config);
    for (at, one) in listens.iter().enumerate() {
        if let Some(other) = listens.iter().take(at).find(|other| clash(one, other)) {
            let text = format!("port {} is taken by {}", one.address.port(), other.key);
            problems.add(one.key, &text);
        }
    }
}

/// Ports of this program, in the order in which they are looked at.
fn own_listens(config: &Config) -> Vec<Listen> {
    let file = &config.file;
    let listen = |is_udp| move |(key, address)| Listen { key, address, is_udp };
    let mut listens = Vec::new();
    if file.role.has_radius() {
        let RadiusListen { auth, acct } = &config.radius_listen;
        listens.extend(auth.all().map(|address| listen(true)(("radius.auth_listen", address))));
        listens.extend(acct.all().map(|address| listen(true)(("radius.acct_listen", address))));
        listens.extend(
            config
                .radsec_listen
                .map(|address| listen(false)(("radius.tls.listen", address))),
        );
    }
    if file.role.has_gateway() {
        listens.extend(gateway::udp_listens(file).map(listen(true)));
        listens.extend(gateway::tcp_listens(file).into_iter().map(listen(false)));
    }
    if file.role.has_portal() {
        listens.push(listen(false)(("portal.listen", config.portal_listen)));
    }
    if file.role.has_radius() {
        let metrics = config.metrics_listen.map(|address| ("metrics.listen", address));
        listens.extend(metrics.map(listen(false)));
    }
    listens
}

/// With those of dnsmasq.
pub(super) fn listens(config: &Config) -> Vec<Listen> {
    let mut listens = own_listens(config);
    if config.file.role.has_gateway() {
        listens.extend(gateway::dnsmasq_listens(&config.file));
    }
    listens
}

/// Port 0 is a free port of the machine's own choice.
fn clash(one: &Listen, other: &Listen) -> bool {
    let is_same_kind = one.is_udp == other.is_udp;
    let (one, other) = (one.address, other.address);
    let is_shared = one.ip() == other.ip() || holds(one, other) || holds(other, one);
    is_same_kind && one.port() == other.port() && one.port() != 0 && is_shared
}

/// Whether one is every address of the other's family: `[::]` of both.
fn holds(one: SocketAddr, other: SocketAddr) -> bool {
    one.ip().is_unspecified() && (one.is_ipv6() || other.is_ipv4())
}

/// Files of secrets in use, with their keys. Those of an all-in-one that are made at its first start need not be there, and are marked.
fn secret_files(file: &File) -> Vec<(&'static str, PathBuf, bool)> {
    let mut files = Vec::new();
    if file.role.has_portal() && file.sms.route == "mobile-seva" {
        files.push(("sms.password_file", file.sms.password_file.clone(), false));
        files.push(("sms.secure_key_file", file.sms.secure_key_file.clone(), false));
    }
    if file.role.has_gateway() {
        files.extend(gateway::secret_files(file));
    }
    files
}

/// Finds secrets that cannot be read.
pub(super) fn secrets(file: &File, problems: &mut Problems) {
    for (key, path, is_made) in secret_files(file) {
        if is_made && !path.exists() {
            continue;
        }
        if let Err(error) = read_secret(&path) {
            problems.add(key, &format!("{error:#}"));
        }
    }
    for (key, path) in tls::key_files(file) {
        if let Err(error) = require_private(&path) {
            problems.add(key, &format!("{error:#}"));
        }
    }
}

/// What the process reads, by the key that names it.
pub(super) fn named_files(file: &File) -> Vec<(String, PathBuf)> {
    let secrets = secret_files(file).into_iter();
    let mut files: Vec<_> = secrets
        .filter(|(.., is_made)| !is_made)
        .map(|(key, path, _)| (key.to_owned(), path))
        .collect();
    if file.role.has_centre() {
        files.push((
            "secrets.master_key_file".to_owned(),
            file.secrets.master_key_file.clone(),
        ));
        let profiles = &file.radius.profiles;
        let inside = Profiles::files_in(profiles).unwrap_or_default().into_iter();
        let all = std::iter::once(profiles.clone()).chain(inside);
        files.extend(all.map(|path| ("radius.profiles".to_owned(), path)));
    }
    for (section, tls) in tls::files(file) {
        let named = |key: &str| format!("{section}.{key}");
        files.push((named("certificate_file"), tls.certificate));
        files.push((named("key_file"), tls.key));
        files.push((named(tls::authorities_key(section)), tls.authorities));
        files.extend(tls.revoked.map(|path| (named("crl_file"), path)));
    }
    if file.role.has_gateway() {
        let (api, blocked) = (&file.gateway.api, &file.gateway.blocked);
        files.push(("gateway.api.certificate_file".to_owned(), api.certificate_file.clone()));
        files.push(("gateway.api.key_file".to_owned(), api.key_file.clone()));
        let of_blocked = blocked
            .files
            .iter()
            .map(|path| ("gateway.blocked.files".to_owned(), path.clone()));
        files.extend(of_blocked);
        for (name, filter) in &file.gateway.filters {
            let key = format!("gateway.filters.{name}.files");
            files.extend(filter.files.iter().map(|path| (key.clone(), path.clone())));
        }
    }
    files.retain(|(_, path)| !path.as_os_str().is_empty());
    files
}

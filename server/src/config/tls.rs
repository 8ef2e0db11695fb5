//! RADIUS over TLS, at the server and at the gateway.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use kavadam_gateway::config::TlsServers;
use kavadam_radius::server::{RadsecConfig, RadsecLimits};
use kavadam_radius::tls::{TlsFiles, Versions};
use rustls::pki_types::ServerName;

use super::problems::Problems;
use super::{File, Role};

const SERVER: &str = "radius.tls";
const GATEWAY: &str = "gateway.radius.tls";

/// Names whom a section trusts to sign.
pub(super) fn authorities_key(section: &str) -> &'static str {
    if section == SERVER { "client_ca_file" } else { "ca_file" }
}

/// Whether gates may come over TLS.
pub(super) fn is_served(file: &File) -> bool {
    file.role.has_radius() && !file.radius.tls.certificate_file.as_os_str().is_empty()
}

/// Whether the gateway asks over TLS.
pub(super) fn is_asked(file: &File) -> bool {
    file.role.has_gateway() && !file.gateway.radius.tls.servers.is_empty()
}

pub(super) fn check_server(file: &File, problems: &mut Problems) {
    let tls = &file.radius.tls;
    version(&format!("{SERVER}.version"), &tls.version, problems);
    for (key, value) in [
        ("max_connections", tls.max_connections),
        ("max_per_source", tls.max_per_source),
    ] {
        problems.require(
            value > 0,
            &format!("{SERVER}.{key}"),
            "at least 1: with 0 no gate could connect",
        );
    }
    let files = [("key_file", &tls.key_file), ("client_ca_file", &tls.client_ca_file)];
    for (key, path) in files {
        let is_there = !path.as_os_str().is_empty() || !is_served(file);
        let text = format!("name the file; or leave {SERVER}.certificate_file empty, to take no connections");
        problems.require(is_there, &format!("{SERVER}.{key}"), &text);
    }
}

pub(super) fn check_gateway(file: &File, problems: &mut Problems) {
    let tls = &file.gateway.radius.tls;
    version(&format!("{GATEWAY}.version"), &tls.version, problems);
    if !is_asked(file) {
        return;
    }
    problems.require(
        file.role == Role::Gateway,
        &format!("{GATEWAY}.servers"),
        "an all-in-one asks its own centre within the machine: leave it empty",
    );
    for address in &tls.servers {
        if let Err(error) = server_name(address, &tls.server_name) {
            problems.add(&format!("{GATEWAY}.servers"), &format!("{error:#}"));
        }
    }
    let files = [
        ("certificate_file", &tls.certificate_file),
        ("key_file", &tls.key_file),
        ("ca_file", &tls.ca_file),
    ];
    for (key, path) in files {
        let is_there = !path.as_os_str().is_empty();
        problems.require(is_there, &format!("{GATEWAY}.{key}"), "name the file");
    }
}

fn version(key: &str, text: &str, problems: &mut Problems) {
    if let Err(error) = text.parse::<Versions>() {
        problems.add(key, &error.to_string());
    }
}

/// The name in the certificate of the server at `HOST:PORT`. The host is looked up whatever name is given, so that it must be one.
fn server_name(address: &str, given: &str) -> anyhow::Result<ServerName<'static>> {
    let form = || format!("`{address}` is not of the form HOST:PORT");
    let (host, port) = address.rsplit_once(':').with_context(form)?;
    let port: Option<u16> = port.parse().ok();
    port.filter(|port| *port > 0).with_context(form)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let read = |name: &str| {
        ServerName::try_from(name.to_owned()).with_context(|| format!("`{name}` is neither a DNS name nor an address"))
    };
    let host = read(host)?;
    if given.is_empty() { Ok(host) } else { read(given) }
}

/// Private keys, with their keys.
pub(super) fn key_files(file: &File) -> Vec<(&'static str, PathBuf)> {
    let server = (is_served(file)).then(|| ("radius.tls.key_file", file.radius.tls.key_file.clone()));
    let gateway = (is_asked(file)).then(|| ("gateway.radius.tls.key_file", file.gateway.radius.tls.key_file.clone()));
    server.into_iter().chain(gateway).collect()
}

/// All files in use, with the section that names them.
pub(super) fn files(file: &File) -> Vec<(&'static str, TlsFiles)> {
    let server = is_served(file).then(|| (SERVER, server_files(file)));
    let gateway = is_asked(file).then(|| (GATEWAY, gateway_files(file)));
    server.into_iter().chain(gateway).collect()
}

/// What the server is told.
pub(super) fn server(file: &File, listen: SocketAddr) -> RadsecConfig {
    let tls = &file.radius.tls;
    let count = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
    RadsecConfig {
        listen,
        files: server_files(file),
        versions: tls.version.parse().unwrap_or_default(),
        limits: RadsecLimits {
            connections: count(tls.max_connections),
            per_source: count(tls.max_per_source),
            ..RadsecLimits::default()
        },
    }
}

/// What the gateway is told.
pub(super) fn gateway(file: &File) -> anyhow::Result<Option<TlsServers>> {
    if !is_asked(file) {
        return Ok(None);
    }
    let tls = &file.gateway.radius.tls;
    let server = |address: &String| Ok((address.clone(), server_name(address, &tls.server_name)?));
    let servers: anyhow::Result<Vec<_>> = tls.servers.iter().map(server).collect();
    Ok(Some(TlsServers {
        servers: servers.context("gateway.radius.tls.servers")?,
        files: gateway_files(file),
        versions: tls.version.parse()?,
    }))
}

fn server_files(file: &File) -> TlsFiles {
    let tls = &file.radius.tls;
    TlsFiles {
        certificate: tls.certificate_file.clone(),
        key: tls.key_file.clone(),
        authorities: tls.client_ca_file.clone(),
        revoked: named(&tls.crl_file),
    }
}

fn gateway_files(file: &File) -> TlsFiles {
    let tls = &file.gateway.radius.tls;
    TlsFiles {
        certificate: tls.certificate_file.clone(),
        key: tls.key_file.clone(),
        authorities: tls.ca_file.clone(),
        revoked: named(&tls.crl_file),
    }
}

fn named(path: &Path) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then(|| path.to_owned())
}

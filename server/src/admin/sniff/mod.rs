//! `kavadam radius sniff`: RADIUS packets as they pass, decoded; what passes over TLS is told by the running server.
//!
//! Root opens the socket and hands it to the owner of the state, who reads the gates' secrets and everything that comes from the
//! network: where kavadam runs, octets of strangers are never parsed with root's rights.

mod known;
mod live;
mod wire;

use std::collections::HashMap;
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use anyhow::Context as _;
use kavadam_domain::Timestamp;
use kavadam_radius::capture::{CaptureFile, Datagram, Proof, Seen, Trace};
use kavadam_radius::server::Overheard;
use kavadam_radius::tell;
use kavadam_radius::wire::{Code, Malformed, Unverified};
use serde_json::json;

use super::say;
use crate::cli::RadiusSniff;
use crate::config::Config;
use crate::owner::PACKETS_HANDED;
use known::Known;
use live::Passed;

/// Opens what packets come from: the capture, or a socket that hears every interface.
///
/// # Errors
/// It cannot be opened; the message says what it takes.
pub(crate) fn open(wanted: &RadiusSniff) -> anyhow::Result<OwnedFd> {
    match &wanted.file {
        Some(file) => Ok(File::open(file)
            .with_context(|| format!("cannot read {}", file.display()))?
            .into()),
        None => Ok(wire::open()?.into()),
    }
}

/// Shows packets until the capture ends, enough were shown, or it is interrupted.
pub(super) async fn run(config: &Config, wanted: &RadiusSniff) -> anyhow::Result<()> {
    let input = if std::env::var_os(PACKETS_HANDED).is_some() {
        std::io::stdin().as_fd().try_clone_to_owned()?
    } else {
        open(wanted)?
    };
    let known = Known::of(config, wanted.file.is_some()).await?;
    let has_tls = config.file.role.has_radius() && config.radsec().is_some();
    let server = has_tls.then(|| config.watch_socket());
    show(input, wanted, known, server.as_deref())
}

/// Shows a capture where no gate is known; needs no configuration.
pub(crate) fn run_bare(wanted: &RadiusSniff) -> anyhow::Result<()> {
    show(open(wanted)?, wanted, Known::nobody(), None)
}

fn show(input: OwnedFd, wanted: &RadiusSniff, known: Known, server: Option<&Path>) -> anyhow::Result<()> {
    let filter = Filter::new(wanted, &known)?;
    let mut screen = Screen {
        filter,
        trace: Trace::new(known.gates),
        names: known.names,
        wanted,
        shown: 0,
    };
    // Packets come one by one from a socket or file that blocks: nothing else is to be done meanwhile.
    tokio::task::block_in_place(|| match wanted.file {
        Some(_) => screen.show_file(input),
        None => screen.show_live(input, server),
    })
}

struct Screen<'a> {
    filter: Filter,
    trace: Trace,
    /// Of gates, by number.
    names: HashMap<i64, String>,
    wanted: &'a RadiusSniff,
    shown: u64,
}

impl Screen<'_> {
    fn show_file(&mut self, input: OwnedFd) -> anyhow::Result<()> {
        let mut capture = CaptureFile::open(File::from(input))?;
        for datagram in &mut capture {
            if !self.show(&datagram?)? {
                return Ok(());
            }
        }
        match capture.incomplete() {
            0 => {}
            1 => eprintln!("One datagram came in fragments that do not make it whole: it is not shown."),
            many => eprintln!("{many} datagrams came in fragments that do not make them whole: they are not shown."),
        }
        Ok(())
    }

    fn show_live(&mut self, input: OwnedFd, server: Option<&Path>) -> anyhow::Result<()> {
        for passed in live::listen(input, server)? {
            let goes_on = match passed? {
                Passed::Datagram(datagram) => self.show(&datagram)?,
                Passed::OverTls(packet) => self.show_overheard(packet)?,
                Passed::Missed(many) => {
                    eprintln!("{many} packets over TLS came faster than they were shown.");
                    true
                }
            };
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Whether to go on.
    fn show(&mut self, datagram: &Datagram) -> anyhow::Result<bool> {
        if !self.filter.takes_ports(datagram) {
            return Ok(true);
        }
        let seen = self.trace.see(datagram);
        self.present(datagram, &seen)
    }

    fn show_overheard(&mut self, packet: Overheard) -> anyhow::Result<bool> {
        let gate = self.names.get(&packet.nas).cloned();
        let seen = self.trace.overhear(&packet, gate);
        let datagram = Datagram {
            at_micros: Some(packet.at_micros),
            from: packet.from,
            to: packet.to,
            octets: packet.octets,
        };
        if !self.filter.takes_ports(&datagram) {
            return Ok(true);
        }
        self.present(&datagram, &seen)
    }

    fn present(&mut self, datagram: &Datagram, seen: &Result<Seen, Malformed>) -> anyhow::Result<bool> {
        if !self.filter.takes(datagram, seen.as_ref().ok()) {
            return Ok(true);
        }
        if self.wanted.output.json {
            say(&json_of(datagram, seen, self.wanted.show_personal).to_string())?;
        } else {
            for line in lines_of(datagram, seen, self.wanted.show_personal) {
                say(&line)?;
            }
        }
        self.shown += 1;
        Ok(self.wanted.count.is_none_or(|count| self.shown < count))
    }
}

/// What is to be shown.
struct Filter {
    ports: Vec<u16>,
    /// Name of the gate, or an address, and its networks.
    nas: Option<(String, Vec<ipnet::IpNet>)>,
    user: Option<String>,
    code: Option<Code>,
}

impl Filter {
    fn new(wanted: &RadiusSniff, known: &Known) -> anyhow::Result<Self> {
        let ports = if wanted.port.is_empty() {
            known.ports.clone()
        } else {
            wanted.port.clone()
        };
        let nas = wanted
            .nas
            .as_ref()
            .map(|nas| anyhow::Ok((nas.clone(), known.networks(nas)?)));
        let nas = nas.transpose()?;
        let code = match &wanted.code {
            None => None,
            Some(name) => Some(tell::code_named(name).with_context(|| {
                let names: Vec<&str> = Code::ALL.into_iter().map(tell::code_name).collect();
                format!("no code is called `{name}`: there are {}", names.join(", "))
            })?),
        };
        Ok(Self {
            ports,
            nas,
            user: wanted.user.clone(),
            code,
        })
    }

    fn takes_ports(&self, datagram: &Datagram) -> bool {
        self.ports.contains(&datagram.from.port()) || self.ports.contains(&datagram.to.port())
    }

    fn takes(&self, datagram: &Datagram, seen: Option<&Seen>) -> bool {
        // A gate may connect by TLS from anywhere.
        let is_at = |(name, networks): &(String, Vec<ipnet::IpNet>)| {
            let at = |address: IpAddr| networks.iter().any(|network| network.contains(&address.to_canonical()));
            let is_named = seen.and_then(|seen| seen.gate.as_ref()) == Some(name);
            is_named || at(datagram.from.ip()) || at(datagram.to.ip())
        };
        let is_of = |user: &String| seen.and_then(|seen| seen.user.as_ref()) == Some(user);
        let is_code = |code: Code| seen.is_some_and(|seen| seen.packet.code() == code);
        self.nas.as_ref().is_none_or(is_at) && self.user.as_ref().is_none_or(is_of) && self.code.is_none_or(is_code)
    }
}

fn time_of(datagram: &Datagram) -> String {
    let at = datagram.at_micros.and_then(|micros| Timestamp(micros).to_jiff());
    at.map_or_else(
        || "--:--:--.---".to_owned(),
        |at| at.strftime("%H:%M:%S%.3f").to_string(),
    )
}

fn lines_of(datagram: &Datagram, seen: &Result<Seen, Malformed>, is_personal: bool) -> Vec<String> {
    let head = format!("{} {} > {}", time_of(datagram), datagram.from, datagram.to);
    let seen = match seen {
        Ok(seen) => seen,
        Err(error) => {
            let octets = datagram.octets.len();
            return vec![
                format!("{head}"),
                format!("  no RADIUS packet: {error} ({octets} octets)"),
                String::new(),
            ];
        }
    };
    let packet = &seen.packet;
    let gate = seen.gate.as_ref().map_or_else(String::new, |gate| format!(" [{gate}]"));
    let copy = if seen.is_copy { ", COPY" } else { "" };
    let after = seen.after_micros.map_or_else(String::new, |micros| {
        format!(", after {}.{:03} ms", micros / 1000, micros.rem_euclid(1000))
    });
    let mut lines = vec![
        format!("{head}{gate}"),
        format!(
            "  {} id {}{copy}{after}, {}",
            tell::code_name(packet.code()),
            packet.identifier(),
            proof_text(seen.proof)
        ),
    ];
    let attributes = tell::attributes(packet, is_personal).into_iter();
    lines.extend(attributes.map(|(name, value)| format!("    {name} = {value}")));
    lines.push(String::new());
    lines
}

fn json_of(datagram: &Datagram, seen: &Result<Seen, Malformed>, is_personal: bool) -> serde_json::Value {
    let mut line = json!({
        "at_micros": datagram.at_micros, "from": datagram.from.to_string(), "to": datagram.to.to_string(),
        "octets": datagram.octets.len(),
    });
    let more = match seen {
        Err(error) => json!({ "malformed": error.to_string() }),
        Ok(seen) => json!({
            "code": tell::code_name(seen.packet.code()), "identifier": seen.packet.identifier(),
            "nas": seen.gate, "proof": proof_text(seen.proof), "is_copy": seen.is_copy,
            "after_micros": seen.after_micros, "attributes": tell::attributes(&seen.packet, is_personal),
        }),
    };
    if let (Some(line), serde_json::Value::Object(more)) = (line.as_object_mut(), more) {
        line.extend(more);
    }
    line
}

const fn proof_text(proof: Proof) -> &'static str {
    match proof {
        Proof::Right => "verified",
        Proof::Wrong(Unverified::Authenticator) => "WRONG authenticator: another secret, or forged",
        Proof::Wrong(Unverified::MessageAuthenticator) => "WRONG Message-Authenticator: another secret, or forged",
        Proof::Wrong(Unverified::NoMessageAuthenticator) => "NO Message-Authenticator",
        Proof::NoSecret => "not verified: no gate of ours",
        Proof::NoRequest => "not verified: its request was not seen",
        Proof::Connection => "over TLS",
    }
}

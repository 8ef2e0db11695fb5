//! `kavadam radius test`: asks a server as a gate does, shows both packets, and says in plain words what is wrong.

mod drops;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use kavadam_access::api::Candidates;
use kavadam_domain::session::terminate_cause;
use kavadam_domain::{Mac, Timestamp};
use kavadam_radius::probe::{Heard, Probe, Probed, Query};
use kavadam_radius::wire::{Code, Packet, Secret, attr, chap_response};
use kavadam_radius::{
    AccessRequest, AccountingKind, AccountingRequest, Counters, Credential, NasIdentity, ServiceType, tell,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::print;
use crate::cli::{Probe as Kind, RadiusTest};
use crate::config::{Config, read_secret};
use crate::owner::{STANDARD_INPUT, Secrets};
use crate::{centre, clock};
use drops::{Drops, Grown, Us};

/// Access-Reject: the server is well, and said no.
const REJECTED: u8 = 4;
/// Between copies.
const WAIT: Duration = Duration::from_secs(1);

/// Asks a server that was named with its secret; needs neither configuration nor database.
pub(crate) async fn run_against(server: SocketAddr, test: &RadiusTest, secrets: &Secrets) -> anyhow::Result<ExitCode> {
    let file = test.secret_file.as_deref().context("--secret-file")?;
    let secret = Secret::new(secrets.read(file)?.as_bytes());
    let probed = probe(server, secret, test, secrets).await?;
    report(server, test, &probed, None)
}

/// Asks the server of this configuration, or another with a secret of ours.
pub(super) async fn run(config: &Config, test: &RadiusTest, secrets: &Secrets) -> anyhow::Result<ExitCode> {
    if !config.file.role.has_centre() {
        return run_as_gateway(config, test, secrets).await;
    }
    let listen = &config.radius_listen;
    let places = if is_accounting(test.probe) {
        &listen.acct
    } else {
        &listen.auth
    };
    let server = test.server.unwrap_or_else(|| reachable(places.first));
    let is_ours = places.all().any(|place| reachable(place) == server);
    if test.secret_file.is_some() && !is_ours {
        return run_against(server, test, secrets).await;
    }
    // Asking an address of this machine, we are heard from that same address.
    let source = test.source.unwrap_or(server.ip());
    let there = gates_at(config, source).await;
    let (secret, there) = if let Some(file) = &test.secret_file {
        // Without knowing our gate we are told less.
        (Secret::new(secrets.read(file)?.as_bytes()), there.unwrap_or_default())
    } else {
        let there = there?;
        (secret_of(&there, source, test.nas())?, there)
    };
    let (us, socket) = (Us::new(source, &there, test.nas()), config.watch_socket());
    let before = Drops::look(&socket, &us);
    let probed = probe(server, secret, test, secrets).await?;
    let after = Drops::look(&socket, &us);
    let grown = before.zip(after).filter(|_| is_ours);
    let grown = grown.map(|(before, after)| after.since(&before));
    report(server, test, &probed, grown.as_ref())
}

/// Asks the first server that the gateway of this configuration asks, or another, as that gateway: with its name and secret.
async fn run_as_gateway(config: &Config, test: &RadiusTest, secrets: &Secrets) -> anyhow::Result<ExitCode> {
    let gateway = config.gateway_outline()?;
    let own = gateway.radius.servers.first().context("gateway.radius.auth_servers")?;
    let server = test
        .server
        .unwrap_or(if is_accounting(test.probe) { own.1 } else { own.0 });
    let secret = match &test.secret_file {
        Some(file) => secrets.read(file)?,
        None if gateway.radius.tls.is_some() => bail!(
            "this gateway asks its servers over TLS, and the test asks over UDP: what became of the connections says \
             `journalctl -u kavadam`; to ask a server over UDP name it with --server and --secret-file"
        ),
        None => read_secret(&config.file.gateway.radius.secret_file).context("gateway.radius.secret_file")?,
    };
    let test = RadiusTest {
        nas: Some(test.nas.clone().unwrap_or(gateway.nas_identifier)),
        ..test.clone()
    };
    let probed = probe(server, Secret::new(secret.as_bytes()), &test, secrets).await?;
    report(server, &test, &probed, None)
}

async fn gates_at(config: &Config, source: IpAddr) -> anyhow::Result<Candidates> {
    Ok(centre::must_look(config).await?.gates_at(source).await?)
}

/// The secret of the gate that the server takes us for.
fn secret_of(there: &Candidates, source: IpAddr, name: &str) -> anyhow::Result<Secret> {
    let nas = there.named(name.as_bytes()).or(there.all().first()).with_context(|| {
        format!(
            "no gate of ours sends from {source}, so the server would stay silent. Make one known (kavadam nas set … \
             --source {source}), send as another with --source, or give --secret-file"
        )
    })?;
    Ok(Secret::new(nas.secret.as_slice()))
}

/// A server that listens everywhere is asked on this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let here = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(here, listen.port())
}

const fn is_accounting(kind: Kind) -> bool {
    matches!(kind, Kind::Start | Kind::Interim | Kind::Stop)
}

async fn probe(server: SocketAddr, secret: Secret, test: &RadiusTest, secrets: &Secrets) -> anyhow::Result<Probed> {
    let now = clock::now();
    let query = query(test, secrets, now)?;
    let probe = Probe {
        to: server,
        source: test.source,
        secret,
        nas: NasIdentity {
            identifier: test.nas().to_owned(),
            ..NasIdentity::default()
        },
        tries: test.tries,
        wait: WAIT,
    };
    Ok(probe.ask(&query, now).await?)
}

fn query(test: &RadiusTest, secrets: &Secrets, now: Timestamp) -> anyhow::Result<Query> {
    let user = test.user.clone().unwrap_or_default();
    let access = |service, user, credential| {
        let mut request = AccessRequest::new(service, user, credential);
        request.mac = test.mac;
        request.acct_session_id = Some(test.session.clone());
        Query::Access(Box::new(request))
    };
    let account = |kind| {
        let mut request = AccountingRequest::new(kind, test.session.clone(), now);
        request.user_name.clone_from(&test.user);
        request.classes = test.class.iter().map(|class| class.0.clone()).collect();
        request.mac = test.mac;
        request.counters = Counters {
            up_octets: test.up,
            down_octets: test.down,
            ..Counters::default()
        };
        Query::Accounting(Box::new(request))
    };
    Ok(match test.probe {
        Kind::Status => Query::Status,
        Kind::Pap => {
            let password = Zeroizing::new(password(test, secrets)?.as_bytes().to_vec());
            access(ServiceType::Login, user, Credential::Pap(password))
        }
        Kind::Chap => {
            let challenge: [u8; 16] = rand::random();
            let ident = rand::random();
            let response = chap_response(ident, password(test, secrets)?.as_bytes(), &challenge);
            let challenge = challenge.to_vec();
            let credential = Credential::Chap {
                ident,
                response,
                challenge,
            };
            access(ServiceType::Login, user, credential)
        }
        Kind::Mac => access(
            ServiceType::CallCheck,
            test.mac.map(|mac: Mac| mac.to_string()).unwrap_or_default(),
            Credential::Absent,
        ),
        Kind::Start => account(AccountingKind::Start),
        Kind::Interim => account(AccountingKind::Interim),
        Kind::Stop => account(AccountingKind::Stop(terminate_cause::USER_REQUEST)),
    })
}

fn password(test: &RadiusTest, secrets: &Secrets) -> anyhow::Result<Zeroizing<String>> {
    let file = test.password_file.as_deref().unwrap_or(Path::new(STANDARD_INPUT));
    secrets.read(file).context("the password")
}

/// What was found out, in words.
struct Finding {
    text: Vec<String>,
    code: u8,
    /// A stable word for `--json`.
    word: &'static str,
}

fn report(server: SocketAddr, test: &RadiusTest, probed: &Probed, grown: Option<&Grown>) -> anyhow::Result<ExitCode> {
    let finding = find(server, test, probed, grown);
    let reply = match &probed.heard {
        Heard::Answer(packet) | Heard::Unproven(packet) => Some(packet),
        _ => None,
    };
    let told = |packet: &Packet| {
        let attributes = tell::attributes(packet, test.show_personal);
        json!({
            "code": tell::code_name(packet.code()), "identifier": packet.identifier(),
            "attributes": attributes.iter().map(|(name, value)| json!([name, value])).collect::<Vec<Value>>(),
        })
    };
    let json = json!({
        "server": server.to_string(), "finding": finding.word, "text": finding.text.join(" "),
        "sent": probed.sent, "micros": u64::try_from(probed.took.as_micros())?,
        "request": told(&probed.request), "reply": reply.map(told),
    });
    print(test.output.json, &json, || {
        let packet = &probed.request;
        let mut lines = vec![format!(
            "{} to {server}, identifier {}",
            tell::code_name(packet.code()),
            packet.identifier()
        )];
        lines.extend(attribute_lines(packet, test.show_personal));
        if let Some(packet) = reply {
            lines.push(format!(
                "{} after {:.1} ms, {} sent",
                tell::code_name(packet.code()),
                probed.took.as_secs_f64() * 1000.0,
                probed.sent
            ));
            lines.extend(attribute_lines(packet, test.show_personal));
        }
        lines.push(String::new());
        lines.extend(finding.text.clone());
        lines
    })?;
    Ok(ExitCode::from(finding.code))
}

fn attribute_lines(packet: &Packet, is_personal: bool) -> impl Iterator<Item = String> {
    let attributes = tell::attributes(packet, is_personal).into_iter();
    attributes.map(|(name, value)| format!("  {name} = {value}"))
}

fn find(server: SocketAddr, test: &RadiusTest, probed: &Probed, grown: Option<&Grown>) -> Finding {
    let failed = |word, text: &[&str]| Finding {
        text: text.iter().map(|line| (*line).to_owned()).collect(),
        code: 1,
        word,
    };
    match &probed.heard {
        Heard::Answer(reply) => answered(probed, reply, grown),
        Heard::Unproven(_) => failed(
            "wrong-secret",
            &[
                "WRONG SECRET: somebody answered, but not with the secret we have.",
                "Either the two sides have different secrets (spaces at the end? an old one?), or the answer is forged.",
            ],
        ),
        Heard::Nonsense(why) => failed(
            "nonsense",
            &[
                &format!("NO ANSWER TO US: something came back, but {why}."),
                "Is that port a RADIUS server's?",
            ],
        ),
        Heard::Closed => failed(
            "closed-port",
            &[
                &format!(
                    "NOBODY LISTENS: the machine is there, but nothing has UDP port {} open.",
                    server.port()
                ),
                "Does the server run (systemctl status kavadam)? Does it listen on this address (radius.auth_listen,",
                "radius.acct_listen), and is it 1812 for authentication, 1813 for accounting?",
            ],
        ),
        Heard::Unreachable(error) => failed(
            "unreachable",
            &[
                &format!("NO WAY THERE: {error}."),
                "Look at the routes (ip route get), the cable, and --source.",
            ],
        ),
        Heard::Silence => silent(server, test, probed, grown),
    }
}

fn answered(probed: &Probed, reply: &Packet, grown: Option<&Grown>) -> Finding {
    let mut text = Vec::new();
    let is_report = reply.code() == Code::AccountingResponse;
    let is_unowned = is_report && grown.is_some_and(Grown::is_unowned);
    let (word, code) = if reply.code() == Code::AccessReject {
        let said = reply.text(attr::REPLY_MESSAGE);
        text.push(match said {
            Some(_) => "REFUSED: the server is well and said no, for the reason in Reply-Message.".to_owned(),
            None => "REFUSED: the server is well and said no, without a reason.".to_owned(),
        });
        text.push("`kavadam why NUMBER` on the server names the rule.".to_owned());
        ("rejected", REJECTED)
    } else {
        text.push(match (probed.request.code(), reply.code()) {
            (Code::StatusServer, _) => "WELL: the server is alive, knows us and has our secret.".to_owned(),
            _ if is_unowned => {
                "KEPT, BUT IT BELONGS TO NO SESSION: nobody is charged. Was there a login with this --session?"
                    .to_owned()
            }
            (_, Code::AccountingResponse) => "WELL: the server has kept the report.".to_owned(),
            (_, Code::AccessChallenge) => {
                "CHALLENGED: the server asks for more; a gate for the public has no use for it.".to_owned()
            }
            _ => "WELL: let in.".to_owned(),
        });
        (if is_unowned { "no-session" } else { "answered" }, 0)
    };
    if is_report && grown.is_none() {
        text.push(
            "Whether it belongs to a session the server knows: `kavadam nas show` and `kavadam check` there."
                .to_owned(),
        );
    }
    if probed.request.code() != Code::AccountingRequest && !reply.has_message_authenticator() {
        text.push(
            "BUT the answer has no Message-Authenticator: whoever sits between can forge it (BlastRADIUS,".to_owned(),
        );
        text.push("CVE-2024-3596). Update that server, or use RADIUS over TLS.".to_owned());
    }
    if probed.sent > 1 {
        text.push(format!(
            "BUT it took {} copies: packets are lost, or the server is slow.",
            probed.sent
        ));
    }
    Finding { text, code, word }
}

/// A RADIUS server is silent on purpose; where it is ours, its counters tell why.
fn silent(server: SocketAddr, asked: &RadiusTest, probed: &Probed, grown: Option<&Grown>) -> Finding {
    let mut text = vec![format!("NO ANSWER from {server}, asked {} times.", probed.sent)];
    if let Some(told) = grown.and_then(Grown::why) {
        text.push(told.to_owned());
    } else {
        text.extend(
            [
                "A RADIUS server that is well stays silent when:",
                "  - it knows no gate at the address we send from (kavadam nas list; kavadam radius top on the",
                "    server lists addresses of no gate), or",
                "  - our secret is another than its own for us.",
                "Otherwise a firewall drops UDP on the way there or back, or the server cannot decide, such as",
                "when its database is away.",
            ]
            .map(str::to_owned),
        );
        if asked.probe == Kind::Status {
            text.push("Some servers do not know Status-Server: try `kavadam radius test pap`.".to_owned());
        }
    }
    Finding {
        text,
        code: 1,
        word: "no-answer",
    }
}

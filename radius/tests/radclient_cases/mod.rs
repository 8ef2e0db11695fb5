//! Requests and the answers to be expected, as text files that radclient itself reads and compares (see `cases/README.md`).

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use kavadam_access::api::{Started, Visit};
use kavadam_access::ms_chap;
use kavadam_domain::{Mac, challenge};
use kavadam_radius::dynamic::{Authority, DynamicConfig, DynamicHandler, DynamicServer};
use kavadam_radius::{ErrorCause, LimitsPatch, Secret, Target};
use tokio_util::sync::CancellationToken;

use super::{Centre, MAC, SECRET, centre, now};

const NUMBER: &str = "9876543211";
const ITS_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);

#[tokio::test(flavor = "multi_thread")]
async fn radclient_is_answered_as_each_file_says() {
    let cases = cases();
    assert!(cases.len() >= 20, "{} cases", cases.len());
    let mut failed = Vec::new();
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let outcome = play(&case).await;
        println!("{name}: {}", if outcome.is_ok() { "as expected" } else { "FAILED" });
        failed.extend(outcome.err().map(|said| format!("{name}:\n{said}")));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn cases() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/radclient_cases/cases");
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    cases.sort();
    cases
}

/// One case, at a centre and a gate of its own. The error is what radclient said.
async fn play(case: &Path) -> Result<(), String> {
    let (centre, gate) = (centre().await, Gate::new());
    let words = words(&centre, &gate).await;
    let dir = tempfile::tempdir().unwrap();
    for file in ["request.txt", "expected.txt"] {
        let text = fs::read_to_string(case.join(file)).unwrap();
        let text = words
            .iter()
            .fold(text, |text, (word, value)| text.replace(&format!("{{{word}}}"), value));
        fs::write(dir.path().join(file), text).unwrap();
    }
    fs::write(dir.path().join("secret"), SECRET).unwrap();
    tokio::task::spawn_blocking(move || ask(dir.path())).await.unwrap()
}

/// Whether radclient heard what it was told to expect; of an empty `expected.txt`, whether it heard nothing.
fn ask(dir: &Path) -> Result<(), String> {
    let [request, expected, secret] =
        ["request.txt", "expected.txt", "secret"].map(|name| dir.join(name).display().to_string());
    let text = fs::read_to_string(&expected).unwrap();
    let wants_silence = text.lines().all(|line| line.is_empty() || line.starts_with('#'));
    let files = if wants_silence {
        request
    } else {
        format!("{request}:{expected}")
    };
    // With a dictionary of our own besides FreeRADIUS's.
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/radclient_cases");
    let output = Command::new("radclient")
        .arg("-d")
        .arg(here)
        .args(["-x", "-s", "-r", "1", "-t", if wants_silence { "1" } else { "5" }])
        .args(["-S", &secret, "-f", &files, "127.0.0.1", "auto"])
        .output()
        .expect("radclient is missing: install freeradius-utils (tests/setup.sh test does)");
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let said = said.concat();
    let is_silent = said.contains("Lost          : 1") && !said.contains("Received");
    let is_as_expected = if wants_silence {
        is_silent
    } else {
        output.status.success()
    };
    if is_as_expected { Ok(()) } else { Err(said) }
}

/// What stands for `{word}` in the files.
async fn words(centre: &Centre, gate: &Gate) -> Vec<(&'static str, String)> {
    let ticket = centre.ticket().await;
    let code = pending_code(centre).await;
    let made = ms_chap::respond(7, [5; 16], [9; 16], NUMBER, &code);
    let response = [&[made.ident, 0][..], &made.peer_challenge, &[0; 8], &made.response].concat();
    let hexadecimal = |octets: &[u8]| format!("0x{}", data_encoding::HEXLOWER.encode(octets));
    let wrong_code = if code == "111111" { "222222" } else { "111111" };
    vec![
        ("accepted", include_str!("accepted.txt").trim_end().to_owned()),
        ("auth", centre.auth.port().to_string()),
        ("acct", centre.acct.port().to_string()),
        ("gate", gate.at.port().to_string()),
        ("now", now().as_secs().to_string()),
        ("long ago", (now().as_secs() - 1000).to_string()),
        ("mac", MAC.to_string()),
        ("ticket", ticket.user_name.clone()),
        ("ticket password", ticket.password.to_string()),
        ("number", NUMBER.to_owned()),
        ("its mac", ITS_MAC.to_string()),
        ("code", code.clone()),
        ("wrong code", wrong_code.to_owned()),
        ("ms-chap challenge", hexadecimal(&made.challenge)),
        ("ms-chap2 response", hexadecimal(&response)),
    ]
}

/// A code on its way to [`NUMBER`].
async fn pending_code(centre: &Centre) -> String {
    let visit = Visit {
        mac: ITS_MAC,
        ip: "10.80.1.2".parse().unwrap(),
        ..centre.visit.clone()
    };
    let started = centre.access.start_login(&visit, NUMBER, true, now()).await;
    assert!(matches!(started.unwrap(), Started::Sent(_)));
    let mut tx = centre.store.read().await.unwrap();
    let row = tx.last_challenge(visit.site, ITS_MAC).await.unwrap().unwrap();
    challenge::code(centre.sealer.code_secret(&row.public_id).as_slice())
}

/// A gate that takes orders, with one session: `s1` of `alias`.
struct Gate {
    at: SocketAddr,
    stop: CancellationToken,
}

impl Gate {
    fn new() -> Self {
        let config = DynamicConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            authorities: vec![Authority {
                source: "127.0.0.1/32".parse().unwrap(),
                secret: Secret::new(SECRET),
            }],
            nas_identifier: "gate-1".into(),
            nas_addresses: Vec::new(),
            is_strict: true,
        };
        let server = DynamicServer::bind(config, OneSession).unwrap();
        let (at, stop) = (server.local_addr().unwrap(), CancellationToken::new());
        tokio::spawn(server.run(stop.clone()));
        Self { at, stop }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct OneSession;

impl OneSession {
    fn has(target: &Target) -> Result<(), ErrorCause> {
        let fits = target.acct_session_id.as_deref().is_none_or(|id| id == "s1")
            && target.user_name.as_deref().is_none_or(|name| name == "alias");
        fits.then_some(()).ok_or(ErrorCause::SESSION_CONTEXT_NOT_FOUND)
    }
}

impl DynamicHandler for OneSession {
    async fn disconnect(&self, target: Target) -> Result<(), ErrorCause> {
        Self::has(&target)
    }

    async fn change(&self, target: Target, _: LimitsPatch) -> Result<(), ErrorCause> {
        Self::has(&target)
    }
}

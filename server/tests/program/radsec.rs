//! The real program with RADIUS over TLS, its certificates made as docs/radius.md tells.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::desk::{Desk, text};

/// Status-Server, without the Message-Authenticator that means nothing over TLS.
const STATUS: [u8; 20] = [12, 5, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
const RECIPE: &str = include_str!("../../../docs/radius.md");

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The shell commands under "Certificates".
fn make_certificates(dir: &Path) {
    let section = RECIPE.split("### Certificates").nth(1).unwrap();
    let commands = section.split("```sh").nth(1).unwrap().split("```").next().unwrap();
    let made = Command::new("bash")
        .arg("-ec")
        .arg(commands)
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
}

fn free_ports() -> [u16; 4] {
    let open = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    open.map(|listener| listener.local_addr().unwrap().port())
}

fn centre() -> (Desk, u16) {
    let [radsec, auth, acct, portal] = free_ports();
    let desk = Desk::with(&format!(
        "role = 'centre'\nsms.route = 'log-nothing'\nportal.listen = '127.0.0.1:{portal}'\n\
         [radius]\nauth_listen = '127.0.0.1:{auth}'\nacct_listen = '127.0.0.1:{acct}'\n"
    ));
    let dir = desk.dir.path();
    make_certificates(dir);
    let tls = format!(
        "[radius.tls]\nlisten = '127.0.0.1:{radsec}'\ncertificate_file = '{0}/radius.example.org.pem'\n\
         key_file = '{0}/radius.example.org.key'\nclient_ca_file = '{0}/ca.pem'\n",
        dir.display()
    );
    let text = fs::read_to_string(desk.config()).unwrap() + &tls;
    fs::write(desk.config(), text).unwrap();
    (desk, radsec)
}

/// Whether the gate's Status-Server is answered.
fn is_answered(dir: &Path, port: u16) -> bool {
    let gate = |ending: &str| dir.join(format!("stand-7.gates.example.org.{ending}"));
    let mut client = Running(
        Command::new("openssl")
            .args([
                "s_client",
                "-quiet",
                "-tls1_3",
                "-alpn",
                "radius/1.0",
                "-verify_return_error",
            ])
            .args([
                "-verify_hostname",
                "radius.example.org",
                "-connect",
                &format!("127.0.0.1:{port}"),
            ])
            .arg("-cert")
            .arg(gate("pem"))
            .arg("-key")
            .arg(gate("key"))
            .arg("-CAfile")
            .arg(dir.join("ca.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    client.0.stdin.as_mut().unwrap().write_all(&STATUS).unwrap();
    let mut answer = [0; 38];
    let read = client.0.stdout.as_mut().unwrap().read_exact(&mut answer);
    read.is_ok() && answer[..2] == [2, 5]
}

/// What the wire carries sealed, as `radius sniff` shows it.
fn is_shown_opened(desk: &Desk, port: u16) {
    let mut sniff = Command::new(env!("CARGO_BIN_EXE_kavadam"));
    sniff.arg("--config").arg(desk.config());
    sniff.args(["radius", "sniff", "--nas", "stand-7", "--count", "2"]);
    let mut sniff = Running(sniff.stdout(Stdio::piped()).spawn().unwrap());
    // It looks on from some moment on.
    for _ in 0..100 {
        assert!(is_answered(desk.dir.path(), port));
        if sniff.0.try_wait().unwrap().is_some() {
            break;
        }
    }
    assert!(sniff.0.try_wait().unwrap().is_some_and(|status| status.success()));
    let mut said = String::new();
    sniff.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    for words in [
        "[stand-7]",
        "Status-Server id 5, over TLS",
        "Access-Accept id 5, after ",
        " ms, over TLS",
    ] {
        assert!(said.contains(words), "`{words}` is not in\n{said}");
    }
}

#[test]
fn a_gate_tied_to_its_certificate_is_answered_before_and_after_a_hangup() {
    let (desk, port) = centre();
    let dir = desk.dir.path();
    assert!(
        desk.done(&["check"])
            .contains("the certificates of radius.tls can be used")
    );
    let mut program = Command::new(env!("CARGO_BIN_EXE_kavadam"));
    program
        .arg("--config")
        .arg(desk.config())
        .arg("run")
        .stderr(Stdio::null());
    let mut running = Running(program.spawn().unwrap());
    for _ in 0..200 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!is_answered(dir, port), "no record names its certificate");
    let (secret, uam) = (
        desk.file("s", "a-secret-of-the-gate"),
        desk.file("u", "a-secret-of-redirects"),
    );
    let gate = [
        "nas",
        "set",
        "stand-7",
        "--site",
        "First site",
        "--source",
        "10.7.0.2",
        "--secret-file",
        &secret,
    ];
    desk.done(
        &[
            &gate[..],
            &[
                "--uam-secret-file",
                &uam,
                "--certificate-name",
                "stand-7.gates.example.org",
            ],
        ]
        .concat(),
    );
    // Another process made the change: the server hears of it within seconds.
    std::thread::sleep(Duration::from_secs(6));
    assert!(is_answered(dir, port));
    let hangup = Command::new("kill")
        .args(["-HUP", &running.0.id().to_string()])
        .status()
        .unwrap();
    assert!(hangup.success());
    std::thread::sleep(Duration::from_millis(500));
    assert!(running.0.try_wait().unwrap().is_none(), "it goes on");
    assert!(is_answered(dir, port));
    is_shown_opened(&desk, port);
    // It is written a moment later, with that of others.
    let is_seen = || desk.json(&["nas", "show", "stand-7"])["last_address"] == "127.0.0.1";
    assert!((0..50).any(|_| {
        let is_seen = is_seen();
        if !is_seen {
            std::thread::sleep(Duration::from_millis(100));
        }
        is_seen
    }));
}

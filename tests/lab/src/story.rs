//! One citizen's day, told as it happens.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use kavadam_lab::citizen::CHECK;
use kavadam_lab::world::{WEB, until};
use kavadam_lab::{Citizen, Phone, World, traces};
use serde_json::{Map, Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

const NUMBER: &str = "9876543210";
const QUOTA_OCTETS: u64 = 40_000_000;
const RATE_BITS: u64 = 20_000_000;

/// Plays the day; then stays until Ctrl-C unless it is to be told once.
///
/// # Errors
/// The first step that went otherwise than it should.
pub fn run(once: bool) -> anyhow::Result<()> {
    ensure!(is_root(), "root is needed, for network namespaces: sudo make run");
    let is_told = Arc::new(AtomicBool::new(false));
    heed_signals(Arc::clone(&is_told))?;
    let mut tale = Tale::new(!once);
    let own = std::env::current_exe()?;
    let program: PathBuf = own.parent().context("no directory")?.join("kavadam");
    ensure!(program.exists(), "{} is not built: run make run", program.display());

    tale.begin("A small world is built: phones, a gateway, an internet with web, DNS and an SMS operator");
    let mut world = World::build(&program, &own, "")?;
    world.set_plan(&[
        "--quota",
        "40MB",
        "--down",
        "20Mbit",
        "--up",
        "20Mbit",
        "--devices",
        "2",
    ])?;
    world.admin(&["site", "set", "First site", "--plan", "citizen"])?;
    tale.tell("kavadam runs all-in-one on an embedded SQLite database; plan: 40 MB a day at 20 Mbit/s");

    let phone = world.phone()?;
    let told = day(&mut tale, &world, &phone);
    match told {
        Ok(()) if once => {
            println!("{}", Value::Object(tale.figures));
            Ok(())
        }
        Ok(()) => {
            is_told.store(true, Ordering::Relaxed);
            stay(&mut world)
        }
        Err(error) => {
            let log = std::fs::read_to_string(world.gateway.log()).unwrap_or_default();
            eprintln!("--- the end of kavadam's log ---");
            let lines: Vec<&str> = log.lines().collect();
            lines
                .iter()
                .skip(lines.len().saturating_sub(20))
                .for_each(|line| eprintln!("{line}"));
            Err(error)
        }
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0)
}

fn day(tale: &mut Tale, world: &World, phone: &Phone) -> anyhow::Result<()> {
    let citizen = Citizen { phone, number: NUMBER };

    tale.begin("A citizen comes to the bus stand, and the phone joins the open Wi-Fi");
    let lease = phone.dhcp()?;
    let api = lease.api.as_deref().unwrap_or("none");
    tale.tell(format!(
        "DHCP gives {} to {}; captive portal API: {api}",
        lease.address,
        phone.mac()
    ));

    tale.begin("The phone checks whether it is online");
    let (status, to) = phone.probe(CHECK)?;
    ensure!(status == 302, "the check was not captured: status {status}");
    let portal = to.split('?').next().unwrap_or_default();
    tale.tell(format!("its check is captured: {status}, see {portal}"));

    tale.begin("HTTPS elsewhere is refused at once, so that nothing hangs");
    let start = Instant::now();
    let refused = phone.curl(&["-o", "/dev/null", "https://www.example.net/"]).is_err();
    let refusal = start.elapsed();
    ensure!(refused, "HTTPS passed before login");
    ensure!(refusal < Duration::from_secs(2), "HTTPS hung for {refusal:?}");
    tale.tell(format!("refused after {} ms", refusal.as_millis()));
    tale.figure("https_refused_ms", json!(refusal.as_millis()));

    tale.begin("The phone shows the portal");
    let page = citizen.arrive()?;
    tale.tell(format!("“{}”, {} octets of HTML", page.heading(), page.body.len()));

    tale.begin("The citizen gives a mobile number and accepts the terms");
    let seen = world.messages().len();
    let page = citizen.give_number(&page)?;
    tale.tell(format!("“{}”", page.heading()));

    tale.begin("A code arrives by SMS");
    let (text, code) = citizen.read_code(world, seen)?;
    tale.tell(format!("to {NUMBER}: {text}"));

    tale.begin("The citizen enters the code");
    let (page, login) = citizen.enter_code(&page, &code)?;
    page.form("/disconnect").context("not online")?;
    tale.tell(format!("“{}”, {} ms after the code", page.heading(), login.as_millis()));
    let (status, _) = phone.probe(CHECK)?;
    ensure!(status == 204, "the phone's check says {status}, not 204");
    tale.tell("the phone's own check now says: online");
    tale.figure("login_ms", json!(login.as_millis()));

    download(tale, phone)?;
    use_up(tale, world, phone)?;

    tale.begin("The portal says so");
    let page = citizen.arrive()?;
    tale.tell(format!("“{}”", page.heading()));
    ensure!(
        page.form("/voucher").is_ok() || !page.heading().is_empty(),
        "no page after the quota"
    );
    Ok(())
}

/// The second half of a download, so that the connection's first moments do not count.
fn download(tale: &mut Tale, phone: &Phone) -> anyhow::Result<()> {
    tale.begin("A download runs at the plan's speed");
    let url = format!("http://{WEB}/bytes/26000000");
    let mut curl = phone
        .netns()
        .command("curl")
        .args(["-s", "-m", "60", "-o", "/dev/null", &url])
        .spawn()?;
    std::thread::sleep(Duration::from_secs(3));
    let (start, before) = (Instant::now(), phone.netns().counter("eth0", "rx_bytes")?);
    std::thread::sleep(Duration::from_secs(6));
    let octets = phone.netns().counter("eth0", "rx_bytes")? - before;
    let took = start.elapsed();
    ensure!(curl.wait()?.success(), "the download broke off");
    let micros = u64::try_from(took.as_micros())?;
    let rate = octets * 8 * 1_000_000 / micros;
    let per_mille = rate * 1000 / RATE_BITS;
    tale.tell(format!(
        "{} at {}.{:02} Mbit/s: {}.{} % of the plan",
        amount(octets),
        rate / 1_000_000,
        rate / 10_000 % 100,
        per_mille / 10,
        per_mille % 10
    ));
    ensure!((900..=1050).contains(&per_mille), "the speed is not the plan's");
    tale.figure("speed_per_mille_of_plan", json!(per_mille));
    Ok(())
}

fn use_up(tale: &mut Tale, world: &World, phone: &Phone) -> anyhow::Result<()> {
    tale.begin("The quota ends the session at the octet");
    let url = format!("http://{WEB}/bytes/100000000");
    let mut curl = phone
        .netns()
        .command("curl")
        .args(["-s", "-m", "120", "-o", "/dev/null", &url])
        .spawn()?;
    let session = || -> anyhow::Result<Value> {
        let sessions = world.admin_json(&["session", "list"])?;
        sessions.get(0).cloned().context("there is no session")
    };
    let is_over = until(Duration::from_mins(1), || {
        session().is_ok_and(|found| found.get("state").is_some_and(|state| state == "ended"))
    });
    let _ = curl.kill();
    curl.wait()?;
    ensure!(is_over, "the session did not end");
    let ended = session()?;
    let number = |key: &str| ended.get(key).and_then(Value::as_u64).unwrap_or_default();
    let octets = number("up_octets") + number("down_octets");
    tale.tell(format!(
        "{octets} octets of {QUOTA_OCTETS} passed, both directions together; the next packet would have crossed the line"
    ));
    ensure!(octets <= QUOTA_OCTETS, "more passed than the quota");
    ensure!(QUOTA_OCTETS - octets < 65_536, "less passed than the quota");
    let (status, _) = phone.probe(CHECK)?;
    ensure!(status == 302, "the phone is still online");
    tale.figure("quota_octets", json!(QUOTA_OCTETS));
    tale.figure("passed_octets", json!(octets));
    Ok(())
}

fn amount(octets: u64) -> String {
    format!("{}.{} MB", octets / 1_000_000, octets / 100_000 % 10)
}

/// Keeps the world up, with the machine's own browser for a second phone.
fn stay(world: &mut World) -> anyhow::Result<()> {
    let phone = world.phone()?;
    phone.dhcp()?;
    let mut out = std::io::stdout();
    writeln!(out, "\nThe world stays up. Ctrl-C removes every trace of it.")?;
    match world.lend_browser(&phone) {
        Ok(url) => writeln!(
            out,
            "  Portal: {url} — open it in this machine's browser, which is now a second phone"
        )?,
        Err(error) => writeln!(out, "  Portal: this machine's browser cannot be a phone: {error:#}")?,
    }
    writeln!(out, "  Messages the SMS operator delivers are shown below.")?;
    writeln!(out, "  Log:    {}", world.gateway.log().display())?;
    let mut seen = world.messages().len();
    loop {
        for message in world.messages().into_iter().skip(seen) {
            seen += 1;
            writeln!(out, "  SMS to {}: {}", message.number, message.text)?;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Told to stop, at whatever moment, nothing is left behind. That is success only where everything has been told.
fn heed_signals(is_told: Arc<AtomicBool>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let mut signals =
                [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(|kind| signal(kind).ok());
            let [interrupt, terminate, hangup] = &mut signals;
            tokio::select! {
                () = first(interrupt) => {}
                () = first(terminate) => {}
                () = first(hangup) => {}
            }
        });
        eprintln!("\nRemoving the small world.");
        traces::remove_and_exit(if is_told.load(Ordering::Relaxed) { 0 } else { 130 })
    });
    Ok(())
}

async fn first(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Steps, numbered, with what happened in each.
struct Tale {
    step: u32,
    is_coloured: bool,
    is_for_people: bool,
    figures: Map<String, Value>,
}

impl Tale {
    fn new(is_for_people: bool) -> Self {
        Self {
            step: 0,
            is_coloured: std::io::stdout().is_terminal(),
            is_for_people,
            figures: Map::new(),
        }
    }

    fn begin(&mut self, what: &str) {
        self.step += 1;
        let (bold, plain) = if self.is_coloured {
            ("\x1b[1m", "\x1b[0m")
        } else {
            ("", "")
        };
        println!("{bold}{:2}. {what}{plain}", self.step);
        let _ = std::io::stdout().flush();
    }

    fn tell(&self, what: impl Display) {
        println!("    {what}");
        if self.is_for_people && self.is_coloured {
            // Time to read a line.
            std::thread::sleep(Duration::from_millis(400));
        }
    }

    fn figure(&mut self, name: &str, value: Value) {
        self.figures.insert(name.to_owned(), value);
    }
}

//! One citizen's day, told as it happens.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use kavadam_lab::citizen::CHECK;
use kavadam_lab::world::{WEB, WEB_PORT, until};
use kavadam_lab::{Citizen, Phone, Tally, World, traces};
use serde_json::{Value, json};

use crate::tale::{Tale, amount, decimal, grouped};

const NUMBER: &str = "9876543210";
const QUOTA_OCTETS: u64 = 40_000_000;
const RATE_BITS: u64 = 20_000_000;
/// What the page says in Malayalam, which comes first: used up, and new data.
const USED_UP: &str = "തീർന്നു";
const NEW_DATA: &str = "പുതിയ ഡാറ്റ";

/// Plays the day; then stays until Ctrl-C unless it is to be told once.
///
/// # Errors
/// The first step that went otherwise than it should.
pub fn run(once: bool) -> anyhow::Result<()> {
    ensure!(is_root(), "root is needed, for network namespaces: sudo make run");
    let is_told = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&is_told);
    // To be told to stop is success only where everything has been told.
    traces::heed_signals(move || if heard.load(Ordering::Relaxed) { 0 } else { 130 })?;
    let mut tale = Tale::new(!once);
    let own = std::env::current_exe()?;
    let program: PathBuf = own.parent().context("no directory")?.join("kavadam");
    ensure!(program.exists(), "{} is not built: run make run", program.display());

    tale.begin("We build a small world: a public Wi-Fi, the internet, and a mobile operator that delivers messages.");
    let start = Instant::now();
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
    tale.tell(format!(
        "It stands after {} seconds. Every citizen gets 40 MB a day, at 20 megabits a second.",
        decimal(start.elapsed().as_millis(), 1000)
    ));

    let phone = world.phone()?;
    let told = day(&mut tale, &world, &phone);
    match told {
        Ok(()) if once => {
            println!("{}", tale.figures());
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
    come(tale, phone)?;
    log_in(tale, world, &citizen)?;
    let tally = Tally::begin(world, &[phone])?;
    download(tale, phone, &tally)?;
    use_up(tale, world, phone, &tally)?;

    tale.begin("The phone says so, and says when there is data again.");
    let page = citizen.arrive()?;
    let (heading, below) = (page.heading(), page.under_heading());
    ensure!(heading.contains(USED_UP), "the page does not say so: {}", page.text());
    ensure!(
        below.contains(NEW_DATA),
        "the page does not say when there is data again: {}",
        page.text()
    );
    tale.tell(format!("“{heading}. {below}.”"));
    Ok(())
}

fn come(tale: &mut Tale, phone: &Phone) -> anyhow::Result<()> {
    tale.begin("A citizen comes to the bus stand, and the phone joins the open Wi-Fi.");
    let start = Instant::now();
    let lease = phone.dhcp()?;
    tale.tell(format!(
        "It has the address {} after {} seconds.",
        lease.address,
        decimal(start.elapsed().as_millis(), 1000)
    ));

    tale.begin("The phone asks whether it is online, and is shown the way to the login page.");
    let start = Instant::now();
    let (status, to) = phone.probe(CHECK)?;
    ensure!(status == 302, "the check was not captured: status {status}");
    let portal = to.split("/?").next().unwrap_or_default();
    tale.tell(format!(
        "The way is {portal}, told after {} milliseconds.",
        start.elapsed().as_millis()
    ));

    tale.begin("Everything else is refused at once, so that nothing hangs.");
    let start = Instant::now();
    let refused = phone.curl(&["-o", "/dev/null", "https://www.example.net/"]).is_err();
    let refusal = start.elapsed();
    ensure!(refused, "HTTPS passed before login");
    ensure!(refusal < Duration::from_secs(1), "HTTPS hung for {refusal:?}");
    tale.tell(format!(
        "A secure website was refused after {} milliseconds.",
        refusal.as_millis()
    ));
    tale.figure("https_refused_ms", json!(refusal.as_millis()));
    Ok(())
}

fn log_in(tale: &mut Tale, world: &World, citizen: &Citizen) -> anyhow::Result<()> {
    tale.begin("The phone shows the login page.");
    let page = citizen.arrive()?;
    tale.tell(format!(
        "“{}”: a page of {} kB, before it is compressed.",
        page.heading(),
        page.body.len().div_ceil(1000)
    ));

    tale.begin("The citizen gives a mobile number and accepts the terms of use.");
    let seen = world.messages().len();
    let start = Instant::now();
    let page = citizen.give_number(&page)?;
    tale.tell(format!("“{}”", page.heading()));

    tale.begin("A code comes by SMS.");
    let (text, code) = citizen.read_code(world, seen)?;
    let waited = start.elapsed().as_millis();
    tale.tell(format!("To {NUMBER}, after {waited} milliseconds: “{text}”"));

    tale.begin("The citizen enters the code, and is online.");
    let (page, login) = citizen.enter_code(&page, &code)?;
    page.form("/disconnect").context("not online")?;
    let (status, _) = citizen.phone.probe(CHECK)?;
    ensure!(status == 204, "the phone's check says {status}, not 204");
    tale.tell(format!(
        "“{}”, {} milliseconds after the code.",
        page.heading(),
        login.as_millis()
    ));
    tale.figure("login_ms", json!(login.as_millis()));
    Ok(())
}

/// The second half of a download, so that the connection's first moments do not count.
fn download(tale: &mut Tale, phone: &Phone, tally: &Tally) -> anyhow::Result<()> {
    tale.begin("A download runs at the promised speed.");
    let mut curl = phone.download(&format!("http://{WEB}:{WEB_PORT}/bytes/26000000"))?;
    std::thread::sleep(Duration::from_secs(3));
    let (start, before) = (Instant::now(), tally.down()?);
    std::thread::sleep(Duration::from_secs(6));
    let octets = tally.down()? - before;
    let took = start.elapsed();
    ensure!(curl.is_success()?, "the download broke off");
    let rate = u128::from(octets) * 8 * 1_000_000 / took.as_micros();
    let per_mille = rate * 1000 / u128::from(RATE_BITS);
    tale.tell(format!(
        "{} came at {} megabits a second: {} % of the plan.",
        amount(octets),
        decimal(rate, 1_000_000),
        decimal(per_mille, 10)
    ));
    ensure!((900..=1050).contains(&per_mille), "the speed is not the plan's");
    tale.figure("speed_per_mille_of_plan", json!(per_mille));
    Ok(())
}

fn use_up(tale: &mut Tale, world: &World, phone: &Phone, tally: &Tally) -> anyhow::Result<()> {
    tale.begin("When the day's data is used up, the internet closes.");
    let flow = phone.download(&format!("http://{WEB}:{WEB_PORT}/bytes/100000000"))?;
    let session = || -> anyhow::Result<Value> {
        let sessions = world.admin_json(&["session", "list"])?;
        sessions.get(0).cloned().context("there is no session")
    };
    let is_over = until(Duration::from_mins(1), || {
        session().is_ok_and(|found| found.get("state").is_some_and(|state| state == "ended"))
    });
    drop(flow);
    ensure!(is_over, "the session did not end");
    let ended = session()?;
    let number = |key: &str| ended.get(key).and_then(Value::as_u64).unwrap_or_default();
    let octets = number("up_octets") + number("down_octets");
    tale.tell(format!(
        "{} of {} bytes passed, sent and received together: not one too many.",
        grouped(octets),
        grouped(QUOTA_OCTETS)
    ));
    ensure!(octets <= QUOTA_OCTETS, "more passed than the quota");
    ensure!(QUOTA_OCTETS - octets < 65_536, "less passed than the quota");
    ensure!(tally.both()? <= octets, "more crossed than was counted");
    let (status, _) = phone.probe(CHECK)?;
    ensure!(status == 302, "the phone is still online");
    tale.figure("quota_octets", json!(QUOTA_OCTETS));
    tale.figure("passed_octets", json!(octets));
    Ok(())
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
            "  Portal: {url} (open it in this machine's browser, which is now a second phone)"
        )?,
        Err(error) => writeln!(out, "  Portal: this machine's browser cannot be a phone: {error:#}")?,
    }
    writeln!(out, "  Log:    {}", world.gateway.log().display())?;
    writeln!(out, "  Messages to citizens are shown below.")?;
    out.flush()?;
    let mut seen = world.messages().len();
    loop {
        for message in world.messages().into_iter().skip(seen) {
            seen += 1;
            writeln!(out, "  SMS to {}: {}", message.number, message.text)?;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

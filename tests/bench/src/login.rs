//! From the code submitted to the first packet through, in the whole small world; and what the first page weighs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use kavadam_lab::citizen::CHECK;
use kavadam_lab::world::{WEB, until};
use kavadam_lab::{Citizen, World};
use serde_json::{Value, json};

use crate::sample::Sample;

const LOGINS: usize = 60;
/// No limit of codes gets in the way.
const NO_LIMITS: &str = "[challenge]\nresend_after_secs = 0\nnumber_per_10_min = 10000\nnumber_per_day = 10000\n\
                         device_per_10_min = 10000\naddress_per_10_min = 10000\nsite_per_minute = 10000\n";

pub fn measure() -> anyhow::Result<Value> {
    let mut world = World::build(&crate::beside("kavadam")?, &crate::beside("kavadam-lab")?, NO_LIMITS)?;
    world.set_plan(&["--quota", "none", "--remember", "0d"])?;
    let phone = world.phone()?;
    phone.dhcp()?;
    let citizen = Citizen {
        phone: &phone,
        number: "9876543210",
    };
    let first = phone.curl(&[
        "-L",
        "-o",
        "/dev/null",
        "-H",
        "Accept-Encoding: gzip, br",
        "-w",
        "%{size_download} %{size_header}",
        CHECK,
    ])?;
    let (body, head) = first.split_once(' ').context("curl said nothing")?;
    let (body, head): (u64, u64) = (body.parse()?, head.parse()?);

    let (mut pages, mut packets) = (Sample::default(), Sample::default());
    for _ in 0..LOGINS {
        let seen = world.messages().len();
        let page = citizen.give_number(&citizen.arrive()?)?;
        let (_, code) = citizen.read_code(&world, seen)?;
        let start = Instant::now();
        let (page, took) = citizen.enter_code(&page, &code)?;
        page.form("/disconnect").with_context(|| page.text())?;
        pages.add(took);
        phone.netns().run("ping", &["-c1", "-W1", "-q", WEB])?;
        packets.add(start.elapsed());
        let sessions = world.admin_json(&["session", "list", "--open"])?;
        world.admin(&[
            "session",
            "end",
            &sessions.pointer("/0/id").context("no session")?.to_string(),
        ])?;
        let is_over = until(Duration::from_secs(20), || {
            phone.probe(CHECK).is_ok_and(|(status, _)| status == 302)
        });
        ensure!(is_over, "the session did not end");
    }
    Ok(
        json!({ "what": "login in the whole world, one after the other", "logins": LOGINS,
        "code_to_status_page": { "p50_us": pages.percentile_us(50), "p99_us": pages.percentile_us(99) },
        "code_to_first_packet_answered": { "p50_us": packets.percentile_us(50), "p99_us": packets.percentile_us(99) },
        "first_page_octets": { "compressed_body": body, "headers_of_both_round_trips": head } }),
    )
}

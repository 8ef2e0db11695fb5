//! How near TCP comes to the speed of a plan: by two ways to control congestion, one flow and many, near servers and far ones.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use kavadam_lab::netns::{Netns, Process, sh};
use kavadam_lab::{Citizen, Phone, World};
use serde_json::{Value, json};

use crate::sample::median;

const NUMBER: &str = "9876543210";
const BITS_PER_SEC: f64 = 20e6;
const SPEED: &str = "20Mbit";
const SERVER: &str = "203.0.113.60";
/// Rounds of each, whose median is told.
const ROUNDS: usize = 3;
/// The kernel's bucket holds a second of the rate, and a connection begins slowly: what comes first is left out.
const LEFT_OUT_SECS: &str = "5";
const MEASURED_SECS: &str = "10";

pub fn measure() -> anyhow::Result<Value> {
    let mut world = World::build(&crate::beside("kavadam")?, &crate::beside("kavadam-lab")?, "")?;
    world.set_plan(&["--quota", "none", "--down", SPEED, "--up", SPEED])?;
    let phone = world.phone()?;
    phone.dhcp()?;
    let citizen = Citizen {
        phone: &phone,
        number: NUMBER,
    };
    citizen.log_in(&world)?;
    let far = Far::build(&world)?;
    let mut lines = Vec::new();
    for millis in [10, 100] {
        let _way = far.way(&world, Duration::from_millis(millis) / 2)?;
        std::thread::sleep(Duration::from_secs(1));
        for control in ["cubic", "bbr"] {
            for flows in ["1", "20"] {
                let (mut up, mut down) = (Vec::new(), Vec::new());
                for _ in 0..ROUNDS {
                    up.push(rate(&phone, control, flows, &[])? / BITS_PER_SEC);
                    down.push(rate(&phone, control, flows, &["-R"])? / BITS_PER_SEC);
                }
                lines.push(json!({ "round_trip_ms": millis, "control": control, "flows": flows,
                    "up": median(up), "down": median(down) }));
                eprintln!("{}", lines.last().unwrap_or(&Value::Null));
            }
        }
    }
    Ok(
        json!({ "what": "octets of TCP that arrived, to those of the plan", "rounds": ROUNDS, "plan": SPEED, "shares": lines }),
    )
}

/// A server, and an internet between it and us that is as wide as one likes.
struct Far {
    netns: Netns,
    _server: Process,
}

impl Far {
    fn build(world: &World) -> anyhow::Result<Self> {
        let netns = Netns::new(&format!("{}-far", world.prefix()))?;
        let near = &world.internet;
        near.ip("link add way0 type veth peer name way1")?;
        sh(
            "ip",
            &[
                "link",
                "add",
                "eth0",
                "netns",
                netns.name(),
                "type",
                "veth",
                "peer",
                "name",
                "way2",
                "netns",
                near.name(),
            ],
        )?;
        netns.ip(&format!("address add {SERVER}/32 dev eth0"))?;
        for (netns, link) in [(near, "way0"), (near, "way1"), (near, "way2"), (&netns, "eth0")] {
            netns.ip(&format!("link set {link} up"))?;
            // Whole packets with their sums, as they would be on a wire.
            let off = ["tso", "off", "gso", "off", "gro", "off", "tx", "off"];
            netns.run("ethtool", &[&["-K", link][..], &off].concat())?;
        }
        // No ARP goes the long way.
        let mac = |netns: &Netns, link: &str| -> anyhow::Result<String> {
            Ok(netns
                .run("cat", &[&format!("/sys/class/net/{link}/address")])?
                .trim()
                .to_owned())
        };
        near.ip(&format!("route add {SERVER}/32 dev way0"))?;
        near.ip(&format!(
            "neighbour add {SERVER} lladdr {} dev way0",
            mac(&netns, "eth0")?
        ))?;
        netns.ip("route add 10.99.9.9/32 dev eth0")?;
        netns.ip("route add default via 10.99.9.9 dev eth0")?;
        netns.ip(&format!(
            "neighbour add 10.99.9.9 lladdr {} dev eth0",
            mac(near, "way0")?
        ))?;
        near.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
        let server = netns.start(&world.dir().join("iperf.log"), "iperf3", &["-s"])?;
        Ok(Self { netns, _server: server })
    }

    /// The way, each direction so long, until it is dropped.
    fn way(&self, world: &World, each: Duration) -> anyhow::Result<Process> {
        let micros = each.as_micros().to_string();
        let way = world.lab_in(&world.internet, &["delay", "way1", "way2", "--micros", &micros])?;
        std::thread::sleep(Duration::from_millis(300));
        let told = self
            .netns
            .run("ping", &["-c", "3", "-i", "0.3", "-q", "198.51.100.2"])?;
        let middle = told.lines().last().and_then(|line| line.split('/').nth(4));
        let millis: f64 = middle.context("ping told no times")?.parse()?;
        let wanted = each.as_secs_f64() * 2e3;
        ensure!(
            (wanted..wanted * 1.3 + 1.0).contains(&millis),
            "the way takes {millis} ms instead of {wanted}"
        );
        Ok(way)
    }
}

/// Bits a second of IP packets: what iperf counts, and a header of 52 octets for each 1448.
fn rate(phone: &Phone, control: &str, flows: &str, more: &[&str]) -> anyhow::Result<f64> {
    let mut words = vec![
        "-c",
        SERVER,
        "-J",
        "-C",
        control,
        "-P",
        flows,
        "-O",
        LEFT_OUT_SECS,
        "-t",
        MEASURED_SECS,
    ];
    words.extend(more);
    let told: Value = serde_json::from_str(&phone.netns().run("iperf3", &words)?)?;
    let bits = told
        .pointer("/end/sum_received/bits_per_second")
        .and_then(Value::as_f64);
    Ok(bits.context("iperf3 told no rate")? * 1500.0 / 1448.0)
}

//! One machine, two LANs, a gate for each: other plans, other names, and nothing between them.

use std::path::Path;
use std::time::Duration;

use kavadam_lab::branch::{self, Centre, SecondLan};
use kavadam_lab::world::until;
use kavadam_lab::{Citizen, Phone, World};
use serde_json::Value;
use tempfile::TempDir;

use crate::{ENDLESS, beside_others, is_online, octets, program};

const CITIZEN: &str = "9876543210";
const STAFF: &str = "9876543211";

/// Fields are dropped in this order.
struct Office {
    second: SecondLan,
    centre: Centre,
    world: World,
    _secrets: TempDir,
}

impl Office {
    /// Of the citizens' quota a download finds the end, of the staff's it does not.
    fn new() -> Self {
        let lab = Path::new(env!("CARGO_BIN_EXE_kavadam-lab"));
        let secrets = tempfile::tempdir().unwrap();
        let first = branch::config(secrets.path(), "hall", "198.51.100.2", "198.51.100.1").unwrap();
        let first = format!("other_lans = [\"{}\"]\n{first}", SecondLan::INTERFACE);
        let world = World::build_as("gateway", &program(), lab, &first).unwrap();
        let centre = Centre::start(
            &world,
            &program(),
            &["--quota", "2MB", "--down", "none", "--up", "none"],
        )
        .unwrap();
        centre
            .admin(&world, &["plan", "set", "staff", "--quota", "none", "--down", "none"])
            .unwrap();
        centre
            .admin(&world, &["site", "set", "Office", "--plan", "staff"])
            .unwrap();
        centre.know(&world, "hall", "198.51.100.2").unwrap();
        centre
            .know_at(&world, "Office", "office", "198.51.100.2", &["--coa-port", "3798"])
            .unwrap();
        let second = branch::config(world.dir(), "office", "198.51.100.2", "198.51.100.1").unwrap();
        let second = SecondLan::start(&world, &program(), &second).unwrap();
        Self {
            second,
            centre,
            world,
            _secrets: secrets,
        }
    }

    fn in_the_hall(&mut self) -> Phone {
        let phone = self.world.phone().unwrap();
        assert!(phone.dhcp().unwrap().address.starts_with("10.80."));
        phone
    }

    fn in_the_office(&mut self) -> Phone {
        let gate = self.world.gate.name().to_owned();
        let phone = self.world.phone_on(&gate, SecondLan::INTERFACE).unwrap();
        assert!(phone.dhcp().unwrap().address.starts_with("10.81."));
        phone
    }

    fn log_in(&self, phone: &Phone, number: &str) {
        let citizen = Citizen { phone, number };
        // The centre has heard of the gate by then.
        assert!(until(Duration::from_secs(30), || citizen.arrive().is_ok()));
        citizen.log_in(&self.world).unwrap();
    }

    /// The newest first.
    fn sessions(&self, gate: &str) -> Vec<Value> {
        let mut all = self.centre.sessions(&self.world).unwrap();
        all.retain(|one| one["nas"] == gate);
        all
    }

    fn carried(&self, gate: &str) -> u64 {
        self.sessions(gate).iter().map(octets).sum()
    }
}

fn reaches(phone: &Phone, address: &str) -> bool {
    phone.netns().run("ping", &["-c", "1", "-W", "1", address]).is_ok()
}

/// Octets to devices of the second LAN.
fn sent_in_the_office(office: &Office) -> u64 {
    let path = format!("/sys/class/net/{}/statistics/tx_bytes", SecondLan::INTERFACE);
    office.world.gate.run("cat", &[&path]).unwrap().trim().parse().unwrap()
}

#[test]
fn two_lans_of_one_machine_have_gates_plans_and_names_of_their_own_and_nothing_between_them() {
    let _machine = beside_others();
    let mut office = Office::new();
    let (visitor, clerk, stranger) = (office.in_the_hall(), office.in_the_office(), office.in_the_office());
    office.log_in(&visitor, CITIZEN);
    assert!(!is_online(&clerk), "online in the hall is not online in the office");
    office.log_in(&clerk, STAFF);
    assert!(is_online(&visitor) && is_online(&clerk) && !is_online(&stranger));

    let (clerks, visitors) = (clerk.address().unwrap(), visitor.address().unwrap());
    assert!(!reaches(&visitor, &clerks) && !reaches(&clerk, &visitors));

    // Each draws on its own plan.
    let five_mb = ENDLESS.replace("1000000000000", "5000000");
    clerk.curl(&["-o", "/dev/null", &five_mb]).unwrap();
    visitor.curl(&["-m", "5", "-o", "/dev/null", &five_mb]).unwrap_err();
    assert!(until(Duration::from_secs(15), || office.carried("hall") > 1_900_000));
    assert!(office.carried("hall") <= 2_000_000);
    assert!(is_online(&clerk));

    // Neither takes the other's ports for a mistake.
    let problems = |gateway: &kavadam_lab::gateway::Gateway| {
        let told = gateway.check(&office.world.gate);
        assert!(told.contains("UDP port 0.0.0.0:67"), "{told}");
        told.lines()
            .filter(|line| line.starts_with("PROBLEM") && line.contains("port"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(problems(&office.second.gateway), [] as [&str; 0]);
    assert_eq!(problems(&office.world.gateway), [] as [&str; 0]);

    // An order reaches the gate it is for.
    let id = office.sessions("office")[0]["id"].to_string();
    office.centre.admin(&office.world, &["session", "end", &id]).unwrap();
    assert!(until(Duration::from_secs(10), || !is_online(&clerk)), "by order");
    assert!(until(Duration::from_secs(10), || office.carried("office") > 5_000_000));
}

#[test]
fn the_gate_of_one_lan_dies_and_comes_back_without_the_other_noticing() {
    let _machine = beside_others();
    let mut office = Office::new();
    let (visitor, clerk) = (office.in_the_hall(), office.in_the_office());
    office.log_in(&visitor, CITIZEN);
    office.log_in(&clerk, STAFF);
    let _download = clerk.download(&ENDLESS.replace("1000000000000", "1000000000")).unwrap();
    let carried = || -> u64 {
        let told = office
            .world
            .gate
            .run("cat", &["/sys/class/net/lan1/statistics/tx_bytes"]);
        told.unwrap().trim().parse().unwrap()
    };
    assert!(until(Duration::from_secs(5), || carried() > 100_000));

    office.world.gateway.kill();
    assert!(is_online(&visitor) && is_online(&clerk), "the kernel goes on");
    let World { gateway, gate, .. } = &mut office.world;
    gateway.start(gate).unwrap();
    let before = sent_in_the_office(&office);
    let goes_on = || sent_in_the_office(&office) > before + 100_000;
    assert!(until(Duration::from_secs(5), goes_on), "a connection ended");
    assert!(is_online(&visitor) && is_online(&clerk));

    // The whole table of one goes and comes back; the other's sessions stay.
    office.second.gateway.stop().unwrap();
    office
        .world
        .gate
        .run("nft", &["delete", "table", "inet", "kavadam-lan1"])
        .unwrap();
    // A LAN without a gate is closed, whatever its devices were before, and so is the machine itself.
    assert!(until(Duration::from_secs(5), || !reaches(&clerk, "203.0.113.10")
        && !reaches(&clerk, "10.81.0.1")));
    office
        .second
        .gateway
        .start_and_ask(&office.world.gate, "http://10.81.0.1:3990/prelogin")
        .unwrap();
    assert!(is_online(&visitor));
}

#[test]
fn the_gate_of_a_second_lan_asks_the_centre_of_the_first_on_the_same_machine() {
    let _machine = beside_others();
    let lab = Path::new(env!("CARGO_BIN_EXE_kavadam-lab"));
    let mut world = World::build(&program(), lab, "other_lans = [\"lan1\"]\n").unwrap();
    world.set_plan(&["--quota", "none"]).unwrap();
    let (radius, uam) = branch::secrets(world.dir(), "staff").unwrap();
    world.admin(&["plan", "set", "staff", "--quota", "none"]).unwrap();
    world.admin(&["site", "set", "Office", "--plan", "staff"]).unwrap();
    let gate = [
        "nas",
        "set",
        "staff",
        "--site",
        "Office",
        "--source",
        "127.0.0.1",
        "--coa-port",
        "3798",
        "--renews",
    ];
    let secrets = ["--secret-file", &radius, "--uam-secret-file", &uam];
    world.admin(&[&gate[..], &secrets].concat()).unwrap();
    let config = format!(
        "nas_identifier = \"staff\"\nportal_url = \"http://10.80.0.1:8081\"\nlocal_ports = [8081]\nuam_secret_file = \"{uam}\"\n\
         coa_listen = \"127.0.0.1:3799\"\n[gateway.radius]\nsecret_file = \"{radius}\"\n"
    );
    let _second = SecondLan::start(&world, &program(), &config).unwrap();

    let gate = world.gate.name().to_owned();
    let (visitor, clerk) = (
        world.phone().unwrap(),
        world.phone_on(&gate, SecondLan::INTERFACE).unwrap(),
    );
    for (phone, number) in [(&visitor, CITIZEN), (&clerk, STAFF)] {
        phone.dhcp().unwrap();
        let citizen = Citizen { phone, number };
        assert!(until(Duration::from_secs(30), || citizen.arrive().is_ok()));
        citizen.log_in(&world).unwrap();
        assert!(is_online(phone));
    }
    let gates: Vec<Value> = crate::sessions(&world).iter().map(|one| one["nas"].clone()).collect();
    assert_eq!(gates, ["staff", "local"]);
    let id = crate::sessions(&world)[0]["id"].to_string();
    world.admin(&["session", "end", &id]).unwrap();
    assert!(until(Duration::from_secs(10), || !is_online(&clerk)), "by order");
    assert!(is_online(&visitor));
}

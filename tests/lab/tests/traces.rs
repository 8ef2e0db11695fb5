//! `make run` stays up for this machine's browser, and leaves nothing behind when it is told to stop. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on stops"
)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use kavadam_lab::netns::sh;

/// What `ip` shows of a lab.
fn shown(prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for arguments in [vec!["netns", "list"], vec!["-br", "link"], vec!["route"]] {
        let text = sh("ip", &arguments).unwrap();
        found.extend(text.lines().filter(|line| line.contains(prefix)).map(str::to_owned));
    }
    found
}

/// The processes in a lab's namespaces.
fn processes(prefix: &str) -> Vec<String> {
    let namespaces = sh("ip", &["netns", "list"]).unwrap();
    let names = namespaces.lines().filter_map(|line| line.split(' ').next());
    let ours = names.filter(|name| name.starts_with(prefix));
    let inside = ours.map(|name| sh("ip", &["netns", "pids", name]).unwrap());
    inside
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// Ended with the test, however that ends.
struct Lab(Child);

impl Drop for Lab {
    fn drop(&mut self) {
        // Asked rather than killed, so that it takes its world along.
        let _ = sh("kill", &["-INT", &self.0.id().to_string()]);
        let _ = self.0.wait();
    }
}

#[test]
fn shows_this_machines_browser_the_portal_and_removes_every_trace_when_told_to_stop() {
    let program = env!("CARGO_BIN_EXE_kavadam-lab");
    assert!(
        Path::new(program).with_file_name("kavadam").exists(),
        "kavadam is not built: run `make test`, or `cargo build --bin kavadam` first"
    );
    let child = Command::new(program).arg("run").stdout(Stdio::piped()).spawn().unwrap();
    let mut lab = Lab(child);
    let process = lab.0.id();
    let mut lines = BufReader::new(lab.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut address_of = |name: &str| {
        let line = lines.find(|line| line.trim_start().starts_with(name));
        let line = line.unwrap_or_else(|| panic!("the story ended without an address of {name}"));
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    let (portal, log) = (address_of("Portal:"), address_of("Log:"));
    let page = sh("curl", &["-sSL", "--noproxy", "*", "-m", "10", &portal]).unwrap();
    assert!(page.contains("action=\"/number\""), "{page}");
    assert!(Path::new(&log).exists(), "{log}");
    let prefix = format!("kv{process}");
    let inside = processes(&prefix);
    // Namespaces of two phones, gate and internet, link and route; kavadam, dnsmasq and the servers.
    assert!(
        shown(&prefix).len() >= 6 && inside.len() >= 6,
        "this test looks in the wrong place"
    );

    sh("kill", &["-INT", &process.to_string()]).unwrap();
    let status = lab.0.wait().unwrap();
    assert_eq!(status.code(), Some(0), "everything had been told");
    assert_eq!(shown(&prefix), [] as [String; 0]);
    // Whoever adopts them may be slow to take notice; what has ended has no command line any more.
    let alive = |process: &&String| {
        let line = std::fs::read(Path::new("/proc").join(process).join("cmdline"));
        line.is_ok_and(|line| !line.is_empty())
    };
    assert_eq!(inside.iter().filter(alive).collect::<Vec<_>>(), [] as [&String; 0]);
    let dir = Path::new(&log).parent().unwrap();
    assert!(!dir.exists(), "{} is left", dir.display());
    for entry in std::fs::read_dir("/etc/netns").into_iter().flatten() {
        let name = entry.unwrap().file_name();
        assert!(!name.to_string_lossy().starts_with(&prefix), "{name:?} is left");
    }
}

//! The wires: two phones on a switch, the gateway, and an internet with one server.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use kavadam_domain::Mac;
use kavadam_firewall::{FirewallError, Gate, Layout, OpenSession, PoolKey, SessionLimits, Slot};

use crate::frames;

/// The server's addresses in the internet, another one that only the walled garden knows, and the gateway's on the WAN.
pub const WEB4: &str = "203.0.113.10";
pub const WEB6: &str = "2001:db8:113::10";
pub const GARDEN4: &str = "203.0.113.30";
pub const GARDEN6: &str = "2001:db8:113::30";
pub const GATEWAY_WAN4: &str = "198.51.100.2";
/// UDP: counts what it gets, tells the count when asked with `?`.
pub const SINK: &str = "7000";
/// UDP: asked for `COUNT SIZE`, sends so many datagrams of that size.
pub const SOURCE: &str = "7001";
/// TCP: sends as many octets as the line asks for, or echoes, or chatters.
pub const TCP: &str = "5001";

/// What this machine lacks, if anything.
pub fn why_impossible() -> Option<String> {
    if std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() != 0) {
        return Some("root (they make network namespaces)".to_owned());
    }
    for program in ["ip", "nft"] {
        if Command::new(program).arg("-V").output().is_err() {
            return Some(format!("the program {program} (apt-get install iproute2 nftables)"));
        }
    }
    let probe = format!("kvfw-{}-probe", std::process::id());
    if !Command::new("ip")
        .args(["netns", "add", &probe])
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return Some("network namespaces (ip netns add is refused here)".to_owned());
    }
    ip(&format!("netns del {probe}"));
    remove_leftovers();
    None
}

/// Namespaces of a run that was killed.
fn remove_leftovers() {
    let listing = Command::new("ip")
        .args(["netns", "list"])
        .output()
        .expect("ip netns list");
    for name in String::from_utf8_lossy(&listing.stdout)
        .lines()
        .filter_map(|line| line.split(' ').next())
    {
        let owner = name.strip_prefix("kvfw-").and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            ip(&format!("netns del {name}"));
        }
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("ip");
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn sysctl(namespace: &str, settings: &[&str]) {
    let command = Command::new("ip")
        .args(["netns", "exec", namespace, "sysctl", "-qw"])
        .args(settings)
        .status();
    assert!(command.expect("sysctl").success(), "{settings:?}");
}

/// One topology, gone when dropped.
pub struct Lab {
    prefix: String,
    server: Option<Child>,
}

impl Lab {
    pub fn build() -> Self {
        static BUILT: AtomicU32 = AtomicU32::new(0);
        let number = BUILT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("kvfw-{}-{number}", std::process::id());
        let mut lab = Self { prefix, server: None };
        lab.wire();
        let mut server = Node(format!("{}-net", lab.prefix)).spawn(&["serve"]);
        assert_eq!(first_line(&mut server), "ready");
        lab.server = Some(server);
        lab
    }

    fn wire(&self) {
        let p = &self.prefix;
        for name in ["sw", "gw", "net", "p1", "p2"] {
            ip(&format!("netns add {p}-{name}"));
            // Without it, IPv6 is mute for the first seconds of an interface.
            sysctl(
                &format!("{p}-{name}"),
                &["net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.accept_dad=0"],
            );
            ip(&format!("-n {p}-{name} link set lo up"));
        }
        sysctl(
            &format!("{p}-gw"),
            &["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"],
        );
        ip(&format!("-n {p}-sw link add br0 type bridge"));
        ip(&format!("-n {p}-sw link set br0 up"));
        for (node, link) in [("gw", "lan0"), ("p1", "eth0"), ("p2", "eth0")] {
            ip(&format!(
                "-n {p}-{node} link add {link} type veth peer name to-{node} netns {p}-sw"
            ));
            ip(&format!("-n {p}-sw link set to-{node} master br0 up"));
        }
        ip(&format!(
            "-n {p}-gw link add wan0 type veth peer name wan0 netns {p}-net"
        ));
        for (node, link, v4, v6) in [
            ("gw", "lan0", "10.80.0.1/16", "fd00:80::1/64"),
            ("gw", "wan0", "198.51.100.2/24", "2001:db8:51::2/64"),
            ("net", "wan0", "198.51.100.1/24", "2001:db8:51::1/64"),
            ("net", "lo", "203.0.113.10/32", "2001:db8:113::10/128"),
            ("net", "lo", "203.0.113.30/32", "2001:db8:113::30/128"),
            ("p1", "eth0", "10.80.0.11/16", "fd00:80::11/64"),
            ("p2", "eth0", "10.80.0.12/16", "fd00:80::12/64"),
        ] {
            ip(&format!("-n {p}-{node} address add {v4} dev {link}"));
            ip(&format!("-n {p}-{node} address add {v6} dev {link} nodad"));
        }
        for number in [1, 2] {
            let mac = Phone::numbered(p, number).mac().to_string().replace('-', ":");
            ip(&format!("-n {p}-p{number} link set eth0 address {mac} up"));
        }
        for (node, link) in [("gw", "lan0"), ("gw", "wan0"), ("net", "wan0")] {
            ip(&format!("-n {p}-{node} link set {link} up"));
        }
        for number in [1, 2] {
            ip(&format!("-n {p}-p{number} route add default via 10.80.0.1"));
            ip(&format!("-n {p}-p{number} route add default via fd00:80::1"));
        }
        ip(&format!("-n {p}-gw route add default via 198.51.100.1"));
        ip(&format!("-n {p}-gw route add default via 2001:db8:51::1"));
        ip(&format!("-n {p}-net route add fd00:80::/64 via 2001:db8:51::2"));
    }

    /// Runs a case in the gateway's namespace, for a minute at most.
    pub fn run_inside(&self, name: &str) -> Output {
        let case = Command::new("ip")
            .args(["netns", "exec", &format!("{}-gw", self.prefix), "timeout", "60"])
            .arg(std::env::current_exe().expect("own path"))
            .args(["inside", name, &self.prefix])
            .output();
        case.expect("ip netns exec")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
        for name in ["p1", "p2", "sw", "net", "gw"] {
            let _ = Command::new("ip")
                .args(["netns", "del", &format!("{}-{name}", self.prefix)])
                .output();
        }
    }
}

/// Somebody at one end of the wire.
pub struct Node(String);

impl Node {
    /// Starts a tool there.
    pub fn spawn(&self, tool: &[&str]) -> Child {
        Command::new("ip")
            .args(["netns", "exec", &self.0])
            .arg(std::env::current_exe().expect("own path"))
            .arg("tool")
            .args(tool)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ip netns exec")
    }

    /// Runs a tool there and returns what it printed.
    pub fn run(&self, tool: &[&str]) -> String {
        let output = self.spawn(tool).wait_with_output().expect("output");
        assert!(output.status.success(), "{tool:?} failed in {}", self.0);
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// Sends these frames from an interface there, as they are.
    pub fn send(&self, interface: &str, frames: &[Vec<u8>]) {
        for some in frames.chunks(500) {
            let written: Vec<String> = some.iter().map(|frame| frames::written(frame)).collect();
            let words = ["frames", interface].into_iter();
            self.run(&words.chain(written.iter().map(String::as_str)).collect::<Vec<_>>());
        }
    }

    /// Runs any program there; whether it succeeded.
    pub fn succeeds(&self, program: &[&str]) -> bool {
        let output = Command::new("ip")
            .args(["netns", "exec", &self.0])
            .args(program)
            .output();
        output.expect("ip netns exec").status.success()
    }

    /// Uploads so many datagrams of so many octets to the sink; returns how many arrived.
    pub fn upload(&self, host: &str, datagrams: u32, size: u32) -> u32 {
        let before = sink_count();
        self.run(&["udp-send", host, SINK, &datagrams.to_string(), &size.to_string()]);
        std::thread::sleep(Duration::from_millis(50));
        sink_count() - before
    }

    /// Sends one datagram from each of so many ports to the sink; returns how many arrived.
    pub fn upload_from_ports(&self, host: &str, ports: u32) -> u32 {
        let before = sink_count();
        self.run(&["udp-ports", host, SINK, &ports.to_string()]);
        std::thread::sleep(Duration::from_millis(50));
        sink_count() - before
    }

    /// Has so many datagrams of so many octets sent to it; returns how many arrived.
    pub fn download(&self, host: &str, datagrams: u32, size: u32) -> u32 {
        self.run(&["udp-ask", host, SOURCE, &format!("{datagrams} {size}")])
            .parse()
            .expect("a number")
    }
}

/// Packets that an interface of the gateway has sent.
pub fn sent_by(interface: &str) -> u64 {
    let packets = std::fs::read_to_string(format!("/sys/class/net/{interface}/statistics/tx_packets"));
    packets.expect("an interface").trim().parse().expect("a number")
}

/// What the sink has received, asked from the gateway itself, which no session meters.
pub fn sink_count() -> u32 {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("socket");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
    socket.send_to(b"?", (WEB4, 7000)).expect("send");
    let mut answer = [0; 32];
    let len = socket.recv(&mut answer).expect("the sink's answer");
    String::from_utf8_lossy(&answer[..len]).parse().expect("a number")
}

/// A citizen's device.
pub struct Phone {
    pub node: Node,
    number: u8,
}

impl Phone {
    fn numbered(prefix: &str, number: u8) -> Self {
        Self {
            node: Node(format!("{prefix}-p{number}")),
            number,
        }
    }

    pub fn mac(&self) -> Mac {
        Mac([2, 0, 0, 0, 0, 0x10 + self.number])
    }

    pub fn ipv4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 80, 0, 10 + self.number)
    }

    /// An open session without limits, to be narrowed by `..phone.session(pool)`.
    pub fn session(&self, pool: PoolKey) -> OpenSession {
        OpenSession {
            mac: self.mac(),
            ipv4: Some(self.ipv4()),
            pool,
            up_bits_per_sec: None,
            down_bits_per_sec: None,
            timeout: None,
            filter: None,
            class: None,
            label: format!("phone {}", self.number).into_bytes(),
        }
    }
}

/// Holds one session to these limits, and to no others.
pub fn limit(gate: &Gate, slot: Slot, limits: SessionLimits) -> Result<(), FirewallError> {
    let failed = gate.limit_all(&BTreeMap::from([(slot, limits)])).pop();
    failed.map_or(Ok(()), |(_, error)| Err(error))
}

/// What a case sees: it is the gateway.
pub struct Inside {
    pub phone: Phone,
    pub other: Phone,
    pub net: Node,
}

impl Inside {
    pub fn new(prefix: &str) -> Self {
        Self {
            phone: Phone::numbered(prefix, 1),
            other: Phone::numbered(prefix, 2),
            net: Node(format!("{prefix}-net")),
        }
    }

    /// The gate with its default layout.
    #[expect(clippy::unused_self, reason = "only who is inside has a gate")]
    pub fn gate(&self) -> Gate {
        Gate::load(&layout()).expect("the gate")
    }

    /// The gate as it is on kernels before 6.9: anybody's.
    pub fn shared_gate(&self) -> Gate {
        let made = Command::new("nft").args(["add", "table", "inet", "kavadam"]).status();
        assert!(made.expect("nft").success());
        let gate = self.gate();
        assert!(!gate.is_owned());
        gate
    }

    /// A gate and one session without limits.
    pub fn online(&self) -> (Gate, PoolKey, Slot) {
        self.online_at(self.gate())
    }

    /// The same where others may change the table.
    pub fn online_shared(&self) -> (Gate, PoolKey, Slot) {
        self.online_at(self.shared_gate())
    }

    fn online_at(&self, gate: Gate) -> (Gate, PoolKey, Slot) {
        let pool = gate.create_pool(None).expect("a pool");
        let slot = gate.open(&self.phone.session(pool)).expect("a session");
        (gate, pool, slot)
    }
}

pub fn layout() -> Layout {
    Layout {
        lan6: Some("fd00:80::1/64".parse().expect("a prefix")),
        local_ports: vec![8080, 3990],
        garden4: vec![GARDEN4.parse::<Ipv4Addr>().expect("an address")],
        garden6: vec![GARDEN6.parse::<Ipv6Addr>().expect("an address")],
        max_sessions: 4096,
        ..Layout::new("lan0", "wan0", "10.80.0.1/16".parse().expect("a prefix"), 8080)
    }
}

/// The octets of datagrams with this payload, as the gate counts them: IP and UDP headers included.
pub fn octets4(datagrams: u32, size: u32) -> u64 {
    u64::from(datagrams) * u64::from(size + 28)
}

pub fn octets6(datagrams: u32, size: u32) -> u64 {
    u64::from(datagrams) * u64::from(size + 48)
}

/// Waits for what is about to become true.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One line of a running tool.
pub fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("stdout"))
        .read_line(&mut line)
        .expect("a line");
    line.trim().to_owned()
}

/// Tells a waiting tool to go on, and returns the rest of what it says.
pub fn go_on(mut child: Child) -> String {
    child.stdin.take().expect("stdin").write_all(b"\n").expect("write");
    let mut rest = String::new();
    child
        .stdout
        .take()
        .expect("stdout")
        .read_to_string(&mut rest)
        .expect("text");
    child.wait().expect("exit");
    rest.trim().to_owned()
}

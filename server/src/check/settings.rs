//! What the kernel is to be set to: that it forwards, and has room for everybody who may be online.

use super::Findings;

/// Where the machine keeps its settings.
const SYSCTL_FILE: &str = "/etc/sysctl.d/60-kavadam.conf";
/// Where it says what to load before them: until then there are none of connections, and those in the file would be passed over at a boot.
const MODULES_FILE: &str = "/etc/modules-load.d/kavadam.conf";

/// Addresses that a device has at a time, its temporary and link-local ones too. Of IPv4 it has one, which takes none of the room while it is online,
/// as it is tied; but whoever is not yet, or invents devices, takes room as well.
const ADDRESSES_PER_SESSION: u64 = 4;
/// Ample for somebody online, on an average.
const CONNECTIONS_PER_SESSION: u64 = 200;
/// What a connection takes of the kernel's memory, about; all together a quarter of it at most.
const CONNECTION_OCTETS: u64 = 400;
/// RFC 5382 §5: a silent connection is remembered for no less than two hours and four minutes. By itself the kernel keeps those of who walked away for
/// five days.
const SILENT_SECS: u64 = 7_440;

const CONNECTIONS: &str = "net.netfilter.nf_conntrack_max";

/// One of them.
struct Setting {
    key: String,
    wanted: u64,
    bound: Bound,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bound {
    Exactly,
    AtLeast,
    /// About so much or more: what it goes by is a little otherwise with every kernel.
    About,
    /// At most so much is better, and a machine with room for all does without.
    Better,
}

impl Setting {
    fn new(key: &str, wanted: u64, bound: Bound) -> Self {
        Self {
            key: key.to_owned(),
            wanted,
            bound,
        }
    }

    fn found(&self, read: &impl Fn(&str) -> Option<String>) -> Option<u64> {
        let path = format!("/proc/sys/{}", self.key.replace('.', "/"));
        read(&path)?.trim().parse().ok()
    }

    fn holds(&self, found: Option<u64>) -> bool {
        found.is_some_and(|found| match self.bound {
            Bound::Exactly => found == self.wanted,
            Bound::AtLeast => found >= self.wanted,
            Bound::About => found >= self.wanted - self.wanted / 8,
            Bound::Better => found <= self.wanted,
        })
    }

    /// As the file is to have it: what is better already stays.
    fn line(&self, found: Option<u64>) -> String {
        let value = found.filter(|_| self.holds(found)).unwrap_or(self.wanted);
        format!("{} = {value}\n", self.key)
    }
}

/// Whether the kernel forwards and has room, by what `read` finds at a path of /proc. One remedy for all, since it writes the whole file: who follows it
/// for one does not lose another at the next boot.
pub(super) fn look(has_ipv6: bool, max_sessions: u32, read: impl Fn(&str) -> Option<String>, findings: &mut Findings) {
    let forwarding = forwarding(has_ipv6);
    let room = room(has_ipv6, max_sessions, memory_octets(&read));
    // What a machine has room for, whoever is on it, is shown to itself alone.
    let is_whole = read("/proc/sys/net/ipv4/neigh/default/gc_thresh3").is_some();
    // How long connections are remembered is a container's own too.
    let is_own = |one: &&Setting| is_whole || one.bound == Bound::Better && one.found(&read).is_some();
    let kept = forwarding.iter().chain(room.iter().filter(is_own));
    let lines: String = kept.map(|one| one.line(one.found(&read))).collect();
    let remedy = remedy(&lines, is_whole);
    for one in &forwarding {
        if one.holds(one.found(&read)) {
            findings.good(&format!("{} is on", one.key));
        } else {
            findings.bad(&format!("{} is off: nothing will be forwarded", one.key), &remedy);
        }
    }
    if !is_whole {
        return findings.note(
            "for how many neighbours and connections the kernel has room is not shown in here, as in a container: see there, \
             docs/operations.md",
        );
    }
    let lacking: Vec<String> = room
        .iter()
        .filter(|one| one.bound != Bound::Better && !one.holds(one.found(&read)))
        .map(|one| format!("{} = {}", one.key, shown(one.found(&read))))
        .collect();
    if lacking.is_empty() {
        let connections = room
            .iter()
            .find(|one| one.key == CONNECTIONS)
            .and_then(|one| one.found(&read));
        let each = connections.unwrap_or_default() / u64::from(max_sessions.max(1));
        findings.good(&format!(
            "the kernel has room for the neighbours of {max_sessions} sessions, and for {each} connections of each"
        ));
    } else {
        findings.bad(
            &format!(
                "the kernel has too little room for the neighbours and connections of {max_sessions} sessions (gateway.max_sessions), and \
                 would lose those beyond it: {}",
                lacking.join(", ")
            ),
            &format!("{remedy}; or a smaller gateway.max_sessions"),
        );
    }
}

fn shown(found: Option<u64>) -> String {
    found.map_or_else(|| "unknown".to_owned(), |found| found.to_string())
}

fn remedy(lines: &str, with_modules: bool) -> String {
    let file = format!(
        "printf '{}' > {SYSCTL_FILE} && sysctl --system",
        lines.replace('\n', "\\n")
    );
    if with_modules {
        format!("printf 'nf_conntrack\\n' > {MODULES_FILE}; modprobe nf_conntrack; {file}")
    } else {
        file
    }
}

fn forwarding(has_ipv6: bool) -> Vec<Setting> {
    let mut settings = vec![Setting::new("net.ipv4.ip_forward", 1, Bound::Exactly)];
    if has_ipv6 {
        settings.push(Setting::new("net.ipv6.conf.all.forwarding", 1, Bound::Exactly));
    }
    settings
}

/// The kernel takes memory for what is there, not for what there is room for, but for the connections' table of eight octets a place.
fn room(has_ipv6: bool, max_sessions: u32, memory_octets: Option<u64>) -> Vec<Setting> {
    let sessions = u64::from(max_sessions);
    let addresses = sessions * ADDRESSES_PER_SESSION;
    let mut settings = Vec::new();
    for family in ["ipv4", "ipv6"].into_iter().take(if has_ipv6 { 2 } else { 1 }) {
        // In the kernel's own proportion: fewer are never let go, more only when there are others.
        for (number, count) in [(1, addresses / 8), (2, addresses / 2), (3, addresses)] {
            let key = format!("net.{family}.neigh.default.gc_thresh{number}");
            settings.push(Setting::new(&key, count, Bound::AtLeast));
        }
    }
    let affordable = memory_octets.map_or(u64::MAX, |octets| octets / 4 / CONNECTION_OCTETS);
    let connections = (sessions * CONNECTIONS_PER_SESSION).min(affordable);
    settings.extend([
        Setting::new(CONNECTIONS, connections, Bound::About),
        Setting::new("net.netfilter.nf_conntrack_buckets", connections / 4, Bound::About),
        Setting::new(
            "net.netfilter.nf_conntrack_tcp_timeout_established",
            SILENT_SECS,
            Bound::Better,
        ),
    ]);
    settings
}

fn memory_octets(read: &impl Fn(&str) -> Option<String>) -> Option<u64> {
    let text = read("/proc/meminfo")?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::process::Command;

    use super::*;

    const MEMINFO: &str = "MemTotal:        8388608 kB\nMemFree: 7 kB\n";

    /// A kernel's settings, by their paths.
    #[derive(Clone, Default)]
    struct Machine(BTreeMap<String, String>);

    impl Machine {
        /// As a kernel has them by itself.
        fn fresh() -> Self {
            let mut machine = Self::default();
            machine.set("net.ipv4.ip_forward", "0");
            machine.set("net.ipv6.conf.all.forwarding", "0");
            for family in ["ipv4", "ipv6"] {
                for (number, count) in [(1, "128"), (2, "512"), (3, "1024")] {
                    machine.set(&format!("net.{family}.neigh.default.gc_thresh{number}"), count);
                }
            }
            machine.set(CONNECTIONS, "262144");
            machine.set("net.netfilter.nf_conntrack_buckets", "262144");
            machine.set("net.netfilter.nf_conntrack_tcp_timeout_established", "432000");
            machine
        }

        fn set(&mut self, key: &str, value: &str) {
            let path = format!("/proc/sys/{}", key.replace('.', "/"));
            self.0.insert(path, format!("{value}\n"));
        }

        fn look(&self, has_ipv6: bool, sessions: u32) -> Vec<String> {
            let read = |path: &str| match path {
                "/proc/meminfo" => Some(MEMINFO.to_owned()),
                _ => self.0.get(path).cloned(),
            };
            let mut findings = Findings::default();
            look(has_ipv6, sessions, read, &mut findings);
            findings.lines
        }

        /// The settings once every remedy was followed in turn, with `sysctl` and `modprobe` left out, and the machine booted.
        fn remedied(mut self, has_ipv6: bool, sessions: u32) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("60-kavadam.conf");
            for line in self.look(has_ipv6, sessions) {
                let Some((_, remedy)) = line.split_once("→ ") else {
                    continue;
                };
                let remedy = remedy.split("; or a smaller").next().unwrap();
                let here = remedy
                    .replace(SYSCTL_FILE, &file.display().to_string())
                    .replace(MODULES_FILE, &dir.path().join("modules").display().to_string());
                let script = format!("sysctl() {{ :; }}\nmodprobe() {{ :; }}\n{here}");
                assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
            }
            for line in std::fs::read_to_string(file).unwrap_or_default().lines() {
                let (key, value) = line.split_once(" = ").unwrap();
                self.set(key, value);
            }
            self
        }
    }

    fn problems(lines: &[String]) -> usize {
        lines.iter().filter(|line| line.starts_with("PROBLEM")).count()
    }

    #[test]
    fn who_follows_every_remedy_forwards_both_families_and_has_room_for_everybody_after_the_next_boot() {
        let fresh = Machine::fresh();
        assert_eq!(problems(&fresh.look(true, 131_072)), 3);
        let remedied = fresh.clone().remedied(true, 131_072);
        assert_eq!(problems(&remedied.look(true, 131_072)), 0, "{:?}", remedied.0);
        let without_ipv6 = fresh.remedied(false, 131_072);
        assert_eq!(problems(&without_ipv6.look(false, 131_072)), 0);
        assert_eq!(
            problems(&without_ipv6.look(true, 131_072)),
            2,
            "nothing is said of what is not there"
        );
    }

    #[test]
    fn a_kernel_that_counts_a_little_more_memory_makes_no_problem_of_what_was_set() {
        let mut machine = Machine::fresh().remedied(true, 131_072);
        for key in [CONNECTIONS, "net.netfilter.nf_conntrack_buckets"] {
            let path = format!("/proc/sys/{}", key.replace('.', "/"));
            let set: u64 = machine.0[&path].trim().parse().unwrap();
            machine.set(key, &(set - set / 100).to_string());
        }
        assert_eq!(problems(&machine.look(true, 131_072)), 0);
    }

    #[test]
    fn what_is_on_by_hand_alone_and_what_is_more_than_is_needed_stays() {
        let mut machine = Machine::fresh();
        machine.set("net.ipv4.ip_forward", "1");
        machine.set(CONNECTIONS, "99000000");
        let remedied = machine.remedied(true, 131_072);
        let at = |path: &str| remedied.0.get(path).map(|value| value.trim());
        assert_eq!(at("/proc/sys/net/ipv4/ip_forward"), Some("1"));
        assert_eq!(at("/proc/sys/net/netfilter/nf_conntrack_max"), Some("99000000"));
        assert_eq!(at("/proc/sys/net/ipv6/neigh/default/gc_thresh3"), Some("524288"));
    }

    #[test]
    fn a_gate_for_few_needs_no_more_than_the_kernel_has() {
        let mut machine = Machine::fresh();
        machine.set("net.ipv4.ip_forward", "1");
        assert_eq!(problems(&machine.look(false, 256)), 0, "{:?}", machine.look(false, 256));
        assert_eq!(problems(&machine.look(false, 257)), 1);
    }

    #[test]
    fn connections_take_a_quarter_of_the_memory_at_most_and_are_told_of_if_none_are_known_yet() {
        let of = |sessions| {
            let room = room(true, sessions, Some(8 << 30));
            room.iter().find(|one| one.key == CONNECTIONS).unwrap().wanted
        };
        assert_eq!(of(1_000), 200_000);
        assert_eq!((of(131_072) * CONNECTION_OCTETS) >> 20, 2_047);
        let mut machine = Machine::fresh().remedied(true, 1_000);
        machine.0.remove("/proc/sys/net/netfilter/nf_conntrack_max");
        let lines = machine.look(true, 1_000);
        assert!(
            lines.iter().any(|line| line.contains("nf_conntrack_max = unknown")),
            "{lines:?}"
        );
    }

    #[test]
    fn in_a_container_nothing_is_asked_for_that_cannot_be_set_there() {
        let mut machine = Machine::fresh();
        machine.0.retain(|path, _| !path.contains("neigh"));
        let remedied = machine.remedied(true, 131_072);
        let lines = remedied.look(true, 131_072);
        assert_eq!(problems(&lines), 0);
        assert!(lines.iter().any(|line| line.starts_with("note")), "{lines:?}");
        let at = |key: &str| {
            remedied
                .0
                .get(&format!("/proc/sys/net/netfilter/{key}"))
                .unwrap()
                .trim()
        };
        assert_eq!(at("nf_conntrack_max"), "262144", "its host's");
        assert_eq!(at("nf_conntrack_tcp_timeout_established"), "7440", "its own");
    }

    #[test]
    fn the_documentation_shows_the_file_of_a_gate_as_it_is_by_default() {
        let settings = forwarding(true).into_iter().chain(room(true, 131_072, Some(8 << 30)));
        let file: String = settings.map(|one| one.line(None)).collect();
        let shown = include_str!("../../../docs/operations.md").replace("\n   ", "\n");
        assert!(shown.contains(&file), "docs/operations.md lacks\n{file}");
    }
}

//! The other LANs of this machine: whether each has its gate, and if not, why.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kavadam_firewall::shut;
use kavadam_gateway::{GatewayConfig, OtherLan};

use super::Findings;
use crate::close;
use crate::config::{self, Config, DEFAULT_PATH, LanTold, Problem};

/// A file beside the one that is checked, which may be for another LAN.
struct Beside {
    path: PathBuf,
    told: LanTold,
}

/// Whether a LAN has its gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    Stands,
    /// Not there, but a gate of another LAN is, whose rules drop what comes from a LAN without one.
    Others,
    /// No gate is there at all.
    Nobody,
    /// We may not look at the kernel, as is told elsewhere.
    Unknown,
}

/// How a file beside ours is.
enum State {
    Usable,
    /// The first thing that is wrong with it, and how much more.
    Broken(Problem, usize),
    /// We may not read it.
    Closed,
}

/// `path` is the file that is checked, `gateway` what is in it.
pub(super) fn look(path: &Path, gateway: Option<&GatewayConfig>, findings: &mut Findings) {
    let standing = shut::standing_gates().ok();
    let mut beside = beside(path);
    for lan in gateway.iter().flat_map(|gateway| &gateway.other_lans) {
        let guard = Guard::of(&lan.table, standing.as_ref());
        let fits = beside.iter().enumerate().filter(|(_, file)| file.is_for(lan));
        // A copy under another name says the same of itself.
        let own = fits.min_by_key(|(_, file)| !file.is_named_for(lan));
        match own.map(|(at, _)| at).map(|at| beside.remove(at)) {
            Some(file) => look_at(&file, lan, guard, findings),
            None if guard.is_missing() => findings.note(&format!(
                "{}; no file beside {} is for it",
                guard.told(lan),
                path.display()
            )),
            None => {}
        }
    }
    for file in beside {
        look_at_unknown(&file, findings);
    }
}

/// Of a file that cannot be used, whether its LAN has no gate while others' stand.
pub(super) fn look_at_own(path: &Path, findings: &mut Findings) {
    if Config::load_gateway(path).is_ok() || config::is_without_gateway(path) {
        return;
    }
    let standing = shut::standing_gates().unwrap_or_default();
    let told = config::lan_told(path);
    if !standing.is_empty() && told.table.as_ref().is_some_and(|own| !standing.contains(own)) {
        findings.bad(&close::left(&told, &standing), &remedy(path));
    }
}

/// A file that is for this LAN.
fn look_at(file: &Beside, lan: &OtherLan, guard: Guard, findings: &mut Findings) {
    let (shown, interface) = (file.path.display(), &lan.interface);
    match file.state() {
        State::Broken(first, more) => {
            let what = if guard.is_missing() {
                format!("{}: {shown} cannot be used", guard.told(lan))
            } else {
                format!("{shown} cannot be used: from its next start on nobody comes online at the LAN {interface}")
            };
            findings.bad(&format!("{what}: {}", counted(&first, more)), &remedy(&file.path));
        }
        State::Closed => cannot_be_read(file, findings),
        State::Usable if guard.is_missing() => {
            findings.note(&format!("{}: that of {shown} was not started", guard.told(lan)));
        }
        State::Usable if guard == Guard::Stands => {
            findings.good(&format!("the LAN {interface} has its gate ({shown})"));
        }
        State::Usable => {}
    }
}

/// A file that is for no LAN that our own names, or one of two for the same: a copy, it may be.
fn look_at_unknown(file: &Beside, findings: &mut Findings) {
    if !file.told.may_be_ours || config::is_without_gateway(&file.path) {
        return;
    }
    match file.state() {
        State::Broken(first, more) => findings.unsure(&format!(
            "{} cannot be used; if a gate of this machine goes by it, nobody comes online at its LAN: {}",
            file.path.display(),
            counted(&first, more)
        )),
        State::Closed => cannot_be_read(file, findings),
        State::Usable => {}
    }
}

fn cannot_be_read(file: &Beside, findings: &mut Findings) {
    findings.unsure(&format!(
        "whether {} can be used: run the check as root to know",
        file.path.display()
    ));
}

fn counted(first: &Problem, more: usize) -> String {
    match more {
        0 => first.to_string(),
        more => format!("{first} (and {more} more)"),
    }
}

fn remedy(path: &Path) -> String {
    let again = match units(path) {
        Some(units) => format!("systemctl restart {units}"),
        None => "start its gate".to_owned(),
    };
    format!(
        "kavadam --config {} check tells all; correct it, then {again}",
        path.display()
    )
}

/// The units that go by a file, where units do.
fn units(path: &Path) -> Option<String> {
    let first = Path::new(DEFAULT_PATH);
    if path.parent() != first.parent() {
        return None;
    }
    let instance = match path.file_stem()?.to_str()? {
        stem if Some(stem) == first.file_stem()?.to_str() => String::new(),
        stem => format!("@{stem}"),
    };
    Some(
        ["kavadam-closed", "kavadam", "kavadam-dnsmasq"]
            .map(|unit| format!("{unit}{instance}"))
            .join(" "),
    )
}

impl Guard {
    fn of(table: &str, standing: Option<&BTreeSet<String>>) -> Self {
        match standing {
            None => Self::Unknown,
            Some(standing) if standing.contains(table) => Self::Stands,
            Some(standing) if standing.is_empty() => Self::Nobody,
            Some(_) => Self::Others,
        }
    }

    const fn is_missing(self) -> bool {
        matches!(self, Self::Others | Self::Nobody)
    }

    /// That it is missing, and what that means.
    fn told(self, lan: &OtherLan) -> String {
        let OtherLan { interface, table } = lan;
        let none = format!("the LAN {interface} has no gate (table inet {table})");
        match self {
            Self::Others => format!("{none}, and nothing from it is forwarded"),
            _ => none,
        }
    }
}

impl Beside {
    /// By what it says of itself; where it says nothing, by its name, as of `kavadam@lan1.service`.
    fn is_for(&self, lan: &OtherLan) -> bool {
        let LanTold { interface, table, .. } = &self.told;
        if interface.is_some() || table.is_some() {
            return interface.as_ref() == Some(&lan.interface) || table.as_ref() == Some(&lan.table);
        }
        self.is_named_for(lan)
    }

    fn is_named_for(&self, lan: &OtherLan) -> bool {
        let stem = self.path.file_stem().and_then(|stem| stem.to_str());
        stem.is_some_and(|stem| stem == lan.interface || stem == lan.table || format!("kavadam-{stem}") == lan.table)
    }

    fn state(&self) -> State {
        if File::open(&self.path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied) {
            return State::Closed;
        }
        let problems = match Config::examine(&self.path) {
            Err(problem) => vec![problem],
            Ok((config, mut problems)) => {
                problems.extend(config.secret_problems());
                problems
            }
        };
        let more = problems.len().saturating_sub(1);
        problems
            .into_iter()
            .next()
            .map_or(State::Usable, |first| State::Broken(first, more))
    }
}

/// Files as units take them, in order.
fn beside(path: &Path) -> Vec<Beside> {
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let own = fs::canonicalize(path).ok();
    let is_one = |file: &PathBuf| {
        let is_hidden = file
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let ends_so = file.extension().is_some_and(|end| end == "toml");
        ends_so && !is_hidden && file.is_file() && fs::canonicalize(file).ok() != own
    };
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let files: BTreeSet<PathBuf> = entries.map(|entry| entry.path()).filter(is_one).collect();
    let read = |path: PathBuf| Beside {
        told: config::lan_told(&path),
        path,
    };
    files.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, told: LanTold) -> Beside {
        Beside {
            path: Path::new("/etc/kavadam").join(name),
            told,
        }
    }

    fn lan(interface: &str, table: &str) -> OtherLan {
        OtherLan {
            interface: interface.into(),
            table: table.into(),
        }
    }

    #[test]
    fn a_file_is_known_by_what_it_says_and_else_by_its_name() {
        let silent = |name| file(name, LanTold::default());
        let staff = lan("lan1", "kavadam-lan1");
        assert!(silent("lan1.toml").is_for(&staff) && silent("kavadam-lan1.toml").is_for(&staff));
        assert!(silent("kavadam.toml").is_for(&lan("lan0", "kavadam")));
        assert!(silent("staff.toml").is_for(&lan("lan1", "kavadam-staff")));
        assert!(!silent("kavadam.toml").is_for(&staff));
        let says = |interface: Option<&str>, table: Option<&str>| LanTold {
            interface: interface.map(str::to_owned),
            table: table.map(str::to_owned),
            may_be_ours: true,
        };
        assert!(file("staff.toml", says(Some("lan1"), None)).is_for(&staff));
        assert!(file("staff.toml", says(None, Some("kavadam-lan1"))).is_for(&staff));
        assert!(!file("lan1.toml", says(Some("lan2"), None)).is_for(&staff));
    }

    #[test]
    fn a_remedy_names_the_units_where_units_go_by_the_file() {
        let of = |path: &str| units(Path::new(path));
        let first = "kavadam-closed kavadam kavadam-dnsmasq";
        assert_eq!(of("/etc/kavadam/kavadam.toml").as_deref(), Some(first));
        let second = "kavadam-closed@lan1 kavadam@lan1 kavadam-dnsmasq@lan1";
        assert_eq!(of("/etc/kavadam/lan1.toml").as_deref(), Some(second));
        assert_eq!(of("/root/lan1.toml"), None);
    }
}

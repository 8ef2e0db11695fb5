//! Closes the gate, and where it cannot be closed keeps what would be open.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use kavadam_firewall::shut::{self, Outcome};

use crate::cli::GateCommand;
use crate::config::{self, Config, LanTold};

/// The configuration cannot be used, and the gates that stand were left as they are.
const LEFT: u8 = 5;

/// Secrets play no part: the gate closes before their files can be read.
pub fn close(path: &Path) -> anyhow::Result<ExitCode> {
    crate::gate(&GateCommand::Close { shut: false }, &Config::load_gateway(path)?)
}

/// The same; where a gate should be and cannot be closed, nothing at all is forwarded. That succeeds with it: what has been done is done again
/// whenever it is asked for again. Where gates stand it is not done, for others are served by them, and the exit code is [`LEFT`].
pub fn close_or_shut(path: &Path) -> anyhow::Result<ExitCode> {
    let error = match close(path) {
        Err(error) if !config::is_without_gateway(path) => error,
        done => return done,
    };
    match shut::shut() {
        Ok(outcome) => {
            eprintln!("kavadam: {error:#}");
            let (told, code) = match outcome {
                Outcome::Shut => (
                    "nothing is forwarded, to anybody, until a gate is closed with a configuration that can be used"
                        .to_owned(),
                    ExitCode::SUCCESS,
                ),
                Outcome::Standing(gates) => (left(&config::lan_told(path), &gates), ExitCode::from(LEFT)),
            };
            eprintln!("kavadam: {told}");
            Ok(code)
        }
        // Whatever becomes of this, why there is no gate is what to tell.
        Err(failure) => {
            eprintln!("kavadam: the gate may be open: {failure:#}");
            Err(error)
        }
    }
}

/// What becomes of a LAN whose configuration cannot be used, where these gates stand.
pub fn left(lan: &LanTold, gates: &BTreeSet<String>) -> String {
    let stand = gates.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    match &lan.table {
        Some(own) if gates.contains(own) => {
            format!(
                "its gate (table inet {own}) was not loaded anew: it stands as it was loaded before, and is left so"
            )
        }
        Some(own) => format!(
            "this LAN has no gate (table inet {own}): nothing from it is forwarded, by the rules of other LANs' gates, which stand and are left as \
             they are (table inet {stand})"
        ),
        None => format!(
            "the gate was not loaded: those that stand are left as they are (table inet {stand}), and a LAN that none of them is for has nothing \
             forwarded"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_and_what_was_not_is_told_of_the_lan_that_the_file_is_for() {
        let gates = BTreeSet::from(["kavadam".to_owned(), "kavadam-lan2".to_owned()]);
        let of = |table: Option<&str>| {
            let lan = LanTold {
                table: table.map(str::to_owned),
                ..LanTold::default()
            };
            left(&lan, &gates)
        };
        let own = of(Some("kavadam-lan2"));
        assert!(own.contains("was not loaded anew: it stands as it was"), "{own}");
        let none = of(Some("kavadam-lan1"));
        assert!(
            none.contains("no gate (table inet kavadam-lan1): nothing from it is forwarded"),
            "{none}"
        );
        assert!(none.contains("table inet kavadam, kavadam-lan2"), "{none}");
        let unknown = of(None);
        assert!(unknown.contains("a LAN that none of them is for"), "{unknown}");
    }
}

//! Vendors' profiles.

use anyhow::Context as _;
use kavadam_domain::gate::Hold;
use kavadam_radius::profile::{Profile, Profiles};
use serde_json::{Value, json};

use super::{Desk, print, say, table};
use crate::cli::Output;

impl Desk {
    pub(super) fn vendors(&self, file: Option<&str>, output: Output) -> anyhow::Result<()> {
        if let Some(name) = file {
            return print_file(name);
        }
        let json = self.profiles.iter().map(profile_json).collect();
        print(output.json, &json, || {
            let rows = self.profiles.iter().map(|profile| {
                let can = profile.abilities();
                [
                    profile.name.clone(),
                    hold(can.octets),
                    hold(can.rate),
                    hold(can.session_secs),
                    hold(can.idle_secs),
                    yes(can.is_cut),
                    profile.title.clone(),
                ]
            });
            let mut lines = table(
                ["VENDOR", "DATA", "SPEED", "TIME", "IDLE", "CUT", "GATES"],
                rows.collect(),
            );
            lines.push(String::new());
            lines.extend(
                self.profiles
                    .iter()
                    .map(|profile| format!("{}: {}", profile.name, profile.notes)),
            );
            lines
        })
    }

    /// What a gate of that vendor cannot be held to.
    pub(super) fn cannot(&self, profile: &str) -> String {
        if !self.profiles.knows(profile) {
            return format!("there is no profile `{profile}`: it is spoken to by the RFCs alone");
        }
        let can = self.profiles.get(profile).abilities();
        let kinds = [
            ("data", can.octets, "hold a quota: it is cut when its reports show that"),
            ("speed", can.rate, "hold a speed"),
            ("time", can.session_secs, "hold a time"),
            ("idle", can.idle_secs, "hold an idle time"),
        ];
        let mut cannot: Vec<String> = Vec::new();
        for (name, held, words) in kinds {
            match held {
                Hold::Never => cannot.push(words.to_owned()),
                Hold::AtLogin => cannot.push(format!("change {name} after the login")),
                Hold::Always => {}
            }
        }
        if !can.is_cut {
            cannot.push("be told to end a session".to_owned());
        }
        cannot.join("; ")
    }
}

fn print_file(name: &str) -> anyhow::Result<()> {
    let mut files = Profiles::files().iter();
    let found = files.find(|file| file.name == name || file.name.strip_suffix(".toml") == Some(name));
    let names: Vec<&str> = Profiles::files().iter().map(|file| file.name).collect();
    let file = found.with_context(|| format!("no file is called `{name}`: there are {}", names.join(", ")))?;
    say(file.text.trim_end())
}

fn hold(hold: Hold) -> String {
    match hold {
        Hold::Never => "no",
        Hold::AtLogin => "at login",
        Hold::Always => "any time",
    }
    .to_owned()
}

fn yes(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

fn profile_json(profile: &Profile) -> Value {
    let can = profile.abilities();
    json!({
        "name": profile.name, "title": profile.title, "notes": profile.notes, "coa_port": profile.coa_port(), "coa_ports": profile.coa_ports(),
        "octets": hold(can.octets), "rate": hold(can.rate), "session_secs": hold(can.session_secs),
        "idle_secs": hold(can.idle_secs), "is_cut": can.is_cut,
    })
}

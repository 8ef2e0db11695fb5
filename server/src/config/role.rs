//! The role, of a configuration that may be broken elsewhere.

use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize as _;
use toml::{Table, Value};

use super::Role;

/// Whether this machine plainly has no gateway: there is no such file, or it says so, whatever else is wrong with it. In doubt it has one.
pub fn is_without_gateway(path: &Path) -> bool {
    match std::fs::read(path) {
        Ok(text) => says_so(&String::from_utf8_lossy(&text)),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

fn says_so(text: &str) -> bool {
    let roles: Vec<Value> = match text.parse::<Table>() {
        Ok(mut table) => table.remove("role").into_iter().collect(),
        Err(_) => before_sections(text).filter_map(role).collect(),
    };
    let has_none = |role: Value| Role::deserialize(role).is_ok_and(|role| !role.has_gateway());
    !roles.is_empty() && roles.into_iter().all(has_none)
}

/// Where a `role` is the role.
fn before_sections(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).take_while(|line| !line.starts_with('['))
}

/// What a line says that the role is.
fn role(line: &str) -> Option<Value> {
    let value = line.strip_prefix("role")?.trim_start().strip_prefix('=')?;
    let value = value.split('#').next().unwrap_or_default();
    Some(Value::String(value.trim().trim_matches(['"', '\'']).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_without_a_gateway_is_plain_whatever_else_is_wrong() {
        for text in [
            "role = 'centre'",
            "role = 'portal'\nportal.listen = 7\ncolour = 'blue'",
            "role = \"radius\" # the ports\n[radius\nauth = ",
            "# a note\nlog.level = \n  role='centre'\n",
            "role = centre\n",
            "role = \"centre\nstate_dir = '/s'\n",
            "role = 'centre'\nrole = 'portal'\n",
        ] {
            assert!(says_so(text), "{text}");
        }
    }

    #[test]
    fn in_doubt_there_is_a_gateway() {
        for text in [
            "",
            "colour = 'blue'",
            "colour = ",
            "role = 'gateway'\ncolour = ",
            "role = 'all-in-one'",
            "role = 'center'",
            "role = 'center'\ncolour = ",
            "role = 7",
            "role = \n",
            "roles = 'centre'\ncolour = ",
            "[database]\nrole = 'centre'\nurl = ",
            "gateway.role = 'centre'",
            "#role = 'centre'\ncolour = ",
            "role = 'centre'\nrole = 'gateway'\n",
            "\u{0}\u{fffd}",
        ] {
            assert!(!says_so(text), "{text}");
        }
    }

    #[test]
    fn without_a_file_there_is_no_gateway_and_with_one_that_cannot_be_read_there_may_be() {
        let dir = tempfile::tempdir().unwrap();
        assert!(is_without_gateway(&dir.path().join("kavadam.toml")));
        assert!(!is_without_gateway(dir.path()));
    }
}

//! The LAN that a configuration is for, though it may be broken elsewhere.

use std::path::Path;

use toml::{Table, Value};

use super::EXAMPLE;

/// What a file says in so many words. Defaults are left out: of a broken file nobody knows whether they were meant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LanTold {
    /// `gateway.lan_if`.
    pub interface: Option<String>,
    /// `gateway.table`.
    pub table: Option<String>,
    /// Whether it has any key of ours, or cannot be taken apart so that nobody knows.
    pub may_be_ours: bool,
}

/// What a file says of its LAN; nothing where it cannot be read.
pub fn lan_told(path: &Path) -> LanTold {
    let text = std::fs::read(path).unwrap_or_default();
    told(&String::from_utf8_lossy(&text))
}

fn told(text: &str) -> LanTold {
    let Ok(given) = text.parse::<Table>() else {
        return LanTold {
            may_be_ours: true,
            ..LanTold::default()
        };
    };
    let ours: Table = EXAMPLE.parse().unwrap_or_default();
    let gateway = given.get("gateway").and_then(Value::as_table);
    let word = |key| Some(gateway?.get(key)?.as_str()?.to_owned());
    LanTold {
        interface: word("lan_if"),
        table: word("table"),
        may_be_ours: given.keys().any(|key| ours.contains_key(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broken_file_says_of_its_lan_is_known_and_what_it_leaves_out_is_not() {
        let broken = told("colour = 7\n[gateway]\nlan_if = 'lan1'\ntabel = 'kavadam-lan1'\n");
        assert_eq!((broken.interface.as_deref(), broken.table), (Some("lan1"), None));
        assert!(broken.may_be_ours);
        for text in [
            "[gateway]\nlan_if = 7\ntable = ['x']",
            "gateway = 'lan1'",
            "[sms]\nurl = ''",
        ] {
            let nothing = LanTold {
                may_be_ours: true,
                ..LanTold::default()
            };
            assert_eq!(told(text), nothing, "{text}");
        }
        assert!(told("[gateway\nlan_if = 'lan1'").may_be_ours, "nobody knows");
        assert!(!told("[package]\nname = 'something else'").may_be_ours);
        assert!(!told("").may_be_ours);
    }
}

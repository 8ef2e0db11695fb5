//! Loading the rule set as one transaction, and looking whether the kernel shows what was loaded.

use std::collections::BTreeMap;
use std::io;

use nftables::helper::{DEFAULT_NFT, NftablesError, get_current_ruleset_raw};
use nftables::schema::Chain;
use nftables::types::{NfChainPolicy, NfChainType, NfHook};
use serde::Deserialize;
use serde_json::Value;

use crate::FirewallError;
use crate::compile::{Compiled, Part};
use crate::layout::Layout;
use crate::netlink::{Channel, FAMILY_INET, Refused};
use crate::ruleset::{self, Hook};

/// Makes the kernel's tables what the text says, or a part of it, in one transaction.
pub(crate) fn apply(nft: &mut Channel, text: &str, part: Part) -> Result<(), FirewallError> {
    let mut batch = nft.batch();
    let compiled =
        Compiled::add(text, part, &mut batch).map_err(|error| FirewallError::RulesUnreadable(error.to_string()))?;
    nft.commit_or_tell(batch).map_err(|Refused { error, number }| {
        let line = number.and_then(|number| compiled.line_of(number));
        refusal(line.unwrap_or_default(), error)
    })
}

/// What the kernel's complaint about a line means for the person who must act on it.
fn refusal(line: &str, error: io::Error) -> FirewallError {
    let remedy = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => return FirewallError::NotPermitted,
        Some(libc::EEXIST | libc::EBUSY) => {
            "the table is another version's; end the sessions, then: nft delete table inet kavadam (or the name in gateway.table)"
        }
        Some(libc::ENFILE) => "the list is longer than its set has room for: shorten it",
        Some(libc::ENOENT | libc::EOPNOTSUPP | libc::EINVAL) => {
            "use a kernel of 5.12 or later with nf_tables, its inet family, fib, nat, quota, limit and reject as modules or built in"
        }
        _ => return FirewallError::kernel("load the rule set")(error),
    };
    // Of a list of thousands of elements the beginning is enough.
    let line = line.get(..160).map_or(line.to_owned(), |begin| format!("{begin}…"));
    FirewallError::RulesRefused {
        line,
        source: error,
        remedy,
    }
}

/// What `nft`'s complaint about a listing means.
fn complaint(stderr: &str) -> FirewallError {
    if stderr.contains("Operation not permitted") {
        return FirewallError::NotPermitted;
    }
    let reason: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).take(3).collect();
    FirewallError::NftRefused {
        reason: reason.join(" "),
        remedy: "use nft 1.0.6 or later (nft --version)",
    }
}

/// What the kernel shows of our table, reduced to what we compare.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shown {
    /// Hook, priority, kind and policy by chain; `None` for a chain without hook.
    chains: BTreeMap<String, Option<(NfHook, i32, NfChainType, NfChainPolicy)>>,
    /// Number of rules by chain.
    rules: BTreeMap<String, usize>,
    /// Room by set and map.
    sets: BTreeMap<String, Option<u32>>,
}

/// Compares the kernel's chains, hooks, policies, rule counts and sets with the layout's.
pub(crate) fn verify(layout: &Layout) -> Result<(), FirewallError> {
    const ADDITION: &str = "find out who else changes the gate's table (another firewall service?) and load it again";
    let shown = look(layout)?.ok_or_else(|| FirewallError::Unverified {
        missing: vec!["the table is gone".to_owned()],
        remedy: ADDITION,
    })?;
    let missing = differences(layout, &shown);
    if missing.is_empty() {
        Ok(())
    } else {
        Err(FirewallError::Unverified {
            missing,
            remedy: ADDITION,
        })
    }
}

/// What is there of our table; `None`: nothing. Asked in parts: for a whole table `nft` reads every session of it, and for a whole rule set
/// every quota, which takes seconds with 100,000.
fn look(layout: &Layout) -> Result<Option<Shown>, FirewallError> {
    let mut shown = Shown::default();
    for what in ["chains", "sets", "maps"] {
        shown
            .add(&layout.table, &list(what)?)
            .map_err(|error| FirewallError::kernel("show the rule set")(error.into()))?;
    }
    let rules = Channel::netfilter(layout.table()).and_then(|mut nft| nft.all_rules(FAMILY_INET));
    for chain in rules.map_err(FirewallError::kernel("show the rules"))? {
        *shown.rules.entry(chain).or_default() += 1;
    }
    Ok((shown != Shown::default()).then_some(shown))
}

fn list(what: &str) -> Result<String, FirewallError> {
    match get_current_ruleset_raw(DEFAULT_NFT, ["-t", "list", what, "inet"]) {
        Ok(listing) => Ok(listing),
        Err(NftablesError::NftExecution { inner, .. }) => Err(FirewallError::NftMissing(inner)),
        Err(NftablesError::NftFailed { stderr, .. }) => Err(complaint(&stderr)),
        Err(error) => Err(FirewallError::kernel("show the rule set")(io::Error::other(error))),
    }
}

/// A listing of `nft`. The crate's own type for it would refuse ours, as it knows no set with a `stmt`; and other people's tables may hold
/// what neither of us knows: each entry is looked at only if it is of our table.
#[derive(Deserialize)]
struct Listing {
    nftables: Vec<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct ListedSet {
    name: String,
    size: Option<u32>,
}

impl Shown {
    fn add(&mut self, table: &str, listing: &str) -> Result<(), serde_json::Error> {
        for (kind, entry) in serde_json::from_str::<Listing>(listing)?.nftables.into_iter().flatten() {
            let is = |name: &str, value: &str| entry.get(name).and_then(Value::as_str) == Some(value);
            if !(is("family", "inet") && is("table", table)) {
                continue;
            }
            match kind.as_str() {
                "chain" => {
                    let chain: Chain = serde_json::from_value(entry)?;
                    let hook = chain.hook.zip(chain.prio).zip(chain._type).zip(chain.policy);
                    let hook = hook.map(|(((h, p), t), policy)| (h, p, t, policy));
                    self.chains.insert(chain.name.into_owned(), hook);
                }
                "set" | "map" => {
                    let set: ListedSet = serde_json::from_value(entry)?;
                    self.sets.insert(set.name, set.size);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn differences(layout: &Layout, shown: &Shown) -> Vec<String> {
    let mut missing = Vec::new();
    for chain in ruleset::chains(layout) {
        match shown.chains.get(&*chain.name) {
            None => missing.push(format!("chain {} is missing", chain.name)),
            Some(hook) if *hook != chain.hook.map(expected) => {
                missing.push(format!("chain {} has another hook, priority or policy", chain.name));
            }
            Some(_) => {}
        }
        let (found, wanted) = (
            shown.rules.get(&*chain.name).copied().unwrap_or_default(),
            chain.rules.len(),
        );
        if found != wanted {
            missing.push(format!("chain {} has {found} rules instead of {wanted}", chain.name));
        }
    }
    for (name, definition) in ruleset::sets(layout) {
        match shown.sets.get(&*name) {
            None => missing.push(format!("set {name} is missing")),
            Some(Some(size)) if !definition.contains(&format!("size {size};")) => {
                // Not an error: a set keeps the size it was made with, and it works.
                tracing::warn!(
                    set.name = %name,
                    set.size = size,
                    "set keeps its old size until the table is made anew"
                );
            }
            Some(_) => {}
        }
    }
    missing
}

fn expected(hook: Hook) -> (NfHook, i32, NfChainType, NfChainPolicy) {
    let at = match hook.at {
        "prerouting" => NfHook::Prerouting,
        "postrouting" => NfHook::Postrouting,
        "forward" => NfHook::Forward,
        "output" => NfHook::Output,
        _ => NfHook::Input,
    };
    let kind = if hook.kind == "nat" {
        NfChainType::NAT
    } else {
        NfChainType::Filter
    };
    let policy = if hook.policy == "drop" {
        NfChainPolicy::Drop
    } else {
        NfChainPolicy::Accept
    };
    (at, hook.priority.1, kind, policy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::tests::sample;

    /// As the kernel shows the sample when nothing is wrong.
    fn intact() -> Shown {
        let mut shown = Shown::default();
        for chain in ruleset::chains(&sample()) {
            shown.chains.insert(chain.name.to_string(), chain.hook.map(expected));
            shown.rules.insert(chain.name.to_string(), chain.rules.len());
        }
        shown.sets.extend(
            ruleset::sets(&sample())
                .into_iter()
                .map(|(name, _)| (name.into_owned(), None)),
        );
        shown
    }

    #[test]
    fn finds_nothing_to_say_about_the_intact_table() {
        assert_eq!(differences(&sample(), &intact()), [] as [&str; 0]);
    }

    #[test]
    fn reads_a_listing_of_nft() {
        let listing = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": "inet", "name": "kavadam"}},
            {"set": {"family": "inet", "name": "cnt_up", "table": "kavadam", "size": 7, "stmt": [{"counter": null}]}},
            {"chain": {"family": "inet", "table": "kavadam", "name": "forward", "handle": 3, "type": "filter",
                "hook": "forward", "prio": 0, "policy": "drop"}},
            {"chain": {"family": "netdev", "table": "elsewhere", "name": "forward", "hook": "unheard-of"}},
            {"chain": {"family": "ip", "table": "kavadam", "name": "elsewhere"}}]}"#;
        let mut shown = Shown::default();
        shown.add("kavadam", listing).unwrap();
        assert_eq!(shown.sets["cnt_up"], Some(7));
        assert_eq!(shown.chains.len(), 1);
        assert_eq!(shown.chains["forward"].unwrap().3, NfChainPolicy::Drop);
    }

    #[test]
    fn names_every_difference() {
        let mut shown = intact();
        shown.chains.remove("lan_dns");
        *shown.rules.get_mut("uplink").unwrap() += 1;
        shown.chains.get_mut("forward").unwrap().as_mut().unwrap().3 = NfChainPolicy::Accept;
        shown.sets.remove("total");
        let text = differences(&sample(), &shown).join("; ");
        for part in [
            "chain lan_dns is missing",
            "chain uplink has 8 rules",
            "chain forward has another",
            "set total",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn tells_the_remedy_for_each_complaint() {
        let said = |errno| refusal("add chain inet kavadam raw", io::Error::from_raw_os_error(errno)).to_string();
        assert!(said(libc::EPERM).contains("CAP_NET_ADMIN"));
        assert!(said(libc::ENOENT).contains("5.12") && said(libc::ENOENT).contains("chain inet kavadam raw"));
        assert!(said(libc::EEXIST).contains("nft delete table inet kavadam"));
        assert!(said(libc::ENOMEM).contains("load the rule set"));
        assert!(
            complaint("netlink: Error: Operation not permitted")
                .to_string()
                .contains("CAP_NET_ADMIN")
        );
    }
}

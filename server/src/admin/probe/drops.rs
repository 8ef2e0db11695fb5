//! What the local server did with what we sent: its counters before and after tell.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use kavadam_access::api::Candidates;
use kavadam_radius::server::DropReason;

use crate::watch::{Picture, ask};

/// A report that was answered and kept, and belongs to no session.
const UNOWNED: &str = "unowned_report";

const WRONG_PORT: &str = "The server got it, but on the wrong port: 1812 is for authentication, 1813 for accounting.";

/// Why there was no answer: what is surest first, where several things happened meanwhile.
const REASONS: [(DropReason, &str); 9] = [
    (
        DropReason::Unverified,
        "The server got it, and our secret is not the gate's: kavadam nas set NAME --secret-file …",
    ),
    (
        DropReason::Unnamed,
        "The server got it, and many gates stand at that address: say which one with --nas.",
    ),
    (DropReason::WrongPort, WRONG_PORT),
    (DropReason::UnknownCode, WRONG_PORT),
    (
        DropReason::Unusable,
        "The server got it, but a figure in it has the wrong length.",
    ),
    (
        DropReason::UnknownSource,
        "The server got it, and knows no gate at the address we sent from: kavadam nas list.",
    ),
    (
        DropReason::Failed,
        "The server got it, but could not decide: its database? journalctl -u kavadam tells.",
    ),
    (
        DropReason::InProgress,
        "The server got it, and has not decided yet: its database? kavadam radius top shows P99.",
    ),
    (
        DropReason::Busy,
        "The server got it, but has too much of that gate's to do: kavadam radius top.",
    ),
];

/// Whom the server takes us for.
pub(super) struct Us {
    source: IpAddr,
    /// Numbers of the gates that we may be.
    gates: Vec<i64>,
    /// Others stand at our address: what proved none of them is nobody's.
    is_shared: bool,
}

impl Us {
    /// At that address, where these gates are, by that name.
    pub(super) fn new(source: IpAddr, there: &Candidates, name: &str) -> Self {
        let all = there.all();
        let named = there.named(name.as_bytes());
        let gates = named.map_or_else(|| all.iter().map(|gate| gate.id.0).collect(), |gate| vec![gate.id.0]);
        Self {
            source: source.to_canonical(),
            gates,
            is_shared: all.len() > 1,
        }
    }
}

/// How often what happened to what came from us, by reason.
pub(super) struct Drops(BTreeMap<String, u64>);

impl Drops {
    /// Nothing where no server runs on that state.
    pub(super) fn look(socket: &Path, us: &Us) -> Option<Self> {
        Some(Self::of(&ask::picture(socket).ok()?, us))
    }

    fn of(picture: &Picture, us: &Us) -> Self {
        let ours = || picture.gates.iter().filter(|gate| us.gates.contains(&gate.id));
        let mut sum = BTreeMap::new();
        let mut add = |word: &str, count: u64| *sum.entry(word.to_owned()).or_default() += count;
        for (word, count) in ours().flat_map(|gate| &gate.figures.dropped) {
            add(word, *count);
        }
        for (word, count) in &picture.nobody.dropped {
            // That gates cannot be looked up concerns everybody.
            if word == DropReason::Failed.word() || us.is_shared && word != DropReason::UnknownSource.word() {
                add(word, *count);
            }
        }
        for (from, count) in &picture.strangers {
            if from.parse().is_ok_and(|from: IpAddr| from.to_canonical() == us.source) {
                add(DropReason::UnknownSource.word(), *count);
            }
        }
        add(UNOWNED, ours().map(|gate| gate.unowned_reports).sum());
        Self(sum)
    }

    /// What was added since.
    pub(super) fn since(&self, before: &Self) -> Grown {
        let old = |word: &String| before.0.get(word).copied().unwrap_or(0);
        let grown = self.0.iter().filter(|(word, count)| **count > old(word));
        Grown(grown.map(|(word, _)| word.clone()).collect())
    }
}

/// What happened to us meanwhile.
pub(super) struct Grown(Vec<String>);

impl Grown {
    fn has(&self, word: &str) -> bool {
        self.0.iter().any(|grown| grown == word)
    }

    /// A report of ours belongs to no session.
    pub(super) fn is_unowned(&self) -> bool {
        self.has(UNOWNED)
    }

    /// Why we heard nothing, in words.
    pub(super) fn why(&self) -> Option<&'static str> {
        let grown = REASONS.iter().find(|(reason, _)| self.has(reason.word()));
        grown.map(|(_, why)| *why)
    }
}

#[cfg(test)]
mod tests {
    use kavadam_radius::server::GateFigures;

    use super::*;
    use crate::watch::{Commits, Gate};

    fn figures(dropped: &[(&str, u64)]) -> GateFigures {
        GateFigures {
            dropped: dropped
                .iter()
                .map(|(word, count)| ((*word).to_owned(), *count))
                .collect(),
            ..GateFigures::default()
        }
    }

    fn gate(id: i64, unowned_reports: u64, dropped: &[(&str, u64)]) -> Gate {
        Gate {
            id,
            name: format!("gate-{id}"),
            site: "Stand".into(),
            online: 0,
            unowned_reports,
            figures: figures(dropped),
        }
    }

    fn picture(gates: Vec<Gate>, strangers: &[(&str, u64)], nobody: &[(&str, u64)]) -> Picture {
        Picture {
            at: 0.0,
            began_at: 0,
            gates,
            strangers: strangers
                .iter()
                .map(|(from, count)| ((*from).to_owned(), *count))
                .collect(),
            stranger_datagrams: 0,
            nobody: figures(nobody),
            waiting_messages: 0,
            waiting_orders: 0,
            database_micros: 0,
            commits: Commits::default(),
        }
    }

    fn us(gates: &[i64], is_shared: bool) -> Us {
        Us {
            source: "10.0.0.1".parse().unwrap(),
            gates: gates.to_vec(),
            is_shared,
        }
    }

    /// What of this picture is told to be ours, beginning with nothing.
    fn grown(picture: &Picture, us: &Us) -> Grown {
        let nothing = self::picture(Vec::new(), &[], &[]);
        Drops::of(picture, us).since(&Drops::of(&nothing, us))
    }

    #[test]
    fn what_befell_other_gates_and_strangers_is_not_ours() {
        let others = [("unverified", 3), ("wrong_port", 2)];
        let strangers = [("192.0.2.9", 7)];
        let there = picture(
            vec![gate(1, 0, &[]), gate(2, 5, &others)],
            &strangers,
            &[("unknown_source", 7), ("unverified", 1)],
        );
        let found = grown(&there, &us(&[1], false));
        assert!(found.why().is_none() && !found.is_unowned(), "{:?}", found.0);
        let found = grown(&there, &us(&[2], false));
        assert!(found.is_unowned() && found.why().unwrap().contains("our secret is not the gate's"));
        let found = grown(&there, &us(&[], false));
        assert!(found.why().is_none());
        let known = picture(Vec::new(), &[("::ffff:10.0.0.1", 1)], &[("unknown_source", 1)]);
        assert!(grown(&known, &us(&[], false)).why().unwrap().contains("knows no gate"));
    }

    #[test]
    fn at_an_address_of_several_gates_what_proved_none_of_them_may_be_ours() {
        let there = picture(vec![gate(1, 0, &[])], &[], &[("unverified", 1)]);
        assert!(grown(&there, &us(&[1], true)).why().unwrap().contains("our secret"));
        assert!(grown(&there, &us(&[1], false)).why().is_none());
    }
}

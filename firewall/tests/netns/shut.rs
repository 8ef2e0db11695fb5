//! A machine whose gate cannot be closed.

use std::collections::BTreeSet;
use std::process::Command;

use kavadam_firewall::shut::{Outcome, is_shut, lift, shut, standing_gates};

use crate::Case;
use crate::lab::{Inside, WEB4};

pub const CASES: &[Case] = &[(
    "forwards_nothing_until_a_gate_stands",
    forwards_nothing_until_a_gate_stands,
)];

fn forwards_nothing_until_a_gate_stands(lab: &Inside) {
    assert!(!is_shut().unwrap());
    lift().expect("nothing to lift is no error");
    assert_eq!(lab.phone.node.upload(WEB4, 3, 1000), 3, "it is open to begin with");
    assert_eq!(standing_gates().unwrap(), BTreeSet::new());
    assert_eq!(shut().unwrap(), Outcome::Shut);
    assert!(is_shut().unwrap());
    assert_eq!(shut().unwrap(), Outcome::Shut, "it can be shut again");
    assert_eq!(lab.phone.node.upload(WEB4, 3, 1000), 0);

    let gate = lab.gate();
    assert!(!is_shut().unwrap(), "the gate's rules hold");
    gate.open(&lab.phone.session(gate.create_pool(None).unwrap())).unwrap();
    assert_eq!(lab.phone.node.upload(WEB4, 3, 1000), 3);
    let left = Outcome::Standing(BTreeSet::from(["kavadam".to_owned()]));
    assert_eq!(shut().unwrap(), left, "where a gate stands it is left");
    assert!(!is_shut().unwrap());
    drop(gate);
    assert_eq!(shut().unwrap(), left, "also if nobody holds it");

    let gone = Command::new("nft")
        .args(["delete", "table", "inet", "kavadam"])
        .status();
    assert!(gone.unwrap().success());
    assert_eq!(shut().unwrap(), Outcome::Shut);
    lift().unwrap();
    assert!(!is_shut().unwrap());
}

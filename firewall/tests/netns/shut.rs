//! A machine whose gate cannot be closed.

use std::process::Command;

use kavadam_firewall::shut::{is_shut, lift, shut};

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
    assert!(shut().unwrap() && is_shut().unwrap());
    assert!(shut().unwrap(), "it can be shut again");
    assert_eq!(lab.phone.node.upload(WEB4, 3, 1000), 0);

    let gate = lab.gate();
    assert!(!is_shut().unwrap(), "the gate's rules hold");
    gate.open(&lab.phone.session(gate.create_pool(None).unwrap())).unwrap();
    assert_eq!(lab.phone.node.upload(WEB4, 3, 1000), 3);
    assert!(
        !shut().unwrap() && !is_shut().unwrap(),
        "where a gate stands it is left"
    );
    drop(gate);
    assert!(!shut().unwrap(), "also if nobody holds it");

    let gone = Command::new("nft")
        .args(["delete", "table", "inet", "kavadam"])
        .status();
    assert!(gone.unwrap().success());
    assert!(shut().unwrap());
    lift().unwrap();
    assert!(!is_shut().unwrap());
}

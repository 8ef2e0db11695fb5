//! The resolver is for those online: what strangers ask goes to the door for names, or nowhere.

use std::net::UdpSocket;
use std::thread;

use kavadam_firewall::{Gate, Layout};

use crate::Case;
use crate::lab::{Inside, WEB4, WEB6, layout};

pub const CASES: &[Case] = &[
    (
        "ends_a_conversation_with_the_resolver_when_the_session_ends",
        ends_a_conversation_with_the_session,
    ),
    (
        "answers_no_stranger_at_an_address_from_which_nothing_is_led",
        answers_no_stranger_undiverted,
    ),
];

/// With a door for the names of strangers, as gateways have it.
fn with_door() -> Layout {
    Layout {
        names_port: 5300,
        ..layout()
    }
}

/// Answers every datagram to this port of the gateway with this word.
fn answer(port: u16, word: &'static str) {
    let own = ["10.80.0.1", "fd00:80::1", &link_local()].map(str::to_owned);
    for host in own {
        let socket = match host.split_once('%') {
            None => UdpSocket::bind((host.as_str(), port)),
            Some((host, index)) => UdpSocket::bind(format!("[{host}%{index}]:{port}")),
        };
        let socket = socket.unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(word.as_bytes(), peer);
            }
        });
    }
}

/// The gateway's on the LAN, with the interface's number.
fn link_local() -> String {
    let own = std::fs::read_to_string("/proc/net/if_inet6").unwrap();
    let own = own
        .lines()
        .find(|line| line.starts_with("fe80") && line.ends_with(" lan0"));
    let words: Vec<&str> = own.unwrap().split_whitespace().collect();
    let address = u128::from_str_radix(words[0], 16).unwrap();
    let index = u32::from_str_radix(words[1], 16).unwrap();
    format!("{}%{index}", std::net::Ipv6Addr::from_bits(address))
}

fn ends_a_conversation_with_the_session(lab: &Inside) {
    let (gate, phone) = (Gate::load(&with_door()).unwrap(), &lab.phone);
    gate.admit_lease(phone.mac(), phone.ipv4(), None).unwrap();
    answer(53, "resolver");
    answer(5300, "door");
    let slot = gate.open(&phone.session(gate.create_pool(None).unwrap())).unwrap();
    let asks = |host, port| phone.node.run(&["udp-try-from", port, host, "53"]);
    for host in ["10.80.0.1", "fd00:80::1"] {
        assert_eq!(asks(host, "4000"), "resolver", "online, {host}");
    }
    gate.close(slot).unwrap();
    for host in ["10.80.0.1", "fd00:80::1"] {
        assert_eq!(asks(host, "4000"), "silence", "what began online, {host}");
        assert_eq!(asks(host, "4001"), "door", "what begins now, {host}");
    }
    for host in [WEB4, WEB6] {
        assert_eq!(asks(host, "4000"), "door", "{host}");
    }
}

fn answers_no_stranger_undiverted(lab: &Inside) {
    let without = Layout {
        lan6: None,
        ..with_door()
    };
    let (gate, phone) = (Gate::load(&without).unwrap(), &lab.phone);
    gate.admit_lease(phone.mac(), phone.ipv4(), None).unwrap();
    answer(53, "resolver");
    answer(5300, "door");
    let link_local = link_local();
    let (host, _) = link_local.split_once('%').unwrap();
    let asks = |port| phone.node.run(&["udp-try", &format!("{host}%eth0"), port]);
    // Neighbours must know each other, or nothing comes at all.
    let ping = ["ping", "-c1", "-W2", &format!("{host}%eth0")];
    assert!(phone.node.succeeds(&ping));
    assert_eq!(asks("53"), "silence");
    assert_eq!(asks("5300"), "door", "whose bounds hold there too");
}

//! MS-CHAPv2 inside PEAP and TTLS, by a stranger's supplicant, at a stranger's server that hands it on to our centre.

use std::fs;

use kavadam_lab::freeradius::FreeRadius;
use kavadam_lab::{Citizen, World};

use crate::proxies::{PROXY, freeradius, secret, world};
use crate::{beside_others, phone};

const METHODS: [(&str, &str); 2] = [("PEAP", "9876543210"), ("TTLS", "9876543211")];

/// Ends the tunnel itself, and asks our centre about who is inside.
fn tunnel_server(world: &World) -> FreeRadius {
    freeradius(world, |proxy| {
        proxy.replace(
            "sites-available/inner-tunnel",
            "&Proxy-To-Realm := LOCAL",
            "&Proxy-To-Realm := NULL",
        )?;
        proxy.replace(
            "mods-available/eap",
            "copy_request_to_tunnel = no",
            "copy_request_to_tunnel = yes",
        )?;
        proxy.replace(
            "mods-available/eap",
            "#\tproxy_tunneled_request_as_eap = yes",
            "proxy_tunneled_request_as_eap = no",
        )
    })
}

/// What the supplicant says at the end, and whether it got in.
fn supplicant(world: &World, (method, number): (&str, &str), password: &str) -> (bool, String) {
    let config = world.dir().join("supplicant.conf");
    let network = format!(
        "network={{\nkey_mgmt=WPA-EAP\neap={method}\nidentity=\"{number}\"\nanonymous_identity=\"somebody@outside.example\"\n\
         password=\"{password}\"\nphase2=\"auth=MSCHAPV2\"\n}}\n"
    );
    fs::write(&config, network).unwrap();
    let [config, port] = [config.display().to_string(), PROXY.to_string()];
    let secret = secret(world);
    let words = [
        "-c",
        &config,
        "-a",
        "127.0.0.1",
        "-p",
        &port,
        "-s",
        &secret,
        "-M",
        "02:00:5e:00:00:77",
        "-t",
        "10",
    ];
    let output = world.gate.output("eapol_test", &words).unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), said)
}

/// Of a code asked for on the page of the portal.
fn code(world: &mut World, number: &str) -> String {
    let phone = phone(world);
    let citizen = Citizen { phone: &phone, number };
    let seen = world.messages().len();
    citizen.give_number(&citizen.arrive().unwrap()).unwrap();
    citizen.read_code(world, seen).unwrap().1
}

#[test]
fn a_strangers_supplicant_logs_in_by_ms_chap_where_the_gate_may_and_only_there() {
    let _machine = beside_others();
    let mut world = world("");
    let proxy = tunnel_server(&world);
    for who in METHODS {
        let code = code(&mut world, who.1);
        world.admin(&["nas", "set", "local", "--ms-chap=false"]).unwrap();
        let (is_in, said) = supplicant(&world, who, &code);
        assert!(!is_in, "{who:?} where the gate may not\n{said}");
        world.admin(&["nas", "set", "local", "--ms-chap"]).unwrap();
        let (is_in, said) = supplicant(&world, who, "000000");
        assert!(!is_in, "{who:?} with a wrong code\n{said}");
        let (is_in, said) = supplicant(&world, who, &code);
        assert!(is_in, "{who:?}\n{said}\n{}", proxy.said());
        assert!(said.contains("MSCHAPV2"), "{said}");
    }
}

//! One program for every target; `TARGET` in the environment names it.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static RUN: LazyLock<kavadam_fuzz::Target> = LazyLock::new(|| {
    let name = std::env::var("TARGET").unwrap_or_default();
    kavadam_fuzz::target(&name).unwrap_or_else(|| panic!("TARGET names no target: {name:?}"))
});

fuzz_target!(|octets: &[u8]| RUN(octets));

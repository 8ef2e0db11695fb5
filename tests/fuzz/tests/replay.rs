//! Every corpus, thrown at its target once more: what was once found stays found.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::fs;
use std::path::{Path, PathBuf};

use kavadam_fuzz::TARGETS;

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// All seeds of a target; every one of them too with each octet cut off, and with each bit of its first 64 octets turned.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let dir = corpora().join(name);
    let mut files: Vec<_> = fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

#[test]
fn every_seed_leaves_its_target_standing() {
    for (name, run) in TARGETS {
        let seeds = seeds(name);
        assert!(seeds.len() >= 3, "{name} has too few seeds");
        for seed in seeds {
            run(&seed);
        }
    }
}

#[test]
fn no_seed_cut_short_or_bent_by_a_bit_fells_its_target() {
    for (name, run) in TARGETS {
        for seed in seeds(name) {
            for length in 0..seed.len() {
                run(&seed[..length]);
            }
            for bit in 0..seed.len().min(64) * 8 {
                let mut bent = seed.clone();
                bent[bit / 8] ^= 1 << (bit % 8);
                run(&bent);
            }
        }
    }
}

#[test]
fn every_corpus_has_a_target() {
    for entry in fs::read_dir(corpora()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(kavadam_fuzz::target(&name).is_some(), "{name} belongs to no target");
    }
}

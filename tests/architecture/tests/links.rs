//! What the pages refer to is there: files, and headings in them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Every page of the project.
fn pages() -> Vec<PathBuf> {
    let folders = ["", "docs", "docs/screenshots", "tests/fuzz", "tests/lab", "tests/bench"];
    let files = folders
        .map(|folder| root().join(folder))
        .into_iter()
        .filter(|folder| folder.is_dir());
    let files = files.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    files
        .filter(|file| file.extension().is_some_and(|end| end == "md"))
        .collect()
}

/// The text without what is quoted as code, where brackets mean something else.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// What a heading is called in an address: small letters, no punctuation, hyphens for spaces.
fn anchor(heading: &str) -> String {
    let kept = heading
        .trim()
        .chars()
        .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.flat_map(char::to_lowercase)
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

fn anchors(page: &Path) -> BTreeSet<String> {
    let text = prose(&fs::read_to_string(page).unwrap());
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

/// The targets of `[…](target)` that are the project's own.
fn targets(text: &str) -> Vec<String> {
    let after = text.split("](").skip(1);
    let targets = after
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned());
    targets
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .collect()
}

#[test]
fn every_page_refers_to_files_and_headings_that_are_there() {
    let pages = pages();
    assert!(pages.len() > 10, "{pages:?}");
    let mut followed = 0;
    let mut broken = Vec::new();
    for page in &pages {
        for target in targets(&prose(&fs::read_to_string(page).unwrap())) {
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            let file = if file.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(file)
            };
            let is_there = file.exists() && (heading.is_empty() || anchors(&file).contains(heading));
            followed += 1;
            if !is_there {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(followed > 50, "only {followed}");
}

//! Takes from a text the values that can be used, and tells of each that cannot: one wrong key hides no other.

use serde::Deserialize as _;
use toml::{Table, Value};

use super::file::File;
use super::problems::Problems;

/// Sections whose parts people name themselves, and what each part may hold.
const FILTERS: [&str; 2] = ["gateway", "filters"];
const IN_FILTER: [&str; 4] = ["names", "files", "addresses", "ports"];
const CLASSES: [&str; 3] = ["gateway", "uplink", "classes"];
const IN_CLASS: [&str; 2] = ["at_least", "at_most"];
/// Of which the example has one value, and a list may stand.
const ONE_OR_SEVERAL: [[&str; 2]; 2] = [["radius", "auth_listen"], ["radius", "acct_listen"]];

/// What can be used of `given`; the rest keeps its default and leaves a problem. `example` has every key there is.
pub(super) fn sift(given: &Table, example: &Table, problems: &mut Problems) -> File {
    let usable = usable(&[], given, example, problems);
    // Each value was tried alone, so that together they fit.
    File::deserialize(usable).unwrap_or_default()
}

fn usable(path: &[&str], given: &Table, example: &Table, problems: &mut Problems) -> Table {
    let mut usable = Table::new();
    for (key, value) in given {
        let path = [path, &[key.as_str()]].concat();
        match (expected(&path, example).as_ref(), value) {
            (None, _) => problems.add(
                &path.join("."),
                "there is no such key; `kavadam example-config` lists them all",
            ),
            (Some(Value::Table(example)), Value::Table(given)) => {
                usable.insert(key.clone(), Value::Table(self::usable(&path, given, example, problems)));
            }
            (Some(example), value) if example.type_str() != value.type_str() && !is_list(&path, value) => {
                let text = format!("expected {}, found {}", example.type_str(), value.type_str());
                problems.add(&path.join("."), &text);
            }
            (Some(_), value) => match fault(&path, value) {
                None => {
                    usable.insert(key.clone(), value.clone());
                }
                Some(text) => problems.add(&path.join("."), &text),
            },
        }
    }
    usable
}

/// Whether it is a list where one value or several may stand.
fn is_list(path: &[&str], value: &Value) -> bool {
    value.is_array() && ONE_OR_SEVERAL.iter().any(|key| path == key)
}

/// What the example has there.
fn expected(path: &[&str], example: &Table) -> Option<Value> {
    if path == FILTERS || path == CLASSES {
        return Some(Value::Table(Table::new()));
    }
    match (path.strip_prefix(&FILTERS), path.strip_prefix(&CLASSES)) {
        (Some([_]), _) => Some(part(&IN_FILTER, &Value::Array(Vec::new()))),
        (_, Some([_])) => Some(part(&IN_CLASS, &Value::String(String::new()))),
        _ => example.get(*path.last()?).cloned(),
    }
}

fn part(keys: &[&str], value: &Value) -> Value {
    let keys = keys.iter().map(|key| ((*key).to_owned(), value.clone()));
    Value::Table(keys.collect())
}

/// Why this value cannot stand at that key, if it cannot.
fn fault(path: &[&str], value: &Value) -> Option<String> {
    let wrap = |inner, key: &&str| Value::Table(Table::from_iter([((*key).to_owned(), inner)]));
    let alone = path.iter().rev().fold(value.clone(), wrap);
    let error = File::deserialize(alone).err()?;
    Some(match value {
        Value::Integer(number) => format!("{number} is out of range"),
        _ => error.message().trim().replace('\n', " "),
    })
}

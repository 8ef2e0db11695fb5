//! Takes from a text the values that can be used, and tells of each that cannot: one wrong key hides no other.

use serde::Deserialize as _;
use toml::{Table, Value};

use super::file::File;
use super::problems::Problems;

/// A section whose parts people name themselves, and what each may hold.
const NAMED: [&str; 2] = ["gateway", "filters"];
const IN_EACH: [&str; 4] = ["names", "files", "addresses", "ports"];

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
            (Some(example), value) if example.type_str() != value.type_str() => {
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

/// What the example has there.
fn expected(path: &[&str], example: &Table) -> Option<Value> {
    if path == NAMED {
        return Some(Value::Table(Table::new()));
    }
    match path.strip_prefix(&NAMED) {
        Some([_]) => {
            let list = |key: &str| (key.to_owned(), Value::Array(Vec::new()));
            Some(Value::Table(IN_EACH.map(list).into_iter().collect()))
        }
        _ => example.get(*path.last()?).cloned(),
    }
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

//! All profiles: those built in, and those of a directory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kavadam_domain::gate::{Abilities, OWN_PROFILE, STANDARD_PROFILE};

use super::dictionary::{Dictionary, FileProblem, MAX_DICTIONARY_OCTETS};
use super::{Profile, file};

/// A file that is part of the program, to be read and copied.
#[derive(Debug, Clone, Copy)]
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub text: &'static str,
}

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        [$(BuiltIn { name: $name, text: include_str!(concat!("../../vendors/", $name)) }),*]
    };
}

const FILES: [BuiltIn; 23] = built_in![
    "dictionary.standard",
    "dictionary.wispr",
    "dictionary.chillispot",
    "dictionary.mikrotik",
    "dictionary.aruba",
    "dictionary.cisco",
    "dictionary.ruckus",
    "dictionary.tplink",
    "dictionary.cambium",
    "dictionary.pfsense",
    "dictionary.meraki",
    "standard.toml",
    "coovachilli.toml",
    "uspot.toml",
    "uspot-2025.toml",
    "mikrotik.toml",
    "aruba.toml",
    "cisco.toml",
    "ruckus.toml",
    "omada.toml",
    "cambium.toml",
    "pfsense.toml",
    "meraki.toml",
];

/// Every profile by name.
#[derive(Debug, Clone)]
pub struct Profiles {
    by_name: BTreeMap<String, Arc<Profile>>,
    /// For a name that none has.
    standard: Arc<Profile>,
}

/// That of our own gateway, for every gate.
impl Default for Profiles {
    fn default() -> Self {
        let own = Arc::new(Profile::own());
        Self {
            by_name: BTreeMap::from([(OWN_PROFILE.to_owned(), Arc::clone(&own))]),
            standard: own,
        }
    }
}

impl Profiles {
    /// Profiles and dictionaries of a directory.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn files_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
        let is_ours = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| is_dictionary(name) || is_profile(name))
        };
        let all = fs::read_dir(directory)?.filter_map(|entry| Some(entry.ok()?.path()));
        Ok(all.filter(is_ours).collect())
    }

    /// Those built in.
    ///
    /// # Errors
    /// What is wrong in them, which a test keeps from happening.
    pub fn built_in() -> Result<Self, Vec<FileProblem>> {
        Self::read(&[])
    }

    /// Those built in, and those of a directory, whose files replace what is called the same. Dictionaries are the files whose name
    /// begins with `dictionary`, profiles those that end with `.toml`; others are left alone.
    ///
    /// # Errors
    /// Everything wrong in its files, or that they cannot be read.
    pub fn load(directory: &Path) -> Result<Self, Vec<FileProblem>> {
        Self::read(&read_directory(directory)?)
    }

    /// From these files by name and text, besides those built in.
    ///
    /// # Errors
    /// Everything wrong in them.
    pub fn read(given: &[(String, String)]) -> Result<Self, Vec<FileProblem>> {
        let mut problems = Vec::new();
        let mut dictionary = Dictionary::default();
        let built_in = FILES.iter().map(|file| (file.name, file.text));
        let files: Vec<(&str, &str)> = built_in
            .chain(given.iter().map(|(name, text)| (name.as_str(), text.as_str())))
            .collect();
        for (name, text) in files.iter().filter(|(name, _)| is_dictionary(name)) {
            problems.extend(dictionary.add(name, text).err().unwrap_or_default());
        }
        let mut by_name = BTreeMap::from([(OWN_PROFILE.to_owned(), Arc::new(Profile::own()))]);
        let mut given_names: BTreeMap<String, &str> = BTreeMap::new();
        for (at, (name, text)) in files.iter().enumerate().filter(|(_, (name, _))| is_profile(name)) {
            match file::read(name, text, &dictionary) {
                Ok(profile) => {
                    let is_given = at >= FILES.len();
                    if let Some(other) = given_names.get(&profile.name).filter(|_| is_given) {
                        let text = format!(
                            "profile `{}` is that of {other} too: give it another name",
                            profile.name
                        );
                        problems.push(FileProblem {
                            file: (*name).to_owned(),
                            line: 0,
                            text,
                        });
                    }
                    if is_given {
                        given_names.insert(profile.name.clone(), name);
                    }
                    by_name.insert(profile.name.clone(), Arc::new(profile));
                }
                Err(found) => problems.extend(found),
            }
        }
        let standard = by_name.get(STANDARD_PROFILE).cloned();
        match standard {
            Some(standard) if problems.is_empty() => Ok(Self { by_name, standard }),
            _ => Err(problems),
        }
    }

    /// The profile of that name; a gate of one that is not known here is spoken to by the RFCs alone.
    #[must_use]
    pub fn get(&self, name: &str) -> &Arc<Profile> {
        self.by_name.get(name).unwrap_or(&self.standard)
    }

    /// Whether there is one of that name.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.by_name.values().map(AsRef::as_ref)
    }

    /// What the gates of each can be held to.
    #[must_use]
    pub fn abilities(&self) -> BTreeMap<String, Abilities> {
        let all = self.iter();
        all.map(|profile| (profile.name.clone(), profile.abilities())).collect()
    }

    /// The files that are built in: to begin one's own with.
    #[must_use]
    pub fn files() -> &'static [BuiltIn] {
        &FILES
    }
}

fn is_dictionary(name: &str) -> bool {
    name.starts_with("dictionary")
}

fn is_profile(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|ending| ending == "toml")
}

/// The files of a directory by name, in that order.
fn read_directory(directory: &Path) -> Result<Vec<(String, String)>, Vec<FileProblem>> {
    let failed = |path: &Path, text: String| FileProblem {
        file: path.display().to_string(),
        line: 0,
        text,
    };
    let paths = Profiles::files_in(directory).map_err(|error| {
        let text = format!("cannot be read: {error}; make the directory, or leave radius.profiles empty");
        vec![failed(directory, text)]
    })?;
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let size = fs::metadata(&path).map_or(0, |found| found.len());
        if size > MAX_DICTIONARY_OCTETS as u64 {
            problems.push(failed(
                &path,
                format!("larger than {MAX_DICTIONARY_OCTETS} octets: this is neither profile nor dictionary"),
            ));
            continue;
        }
        match fs::read_to_string(&path) {
            Ok(text) => files.push((name.to_owned(), text)),
            Err(error) => problems.push(failed(&path, format!("cannot be read: {error}"))),
        }
    }
    files.sort();
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}

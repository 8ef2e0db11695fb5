//! What is to be removed if we are told to stop in the middle of something.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::netns::sh;

/// Namespaces and directories of ours.
#[derive(Default)]
pub(crate) struct Traces {
    pub namespaces: BTreeSet<String>,
    pub directories: BTreeSet<PathBuf>,
    /// The machine's own, which the kernel would take away only some time after the namespace at the other end.
    pub links: BTreeSet<String>,
}

static TRACES: Mutex<Option<Traces>> = Mutex::new(None);

/// Notes or forgets something.
pub(crate) fn note(change: impl FnOnce(&mut Traces)) {
    change(lock().get_or_insert_default());
}

/// Ends every process in our namespaces, removes all of them and our directories, and exits. Whoever would make another one meanwhile
/// waits, until we are no more.
pub fn remove_and_exit(code: i32) -> ! {
    let traces = lock();
    if let Some(traces) = traces.as_ref() {
        for name in &traces.links {
            let _ = sh("ip", &["link", "del", name]);
        }
        for name in &traces.namespaces {
            let inside = sh("ip", &["netns", "pids", name]).unwrap_or_default();
            for process in inside.lines() {
                // It may have ended by itself.
                let _ = sh("kill", &["-KILL", process]);
            }
        }
        for name in &traces.namespaces {
            remove_namespace(name);
        }
        for directory in &traces.directories {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
    std::process::exit(code)
}

pub(crate) fn remove_namespace(name: &str) {
    let _ = sh("ip", &["netns", "del", name]);
    let _ = std::fs::remove_dir_all(Path::new("/etc/netns").join(name));
}

fn lock() -> MutexGuard<'static, Option<Traces>> {
    TRACES.lock().unwrap_or_else(PoisonError::into_inner)
}

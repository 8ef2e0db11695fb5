//! What is to be removed if we are told to stop in the middle of something.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::netns::sh;

/// What `ip netns exec` shows processes in place of files in /etc.
const OWN_FILES: &str = "/etc/netns";

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

/// A directory that is gone when it is dropped, or when we are told to stop.
///
/// # Errors
/// It cannot be made.
pub fn directory(prefix: &str) -> anyhow::Result<TempDir> {
    let made = tempfile::Builder::new().prefix(prefix).tempdir()?;
    note(|traces| {
        traces.directories.insert(made.path().to_owned());
    });
    Ok(made)
}

/// Told to stop, at whatever moment, nothing is left behind. `code` is what to exit with then.
///
/// # Errors
/// No thread can be made.
pub fn heed_signals(code: impl Fn() -> i32 + Send + 'static) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let mut signals =
                [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(|kind| signal(kind).ok());
            let [interrupt, terminate, hangup] = &mut signals;
            tokio::select! {
                () = first(interrupt) => {}
                () = first(terminate) => {}
                () = first(hangup) => {}
            }
        });
        eprintln!("\nRemoving the small world.");
        remove_and_exit(code())
    });
    Ok(())
}

async fn first(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Ends every process in our namespaces, removes all of them and our directories, and exits. Whoever would make another one meanwhile
/// waits, until we are no more.
fn remove_and_exit(code: i32) -> ! {
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
    let _ = std::fs::remove_dir_all(own_files(name));
    // Succeeds only where it is empty.
    let _ = std::fs::remove_dir(OWN_FILES);
}

/// Where the files of a namespace's own are.
pub(crate) fn own_files(name: &str) -> PathBuf {
    Path::new(OWN_FILES).join(name)
}

fn lock() -> MutexGuard<'static, Option<Traces>> {
    TRACES.lock().unwrap_or_else(PoisonError::into_inner)
}

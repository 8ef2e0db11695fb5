//! Builds anew when a migration is added: `sqlx::migrate!` embeds the folders but watches only the files it knows.
#![expect(clippy::print_stdout, reason = "that is how a build script speaks to cargo")]

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}

//! Builds anew when a migration is added: `sqlx::migrate!` embeds the folders but watches only the files it knows.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}

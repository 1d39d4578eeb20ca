//! The migrations are part of the library: a new one must rebuild it.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}

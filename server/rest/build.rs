//! The built web client becomes part of this crate, so a new build of it must rebuild the crate.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // While the folder is missing cargo runs this every time, and so notices when it appears.
    println!("cargo:rerun-if-changed=../web/dist");
}

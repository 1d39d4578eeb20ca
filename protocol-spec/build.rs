//! The folders are the lists: a schema or a file of vectors that is added needs no line of code.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a build script reads files and answers cargo by its output"
)]

use std::env;
use std::fs;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let package = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let out = env::var("OUT_DIR").expect("cargo sets it");
    for (folder, extension) in [("schemas", ".json"), ("vectors", ".jsonl")] {
        println!("cargo:rerun-if-changed={folder}");
        let path = Path::new(&package).join(folder);
        let mut files: Vec<String> = fs::read_dir(&path)
            .expect("the folder is part of the package")
            .map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"))
            .collect();
        files.sort();
        let lines: Vec<String> = files
            .iter()
            .filter_map(|file| Some((file.strip_suffix(extension)?, path.join(file))))
            .map(|(name, path)| format!("({name:?}, include_str!({path:?})),\n"))
            .collect();
        let list = Path::new(&out).join(format!("{folder}.rs"));
        fs::write(list, format!("&[\n{}]\n", lines.concat())).expect("cargo's folder is writable");
    }
}

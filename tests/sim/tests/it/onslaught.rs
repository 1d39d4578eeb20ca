//! Scripts against one shard: those that are kept, and others made of their lines.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use throng_sim::canary::{Canary, OF_SCRIPTS};
use throng_sim::onslaught::play;
use throng_sim::run::quiet_panics;

const MIXED: u64 = 150;
const LINES: usize = 60;

/// The scripts of the folder, by name.
fn scripts() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut all: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .expect("the scripts")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read(path).expect("a script"))
        })
        .collect();
    all.sort();
    all
}

/// A script of lines of all scripts, the same one for each seed.
fn mixed(seed: u64, lines: &[&[u8]]) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut pick = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        lines[state as usize % lines.len()]
    };
    (0..LINES).map(|_| pick()).collect::<Vec<_>>().join(&b'\n')
}

fn every_script() -> Vec<(String, Vec<u8>)> {
    let mut all = scripts();
    assert!(all.len() >= 5, "the scripts are there");
    let kept = all.clone();
    let lines = kept.iter().flat_map(|(_, script)| script.split(|byte| *byte == b'\n'));
    let lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
    all.extend((1..=MIXED).map(|seed| (format!("mixed {seed}"), mixed(seed, &lines))));
    all
}

/// What a script breaks, if anything.
fn fault_of(script: &[u8]) -> Option<String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| play(script, None)));
    let panic = outcome.err()?;
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
}

#[test]
fn whatever_clients_send_a_shard_keeps_its_bounds() {
    for (name, script) in every_script() {
        let fault = fault_of(&script);
        assert_eq!(fault, None, "{name}:\n{}", String::from_utf8_lossy(&script));
    }
}

#[test]
fn each_way_to_break_a_bound_is_noticed() {
    quiet_panics();
    let all = every_script();
    for canary in OF_SCRIPTS {
        Canary::arm(Some(canary));
        let mut faults = all.iter().filter_map(|(name, script)| Some((name, fault_of(script)?)));
        let fault = faults.next();
        Canary::arm(None);
        let (name, fault) = fault.unwrap_or_else(|| panic!("{} is not noticed", canary.name()));
        println!("{}: {name}: {fault}", canary.name());
    }
}

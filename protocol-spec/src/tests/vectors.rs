use std::collections::BTreeSet;

use serde_json::Value;

use crate::{Origin, Vector, Verdict, clause, vector::parse, vector_files, vectors};

fn faults(vectors: &[Vector]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut names = BTreeSet::new();
    for vector in vectors {
        let mut fault = |what: &str| faults.push(format!("{}: {what}", vector.name));
        if clause(&vector.clause).is_none() {
            fault("no such clause");
        }
        if !names.insert(&vector.name) {
            fault("the name is there twice");
        }
        if vector.wire().is_err() || vector.attachments().is_err() {
            fault("no wire form");
        }
        if vector.source.trim().is_empty() {
            fault("no source");
        }
        if vector.verdict == Verdict::Accept && vector.meaning.is_null() {
            fault("accepted without a meaning");
        }
        // A recording names a package and its version, a text a document, an RFC a section.
        let sourced = match vector.origin {
            Origin::ReferenceRecorded => vector.source.contains('@'),
            Origin::UpstreamText => vector.source.contains("socketio/"),
            Origin::Rfc6455 => vector.source.contains("RFC 6455 §"),
            Origin::Hand => true,
        };
        if !sourced {
            fault("the source does not name its origin");
        }
    }
    faults
}

#[test]
fn every_vector_is_sound() {
    for file in vector_files() {
        let found = vectors(file);
        assert!(found.len() >= 20, "{file} has {} vectors", found.len());
        assert_eq!(faults(&found), Vec::<String>::new(), "{file}");
    }
}

#[test]
fn every_vector_file_is_listed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");
    let on_disk: BTreeSet<String> = std::fs::read_dir(folder)
        .expect("the folder is part of the package")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"))
        .collect();
    let listed = vector_files().map(|name| format!("{name}.jsonl")).collect();
    assert_eq!(on_disk, listed);
}

#[test]
fn most_vectors_of_the_codecs_are_not_our_own() {
    for file in ["engine_io_packets", "engine_io_payloads", "socket_io_packets"] {
        let found = vectors(file);
        let own = found.iter().filter(|vector| vector.origin == Origin::Hand).count();
        assert!(own * 3 <= found.len(), "{file}: {own} of {} written by hand", found.len());
    }
}

#[test]
fn no_vector_holds_a_real_token_or_name() {
    for file in vector_files() {
        for vector in vectors(file).iter().filter(|vector| vector.source.contains("transcript")) {
            let text = vector.text.clone().unwrap_or_default();
            for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
                assert!(word.len() != 60 || word == "T".repeat(60), "{}: {word}", vector.name);
                assert!(!word.contains("mws"), "{}: {word}", vector.name);
            }
        }
    }
}

/// A second, plain reading of EIO-31, so that a slip in a hand-written length is seen.
#[test]
fn lengths_of_accepted_text_payloads_add_up() {
    let mut checked = 0;
    for vector in vectors("engine_io_payloads") {
        if vector.clause != "EIO-31" || vector.verdict != Verdict::Accept {
            continue;
        }
        let text = vector.text.as_deref().expect("a text payload");
        let units: Vec<u16> = text.encode_utf16().collect();
        let mut at = 0;
        let mut packets = Vec::new();
        while at < units.len() {
            let colon =
                at + units[at..].iter().position(|unit| *unit == u16::from(b':')).expect("a colon");
            let length: usize =
                String::from_utf16(&units[at..colon]).expect("digits").parse().expect("digits");
            let packet = String::from_utf16(&units[colon + 1..colon + 1 + length])
                .expect("whole characters");
            packets.push(packet);
            at = colon + 1 + length;
        }
        let meaning = vector.meaning["packets"].as_array().map(Vec::len);
        assert_eq!(Some(packets.len()), meaning, "{}", vector.name);
        checked += 1;
    }
    assert!(checked > 10);
}

#[test]
fn the_checker_finds_each_fault() {
    let good = r#"{"clause":"EIO-10","name":"a","dir":"both","protocol":"any","form":"x","text":"4","verdict":"accept","meaning":{"type":"message"},"origin":"hand","source":"s"}"#;
    assert_eq!(faults(&parse(good).expect("good")), Vec::<String>::new());
    let value: Value = serde_json::from_str(good).expect("JSON");
    for (key, bad, expected) in [
        ("clause", Value::from("EIO-9999"), "no such clause"),
        ("source", Value::from(" "), "no source"),
        ("meaning", Value::Null, "without a meaning"),
        ("text", Value::Null, "no wire form"),
        ("bytes", Value::from("00"), "no wire form"),
        ("attachments", Value::from(vec!["0g"]), "no wire form"),
        ("origin", Value::from("reference-recorded"), "does not name its origin"),
        ("origin", Value::from("rfc6455"), "does not name its origin"),
    ] {
        let mut value = value.clone();
        value[key] = bad;
        let found = faults(&parse(&value.to_string()).expect("a vector"));
        assert!(found.iter().any(|fault| fault.contains(expected)), "{key}: {found:?}");
    }
    let twice = faults(&parse(&format!("{good}\n{good}\n")).expect("vectors"));
    assert!(twice.iter().any(|fault| fault.contains("twice")), "{twice:?}");
    for (key, bad) in [
        ("origin", "own-codec"),
        ("verdict", "maybe"),
        ("dir", "up"),
        ("protocol", "eio2"),
        ("colour", "red"),
    ] {
        let mut value = value.clone();
        value[key] = Value::from(bad);
        assert!(parse(&value.to_string()).is_err(), "{key}");
    }
}

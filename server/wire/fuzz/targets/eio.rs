//! Payloads of both protocols in both forms; what is accepted is not empty.
#![no_main]

use libfuzzer_sys::fuzz_target;
use throng_wire::eio::payload::{self, Form};
use throng_wire::eio::{Version, decode_binary, decode_text, query};

fuzz_target!(|bytes: &[u8]| {
    for version in [Version::V3, Version::V4] {
        for form in [Form::Text, Form::Binary] {
            if let Ok(packets) = payload::decode(version, form, bytes, 16) {
                assert!((1..=16).contains(&packets.len()));
            }
        }
        let _ = decode_binary(version, bytes);
        if let Ok(text) = std::str::from_utf8(bytes) {
            let _ = decode_text(version, text);
            let _ = query(text);
        }
    }
    let _ = payload::jsonp_body(bytes);
});

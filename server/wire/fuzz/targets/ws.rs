//! However a client's bytes arrive, they mean the same. The first byte says how they are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use throng_wire::Fault;
use throng_wire::ws::{Decoder, Limits};

const LIMITS: Limits = Limits { message_bytes_max: 1 << 16, fragments_max: 16 };

fn decode(bytes: &[u8], chunk_len: usize) -> (Vec<String>, Option<Fault>) {
    let mut decoder = Decoder::default();
    let mut messages = Vec::new();
    for chunk in bytes.chunks(chunk_len) {
        let mut chunk = chunk.to_vec();
        let mut input = &mut chunk[..];
        loop {
            match decoder.next(&mut input, &LIMITS) {
                Ok(Some(message)) => messages.push(format!("{message:?}")),
                Ok(None) => break,
                Err(fault) => return (messages, Some(fault)),
            }
        }
    }
    (messages, None)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&chunk_len, bytes)) = bytes.split_first() else { return };
    let whole = decode(bytes, bytes.len().max(1));
    assert_eq!(decode(bytes, usize::from(chunk_len).max(1)), whole);
});

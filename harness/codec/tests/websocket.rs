//! The WebSocket codec against RFC 6455 and against itself.

use proptest::prelude::*;
use throng_codec::websocket::{
    BINARY, Close, Decoder, FIN, Fault, Mask, Message, TEXT, accept_key, close_frame, frame,
};

/// Everything that a server makes of a client's bytes, fed in pieces of `piece` bytes.
fn decode(bytes: &[u8], piece: usize) -> Result<Vec<Message>, Fault> {
    let mut decoder = Decoder::new(Some(Mask::Client), 100_000);
    let mut messages = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        while let Some(message) = decoder.next_message()? {
            messages.push(message);
        }
    }
    Ok(messages)
}

#[test]
fn the_examples_of_the_rfc_decode() {
    let hello = Ok(vec![Message::Text("Hello".to_owned())]);
    let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(frame(FIN | TEXT, b"Hello", Mask::Client), masked);
    assert_eq!(decode(&masked, 1), hello);
    let unmasked = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(frame(FIN | TEXT, b"Hello", Mask::Server), unmasked);
    assert_eq!(decode(&unmasked, 1), Err(Fault(1002)));
    assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn every_byte_is_masked_by_its_position() {
    let payload: Vec<u8> = (0..23).collect();
    let frame = frame(FIN | BINARY, &payload, Mask::Client);
    let (head, masked) = frame.split_at(6);
    for (at, (byte, plain)) in masked.iter().zip(&payload).enumerate() {
        assert_eq!(byte ^ head[2 + at % 4], *plain, "byte {at}");
    }
}

#[test]
fn a_close_frame_keeps_its_code_and_reason() {
    let close = |code, reason: &str| decode(&close_frame(code, reason, Mask::Client), 3);
    let sent = Close { code: 4001, reason: "slow_consumer".to_owned() };
    assert_eq!(close(4001, "slow_consumer"), Ok(vec![Message::Close(Some(sent))]));
    assert_eq!(close(1005, ""), Err(Fault(1002)));
    assert_eq!(decode(&frame(0x88, b"", Mask::Client), 9), Ok(vec![Message::Close(None)]));
}

#[test]
fn an_announced_length_above_the_limit_is_refused_before_its_payload() {
    let mut head = vec![0x82, 0xff];
    head.extend_from_slice(&100_001u64.to_be_bytes());
    assert_eq!(decode(&head, 1), Err(Fault(1009)));
}

proptest! {
    #[test]
    fn messages_come_back_in_any_pieces(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..5),
        piece in 1usize..90,
    ) {
        let mut bytes = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let fin = if index + 1 == parts.len() { FIN } else { 0 };
            let opcode = if index == 0 { BINARY } else { 0 };
            bytes.extend(frame(fin | opcode, part, Mask::Client));
        }
        prop_assert_eq!(decode(&bytes, piece), Ok(vec![Message::Binary(parts.concat())]));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = decode(&bytes, 7);
    }
}

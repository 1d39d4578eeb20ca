use std::collections::VecDeque;
use std::io::{self, Read, Write};

use proptest::prelude::*;
use tungstenite::protocol::{Role, WebSocketConfig};

use super::*;
use crate::sweep;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d]; // RFC 6455 §5.7
const LIMITS: Limits = Limits { message_bytes_max: 1 << 16, fragments_max: 8 };

/// A message that outlives the decoder's buffers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Message<'_>> for Owned {
    fn from(message: Message<'_>) -> Owned {
        match message {
            Message::Text(text) => Owned::Text(text.to_owned()),
            Message::Binary(bytes) => Owned::Binary(bytes.to_vec()),
            Message::Ping(bytes) => Owned::Ping(bytes.to_vec()),
            Message::Pong(bytes) => Owned::Pong(bytes.to_vec()),
            Message::Close(close) => Owned::Close(close.map(|(c, r)| (c, r.to_owned()))),
        }
    }
}

fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// What a decoder makes of `chunks`, and the fault it ends with, if any.
fn decode<'c>(
    chunks: impl IntoIterator<Item = &'c [u8]>,
    limits: &Limits,
) -> (Vec<Owned>, Option<Fault>) {
    let mut decoder = Decoder::default();
    let mut messages = Vec::new();
    for chunk in chunks {
        let mut chunk = chunk.to_vec();
        let mut input = &mut chunk[..];
        loop {
            match decoder.next(&mut input, limits) {
                Ok(Some(message)) => messages.push(message.into()),
                Ok(None) => break,
                Err(fault) => return (messages, Some(fault)),
            }
        }
        assert!(input.is_empty(), "None means that all input is taken");
    }
    (messages, None)
}

fn decode_whole(bytes: &[u8]) -> (Vec<Owned>, Option<Fault>) {
    decode([bytes], &LIMITS)
}

#[track_caller]
fn check(bytes: &[u8], want: &[Owned]) {
    assert_eq!(decode_whole(bytes), (want.to_vec(), None));
}

#[track_caller]
fn check_fault(bytes: &[u8], want: Fault, close_code: u16) {
    let (_, fault) = decode_whole(bytes);
    assert_eq!(fault, Some(want));
    assert_eq!(want.close_code(), close_code);
}

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(text.replace(' ', "").as_bytes()).expect("hex")
}

fn text(text: &str) -> Owned {
    Owned::Text(text.to_owned())
}

/// A stream with every kind of frame, fragments, and a control frame between them.
fn varied_stream() -> Vec<u8> {
    [
        client_frame(0x81, b"42[\"message\",{}]"),
        client_frame(0x01, "2\u{20ac}".as_bytes()),
        client_frame(0x89, b"are you there"),
        client_frame(0x00, &"\u{1F600}".as_bytes()[..2]),
        client_frame(0x80, &"\u{1F600}".as_bytes()[2..]),
        client_frame(0x82, &[7; 130]),
        client_frame(0x8A, b""),
        client_frame(0x81, b""),
        client_frame(0x88, b"\x03\xe8bye"),
    ]
    .concat()
}

#[test]
fn the_examples_of_rfc_6455_decode() {
    check(&hex("81 85 37fa213d 7f9f4d5158"), &[text("Hello")]);
    check(&hex("8a 85 37fa213d 7f9f4d5158"), &[Owned::Pong(b"Hello".to_vec())]);
    // The unmasked fragmented example of §5.7, masked with the key of the first one.
    check(&hex("01 83 37fa213d 7f9f4d 80 82 37fa213d 5b95"), &[text("Hello")]);
}

#[test]
fn the_examples_of_rfc_6455_encode() {
    assert_eq!(text_frame("Hello"), hex("81 05 48656c6c6f"));
    assert_eq!(ping_frame(b"Hello"), hex("89 05 48656c6c6f"));
    assert_eq!(pong_frame(b"Hello"), hex("8a 05 48656c6c6f"));
    assert_eq!(binary_frame(&[1; 256])[..4], hex("82 7e 0100"));
    assert_eq!(binary_frame(&[1; 65536])[..10], hex("82 7f 0000000000010000"));
    assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn a_close_frame_holds_its_code_and_what_fits_of_the_reason() {
    assert_eq!(close_frame(4002, "ping_timeout"), &b"\x88\x0e\x0f\xa2ping_timeout"[..]);
    let long = close_frame(1001, &"\u{20ac}".repeat(100));
    assert_eq!(long.len(), 2 + 2 + 123, "41 characters of three bytes");
    assert_eq!(close_frame(1001, &"é".repeat(100)).len(), 2 + 2 + 122, "not half a character");
}

#[test]
fn the_payload_of_our_own_frame_is_found_at_every_header_length() {
    for len in [0, 1, 125, 126, 65535, 65536] {
        let payload = "x".repeat(len);
        let frame = text_frame(&payload);
        assert_eq!(payload_of(&frame), payload.as_bytes(), "{len}");
        let behind_room = " ".repeat(HEADER_ROOM) + &payload;
        assert_eq!(text_frame_in_place(behind_room), frame, "{len}");
    }
    assert_eq!(payload_of(b""), b"");
}

#[test]
fn every_broken_rule_has_its_fault_and_close_code() {
    check_fault(&hex("81 05 48656c6c6f"), Fault::Unmasked, 1002);
    check_fault(&hex("c1"), Fault::ReservedBits, 1002);
    check_fault(&hex("a1"), Fault::ReservedBits, 1002);
    check_fault(&hex("91"), Fault::ReservedBits, 1002);
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        check_fault(&[0x80 | opcode], Fault::ReservedOpcode, 1002);
    }
    for opcode in [8, 9, 10] {
        check_fault(&[opcode], Fault::ControlFragmented, 1002);
        check_fault(&[0x80 | opcode, 0x80 | 126], Fault::ControlTooLong, 1002);
        check_fault(&[0x80 | opcode, 0x80 | 127], Fault::ControlTooLong, 1002);
    }
    check_fault(&hex("80"), Fault::UnexpectedContinuation, 1002);
    check_fault(&hex("00"), Fault::UnexpectedContinuation, 1002);
    let begun = client_frame(0x01, b"a");
    check_fault(&[&begun[..], &[0x81]].concat(), Fault::InterleavedMessage, 1002);
    check_fault(&[&begun[..], &[0x02]].concat(), Fault::InterleavedMessage, 1002);
    check_fault(&hex("82 ff 8000000000000000"), Fault::LengthOverflow, 1002);
    check_fault(&hex("82 ff 7fffffffffffffff"), Fault::MessageTooLarge, 1009);
    check_fault(&client_frame(0x81, b"\xff"), Fault::TextNotUtf8, 1007);
    check_fault(&client_frame(0x88, b"\x03"), Fault::CloseTruncated, 1002);
    check_fault(&client_frame(0x88, b"\x03\xe8\xff"), Fault::CloseReasonNotUtf8, 1007);
}

#[test]
fn a_finished_message_may_be_followed_by_any_first_frame() {
    let fragmented = [client_frame(0x01, b"a"), client_frame(0x80, b"b")].concat();
    check(&[&fragmented[..], &fragmented].concat(), &[text("ab"), text("ab")]);
    check_fault(&[&fragmented[..], &[0x80]].concat(), Fault::UnexpectedContinuation, 1002);
}

#[test]
fn only_sendable_close_codes_are_taken() {
    let close = |code: u16| decode_whole(&client_frame(0x88, &code.to_be_bytes()));
    // The codes of Autobahn's cases 7.7 and 7.9, and the borders of the registry's ranges.
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014] {
        assert_eq!(close(code), (vec![Owned::Close(Some((code, String::new())))], None));
    }
    for code in [3000, 3999, 4000, 4999] {
        assert_eq!(close(code), (vec![Owned::Close(Some((code, String::new())))], None));
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        assert_eq!(close(code), (vec![], Some(Fault::CloseCodeInvalid)), "{code}");
    }
    check(&client_frame(0x88, b""), &[Owned::Close(None)]);
    check(&client_frame(0x88, b"\x03\xe8bye"), &[Owned::Close(Some((1000, "bye".to_owned())))]);
}

#[test]
fn control_payloads_of_125_bytes_are_taken_and_come_out_between_fragments() {
    let long = vec![b'p'; 125];
    let stream = [
        client_frame(0x01, b"Hel"),
        client_frame(0x89, &long),
        client_frame(0x8A, b"x"),
        client_frame(0x80, b"lo"),
    ]
    .concat();
    check(&stream, &[Owned::Ping(long), Owned::Pong(b"x".to_vec()), text("Hello")]);
}

#[test]
fn bytes_one_at_a_time_and_every_cut_in_two_give_the_same_messages() {
    let stream = varied_stream();
    let whole = decode_whole(&stream);
    assert_eq!(whole.0.len(), 7, "all messages of the stream");
    assert_eq!(whole.1, None);
    assert_eq!(decode(stream.chunks(1), &LIMITS), whole);
    for cut in 0..=stream.len() {
        let (head, tail) = stream.split_at(cut);
        assert_eq!(decode([head, tail], &LIMITS), whole, "cut at {cut}");
    }
}

#[test]
fn damaged_streams_do_not_panic_and_do_not_depend_on_how_they_arrive() {
    sweep::damaged(&varied_stream(), |bytes| {
        assert_eq!(decode(bytes.chunks(1), &LIMITS), decode_whole(bytes), "{bytes:02x?}");
    });
}

#[test]
fn every_length_of_a_message_is_decoded() {
    let lengths = (0..300).chain(65530..65536).chain([65536]);
    for len in lengths {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        check(&client_frame(0x82, &payload), &[Owned::Binary(payload)]);
    }
}

#[test]
fn lengths_need_not_be_minimal() {
    let body = &client_frame(0x81, b"Hello")[2..];
    check(&[&hex("81 fe 0005"), body].concat(), &[text("Hello")]);
    check(&[&hex("81 ff 0000000000000005"), body].concat(), &[text("Hello")]);
}

#[test]
fn unmasking_by_words_equals_unmasking_by_bytes() {
    for len in 0..70 {
        for offset in 0..9 {
            let original: Vec<u8> = (0..len).map(|i| (i * 37) as u8).collect();
            let mut payload = original.clone();
            frame::unmask(&mut payload, MASK, offset);
            let want: Vec<u8> =
                original.iter().enumerate().map(|(i, b)| b ^ MASK[(i + offset) % 4]).collect();
            assert_eq!(payload, want, "length {len}, offset {offset}");
        }
    }
}

#[test]
fn a_whole_frame_is_borrowed_from_the_input() {
    let mut frames = [client_frame(0x81, b"Hello"), client_frame(0x82, &[1, 2])].concat();
    let range = frames.as_ptr_range();
    let mut input = &mut frames[..];
    let mut decoder = Decoder::default();
    match decoder.next(&mut input, &LIMITS) {
        Ok(Some(Message::Text(text))) => assert!(range.contains(&text.as_ptr())),
        other => panic!("{other:?}"),
    }
    match decoder.next(&mut input, &LIMITS) {
        Ok(Some(Message::Binary(bytes))) => assert!(range.contains(&bytes.as_ptr())),
        other => panic!("{other:?}"),
    }
    assert!(decoder.is_idle());
}

#[test]
fn a_decoder_keeps_nothing_between_messages() {
    assert_eq!(size_of::<Decoder>(), size_of::<usize>());
    let mut decoder = Decoder::default();
    assert!(decoder.is_idle());
    let mut frame = client_frame(0x81, b"Hello");
    let (head, tail) = frame.split_at_mut(7);
    assert_eq!(decoder.next(&mut &mut *head, &LIMITS), Ok(None));
    assert!(!decoder.is_idle());
    let mut input = tail;
    assert!(matches!(decoder.next(&mut input, &LIMITS), Ok(Some(Message::Text(_)))));
    assert!(decoder.is_idle());
    assert_eq!(decoder.next(&mut input, &LIMITS), Ok(None));
    assert_eq!(format!("{decoder:?}"), "Decoder { partial: None }");
}

#[test]
fn a_message_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() {
    let limits = Limits { message_bytes_max: 1000, fragments_max: 8 };
    let frame = |first, len| client_frame(first, &vec![b'x'; len]);
    assert_eq!(decode([&frame(0x81, 1000)[..]], &limits).1, None);
    assert_eq!(decode([&frame(0x81, 1001)[..]], &limits).1, Some(Fault::MessageTooLarge));
    let two = |len| [frame(0x01, 600), frame(0x80, len)].concat();
    assert_eq!(decode([&two(400)[..]], &limits).1, None);
    assert_eq!(decode([&two(401)[..]], &limits).1, Some(Fault::MessageTooLarge));
}

#[test]
fn a_message_too_large_is_refused_before_its_payload_arrives() {
    let header = &client_frame(0x82, &vec![0; (1 << 16) + 1])[..10];
    check_fault(header, Fault::MessageTooLarge, 1009);
}

#[test]
fn a_control_frame_is_taken_when_the_message_has_used_up_its_bytes() {
    let limits = Limits { message_bytes_max: 3, fragments_max: 2 };
    let stream =
        [client_frame(0x01, b"abc"), client_frame(0x89, b"pppp"), client_frame(0x80, b"")].concat();
    let want = vec![Owned::Ping(b"pppp".to_vec()), text("abc")];
    assert_eq!(decode([&stream[..]], &limits), (want, None));
}

#[test]
fn a_message_has_at_most_fragments_max_frames() {
    let limits = Limits { message_bytes_max: 100, fragments_max: 3 };
    let stream = |continuations| {
        let mut stream = client_frame(0x01, b"");
        for _ in 0..continuations {
            stream.extend(client_frame(0x00, b""));
        }
        stream
    };
    assert_eq!(decode([&stream(2)[..]], &limits).1, None);
    assert_eq!(decode([&stream(3)[..]], &limits).1, Some(Fault::TooManyFragments));
    let last = [stream(1), client_frame(0x80, b"z")].concat();
    assert_eq!(decode([&last[..]], &limits), (vec![text("z")], None));
}

#[test]
fn bad_text_fails_with_the_frame_that_brings_it() {
    // Autobahn 6.4: a message of valid text, then a byte that cannot follow, then more.
    let good = client_frame(0x01, "κόσμε".as_bytes());
    let bad = client_frame(0x00, b"\xf4\x90");
    check_fault(&[good.clone(), bad].concat(), Fault::TextNotUtf8, 1007);
    // And within a frame that has only begun to arrive.
    let mut frame = client_frame(0x81, b"ok\xff and much more");
    frame.truncate(6 + 3);
    check_fault(&frame, Fault::TextNotUtf8, 1007);
    // Half a character at the end is bad only if the message ends there.
    check(&[good.clone(), client_frame(0x00, b"\xf0\x9f")].concat(), &[]);
    check_fault(&[good, client_frame(0x80, b"\xf0\x9f")].concat(), Fault::TextNotUtf8, 1007);
}

#[test]
fn binary_may_hold_anything() {
    check(&client_frame(0x82, b"\xff\xfe"), &[Owned::Binary(vec![0xff, 0xfe])]);
    let fragments = [client_frame(0x02, b"\xf0"), client_frame(0x80, b"\x00")].concat();
    check(&fragments, &[Owned::Binary(vec![0xf0, 0])]);
}

#[test]
fn surrogates_and_overlong_forms_are_not_utf8() {
    for bytes in [&b"\xed\xa0\x80"[..], b"\xc0\xaf", b"\xf8\x88\x80\x80\x80", b"\xf4\x90\x80\x80"] {
        check_fault(&client_frame(0x81, bytes), Fault::TextNotUtf8, 1007);
    }
}

/// An input stream that swallows what is written to it.
struct Stream(VecDeque<u8>);

impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The messages that tungstenite's own reader finds before the stream is closed or breaks.
fn tungstenite_reads(bytes: &[u8]) -> Vec<Owned> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(LIMITS.message_bytes_max))
        .max_frame_size(Some(LIMITS.message_bytes_max));
    let stream = Stream(bytes.iter().copied().collect());
    let mut socket = tungstenite::WebSocket::from_raw_socket(stream, Role::Server, Some(config));
    let mut messages = Vec::new();
    loop {
        messages.push(match socket.read() {
            Ok(tungstenite::Message::Text(text)) => Owned::Text(text.as_str().to_owned()),
            Ok(tungstenite::Message::Binary(bytes)) => Owned::Binary(bytes.to_vec()),
            Ok(tungstenite::Message::Ping(bytes)) => Owned::Ping(bytes.to_vec()),
            Ok(tungstenite::Message::Pong(bytes)) => Owned::Pong(bytes.to_vec()),
            Ok(tungstenite::Message::Close(_) | tungstenite::Message::Frame(_)) | Err(_) => break,
        });
    }
    messages
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "\\PC{0,40}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..130),
        prop::collection::vec(Just(b'x'), 120..130),
    ]
}

/// A frame that mostly keeps the rules.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x81u8, 0x82, 0x89, 0x8a]),
        6 => prop::sample::select(vec![0x01u8, 0x02, 0x00, 0x00, 0x80, 0x80]),
        1 => Just(0x88),
        1 => any::<u8>(),
    ];
    (first, payload()).prop_map(|(first, payload)| client_frame(first, &payload))
}

proptest! {
    #[test]
    fn agrees_with_tungstenite(
        frames in prop::collection::vec(any_frame(), 1..8),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut stream = frames.concat();
        for (at, value) in flips {
            let at = at.index(stream.len());
            stream[at] = value;
        }
        // Zeros complete any frame that was promised and then break a rule themselves, so both sides
        // end in a fault, a close, or at the fragment limit, which tungstenite does not have.
        stream.resize(stream.len() + (1 << 16) + 20, 0);
        let (mut ours, fault) = decode_whole(&stream);
        if let Some(end) = ours.iter().position(|m| matches!(m, Owned::Close(_))) {
            ours.truncate(end);
        } else {
            prop_assert!(fault.is_some());
            prop_assume!(fault != Some(Fault::TooManyFragments));
        }
        prop_assert_eq!(ours, tungstenite_reads(&stream));
    }

    #[test]
    fn what_is_framed_comes_out_however_it_is_cut(
        messages in prop::collection::vec((any::<bool>(), "\\PC{0,60}", 0usize..4), 1..6),
        cuts in prop::collection::vec(1usize..40, 1..50),
    ) {
        let mut stream = Vec::new();
        let mut want = Vec::new();
        for (is_text, text, fragments) in &messages {
            let opcode = if *is_text { 0x01 } else { 0x02 };
            let bytes = text.as_bytes();
            let part = bytes.len() / (fragments + 1);
            for i in 0..*fragments {
                let opcode = if i == 0 { opcode } else { 0 };
                stream.extend(client_frame(opcode, &bytes[i * part..(i + 1) * part]));
                stream.extend(client_frame(0x89, &[i as u8]));
                want.push(Owned::Ping(vec![i as u8]));
            }
            let opcode = if *fragments == 0 { opcode } else { 0 };
            stream.extend(client_frame(0x80 | opcode, &bytes[fragments * part..]));
            want.push(if *is_text {
                Owned::Text(text.clone())
            } else {
                Owned::Binary(bytes.to_vec())
            });
        }
        let mut chunks = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at((*cut).min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        prop_assert_eq!(decode(chunks, &LIMITS), (want, None));
    }

    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(decode(bytes.chunks(1), &LIMITS), decode_whole(&bytes));
    }
}

#[test]
fn a_frame_written_in_place_is_that_of_its_text_whatever_is_before_it_or_apart() {
    for len in [0, 1, 125, 126, 127, 65535, 65536] {
        let text = "x".repeat(len);
        for apart in [0, 1, len / 2, len] {
            let mut out = b"before".to_vec();
            let start = begin_text_frame(&mut out);
            out.extend_from_slice(&text.as_bytes()[apart.min(len)..]);
            end_text_frame(&mut out, start, apart.min(len));
            out.extend_from_slice(&text.as_bytes()[..apart.min(len)]);
            assert_eq!(out, [b"before", &text_frame(&text)[..]].concat(), "{len}, {apart}");
        }
    }
}

//! Chapter 8.5: what others notice while the target is abused. One row is one input.

use throng_codec::websocket::{BINARY, CONTINUATION, FIN, Mask, PING, TEXT, frame};

use super::prelude::*;
use crate::abuse::input::{Bytes, Input, Opening, Rhythm, Scene};
use crate::abuse::judge;

/// Writes tables of cases, one per clause: for each its id, combos, what it does, and its input.
macro_rules! abuses {
    ($($table:ident $clause:literal {$(
        $id:literal over $over:ident
            does $does:literal
            input $input:expr;
    )+})+) => {$(
        pub const $table: &[crate::case::Case] = &[$(crate::case::Case {
            id: $id,
            clauses: &["LIM-80", $clause],
            over: $over,
            needs: ABUSE,
            does: $does,
            expects: "others keep their sessions and get every message once, in order and in time; \
                      memory grows by at most 64 MB; 5 s later at most 5 % of a core is used",
            run: |context| judge(context, &$input),
        }),+];
    )+};
}

abuses! {
    REPLIES "LIM-81" {
        "abuse.replies.ws-pings" over ONLY_E4W
            does "sends WebSocket pings of 125 bytes and reads no pong"
            input flood(Opening::Connected, |_| many(frame(FIN | PING, &[b'p'; 125], Mask::Client)));
        "abuse.replies.eio3-pings" over ONLY_E3W
            does "sends Engine.IO 3 pings of 8 KB and reads no pong"
            input flood(Opening::Connected, |_| many(text(&format!("2{}", "p".repeat(8_000)))));
        "abuse.replies.namespaces" over ONLY_E4W
            does "connects namespaces that do not exist and reads no CONNECT_ERROR"
            input flood(Opening::Connected, |_| many(text(&format!("40/{},", "n".repeat(200)))));
        "abuse.replies.unknown-events" over ONLY_E4W
            does "emits the shortest unknown event and reads no answer"
            input flood(Opening::Connected, |_| many(text("42[\"x\"]")));
        "abuse.replies.invalid-events" over ONLY_E4W
            does "emits messages with a wrong argument and reads no ack"
            input flood(Opening::Connected, |_| many(text("421[\"message\",5]")));
        "abuse.replies.acks" over ONLY_E4W
            does "acknowledges events that were never sent"
            input flood(Opening::Connected, |_| many(text("431234567[]")));
        "abuse.replies.tokens" over ONLY_E4W
            does "emits login with a new unknown token each time and reads no answer"
            input fresh(Opening::Connected, |scene| {
                batch(scene, 200, |n| text(&format!("42[\"login\",{{\"api_token\":\"{}\"}}]", token(n))))
            });
        "abuse.replies.reconnects" over ONLY_E4W
            does "disconnects and connects its namespace, with a new unknown token each time"
            input fresh(Opening::Connected, |scene| batch(scene, 200, |n| {
                [text("41"), text(&format!("40{{\"token\":\"{}\"}}", token(n)))].concat()
            }));
        "abuse.replies.polls" over ONLY_E4P
            does "posts unknown events and polls for the answers, without reading either answer"
            input fresh(Opening::Polling, |scene| {
                let events = vec!["42[\"x\"]"; 500].join("\x1e");
                [post(scene, scene.sid, events.as_bytes()), get(scene, &of_session(scene))].concat()
            });
        "abuse.replies.handshakes" over ONLY_E4P
            does "opens polling sessions one after the other on a connection and reads no answer"
            input flood(Opening::Tcp, |scene| many(get(scene, &polling(scene))));
        "abuse.replies.pages" over NONE
            does "asks for the first page again and again on a connection and reads no answer"
            input flood(Opening::Tcp, |scene| many(get(scene, "/")));
    }
    UNFINISHED "LIM-82" {
        "abuse.unfinished.heads" over NONE
            does "sends a request head that never ends, some bytes at a time"
            input drip(Opening::Tcp, b"x", |scene| {
                format!("GET / HTTP/1.1\r\nHost: {}\r\nX: ", scene.target.authority).into()
            });
        "abuse.unfinished.chunked-bodies" over ONLY_E4P
            does "posts a chunked body that never ends to a session that does not exist"
            input drip(Opening::Tcp, b"1\r\nx\r\n", |scene| {
                let head = head(scene, "POST", &with_sid(scene, INVENTED));
                format!("{head}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n").into()
            });
        "abuse.unfinished.bodies" over ONLY_E4P
            does "posts 60 KB of a body of 1 MB to a session that does not exist, then a byte at a time"
            input drip(Opening::Tcp, b"x", |scene| {
                cut(post(scene, INVENTED, &[b'x'; 1_000_000]), 940_000)
            });
        "abuse.unfinished.bodies-of-sessions" over ONLY_E4P
            does "posts half of a body of 15 KB to its own session, then a byte at a time"
            input Input::new(Opening::Polling, Rhythm::Drip(b"x"), Bytes::Fresh(|scene| {
                cut(post(scene, scene.sid, &[b'x'; 15_000]), 7_500)
            }));
        "abuse.unfinished.uploads" over NONE
            does "begins uploads without a token from many addresses, 60 KB each, then a byte at a time"
            input drip(Opening::Tcp, b"x", |scene| {
                let head = head(scene, "POST", "/api/file/avatar");
                let kind = "Content-Type: multipart/form-data; boundary=edge";
                let head = format!("{head}{kind}\r\nContent-Length: 4000000\r\n\r\n--edge\r\n");
                [head.as_bytes(), &[b'x'; 60_000]].concat()
            })
            .spread();
        "abuse.unfinished.frames" over ONLY_E4W
            does "sends most of a WebSocket frame of the largest size"
            input once(Opening::Connected, |scene| cut(text(&largest(scene, "a")), 1_000));
        "abuse.unfinished.fragments" over ONLY_E4W
            does "sends fragments of a WebSocket message up to the largest size, and not the last"
            input once(Opening::Connected, |scene| {
                let piece = vec![b'a'; scene.max_payload / 500];
                let first = frame(TEXT, &piece, Mask::Client);
                let next = frame(CONTINUATION, &piece, Mask::Client);
                [first, next.repeat(480)].concat()
            });
        "abuse.unfinished.attachments" over ONLY_E4W
            does "sends a binary event of the largest size with one of its two attachments"
            input once(Opening::Connected, |scene| {
                [text(&binary_event(2, &largest(scene, "a"))), attachment(1_000)].concat()
            });
        "abuse.unfinished.placeholders" over ONLY_E4W
            does "sends a binary event of 7 KB with one of its two attachments, of 7 KB"
            input once(Opening::Connected, |_| {
                [text(&binary_event(2, &"a".repeat(7_000))), attachment(7_000)].concat()
            });
        "abuse.unfinished.sessions" over WEBSOCKET
            does "opens WebSocket sessions and sends nothing"
            input once(Opening::Websocket, |_| Vec::new());
        "abuse.unfinished.polling-sessions" over ONLY_E4P
            does "opens polling sessions without end, reads the open packets and sends nothing"
            input flood(Opening::Tcp, |scene| get(scene, &polling(scene))).that_reads();
        "abuse.unfinished.upgrades" over ONLY_E4P
            does "probes a WebSocket for a polling session and does not finish the upgrade"
            input once(Opening::Probing, |_| Vec::new());
    }
    FLOODS "LIM-83" {
        "abuse.floods.connections" over NONE
            does "opens TCP connections and resets them"
            input reopen(Opening::Tcp, |_| b"G".to_vec());
        "abuse.floods.sessions" over ONLY_E4W
            does "opens WebSocket sessions, connects, and resets the connections"
            input reopen(Opening::Connected, |_| text("42[\"x\"]"));
        "abuse.floods.connects" over ONLY_E4W
            does "disconnects and connects its namespace, and reads the answers"
            input flood(Opening::Connected, |_| many([text("41"), text("40")].concat())).that_reads();
        "abuse.floods.logins" over NONE
            does "logs in with wrong passwords of one account, from many addresses"
            input Input::new(Opening::Tcp, Rhythm::Flood, Bytes::Fresh(login)).that_reads().spread();
        "abuse.floods.messages" over ONLY_E4W
            does "emits events of the size that any session may send"
            input flood(Opening::Connected, |_| event(&format!("\"{}\"", "a".repeat(16_000)))).that_reads();
        "abuse.floods.largest" over ONLY_E4W
            does "emits events of the largest size"
            input flood(Opening::Connected, |scene| event(&format!("\"{}\"", largest(scene, "a")))).that_reads();
        "abuse.floods.objects" over ONLY_E4W
            does "emits events of the largest size that consist of {}"
            input flood(Opening::Connected, |scene| event(&objects(scene))).that_reads();
        "abuse.floods.binary-objects" over ONLY_E4W
            does "emits binary events of the largest size that consist of {}"
            input flood(Opening::Connected, |scene| {
                let head = format!("451-[\"x\",{{\"_placeholder\":true,\"num\":0}},{}]", objects(scene));
                [text(&head), attachment(1)].concat()
            })
            .that_reads();
        "abuse.floods.deep" over ONLY_E4W
            does "emits events with arrays in arrays, of the size that any session may send"
            input flood(Opening::Connected, |_| {
                event(&format!("{}{}", "[".repeat(8_000), "]".repeat(8_000)))
            })
            .that_reads();
        "abuse.floods.deepest" over ONLY_E4W
            does "emits events with arrays in arrays, of the largest size"
            input flood(Opening::Connected, |scene| event(&largest(scene, "["))).that_reads();
        "abuse.floods.bodies" over ONLY_E4P
            does "posts bodies of the largest size to its session"
            input Input::new(Opening::Polling, Rhythm::Flood, Bytes::Fresh(|scene| {
                post(scene, scene.sid, format!("4{}", largest(scene, "a")).as_bytes())
            }))
            .that_reads();
    }
}

/// A session that does not exist.
const INVENTED: &str = "AAAAAAAAAAAAAAAAAAAA";
/// The next input begins a moment later, so that each is more than a handshake.
const REOPEN_AFTER: Duration = Duration::from_millis(5);
/// Bytes of small inputs that are sent at once.
const BATCH_BYTES: usize = 64 * 1024;

type Make = fn(&Scene<'_>) -> Vec<u8>;

const fn flood(opening: Opening, make: Make) -> Input {
    Input::new(opening, Rhythm::Flood, Bytes::Same(make))
}

const fn fresh(opening: Opening, make: Make) -> Input {
    Input::new(opening, Rhythm::Flood, Bytes::Fresh(make))
}

const fn once(opening: Opening, make: Make) -> Input {
    Input::new(opening, Rhythm::Once, Bytes::Same(make))
}

const fn drip(opening: Opening, drop: &'static [u8], make: Make) -> Input {
    Input::new(opening, Rhythm::Drip(drop), Bytes::Same(make))
}

const fn reopen(opening: Opening, make: Make) -> Input {
    Input::new(opening, Rhythm::Reopen(REOPEN_AFTER), Bytes::Same(make))
}

fn many(bytes: Vec<u8>) -> Vec<u8> {
    bytes.repeat(BATCH_BYTES.div_ceil(bytes.len()))
}

fn batch(scene: &Scene<'_>, count: u64, make: impl Fn(u64) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(|index| make(scene.serial * count + index)).collect()
}

fn cut(mut bytes: Vec<u8>, from_end: usize) -> Vec<u8> {
    bytes.truncate(bytes.len() - from_end);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    frame(FIN | TEXT, text.as_bytes(), Mask::Client)
}

fn event(argument: &str) -> Vec<u8> {
    text(&format!("42[\"x\",{argument}]"))
}

fn binary_event(attachments: u32, padding: &str) -> String {
    let placeholder = |num: u32| format!("{{\"_placeholder\":true,\"num\":{num}}}");
    let placeholders: Vec<String> = (0..attachments).map(placeholder).collect();
    format!("45{attachments}-[\"x\",{},\"{padding}\"]", placeholders.join(","))
}

fn attachment(bytes: usize) -> Vec<u8> {
    frame(FIN | BINARY, &vec![b'b'; bytes], Mask::Client)
}

/// So much of it that a packet around it has nearly the largest size.
fn largest(scene: &Scene<'_>, of: &str) -> String {
    of.repeat((scene.max_payload - 200) / of.len())
}

fn objects(scene: &Scene<'_>) -> String {
    format!("{}0", largest(scene, "{},"))
}

/// A token that no user has.
fn token(number: u64) -> String {
    format!("{number:x>60}")
}

fn polling(scene: &Scene<'_>) -> String {
    let number = scene.protocol.number();
    format!("{}?EIO={number}&transport=polling", scene.target.engine_path)
}

fn with_sid(scene: &Scene<'_>, sid: &str) -> String {
    format!("{}&sid={sid}", polling(scene))
}

fn of_session(scene: &Scene<'_>) -> String {
    with_sid(scene, scene.sid)
}

fn head(scene: &Scene<'_>, method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", scene.target.authority)
}

fn get(scene: &Scene<'_>, path: &str) -> Vec<u8> {
    format!("{}\r\n", head(scene, "GET", path)).into()
}

fn post(scene: &Scene<'_>, sid: &str, body: &[u8]) -> Vec<u8> {
    let head = head(scene, "POST", &with_sid(scene, sid));
    let kind = "Content-Type: text/plain;charset=UTF-8";
    let head = format!("{head}{kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn login(scene: &Scene<'_>) -> Vec<u8> {
    let body = json!({ "name": scene.email, "password": format!("wrong {}", scene.serial) });
    let body = body.to_string();
    let head = head(scene, "POST", "/api/login");
    let kind = "Content-Type: application/json";
    format!("{head}{kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
}

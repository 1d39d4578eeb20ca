//! Chapter 1: paths, query, refusals, origins.

use throng_codec::payload;
use throng_codec::websocket::accept_key as accept_of;

use super::prelude::*;
use crate::client::websocket::{KEY, UPGRADE, upgrade};

cases! {
    paths "trn.paths" ["TRN-1", "TRN-2"] over EVERY needs NOTHING
        does "connects at /socket.io and /ws, with and without the trailing slash"
        expects "every path opens a session";
    query "trn.query" ["TRN-3", "TRN-4"] over EVERY needs NOTHING
        does "connects with reordered and percent-encoded parameters, unusual values of t and unknown parameters"
        expects "every query opens a session";
    bad_tokens "trn.bad-token-is-no-refusal" ["TRN-5", "CHAT-1"] over EVERY needs NOTHING
        does "connects with an api_token that is empty, false, null, unknown, malformed or missing"
        expects "every handshake succeeds and the session stays open";
    refusals "trn.refusals" ["TRN-11", "TRN-12", "TRN-13", "TRN-15", "TRN-16", "TRN-17", "TRN-18"] over NONE needs NOTHING
        does "sends handshakes with one error each"
        expects "status, code and message of that error, as JSON with exactly two fields";
    unknown_sid "trn.unknown-sid" ["TRN-13", "EIO-95"] over POLLING needs NOTHING
        does "sends GET and POST with an unknown sid"
        expects "400 and code 1 for both";
    order_of_checks "trn.order-of-checks" ["TRN-10", "TRN-52"] over NONE needs NOTHING
        does "sends handshakes with two errors each, and upgrades without a key that have another error too"
        expects "the error with the lower number is reported, and the missing key in no case";
    wrong_transport "trn.wrong-transport" ["TRN-14", "TRN-20", "TRN-12"] over POLLING needs NOTHING
        does "sends transport=websocket without an upgrade, and other refused requests, with the sid of a polling session"
        expects "400 and code 3, and the session stays usable";
    refused_upgrade "trn.refused-upgrade" ["TRN-19", "TRN-62"] over NONE needs NOTHING
        does "sends WebSocket upgrades that must be refused"
        expects "status and JSON as for a plain request, Connection: close, and the TCP connection ends";
    version_checked_once "trn.version-checked-once" ["TRN-21"] over POLLING needs NOTHING
        does "sends GET and POST with another EIO in the query, and without EIO"
        expects "the session keeps the version of its handshake";
    other_methods "trn.other-methods" ["TRN-22"] over POLLING needs NOTHING
        does "sends PUT, DELETE and PATCH with a known sid"
        expects "400 and code 3, and the session stays usable";
    origin "trn.origin" ["TRN-60", "TRN-64"] over EVERY needs NOTHING
        does "connects without Origin, with the server's own origin, with another host or port, and with null"
        expects "the first two succeed, the others are refused with 403 and code 4";
    foreign_pages "trn.foreign-pages-read-nothing" ["TRN-65"] over NONE needs NOTHING
        does "requests the Engine.IO path and others, and their preflights, from foreign origins"
        expects "no answer with Access-Control-Allow-Origin or -Credentials";
    preflight "trn.preflight" ["TRN-63"] over POLLING needs NOTHING
        does "sends OPTIONS with the server's own origin"
        expects "204 or 200, Access-Control-Allow-Methods with GET and POST, and no session";
    accept_key "trn.accept-key" ["TRN-51", "TRN-50"] over WEBSOCKET needs NOTHING
        does "upgrades with several values of Sec-WebSocket-Key"
        expects "101 with the matching Sec-WebSocket-Accept, then the open packet as text";
    subprotocol "trn.subprotocol" ["TRN-100"] over WEBSOCKET needs NOTHING
        does "upgrades with subprotocols in one header, in two headers, and without any"
        expects "101 with the first one that was offered, and with none";
    forged "trn.forged-forwards" ["TRN-80", "TRN-60"] over EVERY needs NOTHING
        does "connects from a foreign origin whose host it forges in X-Forwarded-Host"
        expects "403 and code 4: the harness is no proxy that the operator has listed";
    early_answer "trn.early-answer" ["TRN-110", "TRN-13"] over NONE needs NOTHING
        does "posts 4 MiB with an unknown sid, twenty times, and reads the answer when all of it is sent"
        expects "400 and code 1 each time, and no connection that breaks";
    refusal_first "trn.refusal-before-body" ["TRN-111", "TRN-10"] over NONE needs NOTHING
        does "sends the heads of POSTs that must be refused, and no byte of their bodies"
        expects "the refusal at once";
    bad_key "trn.bad-key" ["TRN-52"] over WEBSOCKET needs NOTHING
        does "upgrades without a key, with a short key, and with version 12"
        expects "a 4xx status";
    fault_is_private "trn.fault-is-private" ["CHAT-84", "LIM-26"] over WEBSOCKET needs CHAT
        does "sends malformed packets, huge frames and garbage on eight sessions while two other sessions chat"
        expects "the two other sessions are not affected";
}

fn paths(context: &Context) -> Outcome {
    for path in ["/socket.io/", "/socket.io", "/ws/", "/ws"] {
        context.step(format!("connects at {path}"));
        let mut target = context.target().clone();
        target.engine_path = path.to_owned();
        Socket::connect(&target, context.options(), &context.log)?.close();
    }
    Ok(())
}

fn query(context: &Context) -> Outcome {
    let (eio, transport) = (context.eio(), context.combo.transport.name());
    let queries = [
        format!("transport={transport}&EIO={eio}"),
        format!("t=abc.1&EIO={eio}&t=&transport={transport}&t=%F0%9F%98%80"),
        format!("x=1&EIO=%3{eio}&transport={transport}&y&=&&sid2=zzz"),
        format!("EI%4F={eio}&transport=%{:02X}{}", transport.as_bytes()[0], &transport[1..]),
    ];
    for query in queries {
        context.step(format!("opens a session with ?{query}"));
        opens(context, &context.path(&query), &[])?;
    }
    if context.combo.transport == Transport::Polling {
        context.step("posts twice with one value of t");
        let poller = context.poller()?;
        // A sign of life has no other effect.
        let body = if eio == 3 { "1:2" } else { "3" };
        for _ in 0..2 {
            let path =
                context.path(&format!("transport=polling&EIO={eio}&sid={}&t=same", poller.sid));
            let request =
                Request { method: "POST", path: &path, headers: &[], body: body.as_bytes() };
            status(&context.fetch(&request)?, 200)?;
        }
    }
    Ok(())
}

/// A handshake at this path succeeds.
fn opens(context: &Context, path: &str, headers: &[(&str, &str)]) -> Outcome {
    let text = if context.combo.transport == Transport::Websocket {
        let mut socket = RawSocket::open_with(context.target(), path, headers, &context.log)?;
        socket.receive_text(context.wait())?
    } else {
        let response = context.fetch(&Request { headers, ..Request::get(path) })?;
        status(&response, 200)?;
        response.text()
    };
    require(text.contains("\"sid\""), "an open packet", || text.clone())
}

fn bad_tokens(context: &Context) -> Outcome {
    let unknown = "z".repeat(60);
    let long = "a".repeat(200);
    for token in ["", "false", "null", "short", "ünsafe <&>", unknown.as_str(), long.as_str()] {
        context.step(format!("connects with api_token={token}"));
        let options = Options { token: Some(token.to_owned()), ..context.options() };
        let socket = context.socket_with(options)?;
        stays_open("the session stays open", &socket)?;
        socket.close();
    }
    let socket = context.socket()?;
    context.pause(Duration::from_millis(100));
    stays_open("an anonymous session stays open", &socket)
}

fn refusals(context: &Context) -> Outcome {
    let eio = context.eio();
    let requests = [
        (format!("EIO={eio}"), "GET", UNKNOWN_TRANSPORT),
        (format!("EIO={eio}&transport=flashsocket"), "GET", UNKNOWN_TRANSPORT),
        (format!("EIO={eio}&transport="), "GET", UNKNOWN_TRANSPORT),
        (format!("EIO={eio}&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA"), "GET", UNKNOWN_SID),
        (format!("EIO={eio}&transport=polling&sid=x"), "GET", UNKNOWN_SID),
        (format!("EIO={eio}&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA"), "POST", UNKNOWN_SID),
        (format!("EIO={eio}&transport=polling"), "POST", BAD_METHOD),
        (format!("EIO={eio}&transport=polling"), "PUT", BAD_METHOD),
        (format!("EIO={eio}&transport=polling"), "DELETE", BAD_METHOD),
        (format!("EIO={eio}&transport=websocket"), "GET", BAD_REQUEST),
        ("transport=polling".to_owned(), "GET", BAD_VERSION),
        ("EIO=2&transport=polling".to_owned(), "GET", BAD_VERSION),
        ("EIO=5&transport=polling".to_owned(), "GET", BAD_VERSION),
        ("EIO=four&transport=polling".to_owned(), "GET", BAD_VERSION),
    ];
    let is_judged = |error: &(u64, u16, &str)| *error != BAD_VERSION || context.judges("TRN-17");
    for (query, method, error) in requests.into_iter().filter(|(.., error)| is_judged(error)) {
        refuses_request(context, method, &query, &[], error)?;
    }
    if !context.judges("TRN-12") {
        return Ok(());
    }
    context.step("a foreign Origin");
    refuses_request(context, "GET", &format!("EIO={eio}&transport=polling"), FOREIGN, FORBIDDEN)
}

/// The head of a POST.
fn post_head(context: &Context, query: &str, bytes: usize) -> String {
    format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: text/plain\r\nContent-Length: {bytes}\r\n\r\n",
        context.path(query),
        context.target().authority
    )
}

fn early_answer(context: &Context) -> Outcome {
    let query = format!("EIO={}&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA", context.eio());
    let body = vec![b'x'; 4 << 20];
    let head = post_head(context, &query, body.len());
    for round in 1..=20 {
        context.step(format!("POST {round}"));
        let mut connection = context.connection()?;
        connection.send_bytes(head.as_bytes())?;
        connection.send_quietly(&body)?;
        refused(&connection.receive(context.wait())?, UNKNOWN_SID)?;
    }
    Ok(())
}

fn refusal_first(context: &Context) -> Outcome {
    let eio = context.eio();
    let requests = [
        (format!("EIO={eio}&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA"), UNKNOWN_SID),
        (format!("EIO={eio}&transport=polling"), BAD_METHOD),
        (format!("EIO={eio}&transport=none"), UNKNOWN_TRANSPORT),
    ];
    for (query, error) in requests {
        let mut connection = context.connection()?;
        connection.send_bytes(post_head(context, &query, 1000).as_bytes())?;
        refused(&connection.receive(Duration::from_secs(2))?, error)?;
    }
    Ok(())
}

type Headers<'a> = &'a [(&'a str, &'a str)];

const FOREIGN: Headers<'_> = &[("Origin", "http://evil.example")];

/// A request with this query is refused, as JSON.
fn refuses_request(
    context: &Context,
    method: &str,
    query: &str,
    headers: Headers<'_>,
    error: (u64, u16, &str),
) -> Outcome {
    context.step(format!("{method} ?{query}"));
    let path = context.path(query);
    let response = context.fetch(&Request { method, headers, ..Request::get(&path) })?;
    refused(&response, error)?;
    has_type(&response, "application/json")
}

fn unknown_sid(context: &Context) -> Outcome {
    let poller = context.poller()?;
    let real = poller.sid.clone();
    let changed: String = real.chars().rev().collect();
    for sid in ["AAAAAAAAAAAAAAAAAAAA", changed.as_str(), "..", "%00", "a b"] {
        let sid = percent_encode(sid);
        let path = context.path(&format!("EIO={}&transport=polling&sid={sid}", context.eio()));
        refused(&context.get(&path)?, UNKNOWN_SID)?;
        refused(&context.fetch(&Request::post(&path, b"6"))?, UNKNOWN_SID)?;
    }
    is_alive(&poller)
}

fn order_of_checks(context: &Context) -> Outcome {
    let eio = context.eio();
    let requests: [(String, &str, Headers<'_>, _); 6] = [
        ("transport=x&sid=nope".to_owned(), "GET", FOREIGN, UNKNOWN_TRANSPORT),
        (format!("EIO={eio}&transport=polling&sid=nope"), "GET", FOREIGN, FORBIDDEN),
        ("EIO=9&transport=polling".to_owned(), "POST", FOREIGN, FORBIDDEN),
        ("EIO=9&transport=websocket&sid=nope".to_owned(), "PUT", &[], UNKNOWN_SID),
        ("EIO=9&transport=websocket".to_owned(), "POST", &[], BAD_METHOD),
        ("EIO=9&transport=websocket".to_owned(), "GET", &[], BAD_REQUEST),
    ];
    for (query, method, headers, error) in requests {
        refuses_request(context, method, &query, headers, error)?;
    }
    let upgrades: [(String, Headers<'_>, _); 2] = [
        (format!("EIO={eio}&transport=websocket"), FOREIGN, FORBIDDEN),
        ("EIO=9&transport=websocket".to_owned(), &[], BAD_VERSION),
    ];
    for (query, more, error) in upgrades {
        context.step(format!("upgrade without a key, with ?{query}"));
        let path = context.path(&query);
        let headers = [&[("Connection", "Upgrade"), ("Upgrade", "websocket")][..], more].concat();
        let request = Request { headers: &headers, ..Request::get(&path) };
        refused(&context.connection()?.exchange(&request, context.wait())?, error)?;
    }
    Ok(())
}

fn wrong_transport(context: &Context) -> Outcome {
    let poller = context.poller()?;
    context.step("requests transport=websocket without an upgrade");
    refused(&context.get(&poller.websocket_path())?, BAD_REQUEST)?;
    context.step("requests transport=x, then a foreign origin");
    let path = poller.path().replace("polling", "x");
    refused(&context.get(&path)?, UNKNOWN_TRANSPORT)?;
    if context.judges("TRN-12") {
        let path = poller.path();
        refused(&context.fetch(&Request { headers: FOREIGN, ..Request::get(&path) })?, FORBIDDEN)?;
    }
    is_alive(&poller)
}

fn refused_upgrade(context: &Context) -> Outcome {
    let eio = context.eio();
    let requests: [(String, Headers<'_>, _); 4] = [
        (format!("EIO={eio}&transport=foo"), &[], UNKNOWN_TRANSPORT),
        (format!("EIO={eio}&transport=websocket&sid=nope"), &[], UNKNOWN_SID),
        ("EIO=7&transport=websocket".to_owned(), &[], BAD_VERSION),
        (format!("EIO={eio}&transport=websocket"), FOREIGN, FORBIDDEN),
    ];
    for (query, more, error) in requests {
        context.step(format!("upgrade with ?{query}"));
        let path = context.path(&query);
        let (mut connection, response) = upgrade(context.target(), &path, more, &context.log)?;
        refused(&response, error)?;
        has_type(&response, "application/json")?;
        header(&response, "Connection", "close")?;
        let ends = connection.is_closed_within(Duration::from_secs(2));
        require(ends, "the connection ends", || "it is still open after 2 s".to_owned())?;
    }
    Ok(())
}

fn version_checked_once(context: &Context) -> Outcome {
    let poller = context.poller()?;
    let sid = &poller.sid;
    for query in [
        format!("EIO=3&transport=polling&sid={sid}"),
        format!("EIO=4&transport=polling&sid={sid}"),
        format!("transport=polling&sid={sid}"),
        format!("EIO=9&transport=polling&sid={sid}"),
    ] {
        context.step(format!("POST and GET ?{query}"));
        let path = context.path(&query);
        let question = payload::encode_text(poller.protocol, &[Packet::message(ASK)]);
        status(&context.fetch(&Request::post(&path, question.as_bytes()))?, 200)?;
        poller.packets(context.get(&path)?)?;
    }
    is_alive(&poller)
}

fn other_methods(context: &Context) -> Outcome {
    let poller = context.poller()?;
    let path = poller.path();
    for method in ["PUT", "DELETE", "PATCH"] {
        context.step(method);
        refused(&context.fetch(&Request { method, ..Request::get(&path) })?, BAD_REQUEST)?;
    }
    is_alive(&poller)
}

fn origin(context: &Context) -> Outcome {
    let path = context.handshake_path();
    let own = context.target().origin();
    opens(context, &path, &[])?;
    opens(context, &path, &[("Origin", &own)])?;
    let other_port = format!("http://{}:1", context.target().addr.ip());
    for foreign in ["http://evil.example", other_port.as_str(), "null"] {
        context.step(format!("Origin: {foreign}"));
        let headers = &[("Origin", foreign)];
        let response = if context.combo.transport == Transport::Polling {
            context.fetch(&Request { headers, ..Request::get(&path) })?
        } else {
            match RawSocket::open_with(context.target(), &path, headers, &context.log) {
                Err(ClientError::Refused(response)) => response,
                Err(other) => return Err(other.into()),
                Ok(_) => return fail("a refusal with 403", "the upgrade succeeds"),
            }
        };
        refused(&response, FORBIDDEN)?;
    }
    Ok(())
}

fn foreign_pages(context: &Context) -> Outcome {
    let own = context.handshake_path();
    let paths = [own.as_str(), "/", "/health", "/ready", "/api/user", "/api/rooms", "/nothing"];
    for path in paths {
        for origin in ["http://evil.example", "null", "http://127.0.0.1.evil.example"] {
            for method in ["GET", "POST", "OPTIONS"] {
                let headers = &[("Origin", origin), ("Access-Control-Request-Method", "POST")];
                let response = context.fetch(&Request { method, headers, ..Request::get(path) })?;
                for name in ["access-control-allow-origin", "access-control-allow-credentials"] {
                    let expected = format!("no {name} for {method} {path} from {origin}");
                    answers(response.header(name).is_none(), &response, &expected)?;
                }
            }
        }
    }
    Ok(())
}

fn preflight(context: &Context) -> Outcome {
    let path = context.handshake_path();
    let own = context.target().origin();
    let headers = &[
        ("Origin", own.as_str()),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type"),
    ];
    let request = Request { method: "OPTIONS", headers, ..Request::get(&path) };
    let response = context.fetch(&request)?;
    answers(matches!(response.status, 200 | 204), &response, "status 204 or 200")?;
    let methods = response.header("access-control-allow-methods").unwrap_or("").to_uppercase();
    let has_both = methods.contains("GET") && methods.contains("POST");
    answers(has_both, &response, "Access-Control-Allow-Methods with GET and POST")?;
    answers(!response.text().contains("sid"), &response, "no session")
}

fn accept_key(context: &Context) -> Outcome {
    let path = context.handshake_path();
    for key in ["x3JJHMbDL1EzLkh9GBhXDw==", "AAAAAAAAAAAAAAAAAAAAAA==", "////////////////////zw=="]
    {
        let headers = &[
            ("Connection", "keep-alive, Upgrade"),
            ("Upgrade", "WebSocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", key),
        ];
        let request = Request { headers, ..Request::get(&path) };
        let response = context.connection()?.exchange(&request, context.wait())?;
        status(&response, 101)?;
        let observed = response.header("sec-websocket-accept").unwrap_or("");
        equal("Sec-WebSocket-Accept", &observed, &accept_of(key).as_str())?;
    }
    let (_, open) = context.bare_websocket()?;
    require(!open.sid.is_empty(), "an open packet as the first frame", || format!("{open:?}"))
}

fn subprotocol(context: &Context) -> Outcome {
    let path = context.handshake_path();
    let name = "Sec-WebSocket-Protocol";
    let offers: [(Headers<'_>, Option<&str>); 4] = [
        (&[(name, "chat")], Some("chat")),
        (&[(name, "v12.stomp, v11.stomp,chat")], Some("v12.stomp")),
        (&[(name, "b.x-y_z!"), (name, "a")], Some("b.x-y_z!")),
        (&[], None),
    ];
    for (offer, wanted) in offers {
        context.step(format!("offers {offer:?}"));
        let mut headers = UPGRADE.to_vec();
        headers.extend_from_slice(offer);
        let request = Request { headers: &headers, ..Request::get(&path) };
        let response = context.connection()?.exchange(&request, context.wait())?;
        status(&response, 101)?;
        equal(name, &response.header("sec-websocket-protocol"), &wanted)?;
    }
    Ok(())
}

fn forged(context: &Context) -> Outcome {
    let path = context.handshake_path();
    let forged = [
        ("Origin", "http://evil.example"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-For", "192.0.2.1"),
    ];
    let mut headers =
        if context.combo.transport == Transport::Websocket { UPGRADE.to_vec() } else { Vec::new() };
    headers.extend_from_slice(&forged);
    let request = Request { headers: &headers, ..Request::get(&path) };
    let response = context.connection()?.exchange(&request, context.wait())?;
    status(&response, 403)?;
    equal("code", &response.json()["code"], &json!(4))
}

fn bad_key(context: &Context) -> Outcome {
    let path = context.handshake_path();
    let upgrades: [&[(&str, &str)]; 3] = [
        &[("Sec-WebSocket-Version", "13")],
        &[("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "c2hvcnQ=")],
        &[("Sec-WebSocket-Version", "12"), ("Sec-WebSocket-Key", KEY)],
    ];
    for more in upgrades {
        let mut headers = vec![("Connection", "Upgrade"), ("Upgrade", "websocket")];
        headers.extend_from_slice(more);
        let request = Request { headers: &headers, ..Request::get(&path) };
        let response = context.connection()?.exchange(&request, context.wait())?;
        context.step(format!("upgrades with {more:?}"));
        answers((400..500).contains(&response.status), &response, "a 4xx status")?;
        answers(!response.text().contains("\"sid\""), &response, "no session")?;
    }
    Ok(())
}

fn fault_is_private(context: &Context) -> Outcome {
    let (room, one) = guest_in_room(context)?;
    let two = guest_in(context, room)?;
    for (index, text) in ["", "9", "4", "42[", "42{}", "4x", "451-[]", "x"].iter().enumerate() {
        let (mut socket, _) = context.connected_websocket()?;
        socket.send(text)?;
        let event = one.say_to(&two, room, &format!("calm {index}"))?;
        has_fields(&event, json!({ "roomid": room }))?;
    }
    let (mut socket, _) = context.connected_websocket()?;
    // A frame that announces more than any limit, without its payload.
    socket.send_bytes(&[0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])?;
    one.say_to(&two, room, "still calm")?;
    stays_open("the one session stays open", &one.socket)?;
    stays_open("the other session stays open", &two.socket)
}

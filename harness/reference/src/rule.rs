//! One change to what the server sends or receives, made where it enters or leaves.
//!
//! What passes there has a name: `event:room`, `broadcast:room`, `ack:login`, `refused:too_large`, `open`, `connect`,
//! `ping`, `GET /api/rooms`, `poll`, `close:1009:too_large` on the way out; `in:message`, `in:eio:pong`, `in:sio:connect`,
//! `in:engine`, `in:api` on the way in. A rule names one of them, or several by a `*` at the end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use throng_codec::engine::{Data, Kind, Packet};
use throng_codec::socket as sio;

use crate::http::{Request, Response};

/// What a rule does. A path names members of JSON, `*` all of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// It is lost, or of a close: it does not happen.
    Drop,
    /// It is sent, or handled, twice.
    Double,
    /// It is sent later, in its order.
    Delay(Duration),
    /// It is sent behind the next one.
    Swap,
    /// The member is missing.
    Remove(String),
    /// Another value of the same type.
    Change(String),
    /// A value of another type.
    Retype(String),
    Set(String, Value),
    /// The text of one part is replaced by another.
    Replace(&'static str, &'static str),
    /// The Engine.IO packet is sent as well, behind it.
    Then(&'static str),
    /// The Engine.IO packet is sent as well, before it.
    Before(&'static str),
    Status(u16),
    /// The header has this value, or is missing.
    Header(&'static str, Option<&'static str>),
    /// The body of an answer is this.
    Body(&'static str),
    /// The close code.
    Code(u16),
    /// The end reason.
    Reason(&'static str),
}

impl Act {
    /// The part of a mutant's name that says what is done.
    pub fn name(&self) -> String {
        match self {
            Act::Drop => "dropped".to_owned(),
            Act::Double => "doubled".to_owned(),
            Act::Delay(by) => format!("late-{}-ms", by.as_millis()),
            Act::Swap => "swapped".to_owned(),
            Act::Remove(path) => format!("{path}.removed"),
            Act::Change(path) => format!("{path}.changed"),
            Act::Retype(path) => format!("{path}.retyped"),
            Act::Set(path, to) => format!("{path}.is-{}", plain(&to.to_string())),
            Act::Replace(from, to) => format!("{}-is-{}", plain(from), plain(to)),
            Act::Then(text) => format!("then-{}", plain(text)),
            Act::Before(text) => format!("after-{}", plain(text)),
            Act::Status(status) => format!("status-{status}"),
            Act::Header(name, Some(value)) => format!("{name}-is-{}", plain(value)),
            Act::Header(name, None) => format!("{name}-removed"),
            Act::Body(body) => format!("body-is-{}", plain(body)),
            Act::Code(code) => format!("code-{code}"),
            Act::Reason(reason) => format!("reason-{}", plain(reason)),
        }
    }

    /// The same as a sentence.
    pub fn text(&self) -> String {
        match self {
            Act::Drop => "lost, or does not happen".to_owned(),
            Act::Double => "twice".to_owned(),
            Act::Delay(by) => format!("{} ms later", by.as_millis()),
            Act::Swap => "behind the next packet".to_owned(),
            Act::Remove(path) => format!("without {path:?}"),
            Act::Change(path) => format!("another value at {path:?}"),
            Act::Retype(path) => format!("another type at {path:?}"),
            Act::Set(path, to) => format!("{to} at {path:?}"),
            Act::Replace(from, to) => format!("{to:?} in place of {from:?}"),
            Act::Then(text) => format!("followed by {text:?}"),
            Act::Before(text) => format!("after {text:?}"),
            Act::Status(status) => format!("with status {status}"),
            Act::Header(name, Some(value)) => format!("with {name}: {value}"),
            Act::Header(name, None) => format!("without {name}"),
            Act::Body(body) => format!("with the body {body:?}"),
            Act::Code(code) => format!("with close code {code}"),
            Act::Reason(reason) => format!("with the reason {reason:?}"),
        }
    }
}

/// Letters and digits of a text, for a name.
fn plain(text: &str) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let words: String = text.chars().map(word).take(24).collect();
    match words.trim_matches('-') {
        "" => text.bytes().take(4).map(|byte| format!("x{byte:02x}")).collect(),
        words => words.to_owned(),
    }
}

/// A change of one kind of thing, and how often.
#[derive(Debug)]
pub struct Rule {
    pub on: String,
    pub act: Act,
    /// Every n-th is changed.
    pub every: u64,
    seen: AtomicU64,
}

/// What becomes of a packet.
pub enum Sent {
    Now(Vec<Packet>),
    Later(Duration, Packet),
    /// Behind the next one.
    Behind(Packet),
}

impl Rule {
    pub fn new(on: &str, act: Act, every: u64) -> Rule {
        Rule { on: on.to_owned(), act, every, seen: AtomicU64::new(0) }
    }

    /// Whether this is what the rule is about, and its turn.
    fn hits(&self, name: &str) -> bool {
        let fits = match self.on.strip_suffix('*') {
            Some(head) => name.starts_with(head),
            None => name == self.on,
        };
        fits && (self.seen.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(self.every)
    }

    /// A packet of this name on its way out.
    pub fn send(&self, name: &str, packet: Packet) -> Sent {
        if !self.hits(name) {
            return Sent::Now(vec![packet]);
        }
        match &self.act {
            Act::Drop => Sent::Now(Vec::new()),
            Act::Double => Sent::Now(vec![packet.clone(), packet]),
            Act::Delay(by) => Sent::Later(*by, packet),
            Act::Swap => Sent::Behind(packet),
            Act::Then(text) => Sent::Now(vec![packet, raw(text)]),
            Act::Before(text) => Sent::Now(vec![raw(text), packet]),
            Act::Replace(from, to) => Sent::Now(vec![with_text(packet, |t| t.replace(from, to))]),
            _ => Sent::Now(vec![self.in_packet(packet)]),
        }
    }

    /// The packet that ends a held poll, or that answers one with nothing to send.
    pub fn at_poll(&self, kind: Kind) -> Vec<Packet> {
        let packet = Packet::text(kind, "");
        match self.send(&format!("poll:{}", name_of(&packet)), packet) {
            Sent::Now(packets) => packets,
            Sent::Later(by, packet) => {
                std::thread::sleep(by);
                vec![packet]
            }
            Sent::Behind(packet) => vec![packet],
        }
    }

    fn in_packet(&self, packet: Packet) -> Packet {
        with_text(packet, |text| match packet_data(text) {
            Some((head, mut data)) => {
                self.in_json(&mut data);
                format!("{head}{data}")
            }
            None => text.to_owned(),
        })
    }

    /// An answer of this name on its way out; `None`: the connection ends without it.
    pub fn answer(&self, name: &str, mut response: Response) -> Option<Response> {
        if !self.hits(name) {
            return Some(response);
        }
        match &self.act {
            Act::Drop => return None,
            Act::Delay(by) => std::thread::sleep(*by),
            Act::Status(status) => response.status = *status,
            Act::Header(header, value) => {
                response.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(header));
                if let Some(value) = value {
                    response.headers.push(((*header).to_owned(), (*value).to_owned()));
                }
            }
            Act::Body(body) => response.body = body.as_bytes().to_vec(),
            Act::Replace(from, to) => {
                let text = String::from_utf8_lossy(&response.body).replace(from, to);
                response.body = text.into_bytes();
            }
            _ => {
                if let Ok(mut body) = serde_json::from_slice(&response.body) {
                    self.in_json(&mut body);
                    response.body = body.to_string().into_bytes();
                }
            }
        }
        Some(response)
    }

    /// The argument of an event on its way in, and how many times it is handled.
    pub fn event(&self, name: &str, arg: &mut Option<Value>) -> usize {
        if !self.hits(&format!("in:{name}")) {
            return 1;
        }
        match &self.act {
            Act::Drop => return 0,
            Act::Double => return 2,
            _ => {}
        }
        if let Some(arg) = arg {
            self.in_json(arg);
        }
        1
    }

    /// Whether a packet on its way in is ignored.
    pub fn ignores(&self, name: &str) -> bool {
        self.act == Act::Drop && self.hits(name)
    }

    /// The query, the header fields and the method of a request on its way in, as JSON: `query.t`, `header.origin`.
    pub fn request(&self, name: &str, request: &mut Request) {
        if !self.hits(name) {
            return;
        }
        let fields = |list: &[(String, String)]| {
            let pairs = list.iter().map(|(name, value)| (name.clone(), value.clone().into()));
            Value::Object(pairs.collect())
        };
        let lower = |(name, value): &(String, String)| (name.to_lowercase(), value.clone());
        let headers: Vec<(String, String)> = request.headers.iter().map(lower).collect();
        let mut json = json!({
            "method": request.method,
            "path": request.path,
            "query": fields(&request.query),
            "header": fields(&headers),
        });
        self.in_json(&mut json);
        let list = |value: &Value| {
            let pairs = value.as_object().into_iter().flatten();
            pairs
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect()
        };
        request.query = list(&json["query"]);
        request.headers = list(&json["header"]);
        request.method = json["method"].as_str().unwrap_or("").to_owned();
        request.path = json["path"].as_str().unwrap_or("").to_owned();
    }

    /// The fields of a request's body on their way in.
    pub fn body(&self, name: &str, fields: &mut Value) {
        if self.hits(name) {
            self.in_json(fields);
        }
    }

    /// The end of a session: its code and reason, or `None` if it does not end.
    pub fn close(&self, code: u16, reason: &'static str) -> Option<(u16, &'static str)> {
        if !self.hits(&format!("close:{code}:{reason}")) {
            return Some((code, reason));
        }
        match self.act {
            Act::Drop => None,
            Act::Code(code) => Some((code, reason)),
            Act::Reason(reason) => Some((code, reason)),
            _ => Some((code, reason)),
        }
    }

    fn in_json(&self, json: &mut Value) {
        match &self.act {
            Act::Remove(path) => remove(json, path),
            Act::Change(path) => at(json, path, &|value| *value = other_value(value)),
            Act::Retype(path) => at(json, path, &|value| *value = other_type(value)),
            Act::Set(path, to) => set(json, path, to),
            _ => {}
        }
    }
}

/// An Engine.IO packet as it is written: type and data.
fn raw(text: &str) -> Packet {
    throng_codec::engine::decode_text(text).unwrap_or_else(|_| Packet::text(Kind::Noop, ""))
}

fn with_text(packet: Packet, change: impl FnOnce(&str) -> String) -> Packet {
    match packet.data {
        Data::Text(text) => Packet { kind: packet.kind, data: Data::Text(change(&text)) },
        Data::Binary(_) => packet,
    }
}

/// What precedes the JSON, and the JSON: of an event its arguments, whose name is part of what precedes.
fn packet_data(text: &str) -> Option<(String, Value)> {
    let begin = text.find(['{', '[', '"'])?;
    let data = serde_json::from_str(&text[begin..]).ok()?;
    Some((text[..begin].to_owned(), data))
}

/// What a packet is, by its text.
pub fn name_of(packet: &Packet) -> String {
    let Data::Text(text) = &packet.data else { return "binary".to_owned() };
    match packet.kind {
        Kind::Open => "open".to_owned(),
        Kind::Close => "close".to_owned(),
        Kind::Ping => "ping".to_owned(),
        Kind::Pong => "pong".to_owned(),
        Kind::Upgrade => "upgrade".to_owned(),
        Kind::Noop => "noop".to_owned(),
        Kind::Message => match sio::decode(text) {
            Ok(packet) => match packet.kind {
                sio::Kind::Connect => "connect".to_owned(),
                sio::Kind::ConnectError => "connect_error".to_owned(),
                sio::Kind::Ack | sio::Kind::BinaryAck => "ack".to_owned(),
                sio::Kind::Disconnect => "disconnect".to_owned(),
                sio::Kind::Event | sio::Kind::BinaryEvent => {
                    let Some((name, args)) = packet.as_event() else { return "event".to_owned() };
                    let first = args.first().unwrap_or(&Value::Null);
                    let kind = match name {
                        "presence" if first.get("joined").is_some() => "_delta",
                        "presence" => "_count",
                        "message" if is_own(first) => "/own",
                        "message" => "/other",
                        _ => "",
                    };
                    format!("event:{name}{kind}")
                }
            },
            Err(_) => "message".to_owned(),
        },
    }
}

fn is_own(message: &Value) -> bool {
    message["userid"].as_str().is_some_and(|userid| userid.contains('@'))
}

fn other_value(value: &Value) -> Value {
    match value {
        Value::Null => json!("x"),
        Value::Bool(is) => json!(!is),
        Value::Number(number) => json!(number.as_u64().unwrap_or(0) + 1),
        Value::String(text) => json!(format!("{text}x")),
        Value::Array(items) if items.is_empty() => json!([1]),
        Value::Array(_) => json!([]),
        Value::Object(members) if members.is_empty() => json!({ "x": 1 }),
        Value::Object(_) => json!({}),
    }
}

fn other_type(value: &Value) -> Value {
    match value {
        Value::Null => json!(0),
        Value::Bool(is) => json!(u8::from(*is)),
        Value::Number(number) => json!(number.to_string()),
        Value::String(text) => json!([text]),
        Value::Array(_) => json!({}),
        Value::Object(_) => json!([]),
    }
}

/// Acts on each value that the path names.
fn at(json: &mut Value, path: &str, act: &dyn Fn(&mut Value)) {
    if path.is_empty() {
        return act(json);
    }
    let (head, rest) = path.split_once('.').unwrap_or((path, ""));
    match json {
        Value::Object(members) if head == "*" => {
            members.values_mut().for_each(|value| at(value, rest, act));
        }
        Value::Array(items) if head == "*" => {
            items.iter_mut().for_each(|value| at(value, rest, act));
        }
        Value::Object(members) => {
            if let Some(value) = members.get_mut(head) {
                at(value, rest, act);
            }
        }
        Value::Array(items) => {
            if let Some(value) = head.parse().ok().and_then(|index: usize| items.get_mut(index)) {
                at(value, rest, act);
            }
        }
        _ => {}
    }
}

fn parent_and_name(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

fn remove(json: &mut Value, path: &str) {
    let (parent, name) = parent_and_name(path);
    at(json, parent, &|value| match value {
        Value::Object(members) if name == "*" => members.clear(),
        Value::Object(members) => {
            members.shift_remove(name);
        }
        Value::Array(items) if name == "*" => items.clear(),
        Value::Array(items) => {
            if let Some(index) = name.parse().ok().filter(|index: &usize| *index < items.len()) {
                items.remove(index);
            }
        }
        _ => {}
    });
}

/// A member that is missing is added.
fn set(json: &mut Value, path: &str, to: &Value) {
    let (parent, name) = parent_and_name(path);
    if name == "*" || name.parse::<usize>().is_ok() || path.is_empty() {
        return at(json, path, &|value| *value = to.clone());
    }
    at(json, parent, &|value| {
        if let Value::Object(members) = value {
            members.insert(name.to_owned(), to.clone());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sent: Sent) -> Vec<String> {
        let Sent::Now(packets) = sent else { return Vec::new() };
        let text = |packet: &Packet| match &packet.data {
            Data::Text(text) => format!("{}{text}", packet.kind.digit()),
            Data::Binary(_) => String::new(),
        };
        packets.iter().map(text).collect()
    }

    fn sent(on: &str, act: Act, text: &str) -> Vec<String> {
        let packet = raw(text);
        texts(Rule::new(on, act, 1).send(&name_of(&packet), packet))
    }

    #[test]
    fn a_packet_is_changed_by_its_name_alone() {
        let roster = r#"42["room",{"7":{"id":7,"name":"a"}},{"room":3,"seq":0}]"#;
        let path = |path: &str| path.to_owned();
        assert_eq!(sent("event:roomout", Act::Drop, roster), [roster]);
        assert_eq!(sent("event:room", Act::Double, roster), [roster, roster]);
        assert!(sent("event:*", Act::Drop, roster).is_empty());
        assert_eq!(
            sent("event:room", Act::Change(path("1.*.name")), roster),
            [r#"42["room",{"7":{"id":7,"name":"ax"}},{"room":3,"seq":0}]"#]
        );
        assert_eq!(
            sent("event:room", Act::Remove(path("2.seq")), roster),
            [r#"42["room",{"7":{"id":7,"name":"a"}},{"room":3}]"#]
        );
        assert_eq!(
            sent("ack", Act::Retype(path("0.ok")), r#"4317[{"ok":true}]"#),
            [r#"4317[{"ok":1}]"#]
        );
        assert_eq!(
            sent("connect", Act::Then("41"), r#"40{"sid":"s"}"#),
            [r#"40{"sid":"s"}"#, "41"]
        );
    }

    #[test]
    fn every_n_th_is_changed() {
        let rule = Rule::new("ping", Act::Drop, 2);
        let counts = [1, 2, 3, 4].map(|_| texts(rule.send("ping", raw("2"))).len());
        assert_eq!(counts, [1, 0, 1, 0]);
    }

    #[test]
    fn members_that_are_missing_are_added_only_when_set() {
        let mut json = json!({ "a": [] });
        at(&mut json, "b", &|value| *value = json!(1));
        set(&mut json, "a", &json!(2));
        set(&mut json, "c", &json!(3));
        assert_eq!(json, json!({ "a": 2, "c": 3 }));
    }
}

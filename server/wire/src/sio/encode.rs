use crate::eio::Version;
use crate::json;
use crate::sink::Sink;

/// Of a namespace that the server refuses.
const NAMESPACE_CHARS_MAX: usize = 256;

/// Appends an event packet, `42["name",args…]`. `args`: raw JSON, one per argument. Spec: SIO-1, SIO-7.
pub fn put_event(out: &mut String, namespace: &str, ack: Option<u64>, name: &str, args: &[&str]) {
    out.push_str("42");
    put_namespace(out, namespace);
    put_ack_id(out, ack);
    out.push('[');
    put_json_str(out, name);
    for arg in args {
        out.push(',');
        out.push_str(arg);
    }
    out.push(']');
}

/// Appends the beginning of an event with at least one argument, `42["name",`, for a caller that
/// writes the arguments itself. [`end_event`] closes it. `name`: one that needs no escapes.
pub fn begin_event(out: &mut impl Sink, name: &str) {
    out.put("42[\"");
    out.put(name);
    out.put("\",");
}

/// Closes what [`begin_event`] began.
pub fn end_event(out: &mut impl Sink) {
    out.put("]");
}

/// Appends an event packet whose name and arguments are one JSON array, `42[…]`. The caller
/// guarantees that it is valid JSON. Spec: SIO-7.
pub fn put_event_array(out: &mut String, array: &str) {
    out.push_str("42");
    out.push_str(array);
}

/// Appends an ack packet, `43id[args]`. `args_json`: raw JSON elements without brackets. Spec: SIO-8,
/// SIO-40.
pub fn put_ack(out: &mut String, namespace: &str, id: u64, args_json: &str) {
    out.push_str("43");
    put_namespace(out, namespace);
    put_ack_id(out, Some(id));
    out.push('[');
    out.push_str(args_json);
    out.push(']');
}

/// Appends a connect packet: with the socket's id (protocol 5), without (protocol 4). Spec: SIO-12, SIO-14.
pub fn put_connect(out: &mut String, namespace: &str, sid: Option<&str>) {
    out.push_str("40");
    put_namespace(out, namespace);
    if let Some(sid) = sid {
        out.push_str("{\"sid\":");
        put_json_str(out, sid);
        out.push('}');
    }
}

/// Appends the refusal of a namespace: an object with a message on Engine.IO 4, a bare string on 3.
/// Of the name only the first 256 characters, so that a megabyte of it does not come back.
/// Spec: SIO-30, SIO-31, SIO-34.
pub fn put_connect_error(out: &mut String, version: Version, namespace: &str, message: &str) {
    out.push_str("44");
    let end =
        namespace.char_indices().nth(NAMESPACE_CHARS_MAX).map_or(namespace.len(), |(at, _)| at);
    put_namespace(out, &namespace[..end]);
    match version {
        Version::V3 => put_json_str(out, message),
        Version::V4 => {
            out.push_str("{\"message\":");
            put_json_str(out, message);
            out.push('}');
        }
    }
}

/// Appends a disconnect packet, `41`. Spec: SIO-2.
pub fn put_disconnect(out: &mut String, namespace: &str) {
    out.push_str("41");
    put_namespace(out, namespace);
}

/// Appends the header of an event with attachments. `data_json`: the whole JSON array, name first,
/// with a `{"_placeholder":true,"num":n}` for each attachment. Spec: SIO-50, SIO-54.
pub fn put_binary_event(
    out: &mut String,
    namespace: &str,
    attachments: u32,
    ack: Option<u64>,
    data_json: &str,
) {
    put_binary(out, "45", namespace, attachments, ack, data_json);
}

/// As [`put_binary_event`], for an ack. `data_json`: the whole JSON array of its arguments.
pub fn put_binary_ack(
    out: &mut String,
    namespace: &str,
    attachments: u32,
    id: u64,
    data_json: &str,
) {
    put_binary(out, "46", namespace, attachments, Some(id), data_json);
}

/// Appends `text` as a JSON string literal, quotes included, as `JSON.stringify` writes it.
pub fn put_json_str(out: &mut impl Sink, text: &str) {
    json::put_str(out, text);
}

/// Appends an integer.
pub fn put_json_int(out: &mut impl Sink, number: impl itoa::Integer) {
    out.put(itoa::Buffer::new().format(number));
}

fn put_binary(
    out: &mut String,
    prefix: &str,
    namespace: &str,
    attachments: u32,
    ack: Option<u64>,
    data_json: &str,
) {
    out.push_str(prefix);
    out.push_str(itoa::Buffer::new().format(attachments));
    out.push('-');
    put_namespace(out, namespace);
    put_ack_id(out, ack);
    out.push_str(data_json);
}

fn put_namespace(out: &mut String, namespace: &str) {
    if namespace != "/" {
        out.push_str(namespace);
        out.push(',');
    }
}

fn put_ack_id(out: &mut String, ack: Option<u64>) {
    if let Some(id) = ack {
        out.push_str(itoa::Buffer::new().format(id));
    }
}

/// A JSON Schema (draft 2020-12) of one payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// File name without `.json`, for example `s2c.room`. `c2s.*` describes the first argument of
    /// an event, `s2c.*` and `ack.*` the array of arguments, `rest.*` a body.
    pub name: &'static str,
    pub text: &'static str,
}

/// Name and text of every file of the folder, by name; `build.rs` lists them.
static SCHEMAS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/schemas.rs"));

/// What a CONNECT carries is no argument of an event.
const CONNECT: &str = "connect_auth";

/// All schemas, by name.
pub fn schemas() -> impl Iterator<Item = Schema> {
    SCHEMAS.iter().map(|&(name, text)| Schema { name, text })
}

/// The schema with this name.
pub fn schema(name: &str) -> Option<Schema> {
    schemas().find(|schema| schema.name == name)
}

/// The names of the events of a client, by name: each has a schema `c2s.NAME`.
///
/// Spec: CHAT-10.
pub fn client_events() -> impl Iterator<Item = &'static str> {
    schemas().filter_map(|schema| schema.name.strip_prefix("c2s.")).filter(|name| *name != CONNECT)
}

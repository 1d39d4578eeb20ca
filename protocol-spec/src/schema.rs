macro_rules! schema_files {
    ($($name:literal),* $(,)?) => {
        [$(Schema {
            name: $name,
            text: include_str!(concat!("../schemas/", $name, ".json")),
        }),*]
    };
}

/// A JSON Schema (draft 2020-12) of one payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// File name without `.json`, for example `s2c.room`. `c2s.*` describes the first argument of
    /// an event, `s2c.*` and `ack.*` the array of arguments, `rest.*` a body.
    pub name: &'static str,
    pub text: &'static str,
}

static SCHEMAS: [Schema; 43] = schema_files![
    "ack.error",
    "ack.login",
    "ack.message",
    "ack.room",
    "ack.roomout",
    "api_token",
    "c2s.connect_auth",
    "c2s.login",
    "c2s.message",
    "c2s.room",
    "c2s.roomout",
    "count",
    "engine.error",
    "engine.open",
    "error_code",
    "message",
    "meta",
    "rest.avatar",
    "rest.health",
    "rest.history",
    "rest.login",
    "rest.logout",
    "rest.message",
    "rest.ready",
    "rest.register",
    "rest.robot",
    "rest.rooms",
    "rest.uploadimg",
    "rest.user",
    "roomid",
    "roster",
    "roster_entry",
    "s2c.chat_error",
    "s2c.connect",
    "s2c.count",
    "s2c.login",
    "s2c.message",
    "s2c.presence_count",
    "s2c.presence_delta",
    "s2c.room",
    "s2c.roomout",
    "token",
    "user_public",
];

/// All schemas, by name.
pub fn schemas() -> impl Iterator<Item = &'static Schema> {
    SCHEMAS.iter()
}

/// The schema with this name.
pub fn schema(name: &str) -> Option<&'static Schema> {
    SCHEMAS.iter().find(|schema| schema.name == name)
}

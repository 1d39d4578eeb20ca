//! What each client shows of itself: its user's token, headers, a query, the payload of CONNECT.

use serde_json::{Map, Value, json};

use crate::plan::Seat;
use crate::scenario::Access;

#[derive(Default)]
pub struct Credentials {
    /// One per user; empty: anonymous.
    pub tokens: Vec<String>,
    access: Access,
    /// The member of CONNECT's payload that holds the token where the scenario has no payload.
    token_member: &'static str,
}

impl Credentials {
    #[must_use]
    pub fn new(tokens: Vec<String>, access: Access, token_member: &'static str) -> Self {
        Self { tokens, access, token_member }
    }

    /// Users among whom clients are dealt out; none: each client is one.
    #[must_use]
    pub fn users(&self) -> Option<usize> {
        (!self.tokens.is_empty()).then_some(self.tokens.len())
    }

    #[must_use]
    pub fn token(&self, seat: &Seat) -> Option<&str> {
        self.tokens.get(seat.user as usize).map(String::as_str)
    }

    /// The lines of the client's headers, each with its line end.
    #[must_use]
    pub fn headers(&self, seat: &Seat) -> String {
        let mut lines = String::new();
        for header in &self.access.headers {
            lines.push_str(&self.fill(header, seat, str::to_owned));
            lines.push_str("\r\n");
        }
        lines
    }

    /// `path` with the client's query.
    #[must_use]
    pub fn with_query(&self, path: String, seat: &Seat) -> String {
        let Some(query) = &self.access.query else { return path };
        let encoded =
            |value: &str| form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>();
        let query = self.fill(query.trim_start_matches(['?', '&']), seat, encoded);
        let separator = if path.contains('?') { '&' } else { '?' };
        format!("{path}{separator}{query}")
    }

    /// The payload of a Socket.IO CONNECT; empty: there is none.
    #[must_use]
    pub fn connect_payload(&self, seat: &Seat) -> String {
        match (&self.access.auth, self.token(seat)) {
            (Some(auth), _) => {
                filled(auth, &|text| self.fill(text, seat, str::to_owned)).to_string()
            }
            (None, Some(token)) => json!({ self.token_member: token }).to_string(),
            (None, None) => String::new(),
        }
    }

    fn fill(&self, template: &str, seat: &Seat, encoded: impl Fn(&str) -> String) -> String {
        if !template.contains('{') {
            return template.to_owned();
        }
        template
            .replace("{user}", &seat.user.to_string())
            .replace("{client}", &seat.client.to_string())
            .replace("{token}", &encoded(self.token(seat).unwrap_or_default()))
    }
}

/// The same JSON with each of its strings, and names of members, changed.
#[must_use]
pub fn filled(value: &Value, fill: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(fill(text)),
        Value::Array(items) => items.iter().map(|item| filled(item, fill)).collect(),
        Value::Object(members) => {
            let filled = members.iter().map(|(name, value)| (fill(name), filled(value, fill)));
            Value::Object(filled.collect::<Map<_, _>>())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(client: u32) -> Seat {
        Seat { client, thread: 0, user: client % 2, rooms: vec![0], publisher: None }
    }

    #[test]
    fn each_client_shows_what_is_its_users() {
        let access = Access {
            headers: vec![
                "Authorization: Bearer {token}".into(),
                "Cookie: id={user}-{client}".into(),
            ],
            query: Some("?token={token}&n={client}".into()),
            auth: Some(json!({ "deep": ["{token}", 7], "{user}": true })),
            ..Access::default()
        };
        let shown = Credentials::new(vec!["a&b".into(), "\"c\"".into()], access, "token");
        assert_eq!(shown.headers(&seat(3)), "Authorization: Bearer \"c\"\r\nCookie: id=1-3\r\n");
        assert_eq!(shown.with_query("/x?EIO=4".into(), &seat(2)), "/x?EIO=4&token=a%26b&n=2");
        assert_eq!(shown.with_query("/x".into(), &seat(2)), "/x?token=a%26b&n=2");
        assert_eq!(shown.connect_payload(&seat(1)), r#"{"deep":["\"c\"",7],"1":true}"#);
    }

    #[test]
    fn without_templates_only_the_token_is_shown() {
        let shown = Credentials::new(vec!["t".into()], Access::default(), "api_token");
        assert_eq!(shown.connect_payload(&seat(0)), r#"{"api_token":"t"}"#);
        assert_eq!(
            (shown.headers(&seat(0)), shown.with_query("/".into(), &seat(0))),
            ("".into(), "/".into())
        );
        assert_eq!(Credentials::default().connect_payload(&seat(0)), "");
    }
}

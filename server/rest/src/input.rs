//! Fields of a request: its query, and its JSON or form body.

use axum::body::Body as RequestBody;
use axum::extract::{FromRequest, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde_json::{Map, Value};
use throng_wire::http::{Caller, ClientKey};

use crate::Api;
use crate::answer::Refusal;
use crate::bodies::Owner;

/// The fields of a body. A body that is neither a JSON object nor a form has none, as in the original.
#[derive(Debug, Default)]
pub(crate) struct Body(Map<String, Value>);

impl Body {
    pub fn new(fields: Map<String, Value>) -> Self {
        Self(fields)
    }

    /// Reads all of it; who calls this has bounded it.
    pub async fn read(headers: &HeaderMap, body: RequestBody) -> Result<Self, Refusal> {
        let is_form = content_type(headers)
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let bytes = axum::body::to_bytes(body, usize::MAX).await;
        let bytes = bytes.map_err(|_| Refusal::BadBody)?;
        if is_form {
            let fields = form_urlencoded::parse(&bytes)
                .map(|(name, value)| (name.into_owned(), Value::from(value.into_owned())));
            return Ok(Self::new(fields.collect()));
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields)) => Ok(Self::new(fields)),
            Ok(_) | Err(_) => Ok(Self::default()),
        }
    }

    pub fn insert(&mut self, name: String, text: &str) {
        self.0.insert(name, text.into());
    }

    /// A field as it was sent; `None` if it is missing, null or an empty string, which are the same
    /// to the original.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => true,
        })
    }

    /// As [`Body::field`], with strings trimmed.
    pub fn trimmed(&self, name: &str) -> Option<Value> {
        match self.field(name)? {
            Value::String(text) => {
                let text = text.trim();
                (!text.is_empty()).then(|| Value::from(text))
            }
            other => Some(other.clone()),
        }
    }
}

impl FromRequest<Api> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let most = api.deps.settings.body_bytes_max;
        let arriving = api.bodies.begin(Owner::Stranger(client(&parts)), most);
        let body = arriving.meter(body)?;
        arriving.read(Self::read(&parts.headers, body)).await
    }
}

/// The fields of a JSON body from a page of the server's own origin or a listed one, or from no page.
/// Without these rules a page of any site could log its visitors in to an account of its own.
///
/// Spec: REST-26.
pub(crate) struct OwnJson(pub Body);

impl FromRequest<Api> for OwnJson {
    type Rejection = Refusal;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Refusal> {
        let caller = request.extensions().get::<Caller>();
        if !caller.expect("every request has its caller").is_origin_allowed {
            return Err(Refusal::Forbidden);
        }
        let kind = content_type(request.headers()).and_then(|kind| kind.parse::<mime::Mime>().ok());
        if kind.is_none_or(|kind| kind.essence_str() != mime::APPLICATION_JSON.essence_str()) {
            return Err(Refusal::NotJson);
        }
        Body::from_request(request, api).await.map(OwnJson)
    }
}

/// Spec: TRN-60.
pub(crate) fn is_origin_allowed(parts: &Parts) -> bool {
    let caller = parts.extensions.get::<Caller>();
    caller.expect("every request has its caller").is_origin_allowed
}

/// Whom limits per client count.
pub(crate) fn client(parts: &Parts) -> ClientKey {
    let caller = parts.extensions.get::<Caller>();
    caller.expect("every request has its caller").client.ip.into()
}

/// The value of a query parameter; of several the last, as in the original.
pub(crate) fn query_value(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .filter(|(key, _)| key == name)
        .last()
        .map(|(_, value)| value.into_owned())
}

/// A query parameter as a whole number; 0 if it is missing, negative, too large or anything else.
pub(crate) fn query_number(query: &str, name: &str) -> u64 {
    query_value(query, name).and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

pub(crate) fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_several_parameters_counts() {
        assert_eq!(query_value("a=1&b=2&a=%33+x", "a").as_deref(), Some("3 x"));
        assert_eq!(query_value("a", "a").as_deref(), Some(""));
        assert_eq!(query_value("a[]=1", "a"), None);
        assert_eq!(query_number("n=18446744073709551615", "n"), u64::MAX);
        for query in ["n=18446744073709551616", "n=-1", "n=1.5", "n=abc", "n=", ""] {
            assert_eq!(query_number(query, "n"), 0, "{query}");
        }
    }
}

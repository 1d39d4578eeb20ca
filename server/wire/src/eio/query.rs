use std::borrow::Cow;

/// The query of an engine request, percent-decoded. Of a repeated parameter the first counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// `EIO`: the protocol the client speaks.
    pub eio: Option<Cow<'a, str>>,
    /// `transport`: `polling`, `websocket`, or anything else that the client sent.
    pub transport: Option<Cow<'a, str>>,
    /// `sid`: the session that the request belongs to; absent in a handshake.
    pub sid: Option<Cow<'a, str>>,
    /// The client cannot receive binary: any `b64` that is not empty, as in the reference server.
    pub b64: bool,
    /// `j`: the answer is a JSONP call with this index. Characters other than digits are dropped, as in the
    /// reference server; an index without any digit, or of more than 32 bits, is 0.
    pub jsonp: Option<u32>,
    /// `api_token`, as given: may be empty or the word `false`.
    pub token: Option<Cow<'a, str>>,
}

/// Reads the parameters that concern the engine out of `query` (without its `?`).
///
/// Spec: TRN-3, TRN-5, TRN-70, TRN-73.
pub fn query(query: &str) -> Query<'_> {
    let mut found = Query::default();
    let mut b64 = None;
    let mut jsonp = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let slot = match &*name {
            "EIO" => &mut found.eio,
            "transport" => &mut found.transport,
            "sid" => &mut found.sid,
            "b64" => &mut b64,
            "j" => &mut jsonp,
            "api_token" => &mut found.token,
            _ => continue,
        };
        slot.get_or_insert(value);
    }
    found.b64 = b64.is_some_and(|b64| !b64.is_empty());
    found.jsonp = jsonp.filter(|index| !index.is_empty()).map(|index| {
        let digits: String = index.chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    });
    found
}

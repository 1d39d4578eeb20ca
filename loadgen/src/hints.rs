//! What a server wants, in a sentence, where its errors are known.

use std::collections::BTreeMap;

/// Parts of the names of errors, the more special ones first: each error has one sentence.
const HINTS: [(&[&str], &str); 9] = [
    (
        &["refused: join unauthenticated", "login demanded", "refused: http 401"],
        "the server wants to know its users: --users N registers some with a Throng, --tokens FILE and \
         --jwt-secret-file FILE give tokens, --header, --query and --auth show them",
    ),
    (
        &["refused: join unknown_room"],
        "the server has not all of these rooms: --rooms and --first-room say which are joined",
    ),
    (
        &["refused: message rate_limited", "refused: join rate_limited"],
        "the server limits each user: more --users and --publishers share the load, a lower --rate is less",
    ),
    (
        &["refused: http 404"],
        "the server has nothing at this path: --path gives another, --protocol and --preset another protocol",
    ),
    (
        &["timeout: the join"],
        "the server may call its events otherwise: --events FILE names them, --preset NAME is another protocol",
    ),
    (
        &["is an authority's"],
        "make the server a certificate of its own: sign one with the authority, or make it with `openssl req -x509 \
         … -addext basicConstraints=critical,CA:FALSE`; --insecure trusts any certificate",
    ),
    (
        &["NotValidForName", "not valid for name"],
        "the certificate is for another name: --target takes the name that the certificate has",
    ),
    (
        &["Expired", "NotValidYet", "expired", "not valid yet"],
        "the certificate is not valid now: see the clock of this machine, and renew it",
    ),
    (
        &["tls: "],
        "--ca FILE trusts the authority of a certificate, --insecure any; http:// and ws:// are without TLS",
    ),
];

/// The sentences that fit these errors.
#[must_use]
pub fn of(errors: &BTreeMap<String, u64>) -> Vec<&'static str> {
    let mut hints: Vec<&str> = errors.keys().filter_map(|error| hint(error)).collect();
    hints.sort_unstable();
    hints.dedup();
    hints
}

/// The sentence that fits an error.
#[must_use]
pub fn hint(error: &str) -> Option<&'static str> {
    let fits = |(kinds, _): &&(&[&str], &str)| kinds.iter().any(|kind| error.contains(kind));
    HINTS.iter().find(fits).map(|(_, hint)| *hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_most_special_sentence() {
        for (error, says) in [
            (
                "tls: invalid peer certificate: the certificate of the server is an authority's (CA:TRUE)",
                "CA:FALSE",
            ),
            ("tls: invalid peer certificate: UnknownIssuer", "--ca FILE"),
            ("tls: invalid peer certificate: Expired", "clock"),
            ("refused: http 404", "--path"),
        ] {
            assert!(hint(error).is_some_and(|hint| hint.contains(says)), "{error}");
        }
        assert_eq!(hint("closed: reset"), None);
    }
}

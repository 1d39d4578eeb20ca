//! What a server wants, in a sentence, where its errors are known.

use std::collections::BTreeMap;

const HINTS: [(&[&str], &str); 6] = [
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
        &["tls: "],
        "--ca FILE trusts the authority of a certificate, --insecure any; http:// and ws:// are without TLS",
    ),
];

/// The sentences that fit these errors.
pub fn of<'e>(errors: &'e BTreeMap<String, u64>) -> impl Iterator<Item = &'static str> + 'e {
    let fits = |kinds: &&[&str]| {
        kinds.iter().any(|kind| errors.keys().any(|error| error.starts_with(kind)))
    };
    HINTS.iter().filter(move |(kinds, _)| fits(kinds)).map(|(_, hint)| *hint)
}

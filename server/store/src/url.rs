//! URLs of databases.

use crate::dialect::Dialect;

/// Whether a URL names a database that the store supports.
#[must_use]
pub fn is_database_url(url: &str) -> bool {
    match Dialect::of(url) {
        Some(Dialect::Sqlite) => true,
        Some(Dialect::Postgres | Dialect::Mysql) => url.contains("://"),
        None => false,
    }
}

/// Whether a URL names a database server rather than a file.
#[must_use]
pub fn is_server_url(url: &str) -> bool {
    matches!(Dialect::of(url), Some(Dialect::Postgres | Dialect::Mysql))
}

/// A database URL that may be logged: without user, password and parameters.
#[must_use]
pub fn without_secrets(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = bare.split_once("://") else {
        // What is not a URL may be a password that was pasted alone.
        return if bare.starts_with("sqlite:") { bare.into() } else { "no URL".into() };
    };
    match rest.rsplit_once('@') {
        Some((_, place)) => format!("{scheme}://…@{place}"),
        None => bare.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_url_holds_no_secret() {
        for url in [
            "postgres://ann:secret@db.example:5432/throng",
            "postgres://db.example/throng?user=ann&password=secret",
            "mysql://ann:sec@ret@db.example/throng",
            "secret",
            "ann:secret@db.example",
        ] {
            let shown = without_secrets(url);
            assert!(!shown.contains("secret") && !shown.contains("ret@"), "{shown}");
        }
        assert_eq!(without_secrets("sqlite://data/throng.db"), "sqlite://data/throng.db");
        assert_eq!(without_secrets("mysql://a:b@db:3306/x"), "mysql://…@db:3306/x");
    }
}

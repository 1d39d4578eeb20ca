//! Tokens: random, shown once, stored as SHA-256 only; several per user, each with an expiry.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;

use rand::Rng;
use rand::distr::Alphanumeric;
use sha2::{Digest, Sha256};
use sqlx::{AnyConnection, Row};

use crate::clock::now_ms;
use crate::statement::{LOOKUP_KEYS_MAX, narrow, padded, values};
use crate::users::{USER_COLUMNS, read_user};
use crate::{Store, StoreError, UserRow};

/// Characters of a token, each of `[A-Za-z0-9]`: 357 random bits.
pub const TOKEN_CHARS: usize = 60;

/// What a token permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenScope {
    /// Everything its user may do.
    Api,
    /// Reading over HTTP from our own pages.
    Cookie,
}

impl TokenScope {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Cookie => "cookie",
        }
    }
}

/// Hash under which a token is stored; `None` if `token` does not have the form of one.
#[must_use]
pub fn hash_token(token: &str) -> Option<[u8; 32]> {
    let is_well_formed =
        token.len() == TOKEN_CHARS && token.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_well_formed.then(|| Sha256::digest(token.as_bytes()).into())
}

/// A new token, and its hash.
pub(crate) fn new_token() -> (String, [u8; 32]) {
    let token: String =
        rand::rng().sample_iter(Alphanumeric).take(TOKEN_CHARS).map(char::from).collect();
    let hash = Sha256::digest(token.as_bytes()).into();
    (token, hash)
}

impl Store {
    /// Makes a token for `user` and returns it; this is the only time it can be read. Beyond
    /// `tokens_per_user_max` the user's oldest of the same scope ends.
    ///
    /// # Errors
    /// The database failed, or the user does not exist.
    pub async fn issue_token(&self, user: u32, scope: TokenScope) -> Result<String, StoreError> {
        let (token, hash) = new_token();
        let keep = async || {
            let mut write = self.db().write().await?;
            self.insert_token(&mut write, user, scope, hash).await?;
            write.commit().await
        };
        match self.db().retried(keep).await {
            // An attempt whose answer was lost has kept it.
            Err(error) if error.is_taken() && self.has_token(hash).await? => {}
            kept => kept?,
        }
        Ok(token)
    }

    pub(crate) async fn insert_token(
        &self,
        write: &mut AnyConnection,
        user: u32,
        scope: TokenScope,
        hash: [u8; 32],
    ) -> Result<(), StoreError> {
        let options = self.options();
        let now = now_ms();
        self.db()
            .query("DELETE FROM tokens WHERE expires_at <= ?")
            .bind(now)
            .execute(&mut *write)
            .await?;
        self.db().query(
            "INSERT INTO tokens (hash, user_id, scope, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(hash.to_vec())
        .bind(i64::from(user))
        .bind(scope.name())
        .bind(now)
        .bind(now.saturating_add(options.token_lifetime_ms()))
        .execute(&mut *write)
        .await?;
        let oldest_kept = self.db().query(
            "SELECT id FROM tokens WHERE user_id = ? AND scope = ? ORDER BY id DESC LIMIT 1 OFFSET ?",
        )
        .bind(i64::from(user))
        .bind(scope.name())
        .bind(i64::from(options.tokens_per_user_max.max(1)) - 1)
        .fetch_optional(&mut *write)
        .await?;
        if let Some(row) = oldest_kept {
            self.db()
                .query("DELETE FROM tokens WHERE user_id = ? AND scope = ? AND id < ?")
                .bind(i64::from(user))
                .bind(scope.name())
                .bind(row.try_get::<i64, _>(0)?)
                .execute(&mut *write)
                .await?;
        }
        Ok(())
    }

    /// Whether the token is kept, from a connection that writes.
    pub(crate) async fn has_token(&self, hash: [u8; 32]) -> Result<bool, StoreError> {
        let select = self.db().query("SELECT 1 FROM tokens WHERE hash = ?").bind(hash.to_vec());
        Ok(self.db().row_of_writer(select).await?.is_some())
    }

    /// The user of an unexpired `Api` token.
    ///
    /// # Errors
    /// The database failed.
    pub async fn authenticate(&self, hash: [u8; 32]) -> Result<Option<UserRow>, StoreError> {
        self.token_owner(hash, TokenScope::Api).await
    }

    /// The users of unexpired `Api` tokens, in the order of `hashes`: one statement for many
    /// connections.
    ///
    /// # Errors
    /// The database failed.
    pub async fn authenticate_all(
        &self,
        hashes: &[[u8; 32]],
    ) -> Result<Vec<Option<UserRow>>, StoreError> {
        let mut found: HashMap<Vec<u8>, UserRow> = HashMap::with_capacity(hashes.len());
        for asked in hashes.chunks(LOOKUP_KEYS_MAX) {
            let keys = padded(asked);
            let select = self.db().query(format!(
                "SELECT {USER_COLUMNS}, t.hash FROM tokens t JOIN users u ON u.id = t.user_id
                 WHERE t.scope = ? AND t.expires_at > ? AND t.hash IN {}",
                values(1, keys.len())
            ));
            let mut select = select.bind(TokenScope::Api.name()).bind(now_ms());
            for hash in keys {
                select = select.bind(hash.to_vec());
            }
            for row in self.db().rows(select).await? {
                found.insert(row.try_get(7)?, read_user(&row)?);
            }
        }
        Ok(hashes.iter().map(|hash| found.get(hash.as_slice()).cloned()).collect())
    }

    /// The user of an unexpired `Cookie` token.
    ///
    /// # Errors
    /// The database failed.
    pub async fn authenticate_cookie(&self, hash: [u8; 32]) -> Result<Option<UserRow>, StoreError> {
        self.token_owner(hash, TokenScope::Cookie).await
    }

    /// Ends a token of either scope; answers its user, or `None` if there was no such token.
    ///
    /// # Errors
    /// The database failed.
    pub async fn revoke(&self, hash: [u8; 32]) -> Result<Option<u32>, StoreError> {
        let select = self.db().query("SELECT user_id FROM tokens WHERE hash = ?");
        let owner = self.db().row_of_writer(select.bind(hash.to_vec())).await?;
        let Some(owner) = owner else { return Ok(None) };
        let delete = self.db().query("DELETE FROM tokens WHERE hash = ?").bind(hash.to_vec());
        let deleted = self.db().execute(delete).await?;
        // Of two calls that end one token at once, one has ended it.
        let is_ended = deleted.rows_affected() > 0;
        is_ended.then(|| narrow(owner.try_get(0)?, "user id of a token")).transpose()
    }

    /// Compares SHA-256 values inside an index: the timing reveals nothing about a token.
    async fn token_owner(
        &self,
        hash: [u8; 32],
        scope: TokenScope,
    ) -> Result<Option<UserRow>, StoreError> {
        self.metrics().counters.token_lookups.fetch_add(1, Relaxed);
        let select = self.db().query(format!(
            "SELECT {USER_COLUMNS} FROM tokens t JOIN users u ON u.id = t.user_id
             WHERE t.hash = ? AND t.scope = ? AND t.expires_at > ?"
        ));
        let select = select.bind(hash.to_vec()).bind(scope.name()).bind(now_ms());
        self.db().row(select).await?.map(|row| read_user(&row)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_sixty_ascii_alphanumerics() {
        assert!(hash_token(&"a".repeat(60)).is_some());
        assert!(hash_token(&"a".repeat(59)).is_none());
        assert!(hash_token(&"a".repeat(61)).is_none());
        assert!(hash_token(&format!("{}-", "a".repeat(59))).is_none());
        assert!(hash_token(&"é".repeat(30)).is_none(), "60 bytes, none of them in the alphabet");
        assert!(hash_token("").is_none());
    }
}

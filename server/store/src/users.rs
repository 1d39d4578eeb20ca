//! Accounts.

use sqlx::Row;
use sqlx::any::AnyRow;
use throng_wire::http::ClientKey;

use crate::clock::{format_datetime, now_ms};
use crate::password::Verification;
use crate::statement::narrow;
use crate::{Store, StoreError, Urgency};

/// A user: what others may see, and the e-mail, which they may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    pub id: u32,
    /// As it was registered; unique by [`email_key`].
    pub email: String,
    /// Display name: the local part of the e-mail, not unique.
    pub name: String,
    /// URL, or a path on this server.
    pub avatar: String,
    /// Times are `YYYY-MM-DD HH:MM:SS`, UTC.
    pub email_verified_at: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

/// A user's name without the characters of markup, so that a page which forgets to escape it shows text
/// all the same. Spec: REST-18.
#[must_use]
pub fn plain_name(name: &str) -> String {
    let plain: String = name
        .chars()
        .filter(|c| !['<', '>', '"', '&', '`', '\\'].contains(c))
        .map(|c| if c == '\'' { '’' } else { c })
        .collect();
    if plain.trim().is_empty() { "user".to_owned() } else { plain }
}

impl Store {
    /// Whether an account has this e-mail, in whatever spelling.
    ///
    /// # Errors
    /// The database failed.
    pub async fn is_email_taken(&self, email: &str) -> Result<bool, StoreError> {
        let select = self.db().query("SELECT 1 FROM users WHERE email_key = ?");
        Ok(self.db().row(select.bind(email_key(email))).await?.is_some())
    }

    /// The user with this e-mail and password, if both are correct. An unknown e-mail takes as long
    /// as a known one. An imported user's bcrypt hash is replaced by an argon2id hash. Clients take turns.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when too many callers wait for a hash, or this one has for too long.
    pub async fn verify_login(
        &self,
        email: &str,
        password: String,
        urgency: Urgency,
        client: ClientKey,
    ) -> Result<Option<UserRow>, StoreError> {
        let sql =
            format!("SELECT {USER_COLUMNS}, u.password_hash FROM users u WHERE u.email_key = ?");
        let found = self.db().row(self.db().query(sql).bind(email_key(email))).await?;
        let (user, stored) = match found {
            Some(row) => (Some(read_user(&row)?), Some(row.try_get::<String, _>(7)?)),
            None => (None, None),
        };
        let verification = self.passwords().verify(password, stored.clone(), urgency, client);
        let verification = verification.await?;
        let Some(user) = user else { return Ok(None) };
        match verification {
            Verification::Wrong => Ok(None),
            Verification::Right => Ok(Some(user)),
            Verification::Upgrade(upgraded) => {
                // Only if the password was not changed meanwhile.
                let update =
                    "UPDATE users SET password_hash = ? WHERE id = ? AND password_hash = ?";
                let update = self.db().query(update).bind(upgraded).bind(i64::from(user.id));
                self.db().execute(update.bind(stored)).await?;
                Ok(Some(user))
            }
        }
    }

    /// The user with this id.
    ///
    /// # Errors
    /// The database failed.
    pub async fn user(&self, id: u32) -> Result<Option<UserRow>, StoreError> {
        let sql = format!("SELECT {USER_COLUMNS} FROM users u WHERE u.id = ?");
        let row = self.db().row(self.db().query(sql).bind(i64::from(id))).await?;
        row.map(|row| read_user(&row)).transpose()
    }

    /// Changes a user's avatar; answers the changed user, or `None` if there is no such user.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_avatar(&self, id: u32, avatar: &str) -> Result<Option<UserRow>, StoreError> {
        let update = self.db().query("UPDATE users SET avatar = ?, updated_at = ? WHERE id = ?");
        let update = update.bind(avatar).bind(now_ms()).bind(i64::from(id));
        self.db().execute(update).await?;
        self.user(id).await
    }
}

/// Key under which an account's e-mail is unique: two spellings of one address are one account.
#[must_use]
pub fn email_key(email: &str) -> String {
    email.to_lowercase()
}

/// The columns of a [`UserRow`], of the table `users` under the name `u`.
pub(crate) const USER_COLUMNS: &str =
    "u.id, u.email, u.name, u.avatar, u.email_verified_at, u.created_at, u.updated_at";

/// Reads [`USER_COLUMNS`], first in the row.
pub(crate) fn read_user(row: &AnyRow) -> Result<UserRow, StoreError> {
    Ok(UserRow {
        id: narrow(row.try_get(0)?, "user id")?,
        email: row.try_get(1)?,
        name: row.try_get(2)?,
        avatar: row.try_get(3)?,
        email_verified_at: row.try_get::<Option<i64>, _>(4)?.map(format_datetime),
        created_at: format_datetime(row.try_get(5)?),
        updated_at: format_datetime(row.try_get(6)?),
    })
}

#[cfg(test)]
mod tests {
    use super::plain_name;

    #[test]
    fn a_name_holds_no_markup() {
        for (name, plain) in [
            ("ann", "ann"),
            ("Jörg 2", "Jörg 2"),
            ("o'brien", "o’brien"),
            ("\"<script>alert(1)</script>\"", "scriptalert(1)/script"),
            ("a&lt;b\\", "alt;b"),
            ("`<>`", "user"),
            ("", "user"),
        ] {
            assert_eq!(plain_name(name), plain, "{name}");
        }
    }
}

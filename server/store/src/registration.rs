//! New accounts, with their first tokens.

use sqlx::AnyConnection;
use throng_wire::http::ClientKey;

use crate::clock::now_ms;
use crate::fault::leaves_doubt;
use crate::tokens::{TokenScope, new_token};
use crate::users::{USER_COLUMNS, UserRow, email_key, plain_name, read_user};
use crate::{RegisterError, Store, StoreError};

const CREATED_IS_MISSING: StoreError = StoreError::Corrupt("a user just created is missing");

/// An account to create, validated by the caller.
#[derive(Clone, Debug)]
pub struct NewUser {
    pub email: String,
    /// In plain text; only its hash is stored.
    pub password: String,
    pub avatar: String,
}

/// What a registration has created.
#[derive(Clone, Debug)]
pub struct Registered {
    pub user: UserRow,
    /// Of [`TokenScope::Api`].
    pub api_token: String,
    /// Of [`TokenScope::Cookie`].
    pub cookie: String,
}

fn by_email() -> String {
    format!("SELECT {USER_COLUMNS} FROM users u WHERE u.email_key = ?")
}

impl Store {
    /// Creates an account for `client`, and its first tokens. Of concurrent calls with one e-mail exactly one
    /// succeeds. A call that fails has created nothing, as far as the database answers.
    ///
    /// # Errors
    /// [`RegisterError::EmailTaken`], compared without regard to case.
    pub async fn register(
        &self,
        mut new: NewUser,
        client: ClientKey,
    ) -> Result<Registered, RegisterError> {
        // Spares the hash when the e-mail is known to be taken; the unique index decides races.
        if self.is_email_taken(&new.email).await? {
            return Err(RegisterError::EmailTaken);
        }
        let password_hash =
            self.passwords().hash(std::mem::take(&mut new.password), client).await?;
        let tokens = [TokenScope::Api, TokenScope::Cookie].map(|scope| (scope, new_token()));
        let hashes = tokens.each_ref().map(|(scope, (_, hash))| (*scope, *hash));
        let attempt = || self.try_register(&new, &password_hash, hashes);
        if let Err(error) = self.db().retried(attempt).await {
            // An attempt whose answer was lost may be what has taken the e-mail: then its tokens are there.
            let may_be_own = error.is_taken() || leaves_doubt(&error);
            if !may_be_own || !self.has_token(hashes[0].1).await? {
                // A rule of the database may refuse a row in the same words.
                let is_taken = error.is_taken() && self.is_email_taken(&new.email).await?;
                if !is_taken {
                    self.db().suspect();
                    return Err(error.into());
                }
                return Err(RegisterError::EmailTaken);
            }
        }
        let select = self.db().query(by_email()).bind(email_key(&new.email));
        let row = self.db().row_of_writer(select).await?;
        let user = row.ok_or(CREATED_IS_MISSING).and_then(|row| read_user(&row))?;
        let [api_token, cookie] = tokens.map(|(_, (token, _))| token);
        Ok(Registered { user, api_token, cookie })
    }

    async fn try_register(
        &self,
        new: &NewUser,
        password_hash: &str,
        tokens: [(TokenScope, [u8; 32]); 2],
    ) -> Result<(), StoreError> {
        let mut write = self.db().write().await?;
        match self.insert_user(&mut write, new, password_hash, tokens).await {
            Ok(()) => write.commit().await,
            Err(error) => {
                write.undo(&error).await;
                Err(error)
            }
        }
    }

    async fn insert_user(
        &self,
        write: &mut AnyConnection,
        new: &NewUser,
        password_hash: &str,
        tokens: [(TokenScope, [u8; 32]); 2],
    ) -> Result<(), StoreError> {
        let name = new.email.rsplit_once('@').map_or(new.email.as_str(), |(local, _)| local);
        let now = now_ms();
        let insert = self.db().query(
            "INSERT INTO users (name, email, email_key, password_hash, avatar, created_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        );
        insert
            .bind(plain_name(name))
            .bind(&new.email)
            .bind(email_key(&new.email))
            .bind(password_hash)
            .bind(&new.avatar)
            .bind(now)
            .bind(now)
            .execute(&mut *write)
            .await?;
        let select = self.db().query(by_email()).bind(email_key(&new.email));
        let row = select.fetch_optional(&mut *write).await?.ok_or(CREATED_IS_MISSING)?;
        let user = read_user(&row)?.id;
        for (scope, hash) in tokens {
            self.insert_token(&mut *write, user, scope, hash).await?;
        }
        Ok(())
    }
}

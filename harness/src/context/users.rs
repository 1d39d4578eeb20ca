//! The users of a case, and what names them to the target.

use serde_json::Value;
use throng_spec::Profile;

use super::Context;
use crate::client::ClientError;
use crate::client::options::Options;
use crate::client::rest::User;
use crate::credentials::Credentials;
use crate::outcome::Stop;

impl Context {
    /// A user that no other case has; where the target limits registrations, perhaps one that another had.
    pub fn user(&self) -> Result<User, Stop> {
        if self.run.limits_users()
            && !self.needs_new_users
            && let Some(user) = self.run.user_pool.lend()
        {
            self.log.note(format!("uses user {} again", user.id));
            self.borrowed().users.push(user.clone());
            return Ok(user);
        }
        let user = self.register()?;
        self.borrowed().users.push(user.clone());
        Ok(user)
    }

    pub(super) fn register(&self) -> Result<User, Stop> {
        if let Some(credentials) = &self.run.credentials {
            return self.given_user(credentials);
        }
        self.user_named(&self.run.fresh_email())
    }

    /// A user that the case does not have yet, of those that are given.
    fn given_user(&self, credentials: &Credentials) -> Result<User, Stop> {
        if self.needs_new_users && credentials.are_listed() {
            return Err(Stop::Skip(
                "needs users of its own, and the same are given again and again".to_owned(),
            ));
        }
        let number = self.borrowed().users.len();
        let token = credentials.of_user(number).map_err(Stop::Error)?;
        let token = token.ok_or_else(|| {
            Stop::Skip(format!("needs more users than the {number} that are given"))
        })?;
        let user = self.rest().user_of(&token).map_err(|why| Stop::Error(why.to_string()))?;
        if self.borrowed().users.iter().any(|other| other.id == user.id) {
            return Err(Stop::Skip("two of the given tokens are of the same user".to_owned()));
        }
        self.run.note_user(&user);
        Ok(user)
    }

    /// A token for a session of upstream's profile, with what says where it goes.
    fn credentials(&self) -> Result<Option<(&Credentials, String)>, ClientError> {
        match &self.run.credentials {
            Some(credentials) if self.run.profile == Profile::Upstream => {
                let token = credentials.next().map_err(ClientError::Withheld)?;
                Ok(Some((credentials, token)))
            }
            _ => Ok(None),
        }
    }

    /// The same client, with a token where upstream's profile has one to give.
    pub(super) fn with_credentials(&self, options: Options) -> Result<Options, ClientError> {
        Ok(match self.credentials()? {
            Some((credentials, token)) => credentials.options(&token, options),
            None => options,
        })
    }

    /// A new user with this e-mail.
    pub fn user_named(&self, email: &str) -> Result<User, Stop> {
        let paused = self.transcript.paused();
        let user = self.rest().register(email);
        let user = user.map_err(|why| Stop::Error(format!("cannot register: {why}")))?;
        if self.transcript.paused() > paused {
            self.run.note_limit_of_users();
        }
        self.run.note_user(&user);
        Ok(user)
    }

    /// The token of a new user, where the target has users.
    pub(super) fn new_token(&self) -> Result<Option<String>, Stop> {
        self.capabilities().chat.then(|| Ok(self.user()?.token)).transpose()
    }

    /// What a handshake adds to its query to name a user, where the target has users.
    pub fn token_query(&self) -> Result<String, Stop> {
        Ok(self.new_token()?.map_or_else(String::new, |token| format!("&api_token={token}")))
    }

    /// What a handshake by hand has of a token: more of its query, and the value of a header.
    pub(super) fn raw_credentials(&self) -> Result<(String, Option<String>), ClientError> {
        Ok(match self.credentials()? {
            Some((credentials, token)) => {
                let bearer = credentials.are_in_header().then(|| format!("Bearer {token}"));
                (credentials.query(&token), bearer)
            }
            None => (String::new(), None),
        })
    }

    /// The payload of a CONNECT by hand.
    pub(super) fn raw_auth(&self) -> Result<Option<Value>, ClientError> {
        Ok(self.credentials()?.and_then(|(credentials, token)| credentials.auth(&token)))
    }

    /// A CONNECT by hand, as text of an Engine.IO message.
    pub fn connect_text(&self) -> Result<String, ClientError> {
        let auth = self.raw_auth()?;
        Ok(format!("0{}", auth.map_or_else(String::new, |auth| auth.to_string())))
    }
}

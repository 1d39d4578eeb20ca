//! JSON Web Tokens for users (RFC 7519), signed with HS256.

use std::path::Path;

use anyhow::{Context as _, ensure};
use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use serde_json::{Value, json};

/// How long a token is valid, unless its claims say so.
const VALID_S: u64 = 24 * 3600;

pub struct Signer {
    key: hmac::Key,
    claims: Value,
}

impl Signer {
    /// Signs with the secret in the file, less the white space around it.
    ///
    /// # Errors
    /// The file is unreadable or empty, or the claims are no object.
    pub fn new(secret_file: &Path, claims: Option<&Value>) -> anyhow::Result<Self> {
        let file = secret_file.display();
        let secret =
            std::fs::read_to_string(secret_file).with_context(|| format!("read {file}"))?;
        let secret = secret.trim();
        ensure!(!secret.is_empty(), "{file} holds no secret");
        let claims = claims.cloned().unwrap_or_else(|| json!({ "sub": "{user}" }));
        ensure!(claims.is_object(), "users.jwt_claims: an object is needed, not {claims}");
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), claims })
    }

    /// The token of one user.
    #[must_use]
    pub fn sign(&self, user: usize, now_unix_s: u64) -> String {
        let mut claims = crate::credentials::filled(&self.claims, &|text| {
            text.replace("{user}", &user.to_string())
        });
        for (name, value) in [("iat", now_unix_s), ("exp", now_unix_s + VALID_S)] {
            if claims.get(name).is_none() {
                claims[name] = value.into();
            }
        }
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed =
            format!("{}.{}", part(&json!({ "alg": "HS256", "typ": "JWT" })), part(&claims));
        let signature = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_that_of_rfc_7515_but_for_white_space() {
        // The example of jwt.io: HS256 with this secret.
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"your-256-bit-secret");
        let claims = json!({ "sub": "{user}", "name": "John Doe", "iat": 1_516_239_022, "exp": 1 });
        let signer = Signer { key, claims };
        let token = signer.sign(1_234_567_890, 7);
        let parts: Vec<_> = token.split('.').collect();
        assert_eq!(parts[0], "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9");
        let claims = BASE64URL_NOPAD.decode(parts[1].as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(claims).unwrap(),
            r#"{"sub":"1234567890","name":"John Doe","iat":1516239022,"exp":1}"#
        );
        let signed = format!("{}.{}", parts[0], parts[1]);
        let signature = BASE64URL_NOPAD.decode(parts[2].as_bytes()).unwrap();
        hmac::verify(&signer.key, signed.as_bytes(), &signature).unwrap();
    }

    #[test]
    fn a_known_token_is_signed_alike() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"your-256-bit-secret");
        let signed = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ";
        let signature = BASE64URL_NOPAD.encode(hmac::sign(&key, signed.as_bytes()).as_ref());
        assert_eq!(signature, "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c");
    }
}

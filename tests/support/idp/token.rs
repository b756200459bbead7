//! Access tokens: what a test wants in one, and one as issued.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Map, Value, json};

use super::super::jwt::Signer;

/// What a token is to be: by default of subject `jane`, scope `read`, audience `api`, for 5 minutes.
#[derive(Debug, Clone)]
pub struct TokenSpec {
    opaque: Option<String>,
    claims: Map<String, Value>,
    members: Map<String, Value>,
    expires_in: Option<i64>,
    pub(super) expiry_ignored: bool,
}

/// A token as issued.
#[derive(Debug, Clone)]
pub struct Token {
    /// What the client has.
    pub opaque: String,
    /// What the API is to get.
    pub jwt: String,
    /// The payload of the JWT.
    pub claims: Map<String, Value>,
    /// The members of a JSON introspection answer.
    pub(super) members: Map<String, Value>,
    pub(super) expiry_ignored: bool,
    pub(super) revoked: bool,
}

impl Default for TokenSpec {
    fn default() -> TokenSpec {
        TokenSpec::new()
    }
}

impl TokenSpec {
    /// The default.
    pub fn new() -> TokenSpec {
        let claims = json!({"sub": "jane", "aud": "api", "scope": "read"});
        TokenSpec {
            opaque: None,
            claims: claims.as_object().cloned().unwrap_or_default(),
            members: Map::new(),
            expires_in: Some(300),
            expiry_ignored: false,
        }
    }

    /// This string instead of 43 random characters.
    pub fn opaque(mut self, opaque: impl Into<String>) -> TokenSpec {
        self.opaque = Some(opaque.into());
        self
    }

    /// `sub`.
    pub fn subject(self, subject: &str) -> TokenSpec {
        self.claim("sub", subject)
    }

    /// `scope`, space-separated.
    pub fn scope(self, scope: &str) -> TokenSpec {
        self.claim("scope", scope)
    }

    /// `aud`.
    pub fn audience(self, audience: &str) -> TokenSpec {
        self.claim("aud", audience)
    }

    /// Any claim, in the JWT and in JSON answers; null removes it.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> TokenSpec {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// A member of JSON answers only, as `token_type` or `cnf`; null removes it.
    pub fn member(mut self, name: &str, value: impl Into<Value>) -> TokenSpec {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Makes the JWT at least this long.
    pub fn jwt_at_least(self, bytes: usize) -> TokenSpec {
        self.claim("padding", "p".repeat(bytes * 3 / 4))
    }

    /// Seconds until `exp`; negative for one that is past.
    pub fn expires_in(mut self, seconds: i64) -> TokenSpec {
        self.expires_in = Some(seconds);
        self
    }

    /// No `exp` anywhere.
    pub fn without_exp(mut self) -> TokenSpec {
        self.expires_in = None;
        self
    }

    /// The server goes on calling it active after `exp`.
    pub fn active_after_exp(mut self) -> TokenSpec {
        self.expiry_ignored = true;
        self
    }

    /// Signs and names it.
    pub(super) fn issue(self, issuer: &str, client_id: &str, signer: &Signer) -> Token {
        let now = now();
        let mut claims = Map::new();
        claims.insert("iss".to_owned(), issuer.into());
        claims.insert("client_id".to_owned(), client_id.into());
        claims.insert("iat".to_owned(), now.into());
        claims.insert("jti".to_owned(), random(12).into());
        if let Some(seconds) = self.expires_in {
            claims.insert("exp".to_owned(), (now + seconds).into());
        }
        claims.extend(self.claims);
        claims.retain(|_, value| !value.is_null());
        let mut members = claims.clone();
        members.insert("active".to_owned(), true.into());
        members.insert("token_type".to_owned(), "Bearer".into());
        members.extend(self.members);
        members.retain(|_, value| !value.is_null());
        Token {
            opaque: self.opaque.unwrap_or_else(|| random(32)),
            jwt: signer.sign("at+jwt", &Value::Object(claims.clone())),
            claims,
            members,
            expiry_ignored: self.expiry_ignored,
            revoked: false,
        }
    }
}

impl Token {
    /// `Bearer ` and the opaque token: the client's `Authorization`.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.opaque)
    }

    /// `Bearer ` and the JWT: the API's `Authorization`.
    pub fn jwt_bearer(&self) -> String {
        format!("Bearer {}", self.jwt)
    }

    /// Seconds until `exp`; `None` without one.
    pub fn remaining(&self) -> Option<i64> {
        Some(self.claims.get("exp")?.as_i64()? - now())
    }

    pub(super) fn is_active(&self) -> bool {
        let expired = self.remaining().is_some_and(|seconds| seconds <= 0);
        !self.revoked && (!expired || self.expiry_ignored)
    }
}

/// Seconds since the epoch.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock after 1970").as_secs() as i64
}

/// So many random bytes, base64url: 32 give 43 characters.
pub fn random(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    SystemRandom::new().fill(&mut buffer).expect("random bytes");
    URL_SAFE_NO_PAD.encode(buffer)
}

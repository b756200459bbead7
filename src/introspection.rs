//! What is the endpoint asked, and what does its answer say about the token?
//!
//! RFC 7662 (introspection), RFC 9701 (JWT responses), RFC 7519 (claims).

use bytes::Bytes;
use http::HeaderMap;
use zeroize::Zeroizing;

use crate::settings::Profile;

/// An HTTP response of the introspection endpoint, read whole.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: HeaderMap,
    /// Content.
    pub body: Bytes,
}

/// What a usable answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The token is active and this JWT stands for it.
    Active(Active),
    /// The token must be refused.
    Inactive(Inactive),
}

/// An answer that lets a request go on.
#[derive(Clone, PartialEq, Eq)]
pub struct Active {
    /// The forwardable JWT.
    pub jwt: Box<str>,
    /// The earliest `exp` stated anywhere, seconds since the epoch.
    pub exp: Option<i64>,
}

impl std::fmt::Debug for Active {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Active").field("exp", &self.exp).finish_non_exhaustive()
    }
}

/// Why a token that the endpoint knows, or does not, is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inactive {
    /// 204, or `active` is `false`.
    Stated,
    /// `exp` is not after now.
    Expired,
    /// Another kind of token: a refresh or ID token, or one bound to a key.
    NotBearer,
}

/// Why the endpoint gave no usable answer: never the client's fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    // to be completed
}

/// The request's content: `token=…&token_type_hint=access_token` (RFC 7662 §2.1).
pub fn request_form(token: &str) -> Zeroizing<String> {
    let _ = token;
    todo!()
}

/// Reads an answer. `active` is looked at before anything else.
pub fn interpret(response: &Response, profile: &Profile) -> Result<Answer, Failure> {
    let _ = (response, profile);
    todo!()
}

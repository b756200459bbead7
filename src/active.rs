//! What is kept of an answer that lets a request go on?

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

/// Everything an answer says is one text, shared by its copies: the cache holds many.
#[derive(Clone, PartialEq, Eq)]
pub struct Active {
    /// `Bearer` and the JWT, as the API gets it, so that nobody has to put it together for each request; then the members;
    /// then the claims kept apart.
    text: Arc<str>,
    authorization_end: u32,
    members_end: u32,
    /// [`Self::exp`], or [`NEVER`].
    exp: i64,
}

const BEARER: &str = "Bearer ";

/// No `exp` was stated.
const NEVER: i64 = i64::MAX;

impl Active {
    /// An answer with a forwardable JWT, and the text of a JSON object, which may be empty.
    pub fn new(jwt: &str, exp: Option<i64>, members: &str) -> Self {
        Self::keeping(jwt, exp, members, "")
    }

    /// The same, with claims that [`crate::claims::Wanted`] has picked.
    pub fn keeping(jwt: &str, exp: Option<i64>, members: &str, claims: &str) -> Self {
        // All of it comes from an answer of at most `MAX_BODY` bytes, escaped at the worst.
        let end = |parts: &[&str]| parts.iter().map(|part| part.len() as u32).sum();
        Self {
            authorization_end: end(&[BEARER, jwt]),
            members_end: end(&[BEARER, jwt, members]),
            // One so far ahead is as good as the second before it.
            exp: exp.map_or(NEVER, |exp| exp.min(NEVER - 1)),
            text: [BEARER, jwt, members, claims].concat().into(),
        }
    }

    /// The earliest `exp` stated anywhere, seconds since the epoch. It may have passed: that is for the caller, who has
    /// a clock, to tell.
    pub fn exp(&self) -> Option<i64> {
        (self.exp != NEVER).then_some(self.exp)
    }

    /// Whether its `exp`, if it states one, is after `unix`.
    pub fn is_valid_at(&self, unix: i64) -> bool {
        self.exp > unix
    }

    /// The `Authorization` header for the API.
    pub fn authorization(&self) -> &str {
        &self.text[..self.authorization_end as usize]
    }

    /// The forwardable JWT.
    pub fn jwt(&self) -> &str {
        &self.authorization()[BEARER.len()..]
    }

    /// The members of the endpoint's JSON but for JWTs, as a JSON text; empty where the answer was a JWT.
    pub fn members(&self) -> &str {
        &self.text[self.authorization_end as usize..self.members_end as usize]
    }

    /// What [`crate::claims::Wanted`] has picked.
    pub fn claims(&self) -> &str {
        &self.text[self.members_end as usize..]
    }

    /// A copy with memory of its own, allocated by the thread that calls this: what is to stay does not belong among the
    /// passing allocations of the thread that read the answer.
    pub fn settled(&self) -> Self {
        Self { text: Arc::from(&*self.text), ..*self }
    }

    /// Bytes of what it holds.
    pub fn size(&self) -> usize {
        self.text.len()
    }
}

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Active").field("exp", &self.exp()).finish_non_exhaustive()
    }
}

//! Which words do the variables have for what became of a token, and which refusal follows from it?

use crate::challenge::Refusal;
use crate::introspection::Failure;

/// Values of `$phantom_token_status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenStatus {
    /// The request went on with a JWT.
    Active,
    /// The token is refused: unknown, expired, revoked, or of another kind.
    Inactive,
    /// No token was sent.
    Absent,
    /// What was sent is no token.
    Malformed,
    /// A CORS preflight.
    Preflight,
    /// The endpoint did not answer in time.
    Timeout,
    /// The endpoint could not be reached, or failed.
    Unreachable,
    /// The endpoint refused the gateway.
    Refused,
    /// The endpoint's answer could not be used.
    InvalidResponse,
    /// Too many exchanges are pending, or the endpoint says so of itself.
    Overloaded,
}

impl TokenStatus {
    /// The variable's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
            Self::Absent => "ABSENT",
            Self::Malformed => "MALFORMED",
            Self::Preflight => "PREFLIGHT",
            Self::Timeout => "TIMEOUT",
            Self::Unreachable => "UNREACHABLE",
            Self::Refused => "REFUSED",
            Self::InvalidResponse => "INVALID_RESPONSE",
            Self::Overloaded => "OVERLOADED",
        }
    }
}

/// Values of `$phantom_token_cache_status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    /// Decided from the cache.
    Hit,
    /// The endpoint was asked for this request.
    Miss,
    /// The endpoint was being asked for another request.
    Coalesced,
}

impl CacheStatus {
    /// The variable's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
            Self::Coalesced => "COALESCED",
        }
    }
}

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
    /// What was sent is no token, or different ones.
    Malformed,
    /// It is active, but not good enough for this location.
    Forbidden,
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
            Self::Forbidden => "FORBIDDEN",
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
    /// The endpoint was asked, whatever the cache knows.
    Bypass,
    /// The endpoint could not be asked; decided from an answer whose lifetime has ended.
    Stale,
}

impl CacheStatus {
    /// The variable's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
            Self::Coalesced => "COALESCED",
            Self::Bypass => "BYPASS",
            Self::Stale => "STALE",
        }
    }
}

impl Failure {
    /// What the variable says of a request that got this instead of an answer.
    pub fn token_status(&self) -> TokenStatus {
        match self {
            Self::Timeout { .. } => TokenStatus::Timeout,
            Self::Unreachable { .. } | Self::ServerError { .. } | Self::Internal => TokenStatus::Unreachable,
            Self::Refused { .. } => TokenStatus::Refused,
            Self::UnexpectedStatus { .. } | Self::Invalid(_) => TokenStatus::InvalidResponse,
            Self::Overloaded { .. } | Self::PendingLimit => TokenStatus::Overloaded,
        }
    }

    /// What the client is told.
    pub fn refusal(&self) -> Refusal {
        match self.status() {
            504 => Refusal::Timeout,
            503 => Refusal::Overloaded,
            _ => Refusal::BadGateway,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::introspection::Phase;

    #[test]
    fn a_failure_says_the_same_in_status_refusal_and_variable() {
        for (failure, status, refusal, word) in [
            (Failure::Timeout { phase: Phase::Answer }, 504, Refusal::Timeout, "TIMEOUT"),
            (Failure::Unreachable { cause: String::new() }, 502, Refusal::BadGateway, "UNREACHABLE"),
            (Failure::ServerError { status: 500 }, 502, Refusal::BadGateway, "UNREACHABLE"),
            (Failure::Refused { status: 401, error: None }, 502, Refusal::BadGateway, "REFUSED"),
            (Failure::UnexpectedStatus { status: 302 }, 502, Refusal::BadGateway, "INVALID_RESPONSE"),
            (Failure::Overloaded { retry_after: 3 }, 503, Refusal::Overloaded, "OVERLOADED"),
            (Failure::PendingLimit, 503, Refusal::Overloaded, "OVERLOADED"),
            (Failure::Internal, 502, Refusal::BadGateway, "UNREACHABLE"),
        ] {
            assert_eq!(failure.status(), status, "{failure:?}");
            assert_eq!(failure.refusal(), refusal, "{failure:?}");
            assert_eq!(failure.refusal().status(), status, "{failure:?}");
            assert_eq!(failure.token_status().as_str(), word, "{failure:?}");
        }
    }
}

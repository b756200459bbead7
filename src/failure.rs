//! Why is there no usable answer, and what does the operator read and the client get?
//!
//! Never the client's fault. The messages go to the error log and say what was wrong or what to do; none of them holds
//! a token, a JWT or content of an answer, and foreign text is escaped and shortened.

#![forbid(unsafe_code)]

use std::fmt::Write as _;

use crate::introspection::MAX_BODY;
use crate::json::JsonError;
use crate::jwt::JwtError;

/// Longest foreign text in a message, in characters: any registered media type or error code fits.
const MAX_FOREIGN: usize = 64;

/// Longest cause of a failed connection in a message: TLS libraries explain certificates at length.
const MAX_CAUSE: usize = 256;

/// What was being waited for when the deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Name resolution, TCP or TLS set-up.
    Connect,
    /// The answer, or a free connection to ask over.
    Answer,
}

/// Why the endpoint gave no usable answer: never the client's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The deadline passed.
    #[error("timed out while {}", match .phase {
        Phase::Connect => "connecting to the introspection endpoint",
        Phase::Answer => "waiting for the introspection endpoint's answer",
    })]
    Timeout {
        /// What was being waited for.
        phase: Phase,
    },
    /// Refused or reset connection, TLS or DNS failure.
    #[error("the introspection endpoint cannot be reached: {}", escaped(.cause.as_bytes(), MAX_CAUSE))]
    Unreachable {
        /// What the client said, without the URL; escaped when displayed.
        cause: String,
    },
    /// 5xx.
    #[error("the introspection endpoint failed with status {status}")]
    ServerError {
        /// Its status.
        status: u16,
    },
    /// 4xx: it does not like what the gateway asks, or who the gateway says it is.
    #[error("the introspection endpoint refused the request with status {status}{}; {}",
        .error.as_ref().map_or_else(String::new, |error| format!(" ({error})")),
        advice(*.status, .error.as_deref()))]
    Refused {
        /// Its status.
        status: u16,
        /// `error` of its JSON content (RFC 6749 §5.2), escaped and shortened.
        error: Option<String>,
    },
    /// 429 or 503: it asks for a pause.
    #[error("the introspection endpoint is overloaded; clients are told to retry after {retry_after}s")]
    Overloaded {
        /// Seconds, 1 to 3600.
        retry_after: u32,
    },
    /// A status that means nothing here: 1xx, 3xx, and 2xx other than 200 and 204.
    #[error(
        "the introspection endpoint answered with status {status}, neither 200 nor 204; check \"phantom_token_introspection_endpoint\""
    )]
    UnexpectedStatus {
        /// Its status.
        status: u16,
    },
    /// 200 with something that is no answer.
    #[error("invalid introspection answer: {0}")]
    Invalid(#[from] InvalidAnswer),
    /// As many tokens are being introspected as may be.
    #[error("too many tokens are waiting for introspection; the limit is \"phantom_token_max_pending\"")]
    PendingLimit,
    /// The worker's own machinery broke.
    #[error("internal error: the worker's introspection client is not running")]
    Internal,
}

impl Failure {
    /// The status of the response to the client.
    pub fn status(&self) -> u16 {
        match self {
            Self::Timeout { .. } => 504,
            Self::Overloaded { .. } | Self::PendingLimit => 503,
            Self::Unreachable { .. }
            | Self::ServerError { .. }
            | Self::Refused { .. }
            | Self::UnexpectedStatus { .. }
            | Self::Invalid(_)
            | Self::Internal => 502,
        }
    }

    /// Whether the server is down or has too much to do, so that what it said before may still be its opinion. A refusal or
    /// an invalid answer is an opinion of its own.
    pub fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Timeout { .. } | Self::Unreachable { .. } | Self::ServerError { .. } | Self::Overloaded { .. }
        )
    }

    /// `Retry-After` of that response, in seconds; with 503 only.
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Overloaded { retry_after } => Some(*retry_after),
            Self::PendingLimit => Some(1),
            _ => None,
        }
    }
}

/// What is wrong with a 200.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnswer {
    /// Nothing in it, or white space.
    #[error("it is empty")]
    Empty,
    /// More than [`MAX_BODY`] bytes.
    #[error("it is longer than {MAX_BODY} bytes")]
    TooLong,
    /// Encoded although not asked for.
    #[error("content encoding \"{encoding}\" was not asked for and is not supported")]
    ContentEncoding {
        /// What was stated, escaped and shortened.
        encoding: String,
    },
    /// Not what its encoding promises.
    #[error("its content is no valid gzip")]
    BrokenEncoding,
    /// No `Content-Type`, or several.
    #[error("it has no single content type")]
    NoContentType,
    /// A type that is neither JSON nor JWT.
    #[error(
        "content type \"{content_type}\" is neither JSON nor JWT; check \"phantom_token_introspection_endpoint\" and \"phantom_token_accept\""
    )]
    ContentType {
        /// What was stated, escaped and shortened.
        content_type: String,
    },
    /// Not a JSON object that is read the same everywhere.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// No `active` (RFC 7662 §2.2: required).
    #[error("it has no member \"active\"")]
    NoActive,
    /// `active` is something else than a boolean.
    #[error("its \"active\" is not a boolean")]
    ActiveNotBoolean,
    /// None of the members that may hold the JWT is there.
    #[error(
        "the token is active, but no member holds a JWT; check \"phantom_token_jwt_member\", \"phantom_token_accept\" and the client's settings at the authorization server"
    )]
    NoJwtMember,
    /// The member is not a string.
    #[error("the member that should hold the JWT is not a string")]
    JwtMemberNotString,
    /// The JWT is not one the API could accept.
    #[error("its JWT cannot be forwarded: {0}")]
    NotForwardable(#[from] JwtError),
    /// The JWT is an answer to the gateway (RFC 9701).
    #[error(
        "its JWT is itself an introspection answer (RFC 9701), addressed to the gateway and not to the API; check \"phantom_token_accept\", or set \"phantom_token_introspection_jwt forward\""
    )]
    IntrospectionJwt,
    /// `exp` is something else than a number (RFC 7519 §2: NumericDate).
    #[error("its \"exp\" is not a number")]
    ExpNotNumber,
}

fn advice(status: u16, error: Option<&str>) -> &'static str {
    match (status, error) {
        // RFC 6749 §5.2; RFC 7662 §2.3: 401 where the gateway's own credentials are wrong or missing.
        (_, Some("invalid_client")) | (401, _) => {
            "it did not accept the gateway's client credentials; check \"phantom_token_client_id\" and the secret, or the \
             location's \"proxy_set_header Authorization\""
        }
        (403, _) | (_, Some("unauthorized_client")) => "check that the gateway's client may introspect tokens",
        (404 | 405 | 410, _) => "check \"phantom_token_introspection_endpoint\"",
        _ => "check how the authorization server expects to be asked",
    }
}

/// Foreign text for a message: printable ASCII, the rest escaped, at most 64 characters and then an ellipsis `...`.
pub fn printable(text: &[u8]) -> String {
    escaped(text, MAX_FOREIGN)
}

fn escaped(text: &[u8], limit: usize) -> String {
    let mut out = String::new();
    for &byte in text {
        let length = out.len();
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            // Writing to a String does not fail.
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
        if out.len() > limit {
            out.truncate(length);
            out.push_str("...");
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        let table = [
            (Failure::Timeout { phase: Phase::Connect }, 504, None),
            (Failure::Timeout { phase: Phase::Answer }, 504, None),
            (Failure::Unreachable { cause: "reset".to_owned() }, 502, None),
            (Failure::ServerError { status: 500 }, 502, None),
            (Failure::Refused { status: 401, error: None }, 502, None),
            (Failure::Overloaded { retry_after: 7 }, 503, Some(7)),
            (Failure::UnexpectedStatus { status: 302 }, 502, None),
            (Failure::Invalid(InvalidAnswer::Empty), 502, None),
            (Failure::PendingLimit, 503, Some(1)),
            (Failure::Internal, 502, None),
        ];
        for (failure, status, retry_after) in table {
            assert_eq!((failure.status(), failure.retry_after()), (status, retry_after), "{failure}");
            let message = failure.to_string();
            assert!(!message.ends_with('.') && message.starts_with(|c: char| c.is_ascii_lowercase()));
        }
    }

    #[test]
    fn refusals_name_the_credentials_where_true() {
        let invalid_client = Some("invalid_client".to_owned());
        let table = [
            (400, invalid_client.clone(), "(invalid_client); it did not accept the gateway's client credentials"),
            (401, invalid_client, "(invalid_client); it did not accept the gateway's client credentials"),
            (401, None, "status 401; it did not accept the gateway's client credentials"),
            (403, None, "may introspect tokens"),
            (404, None, "check \"phantom_token_introspection_endpoint\""),
            (400, Some("invalid_request".to_owned()), "(invalid_request); check how"),
        ];
        for (status, error, expected) in table {
            let message = Failure::Refused { status, error }.to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn foreign_text() {
        let long = "a".repeat(65);
        let cut = format!("{}...", "a".repeat(64));
        let controls = [0x0a_u8; 40];
        let table: &[(&[u8], &str)] = &[
            (b"text/html", "text/html"),
            (b"a\r\nb\x1b\x7f\0", "a\\x0d\\x0ab\\x1b\\x7f\\x00"),
            ("é".as_bytes(), "\\xc3\\xa9"),
            (b"\"\\", "\\\"\\\\"),
            (&long.as_bytes()[..64], &long[..64]),
            (long.as_bytes(), &cut),
            (&controls, &format!("{}...", "\\x0a".repeat(16))),
        ];
        for (text, expected) in table {
            assert_eq!(printable(text), *expected);
        }
        let unreachable = Failure::Unreachable { cause: "tls\nalert".to_owned() };
        assert_eq!(unreachable.to_string(), "the introspection endpoint cannot be reached: tls\\x0aalert");
    }
}

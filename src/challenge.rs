//! What is a refused client told?
//!
//! RFC 6750 §3 (the `WWW-Authenticate` challenge). Every text is rendered when the configuration is read, so that
//! refusing costs no more than copying it.

#![forbid(unsafe_code)]

/// Why a request does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No bearer token in the request.
    Absent,
    /// Something that is no token where one should be.
    Malformed,
    /// The authorization server does not vouch for the token, or not for its use here.
    Inactive,
    /// The request carries different tokens.
    InvalidRequest,
    /// The token lacks a scope that is required here.
    InsufficientScope,
    /// The authorization server gave no usable answer.
    BadGateway,
    /// The authorization server, or the gateway, has too much to do.
    Overloaded,
    /// The authorization server did not answer in time.
    Timeout,
}

struct Wording {
    status: u16,
    code: &'static str,
    message: &'static str,
    body: &'static str,
}

macro_rules! wording {
    ($status:literal, $code:literal, $message:literal) => {
        const {
            &Wording {
                status: $status,
                code: $code,
                message: $message,
                body: concat!(r#"{"code":""#, $code, r#"","message":""#, $message, r#""}"#),
            }
        }
    };
}

impl Refusal {
    fn wording(self) -> &'static Wording {
        match self {
            Self::Absent => wording!(
                401,
                "unauthorized_request",
                "An access token is required: send it as Authorization: Bearer <token>"
            ),
            Self::Malformed => wording!(
                401,
                "unauthorized_request",
                "The Authorization header does not hold exactly one well-formed bearer token"
            ),
            Self::Inactive => wording!(
                401,
                "unauthorized_request",
                "The access token is expired, revoked or not valid for this resource"
            ),
            Self::InvalidRequest => {
                wording!(400, "invalid_request", "The request carries more than one access token")
            }
            Self::InsufficientScope => {
                wording!(403, "insufficient_scope", "The access token lacks a scope that this resource requires")
            }
            Self::BadGateway => {
                wording!(502, "server_error", "The access token could not be verified; this is not the client's fault")
            }
            Self::Overloaded => {
                wording!(503, "server_error", "The access token cannot be verified at the moment; retry later")
            }
            Self::Timeout => {
                wording!(504, "server_error", "The access token could not be verified in time; retry later")
            }
        }
    }

    /// Status of the response.
    pub fn status(self) -> u16 {
        self.wording().status
    }

    /// What a program may branch on.
    pub fn code(self) -> &'static str {
        self.wording().code
    }

    /// What its programmer may read.
    pub fn message(self) -> &'static str {
        self.wording().message
    }

    /// Both as a JSON object.
    pub fn body(self) -> &'static str {
        self.wording().body
    }
}

/// Why a challenge cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// A control character in the realm.
    #[error("the realm contains a control character")]
    Realm,
    /// Not a list of scope-tokens.
    #[error("the scope is not a list of scope tokens separated by single spaces")]
    Scope,
}

/// The values of `WWW-Authenticate` for one realm and scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    plain: Box<str>,
    invalid_token: Box<str>,
    invalid_request: Box<str>,
    insufficient_scope: Box<str>,
}

/// What a challenge says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parameters<'a> {
    /// `realm` (RFC 9110 §11.5).
    pub realm: &'a str,
    /// `scope`: scope-tokens separated by spaces.
    pub scope: Option<&'a str>,
    /// The `scope` of a refusal for lack of it; [`Self::scope`] where absent.
    pub required_scope: Option<&'a str>,
    /// `resource_metadata` (RFC 9728 §5.1).
    pub resource_metadata: Option<&'a str>,
}

impl Challenge {
    /// Renders the values.
    pub fn new(parameters: Parameters<'_>) -> Result<Self, ChallengeError> {
        let realm = quoted_string(parameters.realm)?;
        let metadata = match parameters.resource_metadata {
            Some(url) => format!(", resource_metadata={}", quoted_string(url)?),
            None => String::new(),
        };
        let render = |scope: Option<&str>, error: Option<&str>| {
            let scope = match scope {
                Some(scope) if scope.split(' ').all(is_scope_token) => format!(", scope=\"{scope}\""),
                Some(_) => return Err(ChallengeError::Scope),
                None => String::new(),
            };
            let error = error.map_or_else(String::new, |error| format!(", error=\"{error}\""));
            Ok(format!("Bearer realm={realm}{scope}{error}{metadata}").into_boxed_str())
        };
        let scope = parameters.scope;
        Ok(Self {
            plain: render(scope, None)?,
            invalid_token: render(scope, Some("invalid_token"))?,
            invalid_request: render(scope, Some("invalid_request"))?,
            insufficient_scope: render(parameters.required_scope.or(scope), Some("insufficient_scope"))?,
        })
    }

    /// The value for this refusal; `None` where the client's credential is not at fault.
    pub fn header(&self, refusal: Refusal) -> Option<&str> {
        match refusal {
            // RFC 6750 §3.1: without a credential no error code.
            Refusal::Absent => Some(&self.plain),
            Refusal::Malformed | Refusal::Inactive => Some(&self.invalid_token),
            Refusal::InvalidRequest => Some(&self.invalid_request),
            Refusal::InsufficientScope => Some(&self.insufficient_scope),
            Refusal::BadGateway | Refusal::Overloaded | Refusal::Timeout => None,
        }
    }
}

/// RFC 9110 §5.6.4: a quoted-string, with `"` and `\` as quoted-pair.
fn quoted_string(text: &str) -> Result<String, ChallengeError> {
    if text.bytes().any(|b| b.is_ascii_control()) {
        return Err(ChallengeError::Realm);
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// RFC 6749 §3.3: `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`.
fn is_scope_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Refusal::*;
    use super::*;

    fn challenge(realm: &str, scope: Option<&str>) -> Result<Challenge, ChallengeError> {
        Challenge::new(Parameters { realm, scope, ..Parameters::default() })
    }

    #[test]
    fn required_scope_and_resource_metadata() {
        let challenge = Challenge::new(Parameters {
            realm: "api",
            scope: Some("all"),
            required_scope: Some("read write"),
            resource_metadata: Some("https://api.example/.well-known/oauth-protected-resource"),
        })
        .unwrap();
        let metadata = r#"resource_metadata="https://api.example/.well-known/oauth-protected-resource""#;
        for (refusal, expected) in [
            (Absent, r#"Bearer realm="api", scope="all", "#),
            (Inactive, r#"Bearer realm="api", scope="all", error="invalid_token", "#),
            (InsufficientScope, r#"Bearer realm="api", scope="read write", error="insufficient_scope", "#),
        ] {
            assert_eq!(challenge.header(refusal), Some(format!("{expected}{metadata}").as_str()));
        }
    }

    #[test]
    fn headers() {
        // refusal, what follows the realm without and with a scope
        let table = [
            (Absent, Some(("", r#", scope="a b""#))),
            (Malformed, Some((r#", error="invalid_token""#, r#", scope="a b", error="invalid_token""#))),
            (Inactive, Some((r#", error="invalid_token""#, r#", scope="a b", error="invalid_token""#))),
            (InvalidRequest, Some((r#", error="invalid_request""#, r#", scope="a b", error="invalid_request""#))),
            (
                InsufficientScope,
                Some((r#", error="insufficient_scope""#, r#", scope="a b", error="insufficient_scope""#)),
            ),
            (BadGateway, None),
            (Overloaded, None),
            (Timeout, None),
        ];
        let without = challenge("api", None).unwrap();
        let with = challenge("api", Some("a b")).unwrap();
        for (refusal, rest) in table {
            let expected = rest.map(|(rest, _)| format!("Bearer realm=\"api\"{rest}"));
            assert_eq!(without.header(refusal), expected.as_deref(), "{refusal:?}");
            let expected = rest.map(|(_, rest)| format!("Bearer realm=\"api\"{rest}"));
            assert_eq!(with.header(refusal), expected.as_deref(), "{refusal:?}");
        }
    }

    #[test]
    fn realms() {
        let table = [
            ("", Ok(r#"Bearer realm="""#)),
            ("my api", Ok(r#"Bearer realm="my api""#)),
            (r#"a"b\c"#, Ok(r#"Bearer realm="a\"b\\c""#)),
            ("é", Ok(r#"Bearer realm="é""#)),
            ("a\nb", Err(ChallengeError::Realm)),
            ("a\rb", Err(ChallengeError::Realm)),
            ("a\tb", Err(ChallengeError::Realm)),
            ("a\0", Err(ChallengeError::Realm)),
            ("a\x7f", Err(ChallengeError::Realm)),
        ];
        for (realm, expected) in table {
            let challenge = challenge(realm, None);
            let value = challenge.as_ref().map(|c| c.header(Absent).unwrap()).map_err(|e| *e);
            assert_eq!(value, expected, "{realm:?}");
        }
    }

    #[test]
    fn scopes() {
        for scope in ["read", "read write", "https://api.example/x!y#z[]~", "a:b 'c'"] {
            assert!(challenge("api", Some(scope)).is_ok(), "{scope:?}");
        }
        for scope in ["", " ", " a", "a ", "a  b", "a\tb", "a\"", "a\\b", "é", "a\x7f", "a\n"] {
            assert_eq!(challenge("api", Some(scope)), Err(ChallengeError::Scope), "{scope:?}");
        }
    }

    #[test]
    fn bodies() {
        let table = [
            (Absent, 401, "unauthorized_request"),
            (Malformed, 401, "unauthorized_request"),
            (Inactive, 401, "unauthorized_request"),
            (InvalidRequest, 400, "invalid_request"),
            (InsufficientScope, 403, "insufficient_scope"),
            (BadGateway, 502, "server_error"),
            (Overloaded, 503, "server_error"),
            (Timeout, 504, "server_error"),
        ];
        for (refusal, status, code) in table {
            assert_eq!((refusal.status(), refusal.code()), (status, code));
            let body: serde_json::Value = serde_json::from_str(refusal.body()).unwrap();
            let expected = serde_json::json!({ "code": code, "message": refusal.message() });
            assert_eq!(body, expected, "{refusal:?}");
        }
    }
}

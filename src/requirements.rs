//! Is an active token good enough for this location?
//!
//! Decided for each request, never kept with the answer: what one location lets pass another may refuse.

#![forbid(unsafe_code)]

use crate::challenge::Refusal;
use crate::claims::List;

/// RFC 7662 §2.2, RFC 8693 §4.2: scopes separated by spaces; some servers send an array, or `scp`.
const SCOPE: [&str; 2] = ["scope", "scp"];

/// What a location asks of a token. The default asks nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Every one of these scopes (RFC 6749 §3.3).
    pub scopes: Vec<String>,
    /// One of these audiences (RFC 7519 §4.1.3).
    pub audiences: Vec<String>,
    /// One of these issuers (RFC 7519 §4.1.1).
    pub issuers: Vec<String>,
}

/// What a token lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmet {
    /// A scope.
    Scope,
    /// The audience is another.
    Audience,
    /// The issuer is another.
    Issuer,
}

impl Unmet {
    /// What the client is told: RFC 6750 §3.1 has a word for scopes; a token for somebody else is no token here.
    pub fn refusal(self) -> Refusal {
        match self {
            Self::Scope => Refusal::InsufficientScope,
            Self::Audience | Self::Issuer => Refusal::Inactive,
        }
    }

    /// For the log: what of the token does not meet which directive.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scope => "scope does not include what \"phantom_token_require_scopes\" says",
            Self::Audience => "audience is none of \"phantom_token_require_audience\"",
            Self::Issuer => "issuer is none of \"phantom_token_require_issuer\"",
        }
    }
}

impl Requirements {
    /// Nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty() && self.audiences.is_empty() && self.issuers.is_empty()
    }

    /// The claims it looks at.
    pub const CLAIMS: &[List] = &[
        List { name: "iss", separated: false },
        List { name: "aud", separated: false },
        List { name: SCOPE[0], separated: true },
        List { name: SCOPE[1], separated: true },
    ];

    /// Whether a token will do, of which `has` tells whether a claim has a value. A missing claim has none.
    pub fn check(&self, has: impl Fn(&str, &str) -> bool) -> Result<(), Unmet> {
        let one_of = |name: &str, wanted: &[String]| wanted.is_empty() || wanted.iter().any(|value| has(name, value));
        // Who is meant comes before what may be done.
        if !one_of("iss", &self.issuers) {
            return Err(Unmet::Issuer);
        }
        if !one_of("aud", &self.audiences) {
            return Err(Unmet::Audience);
        }
        let granted = |scope: &String| SCOPE.iter().any(|name| has(name, scope));
        if self.scopes.iter().all(granted) { Ok(()) } else { Err(Unmet::Scope) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::{Claims, Wanted, has_value};
    use crate::introspection::Active;

    fn check(requirements: &Requirements, members: &str) -> Result<(), Unmet> {
        let claims = Claims::of(&Active::new("a.b.c", None, members));
        let picked = Wanted::new(Requirements::CLAIMS, Vec::new()).pick(&claims);
        let active = Active::keeping("a.b.c", None, members, &picked);
        requirements.check(|name, value| has_value(&active, name, value))
    }

    fn list(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn scopes() {
        let read = Requirements { scopes: list(&["read"]), ..Requirements::default() };
        let both = Requirements { scopes: list(&["read", "write"]), ..Requirements::default() };
        for (members, one, two) in [
            (r#"{"scope":"read"}"#, true, false),
            (r#"{"scope":"write read"}"#, true, true),
            (r#"{"scope":["write","read"]}"#, true, true),
            (r#"{"scope":["write read"]}"#, true, true),
            (r#"{"scp":"read write"}"#, true, true),
            (r#"{"scp":["read"],"scope":"write"}"#, true, true),
            (r#"{"scope":"reads readonly Read"}"#, false, false),
            (r#"{"scope":""}"#, false, false),
            (r#"{"scope":null}"#, false, false),
            (r#"{"scope":{"read":true}}"#, false, false),
            ("{}", false, false),
            ("", false, false),
        ] {
            assert_eq!(check(&read, members).is_ok(), one, "{members}");
            assert_eq!(check(&both, members), if two { Ok(()) } else { Err(Unmet::Scope) }, "{members}");
        }
        assert_eq!(check(&Requirements::default(), ""), Ok(()));
    }

    #[test]
    fn audience_and_issuer() {
        let requirements = Requirements {
            scopes: list(&["read"]),
            audiences: list(&["api", "https://api.example"]),
            issuers: list(&["https://as.example"]),
        };
        for (members, expected) in [
            (r#"{"iss":"https://as.example","aud":"api","scope":"read"}"#, Ok(())),
            (r#"{"iss":"https://as.example","aud":["x","https://api.example"],"scope":"read"}"#, Ok(())),
            (r#"{"iss":"https://as.example","aud":"api"}"#, Err(Unmet::Scope)),
            (r#"{"iss":"https://as.example","aud":"api2","scope":"read"}"#, Err(Unmet::Audience)),
            (r#"{"iss":"https://as.example","aud":"x api","scope":"read"}"#, Err(Unmet::Audience)),
            (r#"{"iss":"https://as.example","aud":[],"scope":"read"}"#, Err(Unmet::Audience)),
            (r#"{"iss":"https://as.example","scope":"read"}"#, Err(Unmet::Audience)),
            (r#"{"iss":"https://as.example/","aud":"api","scope":"read"}"#, Err(Unmet::Issuer)),
            (r#"{"aud":"api","scope":"read"}"#, Err(Unmet::Issuer)),
            (r#"{"iss":7,"aud":"api","scope":"read"}"#, Err(Unmet::Issuer)),
        ] {
            assert_eq!(check(&requirements, members), expected, "{members}");
        }
    }
}

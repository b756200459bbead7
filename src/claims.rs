//! What does an answer say of a token, beyond that it is active?
//!
//! Members of the endpoint's JSON (RFC 7662 §2.2), and claims of the JWT it gave (RFC 7519 §4); the first where both have
//! one. Read when somebody wants to know, for most requests want nothing.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use serde_json::Value;

use crate::introspection::Active;
use crate::json::{self, Object};
use crate::jwt::Jwt;

/// The claims of one answer.
pub struct Claims {
    json: Object,
    jwt: Object,
}

impl Claims {
    /// Reads those of `active`.
    pub fn of(active: &Active) -> Self {
        // Both have been read before: they were accepted.
        let json = json::object(active.members().as_bytes()).unwrap_or_default();
        let jwt = Jwt::decode(active.jwt()).map(Jwt::into_claims).unwrap_or_default();
        Self { json, jwt }
    }

    /// A claim by its exact name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.json.get(name).or_else(|| self.jwt.get(name))
    }

    /// A claim by a name in lower case: all that is left of a name in a variable. An exact match comes first.
    pub fn get_lowercase(&self, name: &str) -> Option<&Value> {
        let similar = |object: &'_ Object| -> Option<String> {
            object.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned()
        };
        self.get(name).or_else(|| {
            let key = similar(&self.json).or_else(|| similar(&self.jwt))?;
            self.get(&key)
        })
    }
}

/// A claim as text that is safe in a header and in a log: a string as it is, anything else as compact JSON; a string with
/// control characters as JSON, too, which escapes them.
pub fn text(claim: &Value) -> Cow<'_, str> {
    match claim {
        Value::String(text) if !text.bytes().any(|byte| byte.is_ascii_control()) => Cow::Borrowed(text),
        // JSON leaves DEL as it is.
        other => Cow::Owned(other.to_string().replace('\x7f', "\\u007f")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    pub(crate) fn active(members: &str, payload: &str) -> Active {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        Active::new(&format!("{}.{}.c2ln", part(r#"{"alg":"ES256"}"#), part(payload)), None, members)
    }

    #[test]
    fn json_comes_before_the_jwt() {
        let claims = Claims::of(&active(r#"{"sub":"outer","a":1}"#, r#"{"sub":"inner","b":2}"#));
        assert_eq!(claims.get("sub"), Some(&json!("outer")));
        assert_eq!((claims.get("a"), claims.get("b"), claims.get("c")), (Some(&json!(1)), Some(&json!(2)), None));
        let claims = Claims::of(&active("", r#"{"sub":"inner"}"#));
        assert_eq!(claims.get("sub"), Some(&json!("inner")));
    }

    #[test]
    fn names_in_lower_case() {
        let claims = Claims::of(&active(r#"{"clientId":"a"}"#, r#"{"CLIENTID":"b","clientid":"c","userName":"d"}"#));
        assert_eq!(claims.get_lowercase("clientid"), Some(&json!("c")));
        assert_eq!(claims.get_lowercase("username"), Some(&json!("d")));
        assert_eq!(claims.get("username"), None);
    }

    #[test]
    fn an_answer_about_the_token_inside_the_jwt() {
        let claims =
            Claims::of(&active("", r#"{"iss":"as","token_introspection":{"active":true,"iss":"is","sub":"jane"}}"#));
        assert_eq!((claims.get("iss"), claims.get("sub")), (Some(&json!("is")), Some(&json!("jane"))));
    }

    #[test]
    fn texts() {
        for (claim, expected) in [
            (json!("jane"), "jane"),
            (json!("Jane Doe, Zoë \"x\""), "Jane Doe, Zoë \"x\""),
            (json!(""), ""),
            (json!("a\r\nX-Admin: 1"), r#""a\r\nX-Admin: 1""#),
            (json!("a\0b"), r#""a\u0000b""#),
            (json!("a\tb"), r#""a\tb""#),
            (json!("a\u{7f}b"), r#""a\u007fb""#),
            (json!(["a", "b\nc\u{7f}"]), r#"["a","b\nc\u007f"]"#),
            (json!({"a": [1, null, true]}), r#"{"a":[1,null,true]}"#),
            (json!(12), "12"),
            (json!(1.5), "1.5"),
            (json!(true), "true"),
            (json!(null), "null"),
        ] {
            let text = text(&claim);
            assert_eq!(text, expected);
            assert!(!text.bytes().any(|byte| byte.is_ascii_control()));
        }
    }
}

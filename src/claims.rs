//! What does an answer say of a token, beyond that it is active?
//!
//! Members of the endpoint's JSON (RFC 7662 §2.2), and claims of the JWT it gave (RFC 7519 §4); the first where both have
//! one. What the configuration asks for is picked when the answer comes, so that a hit finds it without reading JSON;
//! the rest is read when somebody wants to know.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;

use crate::introspection::Active;
use crate::json::{self, Object};
use crate::jwt::Jwt;

/// The claims that requests will ask for, as far as the configuration tells.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// By their exact names, as JSON.
    exact: &'static [&'static str],
    /// By names in lower case, as text.
    texts: Vec<String>,
}

/// Begins the line of a claim that was picked by its exact name.
const EXACT: char = '=';
/// Begins the line of a claim's text.
const TEXT: char = '$';

impl Wanted {
    /// Claims with these `exact` names, and the texts of those whose names in lower case are `texts`.
    pub fn new(exact: &'static [&'static str], texts: Vec<String>) -> Self {
        Self { exact, texts }
    }

    /// Picks them from an answer: a line for each that is there. Neither JSON nor a [`text`] contains a line feed.
    pub fn pick(&self, claims: &Claims) -> String {
        let mut lines = String::new();
        for (name, claim) in self.exact.iter().filter_map(|name| Some((name, claims.get(name)?))) {
            let _ = writeln!(lines, "{EXACT}{name}:{claim}");
        }
        for (name, claim) in self.texts.iter().filter_map(|name| Some((name, claims.get_lowercase(name)?))) {
            let _ = writeln!(lines, "{TEXT}{name}:{}", text(claim));
        }
        lines
    }

    /// Whether [`picked_text`] knows of the claim, if the answer has it.
    pub fn has_text(&self, name: &str) -> bool {
        self.texts.iter().any(|wanted| wanted == name)
    }
}

/// A claim that was picked by its exact name.
pub fn picked(active: &Active, name: &str) -> Option<Value> {
    line(active, EXACT, name).and_then(|json| serde_json::from_str(json).ok())
}

/// The text of a claim that was picked by its name in lower case.
pub fn picked_text<'a>(active: &'a Active, name: &str) -> Option<&'a str> {
    line(active, TEXT, name)
}

fn line<'a>(active: &'a Active, kind: char, name: &str) -> Option<&'a str> {
    active.claims().lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(name)?.strip_prefix(':'))
}

/// The claims of one answer.
pub struct Claims {
    json: Object,
    jwt: Object,
}

impl Claims {
    /// Those of the endpoint's JSON and of the JWT.
    pub fn new(json: Object, jwt: Object) -> Self {
        Self { json, jwt }
    }

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
    fn picked_claims_are_those_that_reading_everything_finds() {
        let members = r#"{"aud":["a:b","c\nd"],"Sub":"no","sub":"x\r\n=iss:evil","n":1}"#;
        let whole = active(members, r#"{"iss":"https://as.example","scope":"r w","userName":"jane","none":null}"#);
        let texts = ["sub", "username", "n", "none", "missing", "is"].map(str::to_owned);
        let wanted = Wanted::new(&["iss", "aud", "scope", "scp"], texts.to_vec());
        let claims = Claims::of(&whole);
        let kept = Active::keeping(whole.jwt(), None, members, &wanted.pick(&claims));
        assert_eq!((kept.jwt(), kept.members()), (whole.jwt(), members));
        for name in ["iss", "aud", "scope", "scp"] {
            assert_eq!(picked(&kept, name).as_ref(), claims.get(name), "{name}");
        }
        for name in &texts {
            assert!(wanted.has_text(name));
            assert_eq!(picked_text(&kept, name).map(Cow::Borrowed), claims.get_lowercase(name).map(text), "{name}");
        }
        assert!(!wanted.has_text("iss"));
        assert_eq!((picked(&kept, "sub"), picked_text(&kept, "iss")), (None, None));
        assert_eq!(picked(&whole, "iss"), None);
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

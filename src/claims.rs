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
    /// What is asked is whether a value is among those of the claim.
    lists: &'static [List],
    /// By names in lower case, as text.
    texts: Vec<String>,
}

/// A claim that is a string or an array of strings (RFC 7519 §4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List {
    /// Its exact name.
    pub name: &'static str,
    /// A string holds several values, separated by spaces (RFC 7662 §2.2, "scope").
    pub separated: bool,
}

impl List {
    fn values<'a>(&self, claim: &'a Value) -> impl Iterator<Item = &'a str> {
        let strings = match claim {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        let separated = self.separated;
        strings
            .iter()
            .filter_map(Value::as_str)
            .flat_map(move |text| text.split(move |c| separated && c == ' '))
            // It would be taken for two lines; nothing that is required has one.
            .filter(|value| !value.contains('\n'))
    }
}

/// Begins the line of a value in a list.
const VALUE: char = '=';
/// Begins the line of a claim's text.
const TEXT: char = '$';

impl Wanted {
    /// These `lists`, and the texts of the claims whose names in lower case are `texts`.
    pub fn new(lists: &'static [List], texts: Vec<String>) -> Self {
        Self { lists, texts }
    }

    /// Picks them from an answer: a line for each value and each text, which contain no line feed.
    pub fn pick(&self, claims: &Claims) -> String {
        let mut lines = String::new();
        for (list, claim) in self.lists.iter().filter_map(|list| Some((list, claims.get(list.name)?))) {
            for value in list.values(claim) {
                let _ = writeln!(lines, "{VALUE}{}:{value}", list.name);
            }
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

/// Whether the [`List`] of this name has the value, in an answer that it was picked from.
pub fn has_value(active: &Active, name: &str, value: &str) -> bool {
    lines(active, VALUE, name).any(|picked| picked == value)
}

/// The text of a claim that was picked by its name in lower case.
pub fn picked_text<'a>(active: &'a Active, name: &str) -> Option<&'a str> {
    lines(active, TEXT, name).next()
}

fn lines<'a>(active: &'a Active, kind: char, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = active.claims().split_terminator('\n');
    lines.filter_map(move |line| line.strip_prefix(kind)?.strip_prefix(name)?.strip_prefix(':'))
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
        const LISTS: &[List] = &[List { name: "aud", separated: false }, List { name: "scope", separated: true }];
        let members =
            r#"{"aud":["a b:","c\nd=aud:evil",7],"Sub":"no","sub":"x\r\n=aud:evil","n":1,"scope":"r \n=aud:evil w"}"#;
        let whole = active(members, r#"{"iss":"https://as.example","userName":"jane","none":null}"#);
        let texts = ["sub", "username", "n", "none", "missing", "is"].map(str::to_owned);
        let wanted = Wanted::new(LISTS, texts.to_vec());
        let claims = Claims::of(&whole);
        let kept = Active::keeping(whole.jwt(), None, members, &wanted.pick(&claims));
        assert_eq!((kept.jwt(), kept.members()), (whole.jwt(), members));
        for (name, value, expected) in [
            ("aud", "a b:", true),
            ("scope", "r", true),
            ("scope", "w", true),
            ("aud", "a", false),
            ("aud", "evil", false),
            ("aud", "7", false),
            ("aud", "", false),
            ("au", "d:a b:", false),
            ("scope", "r w", false),
            ("iss", "https://as.example", false),
            ("sub", "x", false),
        ] {
            assert_eq!(has_value(&kept, name, value), expected, "{name} {value}");
        }
        for name in &texts {
            assert!(wanted.has_text(name));
            assert_eq!(picked_text(&kept, name).map(Cow::Borrowed), claims.get_lowercase(name).map(text), "{name}");
        }
        assert!(!wanted.has_text("iss"));
        assert_eq!((picked_text(&kept, "iss"), has_value(&whole, "aud", "a b:")), (None, false));
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

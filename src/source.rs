//! Where in a request may a token be?
//!
//! `Authorization` (RFC 6750 §2.1), and where browsers leave no choice: another header, a cookie (RFC 6265 §4.2), an entry
//! of `Sec-WebSocket-Protocol` (RFC 6455 §4.1). Not the query: RFC 9700 §4.3.2.

#![forbid(unsafe_code)]

use crate::bearer::{self, Credential};

/// `phantom_token_source`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// The `Authorization` header, with the scheme `Bearer`.
    Authorization,
    /// A header of this name, in lower case.
    Header(String),
    /// A cookie of this name.
    Cookie(String),
    /// The entry of `Sec-WebSocket-Protocol` that begins with this.
    Subprotocol(String),
}

/// The header that cookies are in, in lower case.
pub const COOKIE: &str = "cookie";
/// The header that WebSocket subprotocols are in, in lower case.
pub const SUBPROTOCOL: &str = "sec-websocket-protocol";

impl Source {
    /// Takes a source as it stands in the configuration; the error is a sentence about it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (kind, name) = text.split_once('=').unwrap_or((text, ""));
        if text == "authorization" {
            return Ok(Self::Authorization);
        }
        // RFC 9110 §5.6.2, which cookie names and subprotocols obey, too.
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) {
            return Err("it is none of \"authorization\", \"header=NAME\", \"cookie=NAME\" and \"subprotocol=PREFIX\"");
        }
        match kind {
            "header" => match name.to_ascii_lowercase() {
                name if name == "authorization" => Err("for that header it is \"authorization\""),
                name if [COOKIE, SUBPROTOCOL, "host", "content-length", "transfer-encoding", "connection"]
                    .contains(&&*name) =>
                {
                    Err("that header holds something else")
                }
                name => Ok(Self::Header(name)),
            },
            "cookie" => Ok(Self::Cookie(name.to_owned())),
            "subprotocol" => Ok(Self::Subprotocol(name.to_owned())),
            _ => Err("it is none of \"authorization\", \"header=NAME\", \"cookie=NAME\" and \"subprotocol=PREFIX\""),
        }
    }

    /// The header it is in, in lower case.
    pub fn header(&self) -> &str {
        match self {
            Self::Authorization => "authorization",
            Self::Header(name) => name,
            Self::Cookie(_) => COOKIE,
            Self::Subprotocol(_) => SUBPROTOCOL,
        }
    }

    /// Names of the variables that show it: what was read of them before the token is taken out shows the token.
    pub fn variables(&self) -> Vec<String> {
        let of_header = format!("http_{}", self.header().replace('-', "_"));
        match self {
            Self::Cookie(name) => vec![of_header, format!("cookie_{}", name.to_ascii_lowercase())],
            _ => vec![of_header],
        }
    }

    /// What one line of that header presents: usually one value, or none.
    pub fn values<'a>(&'a self, line: &'a [u8]) -> Box<dyn Iterator<Item = &'a [u8]> + 'a> {
        match self {
            Self::Authorization | Self::Header(_) => Box::new(std::iter::once(line.trim_ascii())),
            Self::Cookie(name) => Box::new(pairs(line).filter_map(move |pair| cookie_value(pair, name))),
            Self::Subprotocol(prefix) => {
                Box::new(entries(line).filter_map(move |entry| entry.strip_prefix(prefix.as_bytes())))
            }
        }
    }

    /// The line without what it presents; `None` if nothing is left.
    pub fn strip(&self, line: &[u8]) -> Option<Vec<u8>> {
        let (kept, separator): (Vec<&[u8]>, &[u8]) = match self {
            Self::Authorization | Self::Header(_) => return None,
            Self::Cookie(name) => (pairs(line).filter(|pair| cookie_value(pair, name).is_none()).collect(), b"; "),
            Self::Subprotocol(prefix) => {
                (entries(line).filter(|entry| !entry.starts_with(prefix.as_bytes())).collect(), b", ")
            }
        };
        if kept.is_empty() { None } else { Some(kept.join(separator)) }
    }
}

/// RFC 6265 §4.2.1: `cookie-pair *( ";" SP cookie-pair )`
fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|b| *b == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

fn cookie_value<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let value = pair.strip_prefix(name.as_bytes())?.trim_ascii_start().strip_prefix(b"=")?.trim_ascii();
    // RFC 6265 §4.1.1: it may stand in double quotes
    Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

/// RFC 6455 §11.3.4: a list (RFC 9110 §5.6.1).
fn entries(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty())
}

/// What a request presents, all its sources together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presented<'a> {
    /// One token, once or several times the same, or none, or what is none.
    One(Credential<'a>),
    /// Different ones: it is not clear which is meant.
    Different,
}

/// Chooses among the values that sources present, in their order; the first one present wins, unless others differ.
pub fn choose<'a>(values: impl Iterator<Item = Credential<'a>>) -> Presented<'a> {
    let mut chosen = Credential::Absent;
    for value in values {
        match (chosen, value) {
            (_, Credential::Absent) => {}
            (Credential::Absent, value) => chosen = value,
            (Credential::Token(first), Credential::Token(other)) if first == other => {}
            (Credential::Malformed, Credential::Malformed) => {}
            _ => return Presented::Different,
        }
    }
    Presented::One(chosen)
}

/// Reads the value of a source other than `Authorization`: a token, with or without `Bearer` before it.
pub fn credential(value: &[u8]) -> Credential<'_> {
    match bearer::credential(Some(value)) {
        Credential::Absent => match value {
            b"" => Credential::Absent,
            value => bearer::token(value).map_or(Credential::Malformed, Credential::Token),
        },
        known => known,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn values(source: &str, line: &str) -> Vec<String> {
        let source = Source::parse(source).unwrap();
        source.values(line.as_bytes()).map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
    }

    fn strip(source: &str, line: &str) -> Option<String> {
        let source = Source::parse(source).unwrap();
        source.strip(line.as_bytes()).map(|line| String::from_utf8(line).unwrap())
    }

    #[test]
    fn configured() {
        for text in ["authorization", "header=X-Access-Token", "cookie=__Host-token", "subprotocol=bearer."] {
            assert!(Source::parse(text).is_ok(), "{text}");
        }
        assert_eq!(Source::parse("header=X-Token").unwrap().header(), "x-token");
        for text in [
            "",
            "bearer",
            "header",
            "header=",
            "cookie=",
            "subprotocol=",
            "query=access_token",
            "header=a b",
            "cookie=a;b",
            "header=Authorization",
            "header=cookie",
            "Authorization",
            "authorization=x",
            "header=a=b",
            "header=Host",
        ] {
            assert!(Source::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn variables() {
        for (source, expected) in [
            ("authorization", vec!["http_authorization"]),
            ("header=X-Access-Token", vec!["http_x_access_token"]),
            ("cookie=Token", vec!["http_cookie", "cookie_token"]),
            ("subprotocol=bearer.", vec!["http_sec_websocket_protocol"]),
        ] {
            assert_eq!(Source::parse(source).unwrap().variables(), expected, "{source}");
        }
    }

    #[test]
    fn cookies() {
        for (line, expected, rest) in [
            ("token=abc", vec!["abc"], None),
            ("a=b; token=abc; c=d", vec!["abc"], Some("a=b; c=d")),
            ("a=b;token=abc;", vec!["abc"], Some("a=b")),
            ("token=\"abc\"; a=\"b\"", vec!["abc"], Some("a=\"b\"")),
            ("token=abc; token=def", vec!["abc", "def"], None),
            ("token = abc", vec!["abc"], None),
            ("token=a=b", vec!["a=b"], None),
            ("token=", vec![""], None),
            ("token", vec![], Some("token")),
            ("mytoken=abc; tokens=abc; Token=abc", vec![], Some("mytoken=abc; tokens=abc; Token=abc")),
            ("", vec![], None),
        ] {
            assert_eq!(values("cookie=token", line), expected, "{line}");
            assert_eq!(strip("cookie=token", line).as_deref(), rest, "{line}");
        }
    }

    #[test]
    fn subprotocols() {
        for (line, expected, rest) in [
            ("bearer.abc", vec!["abc"], None),
            ("chat, bearer.abc", vec!["abc"], Some("chat")),
            ("chat,bearer.abc , v2", vec!["abc"], Some("chat, v2")),
            ("chat", vec![], Some("chat")),
            ("Bearer.abc", vec![], Some("Bearer.abc")),
        ] {
            assert_eq!(values("subprotocol=bearer.", line), expected, "{line}");
            assert_eq!(strip("subprotocol=bearer.", line).as_deref(), rest, "{line}");
        }
    }

    #[test]
    fn values_of_other_sources() {
        for (value, expected) in [
            ("abc", Credential::Token(b"abc")),
            ("Bearer abc", Credential::Token(b"abc")),
            ("bearer  abc", Credential::Token(b"abc")),
            ("", Credential::Absent),
            ("Basic abc", Credential::Malformed),
            ("a b", Credential::Malformed),
            ("a&b", Credential::Malformed),
            ("Bearer a b", Credential::Malformed),
            // RFC 6750 allows these letters as a token
            ("Bearer", Credential::Token(b"Bearer")),
        ] {
            assert!(credential(value.as_bytes()) == expected, "{value}");
        }
    }

    #[test]
    fn first_present_wins_unless_others_differ() {
        use Credential::{Absent, Malformed, Token};
        for (values, expected) in [
            (vec![], Presented::One(Absent)),
            (vec![Absent, Absent], Presented::One(Absent)),
            (vec![Absent, Token(b"a")], Presented::One(Token(b"a"))),
            (vec![Token(b"a"), Absent, Token(b"a")], Presented::One(Token(b"a"))),
            (vec![Token(b"a"), Token(b"b")], Presented::Different),
            (vec![Token(b"a"), Malformed], Presented::Different),
            (vec![Malformed, Token(b"a")], Presented::Different),
            (vec![Malformed, Malformed], Presented::One(Malformed)),
        ] {
            assert!(choose(values.into_iter()) == expected);
        }
    }
}

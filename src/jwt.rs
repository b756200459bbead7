//! Is this text a JWT that may stand for the token towards the API?
//!
//! The gateway checks the form and nothing else: who signed it, and for whom, is for the API to verify. RFC 7515 (JWS
//! compact serialization), RFC 7519 (JWT), RFC 9701 (introspection answers as JWTs).

#![forbid(unsafe_code)]

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use crate::json::{self, JsonError, Object};

/// base64url without padding (RFC 7515 §2). Bits left over in a part's last character are ignored, as most decoders of
/// the field do: encoders leave them set, and they change nothing of what is decoded.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Longest JWT that is forwarded, in bytes: far more than servers accept in a header.
pub const MAX_JWT: usize = 64 * 1024;

/// Why a text is not a forwardable JWT. None of these repeats any of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// More than [`MAX_JWT`] bytes.
    #[error("it is longer than {MAX_JWT} bytes")]
    TooLong,
    /// Five parts (RFC 7516 §3.1).
    #[error("it is encrypted (JWE)")]
    Encrypted,
    /// Neither three nor five parts.
    #[error("it has {0} part(s) separated by dots, not 3")]
    Parts(usize),
    /// A part with nothing in it; without signature, for instance.
    #[error("its {0} is empty")]
    EmptyPart(&'static str),
    /// A part with other characters, padding or left-over bits (RFC 7515 §2, RFC 4648 §3.5).
    #[error("its {0} is not base64url")]
    NotBase64url(&'static str),
    /// The header does not decode to a JSON object.
    #[error("bad header: {0}")]
    Header(JsonError),
    /// The payload does not decode to a JSON object.
    #[error("bad payload: {0}")]
    Payload(JsonError),
    /// `alg` is missing, empty or not a string (RFC 7515 §4.1.1).
    #[error("its header has no \"alg\"")]
    NoAlgorithm,
    /// `alg` is `none` (RFC 7518 §3.6).
    #[error("it is not signed (\"alg\" is \"none\")")]
    NotSigned,
}

/// A JWT in compact serialization, taken apart; its signature is not verified.
pub struct Jwt {
    header: Object,
    payload: Object,
}

impl Jwt {
    /// Takes `compact` apart: three base64url parts, the first two of them JSON objects.
    pub fn decode(compact: &str) -> Result<Self, JwtError> {
        if compact.len() > MAX_JWT {
            return Err(JwtError::TooLong);
        }
        let mut parts = compact.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(match compact.split('.').count() {
                5 => JwtError::Encrypted,
                count => JwtError::Parts(count),
            });
        };
        let header = part("header", header)?;
        let payload = part("payload", payload)?;
        check_signature(signature)?;
        Ok(Self {
            header: json::object(&header).map_err(JwtError::Header)?,
            payload: json::object(&payload).map_err(JwtError::Payload)?,
        })
    }

    /// What it says of a token: its claims set (RFC 7519 §4), or the answer inside it (RFC 9701 §5).
    pub fn claims(&self) -> &Object {
        match self.payload.get("token_introspection") {
            Some(Value::Object(answer)) => answer,
            _ => &self.payload,
        }
    }

    /// The same, for keeps.
    pub fn into_claims(mut self) -> Object {
        match self.payload.remove("token_introspection") {
            Some(Value::Object(answer)) => answer,
            _ => self.payload,
        }
    }

    /// `active` of such an answer, in the one place where it may be.
    pub fn active(&self) -> Option<&Value> {
        match self.payload.get("token_introspection") {
            Some(answer) => answer.get("active"),
            None => self.payload.get("active"),
        }
    }

    /// Whether it says that it is signed.
    pub fn check_algorithm(&self) -> Result<(), JwtError> {
        match self.header.get("alg").and_then(Value::as_str) {
            None | Some("") => Err(JwtError::NoAlgorithm),
            // RFC 7515 §4.1.1 makes "None" another name than "none", but not every library does.
            Some(algorithm) if algorithm.eq_ignore_ascii_case("none") => Err(JwtError::NotSigned),
            Some(_) => Ok(()),
        }
    }

    /// Whether it is an answer of the endpoint to the gateway, and so never an access token.
    ///
    /// RFC 9701 §5: `typ` is `token-introspection+jwt` and the answer is in `token_introspection`. Its drafts, and
    /// servers that follow them, put the members of RFC 7662 §2.2 at the top level.
    pub fn is_introspection_answer(&self) -> bool {
        self.is_typed_introspection()
            || self.payload.contains_key("token_introspection")
            || self.payload.contains_key("active")
    }

    /// Whether it is such an answer and says that the token is not active.
    pub fn states_inactive(&self) -> bool {
        let inside = self.payload.get("token_introspection").and_then(|answer| answer.get("active"));
        let outside = self.payload.get("active");
        [inside, outside].contains(&Some(&Value::Bool(false)))
    }

    fn is_typed_introspection(&self) -> bool {
        // RFC 7515 §4.1.9: a media type, compared without case, whose "application/" may be left out.
        let Some(typ) = self.header.get("typ").and_then(Value::as_str) else {
            return false;
        };
        let typ = typ.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        typ.strip_prefix("application/").unwrap_or(&typ) == "token-introspection+jwt"
    }
}

fn part(name: &'static str, text: &str) -> Result<Vec<u8>, JwtError> {
    if text.is_empty() {
        return Err(JwtError::EmptyPart(name));
    }
    BASE64URL.decode(text).map_err(|_| JwtError::NotBase64url(name))
}

/// The signature is the API's to verify; here it only must not smuggle anything else into a header.
fn check_signature(text: &str) -> Result<(), JwtError> {
    if text.is_empty() {
        return Err(JwtError::EmptyPart("signature"));
    }
    // no number of octets is encoded in 4n + 1 characters (RFC 4648 §4)
    let possible = text.len() % 4 != 1;
    match possible && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        true => Ok(()),
        false => Err(JwtError::NotBase64url("signature")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn bits_left_over_in_a_part_do_not_matter() {
        // {"alg":"RS256"} is 15 bytes and leaves none; {"a":1} is 7 bytes and leaves four
        let payload = BASE64URL.encode(r#"{"a":1}"#);
        let header = BASE64URL.encode(r#"{"alg":"RS256"}"#);
        let left_over = format!("{}R", payload.strip_suffix('Q').unwrap());
        for signature in ["YQ", "YR", "c2lnbmF0dXJl"] {
            assert!(Jwt::decode(&format!("{header}.{left_over}.{signature}")).is_ok(), "{signature}");
        }
    }

    /// A compact serialization of these two JSON texts with a signature that is none.
    pub(crate) fn compact(header: &str, payload: &str) -> String {
        let encode = |text: &str| BASE64URL.encode(text);
        format!("{}.{}.{}", encode(header), encode(payload), encode("signature"))
    }

    /// Everything that makes a JWT forwardable.
    fn check(text: &str) -> Result<bool, JwtError> {
        let jwt = Jwt::decode(text)?;
        jwt.check_algorithm()?;
        Ok(!jwt.is_introspection_answer())
    }

    #[test]
    fn form() {
        let good = compact(r#"{"alg":"RS256"}"#, "{}");
        assert_eq!(check(&good), Ok(true));
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let (header, payload) = signed.split_once('.').unwrap();
        let duplicate = || JsonError::Duplicate { name: "a".to_owned() };
        let table = [
            (String::new(), JwtError::Parts(1)),
            ("opaque".to_owned(), JwtError::Parts(1)),
            (format!("{header}.{payload}"), JwtError::Parts(2)),
            (format!("{good}.x"), JwtError::Parts(4)),
            (format!("{good}.x.y"), JwtError::Encrypted),
            (format!("{header}.{payload}."), JwtError::EmptyPart("signature")),
            (format!(".{payload}.{signature}"), JwtError::EmptyPart("header")),
            (format!("{header}..{signature}"), JwtError::EmptyPart("payload")),
            (format!("{header}.{payload}.a+/a"), JwtError::NotBase64url("signature")),
            (format!("{header}.{payload}.signature"), JwtError::NotBase64url("signature")),
            (format!("{header}.{payload}.YQ=="), JwtError::NotBase64url("signature")),
            (format!("{good}\r\nX: y"), JwtError::NotBase64url("signature")),
            (format!(" {good}"), JwtError::NotBase64url("header")),
            (compact("[]", "{}"), JwtError::Header(JsonError::NotObject)),
            (compact(r#"{"alg":"RS256"}"#, "1"), JwtError::Payload(JsonError::NotObject)),
            (compact(r#"{"a":1,"a":2}"#, "{}"), JwtError::Header(duplicate())),
            (compact(r#"{"alg":"RS256"}"#, r#"{"a":1,"a":2}"#), JwtError::Payload(duplicate())),
            (compact("{}", "{}"), JwtError::NoAlgorithm),
            (compact(r#"{"alg":""}"#, "{}"), JwtError::NoAlgorithm),
            (compact(r#"{"alg":1}"#, "{}"), JwtError::NoAlgorithm),
            (compact(r#"{"alg":"none"}"#, "{}"), JwtError::NotSigned),
            (compact(r#"{"alg":"nOnE"}"#, "{}"), JwtError::NotSigned),
            ("a".repeat(MAX_JWT + 1), JwtError::TooLong),
        ];
        for (text, expected) in table {
            assert_eq!(check(&text), Err(expected), "{text:.80}");
        }
    }

    #[test]
    fn introspection_answers() {
        // header, payload, is an answer, states inactive
        let table = [
            (r#"{"alg":"x","typ":"at+jwt"}"#, "{}", false, false),
            (r#"{"alg":"x","typ":1}"#, "{}", false, false),
            (r#"{"alg":"x","typ":"token-introspection+jwt"}"#, "{}", true, false),
            (r#"{"alg":"x","typ":"Application/Token-Introspection+JWT"}"#, "{}", true, false),
            (r#"{"alg":"x"}"#, r#"{"token_introspection":{"active":true}}"#, true, false),
            (r#"{"alg":"x"}"#, r#"{"token_introspection":{"active":false}}"#, true, true),
            (r#"{"alg":"x"}"#, r#"{"token_introspection":1}"#, true, false),
            (r#"{"alg":"x"}"#, r#"{"token_introspection":{"active":"false"}}"#, true, false),
            (r#"{"alg":"x"}"#, r#"{"active":true}"#, true, false),
            (r#"{"alg":"x"}"#, r#"{"active":false}"#, true, true),
            (r#"{"alg":"x"}"#, r#"{"active":0}"#, true, false),
            (r#"{"alg":"x"}"#, r#"{"active":false,"token_introspection":{"active":true}}"#, true, true),
            (r#"{"alg":"x"}"#, r#"{"x":{"active":false}}"#, false, false),
        ];
        for (header, payload, answer, inactive) in table {
            let jwt = Jwt::decode(&compact(header, payload)).unwrap();
            assert_eq!(jwt.is_introspection_answer(), answer, "{header} {payload}");
            assert_eq!(jwt.states_inactive(), inactive, "{header} {payload}");
        }
    }

    #[test]
    fn active_is_in_one_place() {
        for (payload, expected) in [
            (r#"{"token_introspection":{"active":true}}"#, Some(true)),
            (r#"{"active":true}"#, Some(true)),
            (r#"{"active":true,"token_introspection":{}}"#, None),
            (r#"{"active":true,"token_introspection":1}"#, None),
            (r#"{"active":true,"token_introspection":null}"#, None),
            (r#"{"active":true,"token_introspection":[{"active":true}]}"#, None),
            (r#"{"active":false,"token_introspection":{"active":true}}"#, Some(true)),
            ("{}", None),
        ] {
            let jwt = Jwt::decode(&compact(r#"{"alg":"x"}"#, payload)).unwrap();
            assert_eq!(jwt.active(), expected.map(Value::Bool).as_ref(), "{payload}");
        }
    }
}

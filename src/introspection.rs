//! What is the endpoint asked, and what does its answer say about the token?
//!
//! RFC 7662 (introspection), RFC 9701 (JWT responses), RFC 7519 (claims).

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;
use std::io::Read as _;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use serde_json::Value;
use zeroize::Zeroizing;

pub use crate::active::Active;
use crate::claims::{self, Claims};
use crate::failure::printable;
pub use crate::failure::{Failure, InvalidAnswer, Phase};
use crate::json::{self, Object};
use crate::jwt::{Jwt, JwtError};
use crate::settings::{IntrospectionJwt, Profile};

/// Most content of an answer that is read, in bytes: the longest JWT that is forwarded.
pub const MAX_BODY: usize = 64 * 1024;

/// Longest pause an endpoint may ask the clients for, in seconds.
const MAX_RETRY_AFTER: u32 = 3600;

/// An HTTP response of the introspection endpoint, read whole.
#[derive(Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: HeaderMap,
    /// Content.
    pub body: Bytes,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("length", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What a usable answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The token is active and this JWT stands for it.
    Active(Active),
    /// The token must be refused.
    Inactive(Inactive),
}

/// Why a token that the endpoint knows, or does not, is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inactive {
    /// 204, or `active` is `false`.
    Stated,
    /// `exp` is not after now.
    Expired,
    /// Another kind of token: a refresh or ID token, or one bound to a key.
    NotBearer,
}

/// The request's content: `token=…&token_type_hint=access_token` (RFC 7662 §2.1), then `credentials`, which are encoded
/// already and begin with `&`, if there are any.
pub fn request_form(token: &[u8], credentials: &str) -> Zeroizing<String> {
    const HINT: &str = "&token_type_hint=access_token";
    // Room for every byte escaped: growing would leave copies of the token behind.
    let room = "token=".len() + 3 * token.len() + HINT.len() + credentials.len();
    let mut form = Zeroizing::new(String::with_capacity(room));
    form.push_str("token=");
    form.extend(form_urlencoded::byte_serialize(token));
    form.push_str(HINT);
    form.push_str(credentials);
    form
}

/// Reads an answer. `active` is looked at before anything else. Claims that are `wanted` are kept so that they are found
/// without reading it again.
pub fn interpret(response: &Response, profile: &Profile, wanted: &claims::Wanted) -> Result<Answer, Failure> {
    match response.status {
        200 => Ok(answer(response, profile, wanted)?),
        // RFC 9110 §15.3.5: 204 has no content.
        204 => Ok(Answer::Inactive(Inactive::Stated)),
        429 | 503 => Err(Failure::Overloaded { retry_after: retry_after(&response.headers) }),
        status @ 400..=499 => Err(Failure::Refused { status, error: oauth_error(response) }),
        status @ 500..=599 => Err(Failure::ServerError { status }),
        status => Err(Failure::UnexpectedStatus { status }),
    }
}

/// Reads the content of a 200.
fn answer(response: &Response, profile: &Profile, wanted: &claims::Wanted) -> Result<Answer, InvalidAnswer> {
    if response.body.len() > MAX_BODY {
        return Err(InvalidAnswer::TooLong);
    }
    let body = decoded(response)?;
    let text = content(&body);
    if text.is_empty() {
        return Err(InvalidAnswer::Empty);
    }
    match content_kind(&response.headers)? {
        ContentKind::Jwt => {
            // What is not UTF-8 is not base64url either.
            let jwt = std::str::from_utf8(text).map_err(|_| JwtError::NotBase64url("content"))?;
            jwt_answer(jwt, None, profile, wanted, Object::new)
        }
        ContentKind::Json => json_answer(&json::object(text)?, profile, wanted),
    }
}

/// RFC 7662 §2.2, with the JWT in one of the members the profile names.
fn json_answer(members: &Object, profile: &Profile, wanted: &claims::Wanted) -> Result<Answer, InvalidAnswer> {
    match members.get("active") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Ok(Answer::Inactive(Inactive::Stated)),
        Some(_) => return Err(InvalidAnswer::ActiveNotBoolean),
        None => return Err(InvalidAnswer::NoActive),
    }
    if !is_bearer(members) {
        return Ok(Answer::Inactive(Inactive::NotBearer));
    }
    let exp = exp(members)?;
    let jwt = profile
        .jwt_members
        .iter()
        .find_map(|name| members.get(name))
        .ok_or(InvalidAnswer::NoJwtMember)?
        .as_str()
        .ok_or(InvalidAnswer::JwtMemberNotString)?;
    jwt_answer(jwt, exp, profile, wanted, || {
        let others = members.iter().filter(|(name, _)| *name != "active" && !profile.jwt_members.contains(name));
        others.map(|(name, value)| (name.clone(), value.clone())).collect()
    })
}

/// The JWT, wherever it was; `json_exp` is what the JSON around it states, `members` what else that says.
fn jwt_answer(
    compact: &str,
    json_exp: Option<i64>,
    profile: &Profile,
    wanted: &claims::Wanted,
    members: impl FnOnce() -> Object,
) -> Result<Answer, InvalidAnswer> {
    let jwt = Jwt::decode(compact)?;
    if jwt.is_introspection_answer() {
        if jwt.states_inactive() {
            return Ok(Answer::Inactive(Inactive::Stated));
        }
        match profile.introspection_jwt {
            IntrospectionJwt::Reject => return Err(InvalidAnswer::IntrospectionJwt),
            IntrospectionJwt::Forward => match jwt.active() {
                Some(Value::Bool(true)) => {}
                Some(_) => return Err(InvalidAnswer::ActiveNotBoolean),
                None => return Err(InvalidAnswer::NoActive),
            },
        }
    }
    jwt.check_algorithm()?;
    if !is_bearer(jwt.claims()) {
        return Ok(Answer::Inactive(Inactive::NotBearer));
    }
    let exp = [json_exp, exp(jwt.claims())?].into_iter().flatten().min();
    let members = members();
    let text = if members.is_empty() { String::new() } else { json::text(&members) };
    let kept = wanted.pick(&Claims::new(members, jwt.into_claims()));
    Ok(Answer::Active(Active::keeping(compact, exp, &text, &kept)))
}

/// Whether these members describe an access token that whoever holds it may use.
fn is_bearer(members: &Object) -> bool {
    // RFC 7662 §2.2: token_type as in RFC 6749 §5.1; some servers name the kind of token there.
    let is_type = members.get("token_type").is_none_or(|token_type| is_any(token_type, &["bearer", "access_token"]));
    // Keycloak says it in `typ`, Hydra and others in `token_use`, OpenIddict in `token_usage`.
    let is_other = ["typ", "token_use", "token_usage"]
        .iter()
        .filter_map(|name| members.get(*name))
        .any(|kind| is_any(kind, &["refresh", "refresh_token", "offline", "id", "id_token", "dpop"]));
    // RFC 9449 §6.1: bound to a DPoP key, and worth nothing without a proof of possession.
    let is_bound = members.get("cnf").is_some_and(|cnf| cnf.get("jkt").is_some());
    is_type && !is_other && !is_bound
}

/// Whether `value` is one of these strings in any case.
fn is_any(value: &Value, names: &[&str]) -> bool {
    value.as_str().is_some_and(|text| names.iter().any(|name| text.eq_ignore_ascii_case(name)))
}

/// RFC 7519 §2, NumericDate: a JSON number of seconds, possibly with a fraction.
fn exp(members: &Object) -> Result<Option<i64>, InvalidAnswer> {
    let Some(exp) = members.get("exp") else {
        return Ok(None);
    };
    let Value::Number(number) = exp else {
        return Err(InvalidAnswer::ExpNotNumber);
    };
    // `as` saturates, and a year that far ahead is as good as any.
    let seconds = number.as_i64().or_else(|| number.as_f64().map(|exp| exp.floor() as i64));
    seconds.map(Some).ok_or(InvalidAnswer::ExpNotNumber)
}

/// What the content is, as far as the rules differ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ContentKind {
    Json,
    Jwt,
}

fn content_kind(headers: &HeaderMap) -> Result<ContentKind, InvalidAnswer> {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(InvalidAnswer::NoContentType);
    };
    // RFC 9110 §8.3.1: type and subtype are compared without case; what a parameter says changes nothing here.
    let media_type = line.as_bytes().split(|b| *b == b';').next().unwrap_or_default();
    let media_type = media_type.trim_ascii().to_ascii_lowercase();
    match media_type.as_slice() {
        b"application/jwt" | b"application/at+jwt" | b"application/token-introspection+jwt" => Ok(ContentKind::Jwt),
        b"application/json" => Ok(ContentKind::Json),
        other if is_structured_json(other) => Ok(ContentKind::Json),
        other => Err(InvalidAnswer::ContentType { content_type: printable(other) }),
    }
}

/// RFC 6839 §3.1: `application/*+json`.
fn is_structured_json(media_type: &[u8]) -> bool {
    media_type
        .strip_prefix(b"application/")
        .and_then(|subtype| subtype.strip_suffix(b"+json"))
        // RFC 6838 §4.2: restricted-name-chars.
        .is_some_and(|name| {
            !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(b))
        })
}

/// The content without its encoding (RFC 9110 §8.4.1). None was asked for, but where nothing is asked for any may come
/// (RFC 9110 §12.5.3), and gzip does.
fn decoded(response: &Response) -> Result<Cow<'_, [u8]>, InvalidAnswer> {
    let lines = response.headers.get_all(CONTENT_ENCODING).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii);
    let mut encodings = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"));
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(Cow::Borrowed(&response.body)),
        (Some(name), None) if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") => {
            let mut text = Vec::new();
            // One byte more than is allowed tells that there are too many, however many there are.
            let mut reader = MultiGzDecoder::new(&response.body[..]).take(MAX_BODY as u64 + 1);
            reader.read_to_end(&mut text).map_err(|_| InvalidAnswer::BrokenEncoding)?;
            if text.len() > MAX_BODY { Err(InvalidAnswer::TooLong) } else { Ok(Cow::Owned(text)) }
        }
        (Some(encoding), _) => Err(InvalidAnswer::ContentEncoding { encoding: printable(encoding) }),
    }
}

/// The content without what editors and servers put around it: a byte order mark, white space.
fn content(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii()
}

/// RFC 9110 §10.2.3, seconds only: an endpoint that names a date, or nonsense, gets the shortest pause.
fn retry_after(headers: &HeaderMap) -> u32 {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::trim);
    seconds
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|seconds| (1..=MAX_RETRY_AFTER).contains(seconds))
        .unwrap_or(1)
}

/// RFC 6749 §5.2: why the request was refused, where the server says so.
fn oauth_error(response: &Response) -> Option<String> {
    if !matches!(response.status, 400 | 401 | 403)
        || response.body.len() > MAX_BODY
        || content_kind(&response.headers) != Ok(ContentKind::Json)
    {
        return None;
    }
    let body = decoded(response).ok()?;
    let members = json::object(content(&body)).ok()?;
    let error = members.get("error")?.as_str()?;
    Some(printable(error.as_bytes()))
}

#[cfg(test)]
mod tests;

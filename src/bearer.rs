//! Which token, if any, does an `Authorization` field carry?
//!
//! RFC 6750 §2.1: `credentials = "Bearer" 1*SP b64token`. Every request passes through here, so nothing is allocated.

#![forbid(unsafe_code)]

/// Longest token that is looked at, in bytes: opaque tokens have a few dozen, and NGINX's default header line is 8 KiB.
pub const MAX_TOKEN: usize = 8 * 1024;

const SCHEME: &[u8] = b"bearer";

/// RFC 6750 §2.1: `b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`; this is the first part.
///
/// Without branches, so that the compiler looks at sixteen bytes at a time.
const fn is_token_character(byte: u8) -> bool {
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    // "-", ".", "/" and the digits follow each other.
    let is_digit_or_neighbour = byte.wrapping_sub(b'-') <= b'9' - b'-';
    is_letter | is_digit_or_neighbour | (byte == b'+') | (byte == b'_') | (byte == b'~')
}

/// What an `Authorization` field says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// No bearer credential: no field, another scheme, or the scheme with nothing after it (RFC 6750 §3.1: no `error`).
    Absent,
    /// The scheme is `Bearer`, but what follows is not one token of at most [`MAX_TOKEN`] bytes.
    Malformed,
    /// A well-formed token; nobody has been asked about it yet.
    Token(&'a [u8]),
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::Malformed => "Malformed",
            Self::Token(_) => "Token(…)",
        })
    }
}

/// Reads the value of an `Authorization` field, `None` where the request has none.
pub fn credential(authorization: Option<&[u8]>) -> Credential<'_> {
    // RFC 9110 §11.1: the scheme is a token, compared without case.
    let Some((scheme, rest)) = authorization.and_then(|value| value.split_at_checked(SCHEME.len())) else {
        return Credential::Absent;
    };
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Credential::Absent;
    }
    match rest.first() {
        Some(b' ') => {}
        // RFC 9110 §11.4 allows SP here and nothing else.
        Some(b'\t') => return Credential::Malformed,
        // Nothing after it, or a longer scheme that starts with the same letters.
        _ => return Credential::Absent,
    }
    let bytes = trim_spaces(rest);
    if bytes.is_empty() {
        return Credential::Absent;
    }
    token(bytes).map_or(Credential::Malformed, Credential::Token)
}

/// `bytes` as a token, if that is what they are.
pub fn token(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.len() > MAX_TOKEN {
        return None;
    }
    // *"=" at the end; at least one character before it.
    let padding = bytes.iter().rev().take_while(|b| **b == b'=').count();
    let (characters, _) = bytes.split_at_checked(bytes.len() - padding)?;
    // All are looked at, whatever the first is: see above.
    let good = characters.iter().fold(true, |good, byte| good & is_token_character(*byte));
    (good && !characters.is_empty()).then_some(bytes)
}

fn trim_spaces(mut bytes: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' '] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::Credential::{Absent, Malformed, Token};
    use super::*;

    #[test]
    fn credentials() {
        let table: &[(&[u8], Credential)] = &[
            // nothing for us
            (b"", Absent),
            (b" ", Absent),
            (b"B", Absent),
            (b"Beare", Absent),
            (b"Bearer", Absent),
            (b"Bearer ", Absent),
            (b"Bearer   ", Absent),
            (b"Basic x", Absent),
            (b"DPoP x", Absent),
            // the scheme is compared at the start, and whole
            (b"Basic Bearer x", Absent),
            (b"xyzBearer x", Absent),
            (b" Bearer x", Absent),
            (b"Bearerx", Absent),
            (b"Bearerx y", Absent),
            (b"Bearer=x", Absent),
            (b"Bearer,x", Absent),
            // and without case
            (b"Bearer x", Token(b"x")),
            (b"bearer x", Token(b"x")),
            (b"BEARER x", Token(b"x")),
            (b"bEaReR x", Token(b"x")),
            // 1*SP before the token, spaces after it do not matter
            (b"Bearer   x", Token(b"x")),
            (b"Bearer x  ", Token(b"x")),
            (b"Bearer\tx", Malformed),
            (b"Bearer\t", Malformed),
            (b"Bearer \tx", Malformed),
            (b"Bearer x\t", Malformed),
            // b64token
            (b"Bearer aZ09-._~+/", Token(b"aZ09-._~+/")),
            (b"Bearer a.b.c", Token(b"a.b.c")),
            (b"Bearer abc=", Token(b"abc=")),
            (b"Bearer abc===", Token(b"abc===")),
            (b"Bearer =", Malformed),
            (b"Bearer ==", Malformed),
            (b"Bearer a=b", Malformed),
            (b"Bearer =a", Malformed),
            (b"Bearer a&client_id=x", Malformed),
            (b"Bearer a%26", Malformed),
            (b"Bearer \"a\"", Malformed),
            (b"Bearer a\0", Malformed),
            (b"Bearer a\r\nb", Malformed),
            (b"Bearer caf\xc3\xa9", Malformed),
            (b"Bearer \xff", Malformed),
            // text after the token
            (b"Bearer x y", Malformed),
            (b"Bearer x = ", Malformed),
            (b"Bearer x, Basic y", Malformed),
            (b"Bearer x,Bearer y", Malformed),
        ];
        assert_eq!(credential(None), Absent);
        for (value, expected) in table {
            let name = String::from_utf8_lossy(value);
            assert!(credential(Some(value)) == *expected, "{name:?}");
        }
    }

    #[test]
    fn every_byte() {
        for byte in 0..=255_u8 {
            let allowed = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            let value = [b"Bearer a".as_slice(), &[byte], b"a"].concat();
            let is_token = matches!(credential(Some(&value)), Token(_));
            assert_eq!(is_token, allowed, "{byte:#04x}");
        }
    }

    #[test]
    fn length() {
        for (length, expected) in [(MAX_TOKEN, true), (MAX_TOKEN + 1, false)] {
            let value = format!("Bearer  {} ", "a".repeat(length));
            let token = credential(Some(value.as_bytes()));
            assert_eq!(matches!(token, Token(t) if t.len() == length), expected);
            assert_eq!(token == Malformed, !expected);
        }
    }

    #[test]
    fn debug_hides_the_token() {
        assert_eq!(format!("{:?}", Token(b"hush")), "Token(…)");
    }
}

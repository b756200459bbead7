//! What a client may put into `Authorization`: a token is what RFC 6750 calls one, and nothing else is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ngx_http_phantom_token_module::bearer::{Credential, MAX_TOKEN, credential};
use ngx_http_phantom_token_module::introspection::request_form;

/// The token in `value`, read byte by byte as RFC 6750 §2.1 and RFC 9110 §11.4 have it.
fn naive(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(6)?;
    let mut token = rest.strip_prefix(b" ").filter(|_| scheme.eq_ignore_ascii_case(b"bearer"))?;
    while let Some(rest) = token.strip_prefix(b" ") {
        token = rest;
    }
    while let Some(rest) = token.strip_suffix(b" ") {
        token = rest;
    }
    let mut characters = token;
    while let Some(rest) = characters.strip_suffix(b"=") {
        characters = rest;
    }
    let is_character =
        |byte: &u8| matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    (!characters.is_empty() && characters.iter().all(is_character) && token.len() <= MAX_TOKEN).then_some(token)
}

fuzz_target!(|value: &[u8]| {
    let found = match credential(Some(value)) {
        Credential::Token(token) => Some(token),
        _ => None,
    };
    assert_eq!(found, naive(value));
    if let Credential::Token(token) = credential(Some(value)) {
        assert!(!token.is_empty() && token.len() <= MAX_TOKEN);
        assert!(token.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b)));
        assert!(value[..6].eq_ignore_ascii_case(b"bearer") && value[6] == b' ');
        // all of it, once, between the parameter's name and the hint
        let form = request_form(token, "");
        let encoded = form.strip_prefix("token=").and_then(|form| form.strip_suffix("&token_type_hint=access_token"));
        assert!(encoded.is_some_and(|encoded| !encoded.contains(['&', '=', ' ', '\r', '\n'])));
    }
});

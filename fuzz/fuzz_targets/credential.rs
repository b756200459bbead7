//! What a client may put into `Authorization`: a token is what RFC 6750 calls one, and nothing else is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ngx_http_phantom_token_module::bearer::{Credential, MAX_TOKEN, credential};
use ngx_http_phantom_token_module::introspection::request_form;

fuzz_target!(|value: &[u8]| {
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

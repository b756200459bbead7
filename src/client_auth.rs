//! How does the gateway prove to the endpoint who it is?
//!
//! RFC 6749 §2.3.1 (client password), RFC 7617 (`Basic`).

#![forbid(unsafe_code)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::settings::{ClientAuth, Profile};

/// The `Authorization` header of this profile's introspection requests; it is marked sensitive, so that neither `Debug`
/// nor an HTTP/2 header table shows it.
pub fn authorization(profile: &Profile) -> Option<HeaderValue> {
    match &profile.client_auth {
        ClientAuth::None => None,
        ClientAuth::ClientSecretBasic { client_id, client_secret } => Some(basic(client_id, client_secret.expose())),
    }
}

fn basic(client_id: &str, client_secret: &str) -> HeaderValue {
    // Each byte becomes at most three: with room for all of them no copy is left behind by a reallocation.
    let mut pair = Zeroizing::new(String::with_capacity(3 * (client_id.len() + client_secret.len()) + 1));
    // RFC 6749 §2.3.1: identifier and password are encoded "using the "application/x-www-form-urlencoded" […] algorithm"
    pair.extend(form_urlencoded::byte_serialize(client_id.as_bytes()));
    pair.push(':');
    pair.extend(form_urlencoded::byte_serialize(client_secret.as_bytes()));

    let scheme = "Basic ";
    let mut value = Zeroizing::new(String::with_capacity(scheme.len() + pair.len().div_ceil(3) * 4));
    value.push_str(scheme);
    STANDARD.encode_string(pair.as_bytes(), &mut value);

    let mut value = HeaderValue::from_str(&value).expect("base64 is valid in a header");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::basic;

    #[test]
    fn basic_credentials() {
        for (client_id, client_secret, expected) in [
            ("gateway", "secret", "Z2F0ZXdheTpzZWNyZXQ="),
            // urn%3Aclient:a+b%2Bc%25%3A
            ("urn:client", "a b+c%:", "dXJuJTNBY2xpZW50OmErYiUyQmMlMjUlM0E="),
            // %C3%A4:%E2%82%AC
            ("ä", "€", "JUMzJUE0OiVFMiU4MiVBQw=="),
            ("gateway", "", "Z2F0ZXdheTo="),
        ] {
            let value = basic(client_id, client_secret);
            assert_eq!(value.as_bytes(), format!("Basic {expected}").as_bytes(), "{client_id}");
            assert!(value.is_sensitive());
            assert_eq!(format!("{value:?}"), "Sensitive");
        }
    }
}

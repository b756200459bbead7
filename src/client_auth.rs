//! How does the gateway prove to the endpoint who it is?
//!
//! RFC 6749 §2.3.1 (client password), RFC 7617 (`Basic`), RFC 7523 §2.2 (assertion), RFC 8705 §2 (TLS certificate),
//! RFC 6750 §2.1 (`Bearer`).

#![forbid(unsafe_code)]

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::client_assertion::Signer;
use crate::settings::{ClientAuth, ClientPassword};

/// What goes with each request of a profile, made once.
pub enum Credentials {
    /// Nothing, or nothing that HTTP carries.
    None,
    /// An `Authorization` header. It is marked sensitive, so that neither `Debug` nor an HTTP/2 header table shows it.
    Header(HeaderValue),
    /// Parameters that follow those of the form.
    Form(Zeroizing<String>),
    /// The same, made anew each time.
    Assertion(Box<Signer>),
}

impl Credentials {
    /// The credentials of `client_auth` for the endpoint at `url`. The error says why they cannot be had.
    pub fn new(client_auth: &ClientAuth, url: &str) -> Result<Self, String> {
        Ok(match client_auth {
            ClientAuth::None => Self::None,
            ClientAuth::ClientSecretBasic(password) => Self::Header(basic(&urlencoded(password))?),
            ClientAuth::ClientSecretBasicRaw(ClientPassword { client_id, client_secret }) => {
                Self::Header(basic(&joined(&[client_id, ":", client_secret.expose()]))?)
            }
            ClientAuth::ClientSecretPost(ClientPassword { client_id, client_secret }) => {
                Self::Form(parameters(&[("client_id", client_id), ("client_secret", client_secret.expose())]))
            }
            ClientAuth::PrivateKeyJwt { client_id, key } => {
                Self::Assertion(Box::new(Signer::new(client_id, key, url)?))
            }
            ClientAuth::TlsClientAuth { client_id } => Self::Form(parameters(&[("client_id", client_id)])),
            ClientAuth::Bearer(token) => Self::Header(sensitive(&joined(&["Bearer ", token.expose()]))?),
        })
    }

    /// The `Authorization` header.
    pub fn header(&self) -> Option<&HeaderValue> {
        match self {
            Self::Header(value) => Some(value),
            _ => None,
        }
    }

    /// What follows in the form, beginning with `&`; empty where nothing does.
    pub fn form(&self) -> Result<Zeroizing<String>, String> {
        match self {
            Self::None | Self::Header(_) => Ok(Zeroizing::default()),
            Self::Form(parameters) => Ok(parameters.clone()),
            Self::Assertion(signer) => {
                const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                let assertion = Zeroizing::new(signer.assertion(SystemTime::now())?);
                Ok(parameters(&[("client_assertion_type", TYPE), ("client_assertion", &assertion)]))
            }
        }
    }
}

/// `&name=value` for each, with room for every byte to become three: growing would leave copies behind.
fn parameters(pairs: &[(&str, &str)]) -> Zeroizing<String> {
    let room = pairs.iter().map(|(name, value)| name.len() + 3 * value.len() + 2).sum();
    let mut form = Zeroizing::new(String::with_capacity(room));
    for (name, value) in pairs {
        form.push('&');
        form.push_str(name);
        form.push('=');
        form.extend(form_urlencoded::byte_serialize(value.as_bytes()));
    }
    form
}

/// RFC 6749 §2.3.1: identifier and password are encoded "using the "application/x-www-form-urlencoded" […] algorithm"
fn urlencoded(ClientPassword { client_id, client_secret }: &ClientPassword) -> Zeroizing<String> {
    let client_secret = client_secret.expose();
    let mut pair = Zeroizing::new(String::with_capacity(3 * (client_id.len() + client_secret.len()) + 1));
    pair.extend(form_urlencoded::byte_serialize(client_id.as_bytes()));
    pair.push(':');
    pair.extend(form_urlencoded::byte_serialize(client_secret.as_bytes()));
    pair
}

fn joined(parts: &[&str]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| text.push_str(part));
    text
}

fn basic(pair: &str) -> Result<HeaderValue, String> {
    // not `encode_string`, which leaves a copy on the stack
    let encoded = Zeroizing::new(STANDARD.encode(pair));
    sensitive(&joined(&["Basic ", &encoded]))
}

fn sensitive(value: &str) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::from_str(value).map_err(|_| "the gateway's credentials do not fit into a header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::settings::Secret;

    fn password(client_id: &str, client_secret: &str) -> ClientPassword {
        ClientPassword { client_id: client_id.to_owned(), client_secret: Secret::new(client_secret.to_owned()) }
    }

    fn header(client_auth: ClientAuth) -> String {
        let credentials = Credentials::new(&client_auth, "https://as.example/introspect").unwrap();
        let value = credentials.header().unwrap();
        assert!(value.is_sensitive());
        assert_eq!(format!("{value:?}"), "Sensitive");
        assert!(credentials.form().unwrap().is_empty());
        value.to_str().unwrap().to_owned()
    }

    #[test]
    fn basic_credentials() {
        for (client_id, client_secret, encoded, raw) in [
            ("gateway", "secret", "Z2F0ZXdheTpzZWNyZXQ=", "Z2F0ZXdheTpzZWNyZXQ="),
            // urn%3Aclient:a+b%2Bc%25%3A
            ("urn:client", "a b+c%:", "dXJuJTNBY2xpZW50OmErYiUyQmMlMjUlM0E=", "dXJuOmNsaWVudDphIGIrYyU6"),
            // %C3%A4:%E2%82%AC
            ("ä", "€", "JUMzJUE0OiVFMiU4MiVBQw==", "w6Q64oKs"),
            ("gateway", "", "Z2F0ZXdheTo=", "Z2F0ZXdheTo="),
        ] {
            let password = password(client_id, client_secret);
            assert_eq!(
                header(ClientAuth::ClientSecretBasic(password.clone())),
                format!("Basic {encoded}"),
                "{client_id}"
            );
            assert_eq!(header(ClientAuth::ClientSecretBasicRaw(password)), format!("Basic {raw}"), "{client_id}");
        }
    }

    #[test]
    fn bearer() {
        assert_eq!(header(ClientAuth::Bearer(Secret::new("abc".to_owned()))), "Bearer abc");
        assert!(Credentials::new(&ClientAuth::Bearer(Secret::new("a\nb".to_owned())), "https://as/").is_err());
    }

    #[test]
    fn parameters_of_the_form() {
        let form = |client_auth| {
            let credentials = Credentials::new(&client_auth, "https://as.example/").unwrap();
            assert!(credentials.header().is_none());
            credentials.form().unwrap().to_string()
        };
        assert_eq!(form(ClientAuth::None), "");
        assert_eq!(form(ClientAuth::ClientSecretPost(password("a&b", "c d"))), "&client_id=a%26b&client_secret=c+d");
        assert_eq!(form(ClientAuth::TlsClientAuth { client_id: "a=b".to_owned() }), "&client_id=a%3Db");
    }
}

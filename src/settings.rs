//! What may an operator configure, and which settings make two locations share answers?
//!
//! Everything here is validated when it is built: a value of one of these types is one the module can work with. The
//! directives that produce them read files and check pairs; the meaning of each value is fixed here.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use siphasher::sip128::SipHasher24;
use zeroize::Zeroizing;

/// A secret of the gateway: never printed, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes the secret over. Clones share it.
    pub fn new(secret: String) -> Self {
        Self(Arc::new(Zeroizing::new(secret)))
    }

    /// The secret itself, for the request to the authorization server and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Hash for Secret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expose().hash(state);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why an introspection endpoint's URL is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It is no URL.
    #[error("{0}")]
    Syntax(url::ParseError),
    /// Its scheme is neither `http` nor `https`.
    #[error("the scheme is neither \"http\" nor \"https\"")]
    Scheme,
    /// It carries a user name or a password.
    #[error("it contains user information; use \"phantom_token_client_id\" and \"phantom_token_client_secret\"")]
    UserInfo,
    /// It has a fragment.
    #[error("it contains a fragment")]
    Fragment,
    /// It has a `$`.
    #[error("it contains \"$\", and variables are not supported in it")]
    Variable,
    /// Its port is 0.
    #[error("port 0 cannot be connected to")]
    Port,
    /// It holds white space or a control character.
    #[error("it contains white space or a control character")]
    Character,
}

/// Who is asked about tokens (RFC 7662 §2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An authorization server, by the module's own client.
    Url(EndpointUrl),
    /// Whatever an internal location of NGINX leads to, by a subrequest.
    Location(EndpointLocation),
}

impl Endpoint {
    /// It without its query, which may hold what is not for a log, nor for anybody else.
    pub fn for_log(&self) -> &str {
        match self {
            Self::Url(url) => url.for_log(),
            Self::Location(location) => &location.uri,
        }
    }
}

/// The URI of an internal location.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EndpointLocation {
    /// What the location is found by; may lack a leading slash, as the location's name then does.
    pub uri: String,
    /// What followed `?`.
    pub args: String,
    /// Names the server block it is in: the locations of two servers are two, even if they have one name.
    pub server: usize,
}

impl EndpointLocation {
    /// Takes a URI as it stands in the configuration, where it may belong to many servers; the error is a sentence
    /// about it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (uri, args) = text.split_once('?').unwrap_or((text, ""));
        if uri.is_empty() {
            return Err("it names no location");
        }
        if uri.starts_with('@') {
            return Err("a named location cannot be asked; give it a URI and make it \"internal\"");
        }
        if text.contains('$') {
            return Err("it contains \"$\", and variables are not supported in it");
        }
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err("it contains a control character");
        }
        Ok(Self { uri: uri.to_owned(), args: args.to_owned(), server: 0 })
    }

    /// The same in one server block.
    pub fn in_server(&self, server: usize) -> Self {
        Self { server, ..self.clone() }
    }

    /// Whether its writer may have meant a host.
    pub fn looks_like_host(&self) -> bool {
        !self.uri.starts_with('/') && self.uri.contains(['.', ':'])
    }
}

/// The URL of an introspection endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EndpointUrl(url::Url);

impl EndpointUrl {
    /// Accepts an absolute `http` or `https` URL without user information, fragment or variables.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        if text.bytes().any(|b| b <= b' ' || b == 0x7f) {
            return Err(EndpointError::Character);
        }
        if text.contains('$') {
            return Err(EndpointError::Variable);
        }
        let url = url::Url::parse(text).map_err(EndpointError::Syntax)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(EndpointError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() || Self::authority(text).contains('@') {
            return Err(EndpointError::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(EndpointError::Fragment);
        }
        if url.port() == Some(0) {
            return Err(EndpointError::Port);
        }
        Ok(Self(url))
    }

    fn authority(text: &str) -> &str {
        let rest = text.split_once("://").map_or("", |(_, rest)| rest);
        rest.split(['/', '?', '#']).next().unwrap_or("")
    }

    /// The URL.
    pub fn url(&self) -> &url::Url {
        &self.0
    }

    /// It without its query, which may hold what is not for a log.
    pub fn for_log(&self) -> &str {
        self.0.as_str().split('?').next().unwrap_or_default()
    }

    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => false,
        }
    }

    /// Whether tokens and credentials travel to it in clear over a network: plain `http`, and not to this machine.
    pub fn is_plain_remote(&self) -> bool {
        self.0.scheme() == "http" && !self.is_loopback()
    }
}

/// How the gateway authenticates at the introspection endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ClientAuth {
    /// Not at all.
    None,
    /// `client_secret_basic` (RFC 6749 §2.3.1): id and secret are form-urlencoded first.
    ClientSecretBasic(ClientPassword),
    /// The same without that encoding, as RFC 7617 alone has it.
    ClientSecretBasicRaw(ClientPassword),
    /// `client_secret_post`: in the form.
    ClientSecretPost(ClientPassword),
    /// `private_key_jwt` (RFC 7523 §2.2).
    PrivateKeyJwt {
        /// `client_id`.
        client_id: String,
        /// What assertions are signed with.
        key: ClientKey,
    },
    /// `tls_client_auth` (RFC 8705 §2): the certificate is part of [`Tls`], the id goes into the form.
    TlsClientAuth {
        /// `client_id`.
        client_id: String,
    },
    /// A token of the gateway's own (RFC 7662 §2.1, RFC 6750).
    Bearer(Secret),
}

/// Values of `phantom_token_client_auth`: the names of RFC 7591 §2 and RFC 8705 §2.1.1, and two of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ClientAuthMethod {
    ClientSecretBasic,
    ClientSecretBasicRaw,
    ClientSecretPost,
    PrivateKeyJwt,
    TlsClientAuth,
    Bearer,
    None,
}

impl ClientAuthMethod {
    const ALL: [Self; 7] = [
        Self::ClientSecretBasic,
        Self::ClientSecretBasicRaw,
        Self::ClientSecretPost,
        Self::PrivateKeyJwt,
        Self::TlsClientAuth,
        Self::Bearer,
        Self::None,
    ];

    /// By its name in the configuration.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretBasicRaw => "client_secret_basic_raw",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::TlsClientAuth => "tls_client_auth",
            Self::Bearer => "bearer",
            Self::None => "none",
        }
    }
}

/// `client_id` and `client_secret`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientPassword {
    /// `client_id`.
    pub client_id: String,
    /// `client_secret`.
    pub client_secret: Secret,
}

/// Algorithms of assertions (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SigningAlgorithm {
    /// `ES256`
    Es256,
    /// `RS256`
    Rs256,
    /// `PS256`
    Ps256,
    /// `EdDSA`
    EdDsa,
}

impl SigningAlgorithm {
    /// By its name in the `alg` header.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Es256, Self::Rs256, Self::Ps256, Self::EdDsa].into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// The private key of `private_key_jwt`, read when the configuration was.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientKey {
    pem: Secret,
    kid: Option<String>,
    algorithm: SigningAlgorithm,
    audience: Option<String>,
}

impl ClientKey {
    /// The PEM text of a key that goes with `algorithm`, its name at the server, and the server's own.
    pub fn new(pem: Secret, kid: Option<String>, algorithm: SigningAlgorithm, audience: Option<String>) -> Self {
        Self { pem, kid, algorithm, audience }
    }

    /// The PEM text.
    pub fn pem(&self) -> &[u8] {
        self.pem.expose().as_bytes()
    }

    /// `kid` (RFC 7515 §4.1.4).
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// `alg`.
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// `aud`, if it is another than the endpoint's URL.
    pub fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }
}

/// A file of CA certificates, read when the configuration was.
#[derive(Debug, Clone)]
pub struct TrustedCertificate {
    path: String,
    pem: Arc<[u8]>,
    /// Of the PEM text, so that ten thousand locations need not hash it again.
    digest: (u64, u64),
}

impl TrustedCertificate {
    /// What was read from `path`.
    pub fn new(path: String, pem: Vec<u8>) -> Self {
        let digest = SipHasher24::new().hash(&pem).as_u64();
        Self { path, pem: pem.into(), digest }
    }

    /// Where it was read from, for messages.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The PEM text.
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }
}

impl PartialEq for TrustedCertificate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pem, &other.pem) || self.pem == other.pem
    }
}

impl Eq for TrustedCertificate {}

impl Hash for TrustedCertificate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

/// How the endpoint's TLS certificate is verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Verify at all.
    pub verify: bool,
    /// These CAs and no others; the system's when absent.
    pub trusted_certificate: Option<TrustedCertificate>,
    /// Name for SNI and verification; the URL's host when absent.
    pub server_name: Option<String>,
    /// Shown to a server that asks for a certificate.
    pub identity: Option<Identity>,
}

/// The gateway's own certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// PEM text: the certificate, then what leads to the CA.
    pub certificate: Arc<str>,
    /// PEM text of its private key.
    pub key: Secret,
}

impl Tls {
    /// The directives' defaults.
    pub fn new() -> Self {
        Self { verify: true, trusted_certificate: None, server_name: None, identity: None }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}

/// What happens to a JWT that is itself an introspection answer (RFC 9701).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntrospectionJwt {
    /// It was addressed to the gateway: never forwarded.
    Reject,
    /// The API knows what it gets, and takes it.
    Forward,
}

/// The settings that decide what an answer is worth. Locations of equal profile share cached answers and exchanges in
/// flight; nothing outside it may influence an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Profile {
    /// Who is asked.
    pub endpoint: Endpoint,
    /// As whom.
    pub client_auth: ClientAuth,
    /// The `Accept` header, sent as written.
    pub accept: String,
    /// JSON members that may carry the JWT, in order.
    pub jwt_members: Vec<String>,
    /// Treatment of RFC 9701 answers.
    pub introspection_jwt: IntrospectionJwt,
    /// TLS towards the endpoint.
    pub tls: Tls,
    /// Treat every answer as if it had no caching headers.
    pub ignore_cache_control: bool,
    /// Upper bound of any lifetime.
    pub max_ttl: Duration,
    /// How long an inactive answer is kept; zero: not at all.
    pub inactive_ttl: Duration,
}

/// What distinguishes one HTTP client of a worker from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientSettings {
    /// Where it connects.
    pub endpoint: EndpointUrl,
    /// TLS towards the endpoint.
    pub tls: Tls,
    /// Limit of name resolution, TCP and TLS set-up together.
    pub connect_timeout: Duration,
    /// Idle connections kept.
    pub keepalive: usize,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    /// A profile with the directives' defaults.
    pub(crate) fn profile() -> Profile {
        Profile {
            endpoint: Endpoint::Url(EndpointUrl::parse("https://as.example/introspect").unwrap()),
            client_auth: ClientAuth::None,
            accept: "application/jwt".into(),
            jwt_members: vec!["phantom_token".into(), "jwt".into()],
            introspection_jwt: IntrospectionJwt::Reject,
            tls: Tls::new(),
            ignore_cache_control: false,
            max_ttl: Duration::from_secs(60),
            inactive_ttl: Duration::from_secs(5),
        }
    }

    #[test]
    fn endpoints() {
        for text in [
            "http://127.0.0.1:8443/introspect",
            "HTTPS://AS.example/oauth/v2/introspection?x=1",
            "http://[::1]:80/",
            "https://as.example/path@with/at",
        ] {
            assert!(EndpointUrl::parse(text).is_ok(), "{text}");
        }
        type Expected = fn(&EndpointError) -> bool;
        let refused: &[(&str, Expected)] = &[
            ("http://", |e| matches!(e, EndpointError::Syntax(_))),
            ("http://:80/", |e| matches!(e, EndpointError::Syntax(_))),
            ("http://as:99999/", |e| matches!(e, EndpointError::Syntax(_))),
            ("http://[::1/", |e| matches!(e, EndpointError::Syntax(_))),
            ("ftp://as/", |e| *e == EndpointError::Scheme),
            ("https://user@as/", |e| *e == EndpointError::UserInfo),
            ("https://user:password@as/", |e| *e == EndpointError::UserInfo),
            ("https://@as/", |e| *e == EndpointError::UserInfo),
            ("https://as/#x", |e| *e == EndpointError::Fragment),
            ("https://as/#", |e| *e == EndpointError::Fragment),
            ("https://$host/", |e| *e == EndpointError::Variable),
            ("https://as:0/", |e| *e == EndpointError::Port),
            ("https://as/a b", |e| *e == EndpointError::Character),
        ];
        for (text, expected) in refused {
            let error = EndpointUrl::parse(text).unwrap_err();
            assert!(expected(&error), "{text}: {error:?}");
        }
    }

    #[test]
    fn plain_http_to_another_machine_is_told_apart() {
        for (text, expected) in [
            ("http://as.example/", true),
            ("http://10.0.0.1/", true),
            ("https://as.example/", false),
            ("http://127.0.0.9/", false),
            ("http://[::1]/", false),
            ("http://localhost:8080/", false),
        ] {
            assert_eq!(EndpointUrl::parse(text).unwrap().is_plain_remote(), expected, "{text}");
        }
    }

    #[test]
    fn locations() {
        let parse = EndpointLocation::parse;
        let location = parse("/-/introspect?a=b?c").unwrap();
        assert_eq!((location.uri.as_str(), location.args.as_str()), ("/-/introspect", "a=b?c"));
        assert_eq!(Endpoint::Location(location).for_log(), "/-/introspect");
        let curity = parse("curity").unwrap();
        assert_ne!(curity.in_server(1), curity.in_server(2));
        for text in ["", "?a=b", "@curity", "/$host", "/a?b=$c", "/a\nb"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        for (text, expected) in
            [("curity", false), ("/as.example:8443/x", false), ("as.example", true), ("as:80", true)]
        {
            assert_eq!(parse(text).unwrap().looks_like_host(), expected, "{text}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let auth = ClientAuth::ClientSecretBasic(ClientPassword {
            client_id: "gateway".into(),
            client_secret: Secret::new("s3cret".into()),
        });
        assert!(!format!("{auth:?}").contains("s3cret"));
    }
}

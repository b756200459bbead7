//! The whole way with a real authorization server: npm `oidc-provider`, which `scripts/test.sh` installs.

mod support;

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use support::{Api, Echo, Nginx, http};

/// A running `oidc-provider`; ends with the test.
struct OidcProvider {
    process: Child,
    addr: SocketAddr,
    ready: serde_json::Value,
}

impl OidcProvider {
    fn start(arguments: &[&str]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc-provider");
        assert!(folder.join("node_modules").is_dir(), "run `npm ci` in {} (scripts/test.sh does)", folder.display());
        let mut process = Command::new("node")
            .arg("server.mjs")
            .args(arguments)
            .current_dir(&folder)
            // the server ends when its input does
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node is needed: run scripts/test.sh");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("its first line");
        let ready: serde_json::Value = serde_json::from_str(&line).expect("a line with the port");
        let port = ready["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        Self { process, addr: (Ipv4Addr::LOCALHOST, port).into(), ready }
    }

    fn url(&self) -> String {
        format!("http://{}/token/introspection", self.addr)
    }

    /// An opaque token by client credentials (RFC 6749 §4.4).
    fn token(&self) -> String {
        let authorization = format!("Basic {}", STANDARD.encode("app:app-secret"));
        let response = http::request(
            self.addr,
            "POST",
            "/token",
            &[("Authorization", &authorization), ("Content-Type", "application/x-www-form-urlencoded")],
            b"grant_type=client_credentials&scope=api:read",
        );
        assert_eq!(response.status, 200, "{}", response.text());
        let token = response.json()["access_token"].as_str().expect("a token").to_owned();
        assert_eq!(token.len(), 43);
        token
    }
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn gateway(provider: &OidcProvider, api: &Api, client: &str, more: &str) -> Nginx {
    Nginx::builder()
        .workers(1)
        .var("endpoint", provider.url())
        .var("client", client)
        .var("api", api.url())
        .server(
            "add_header X-Status $phantom_token_status always;
             add_header X-Cache $phantom_token_cache_status always;
             phantom_token_introspection_endpoint @endpoint@;
             phantom_token_client_id @client@;
             phantom_token_client_secret @client@-secret;",
        )
        .server(more)
        .server("location / { phantom_token on; proxy_pass @api@; }")
        .start()
}

fn call(nginx: &Nginx, token: &str) -> http::Response {
    http::get(nginx.addr(), "/", &[("Authorization", &format!("Bearer {token}"))])
}

#[test]
fn opaque_token_in_jwt_out() {
    let (provider, api) = (OidcProvider::start(&["--add-jwt"]), Api::start());
    // it forbids caching of every introspection response
    let nginx = gateway(&provider, &api, "gateway", "phantom_token_ignore_cache_control on;");
    let token = provider.token();

    let response = call(&nginx, &token);
    assert_eq!((response.status, response.header("X-Cache")), (200, Some("MISS")));
    let echo = Echo::of(&response);
    let (header, claims) = echo.jwt().expect("a JWT at the API");
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!((&claims["client_id"], &claims["scope"]), (&"app".into(), &"api:read".into()));

    let again = call(&nginx, &token);
    assert_eq!((again.status, again.header("X-Cache")), (200, Some("HIT")));
    assert_eq!(Echo::of(&again).bearer(), echo.bearer());

    let unknown = call(&nginx, "unknown");
    assert_eq!((unknown.status, unknown.header("X-Status")), (401, Some("INACTIVE")));
    for secret in [token.as_str(), echo.bearer().expect("a JWT")] {
        assert!(!nginx.error_log().contains(secret));
    }
    nginx.finish();
}

#[test]
fn caching_headers_are_obeyed_unless_ignored() {
    let (provider, api) = (OidcProvider::start(&["--add-jwt"]), Api::start());
    let nginx = gateway(&provider, &api, "gateway", "");
    let token = provider.token();
    for _ in 0..2 {
        let response = call(&nginx, &token);
        assert_eq!((response.status, response.header("X-Cache")), (200, Some("MISS")));
    }
    assert_eq!(nginx.log_count("\"phantom_token_ignore_cache_control on\""), 1);
    nginx.finish();
}

#[test]
fn json_without_a_jwt_is_no_answer() {
    let (provider, api) = (OidcProvider::start(&[]), Api::start());
    let nginx = gateway(&provider, &api, "gateway", "");
    let response = call(&nginx, &provider.token());
    assert_eq!((response.status, response.header("X-Status")), (502, Some("INVALID_RESPONSE")));
    let line = nginx.wait_for_log("no member holds a JWT");
    assert!(line.contains("[error]") && line.contains("phantom_token_jwt_member"), "{line}");
    assert_eq!(api.request_count(), 0);
    nginx.finish();
}

#[test]
fn wrong_gateway_credentials_are_the_gateways_fault() {
    let (provider, api) = (OidcProvider::start(&["--add-jwt"]), Api::start());
    let nginx = gateway(&provider, &api, "nobody", "");
    let response = call(&nginx, &provider.token());
    assert_eq!((response.status, response.header("X-Status")), (502, Some("REFUSED")));
    let line = nginx.wait_for_log("invalid_client");
    assert!(line.contains("[error]") && line.contains("phantom_token_client_id"), "{line}");
    nginx.finish();
}

#[test]
fn a_jwt_introspection_response_is_looked_into_and_not_forwarded() {
    let (provider, api) = (OidcProvider::start(&[]), Api::start());
    let accept = "phantom_token_accept application/token-introspection+jwt;";
    let nginx = gateway(&provider, &api, "signed-gateway", accept);

    let active = call(&nginx, &provider.token());
    assert_eq!((active.status, active.header("X-Status")), (502, Some("INVALID_RESPONSE")));
    let line = nginx.wait_for_log("RFC 9701");
    assert!(line.contains("[error]"), "{line}");

    let inactive = call(&nginx, "unknown");
    assert_eq!((inactive.status, inactive.header("X-Status")), (401, Some("INACTIVE")));
    assert_eq!(api.request_count(), 0);
    nginx.finish();
}

/// One location with these directives, without those of `gateway`.
fn gateway_with(endpoint: &str, api: &Api, directives: &str, files: &[(&str, &str)]) -> Nginx {
    let mut builder = Nginx::builder().workers(1).var("api", api.url()).server(&format!(
        "location / {{ phantom_token on; phantom_token_introspection_endpoint {endpoint}; \
         phantom_token_ignore_cache_control on; {directives} proxy_pass @api@; }}"
    ));
    for (name, content) in files {
        builder = builder.file(name, *content);
    }
    builder.start()
}

#[test]
fn client_secret_post() {
    let (provider, api) = (OidcProvider::start(&["--add-jwt"]), Api::start());
    let directives = "phantom_token_client_id post-gateway; phantom_token_client_secret post-gateway-secret;";
    let token = provider.token();
    let nginx = gateway_with(
        &provider.url(),
        &api,
        &format!("{directives} phantom_token_client_auth client_secret_post;"),
        &[],
    );
    assert_eq!(Echo::of(&call(&nginx, &token)).jwt().expect("a JWT").1["client_id"], "app");
    nginx.finish();
    let nginx = gateway_with(&provider.url(), &api, &directives.replace("-secret;", "-other;"), &[]);
    assert_eq!(call(&nginx, &token).status, 502);
    nginx.finish();
}

#[test]
fn private_key_jwt() {
    let folder = std::env::temp_dir().join(format!("phantom-token-keys-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for keys");
    let rsa = include_str!("../src/client_assertion/rsa.pem").to_owned();
    let pem = |algorithm| rcgen::KeyPair::generate_for(algorithm).expect("a key").serialize_pem();
    let keys = [
        ("ES256", pem(&rcgen::PKCS_ECDSA_P256_SHA256), ""),
        ("EdDSA", include_str!("../src/client_assertion/ed25519.pem").to_owned(), ""),
        ("RS256", rsa.clone(), ""),
        ("PS256", rsa, "alg=PS256"),
    ];
    let mut arguments = vec!["--add-jwt".to_owned()];
    for (algorithm, pem, _) in &keys {
        let path = folder.join(algorithm);
        std::fs::write(&path, pem).expect("write a key");
        arguments.extend(["--key".to_owned(), (*algorithm).to_owned(), path.display().to_string()]);
    }
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (provider, api) = (OidcProvider::start(&arguments), Api::start());
    for (algorithm, pem, choice) in &keys {
        let directives = format!(
            "phantom_token_client_auth private_key_jwt; phantom_token_client_id {algorithm}-gateway; \
             phantom_token_client_key @dir@/key.pem g1 {choice};"
        );
        let nginx = gateway_with(&provider.url(), &api, &directives, &[("key.pem", pem)]);
        // the server takes an assertion only once
        for token in [provider.token(), provider.token()] {
            let response = call(&nginx, &token);
            assert_eq!(response.status, 200, "{algorithm}: {}", nginx.error_log());
            assert_eq!(Echo::of(&response).jwt().expect("a JWT").1["client_id"], "app", "{algorithm}");
        }
        nginx.finish();
    }
    // the server by its issuer identifier, by a name it does not have; a key it does not know, by name and as such
    let known_pem = &keys[0].1;
    let unknown = pem(&rcgen::PKCS_ECDSA_P256_SHA256);
    let issuer = format!("g1 aud=http://{}", provider.addr);
    for (key, arguments, status) in [
        (known_pem, issuer.as_str(), 200),
        (known_pem, "g1 aud=https://as.example", 502),
        (known_pem, "g2", 502),
        (&unknown, "g1", 502),
    ] {
        let directives = format!(
            "phantom_token_client_auth private_key_jwt; phantom_token_client_id ES256-gateway; \
             phantom_token_client_key @dir@/key.pem {arguments};"
        );
        let nginx = gateway_with(&provider.url(), &api, &directives, &[("key.pem", key)]);
        assert_eq!(call(&nginx, &provider.token()).status, status, "{arguments}");
        if status == 502 {
            assert!(nginx.wait_for_log("client credentials").contains("invalid_client"), "{arguments}");
        }
        nginx.finish();
    }
    std::fs::remove_dir_all(&folder).expect("remove the keys");
}

#[test]
fn tls_client_auth() {
    let folder = std::env::temp_dir().join(format!("phantom-token-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for certificates");
    let authority = Authority::new();
    let (server, server_key) = authority.issue("127.0.0.1", &["127.0.0.1"]);
    for (name, content) in [("server.pem", &server), ("server.key", &server_key), ("ca.pem", &authority.pem)] {
        std::fs::write(folder.join(name), content).expect("write a certificate");
    }
    let arguments = ["--add-jwt", "--tls", &folder.display().to_string()];
    let (provider, api) = (OidcProvider::start(&arguments), Api::start());
    let token = provider.ready["token"].as_str().expect("a token");
    let endpoint = provider.url().replace("http://", "https://");
    let directives = "phantom_token_client_auth tls_client_auth; phantom_token_client_id tls-gateway; \
                      phantom_token_ssl_trusted_certificate @dir@/ca.pem; \
                      phantom_token_ssl_certificate @dir@/client.pem; phantom_token_ssl_certificate_key @dir@/client.key;";
    let gateway = |authority: &Authority, subject, ca: &str| {
        let (certificate, key) = authority.issue(subject, &[]);
        gateway_with(&endpoint, &api, directives, &[("ca.pem", ca), ("client.pem", &certificate), ("client.key", &key)])
    };
    let nginx = gateway(&authority, "gateway", &authority.pem);
    let response = call(&nginx, token);
    assert_eq!(response.status, 200, "{}", nginx.error_log());
    assert_eq!(Echo::of(&response).jwt().expect("a JWT").1["client_id"], "app");
    nginx.finish();
    // another subject, and a CA that the server does not know
    for (issuer, subject) in [(&authority, "other"), (&Authority::new(), "gateway")] {
        let nginx = gateway(issuer, subject, &authority.pem);
        assert_eq!(call(&nginx, token).status, 502, "{subject}");
        nginx.finish();
    }
    std::fs::remove_dir_all(&folder).expect("remove the certificates");
}

/// A CA for servers and clients.
struct Authority {
    pem: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().expect("a CA's key");
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).expect("a CA");
        parameters.distinguished_name.push(rcgen::DnType::CommonName, support::idp::random(9));
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).expect("sign a CA").pem();
        Self { pem, issuer: rcgen::Issuer::new(parameters, key) }
    }

    /// Certificate and key, PEM.
    fn issue(&self, common_name: &str, names: &[&str]) -> (String, String) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = rcgen::CertificateParams::new(names).expect("names for a certificate");
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, common_name);
        (parameters.signed_by(&key, &self.issuer).expect("sign a certificate").pem(), key.serialize_pem())
    }
}

/// RFC 9701, where the API is to get the answer itself.
#[test]
fn a_jwt_introspection_response_is_forwarded_where_that_is_wanted() {
    let (provider, api) = (OidcProvider::start(&[]), Api::start());
    let more = "phantom_token_accept application/token-introspection+jwt; phantom_token_introspection_jwt forward;
                phantom_token_require_scopes api:read;";
    let nginx = gateway(&provider, &api, "signed-gateway", more);
    let response = call(&nginx, &provider.token());
    let (header, claims) = Echo::of(&response).jwt().expect("a JWT");
    assert_eq!(
        (&header["typ"], &claims["token_introspection"]["active"]),
        (&"token-introspection+jwt".into(), &true.into())
    );
    assert_eq!(call(&nginx, "unknown").status, 401);
    nginx.finish();
}

/// `nginx-conf/oidc-provider.conf` as it is, but for addresses and the client's name.
#[test]
fn the_example() {
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/client_assertion/p256.pem");
    let provider = OidcProvider::start(&["--key", "ES256", &key.display().to_string()]);
    let api = Api::start();
    let nginx = Nginx::builder()
        .var("api", api.url())
        .file("client-key.pem", std::fs::read(&key).expect("the key"))
        .example("oidc-provider.conf")
        .adapt("https://login.example.com/token/introspection", &provider.url())
        .adapt("phantom_token_client_id gateway;", "phantom_token_client_id ES256-gateway;")
        .adapt("client-key.pem gateway-1", "client-key.pem g1")
        .start();
    let token = provider.token();
    for _ in ["asked", "cached"] {
        let (header, claims) = Echo::of(&call(&nginx, &token)).jwt().expect("a JWT");
        assert_eq!((&header["typ"], &claims["aud"]), (&"token-introspection+jwt".into(), &"ES256-gateway".into()));
        assert_eq!(claims["token_introspection"]["client_id"], "app");
    }
    assert_eq!((call(&nginx, "unknown").status, http::get(nginx.addr(), "/", &[]).status), (401, 401));
    nginx.finish();
}

#[test]
fn a_plain_nginx_as_the_api() {
    let provider = OidcProvider::start(&["--add-jwt"]);
    let api = Nginx::builder().without_module().server("location / { return 200 $http_authorization; }").start();
    let nginx = Nginx::builder()
        .workers(2)
        .var("endpoint", provider.url())
        .var("api", api.url())
        .server(
            "location / { phantom_token on; phantom_token_introspection_endpoint @endpoint@;
             phantom_token_client_id gateway; phantom_token_client_secret gateway-secret;
             phantom_token_ignore_cache_control on; proxy_pass @api@; }",
        )
        .start();
    let token = provider.token();
    for _ in 0..10 {
        let response = call(&nginx, &token);
        assert_eq!(response.status, 200);
        let authorization = response.text();
        let (_, claims) =
            support::jwt::decode(authorization.strip_prefix("Bearer ").expect("a bearer")).expect("a JWT");
        assert_eq!(claims["client_id"], "app");
    }
    assert_eq!(call(&nginx, "unknown").status, 401);
    nginx.finish();
    api.finish();
}

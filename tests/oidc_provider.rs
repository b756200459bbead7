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
        Self { process, addr: (Ipv4Addr::LOCALHOST, port).into() }
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

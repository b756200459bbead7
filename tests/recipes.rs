//! The files in `nginx-conf/`, run against servers that answer as those do that they are for.

mod support;

use support::http::Client;
use support::idp::ClientAuth;
use support::nginx::Builder;
use support::tls::{Pki, TlsServer};
use support::{Api, Echo, Idp, Nginx, RawServer, Shape, Token, TokenSpec, http, wait, wire};

fn example(name: &str, endpoint: &str, idp: &Idp, api: &Api) -> Builder {
    Nginx::builder()
        .idp(idp)
        .var("api", api.url())
        .file("client-secret", idp.client_secret())
        .example(name)
        .adapt(endpoint, &idp.introspection_url())
}

fn get(nginx: &Nginx, token: &Token) -> http::Response {
    http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())])
}

/// Two requests, one introspection; no token and a revoked one are refused.
#[track_caller]
fn assert_exchanged(nginx: &Nginx, idp: &Idp) {
    let token = idp.issue();
    for _ in ["asked", "cached"] {
        assert_eq!(Echo::of(&get(nginx, &token)).bearer(), Some(token.jwt.as_str()));
    }
    assert_eq!(idp.introspections_of(&token.opaque), 1);
    let revoked = idp.issue();
    idp.revoke(&revoked.opaque);
    assert_eq!((get(nginx, &revoked).status, http::get(nginx.addr(), "/", &[]).status), (401, 401));
}

#[test]
fn minimal() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = Nginx::builder()
        .watch_secrets(&idp)
        .var("api", api.url())
        .example("minimal.conf")
        .adapt("http://127.0.0.1:8081/introspect", &idp.introspection_url())
        .adapt("change-me", idp.client_secret())
        // what it leaves to NGINX's defaults, which are the machine's own
        .adapt("events {}", "user www-data; pid @dir@/nginx.pid; error_log @dir@/error.log info; events {}")
        .adapt("listen 127.0.0.1:8080;", "listen 127.0.0.1:@port@; access_log @dir@/access.log;")
        .start();
    assert_exchanged(&nginx, &idp);
    nginx.finish();
}

#[test]
fn production() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = example("production.conf", "https://login.example.com/oauth/v2/oauth-introspect", &idp, &api)
        .adapt("server 127.0.0.1:8082 max_fails=3", &format!("server {} max_fails=3", api.addr()))
        .adapt("listen 8080 backlog", "listen 127.0.0.1:@port@ backlog")
        .start();
    let token = idp.issue();
    let get = |path| http::get(nginx.addr(), path, &[("Authorization", &token.bearer())]);
    for _ in ["asked", "cached"] {
        let echo = Echo::of(&get("/api/orders?secret=1"));
        assert_eq!((echo.bearer(), echo.header("X-Token-Fingerprint").map(str::len)), (Some(&*token.jwt), Some(16)));
    }
    assert_eq!(idp.introspections_of(&token.opaque), 1);
    // a sensitive call asks, and what it learns counts elsewhere
    assert_eq!(Echo::of(&get("/api/payments/")).bearer(), Some(&*token.jwt));
    assert_eq!(idp.introspections_of(&token.opaque), 2);
    idp.revoke(&token.opaque);
    assert_eq!([get("/api/orders").status, get("/api/payments/").status, get("/api/orders").status], [200, 401, 401]);
    let refused = http::get(nginx.addr(), "/api/", &[]);
    let challenge = "Bearer realm=\"api.example.com\", scope=\"orders:read orders:write\"";
    assert_eq!((refused.status, refused.header("WWW-Authenticate")), (401, Some(challenge)));
    assert_eq!(refused.json()["code"], "unauthorized_request");
    let missing = http::get(nginx.addr(), "/elsewhere", &[]);
    assert_eq!((missing.status, &missing.json()["code"]), (404, &"not_found".into()));
    assert_eq!(http::get(nginx.addr(), "/healthz", &[]).text(), "ok\n");
    let lines = || nginx.log("access.log").lines().map(str::to_owned).collect::<Vec<_>>();
    // all but that of the health check
    wait::until("a line for each request", || lines().len() == 8);
    for line in lines() {
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert!(line["path"].as_str().is_some_and(|path| path.starts_with('/') && !path.contains('?')), "{line}");
    }
    nginx.finish();
}

#[test]
fn curity() {
    const ENDPOINT: &str = "https://login.example.com/oauth/v2/oauth-introspect";
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = example("curity.conf", ENDPOINT, &idp, &api).start();
    assert_exchanged(&nginx, &idp);
    nginx.finish();
    idp.set_shape(Shape::CurityProcedure);
    let nginx = example("curity.conf", ENDPOINT, &idp, &api)
        .adapt("#phantom_token_accept application/json;", "phantom_token_accept application/json;")
        .start();
    assert_exchanged(&nginx, &idp);
    nginx.finish();
}

#[test]
fn keycloak() {
    let (idp, api) = (Idp::builder().shape(Shape::Keycloak).start(), Api::start());
    let endpoint = "https://keycloak.example.com/realms/main/protocol/openid-connect/token/introspect";
    let nginx = example("keycloak.conf", endpoint, &idp, &api).start();
    assert_exchanged(&nginx, &idp);
    nginx.finish();
}

/// The assertion itself is verified by the real server: see `oidc_provider.rs`.
#[test]
fn rfc_9701() {
    let (idp, api) = (Idp::builder().shape(Shape::Rfc9701).client_auth(ClientAuth::None).start(), Api::start());
    let nginx = example("oidc-provider.conf", "https://login.example.com/token/introspection", &idp, &api)
        .file("client-key.pem", include_str!("../src/client_assertion/ed25519.pem"))
        .start();
    let token = idp.issue();
    let (header, claims) = Echo::of(&get(&nginx, &token)).jwt().expect("a JWT");
    assert_eq!(
        (&header["typ"], &claims["token_introspection"]["active"]),
        (&"token-introspection+jwt".into(), &true.into())
    );
    let asked = &idp.introspections()[0];
    let names: Vec<_> = asked.form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["token", "token_type_hint", "client_assertion_type", "client_assertion"]);
    nginx.finish();
}

#[test]
fn location_endpoint() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = Nginx::builder()
        .idp(&idp)
        .var("api", api.url())
        .example("location-endpoint.conf")
        .adapt("server 127.0.0.1:8443;", &format!("server {};", idp.addr()))
        .adapt("server 127.0.0.2:8443 backup;", "")
        .adapt("https://authorization_server/oauth/v2/oauth-introspect", "http://authorization_server/oauth/introspect")
        .adapt("Basic Z2F0ZXdheTpzZWNyZXQ=", &idp.client_authorization())
        .start();
    let token = idp.issue();
    let response = http::get(nginx.addr(), "/api/", &[("Authorization", &token.bearer())]);
    assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
    assert_eq!(http::get(nginx.addr(), "/introspect", &[]).status, 404);
    nginx.finish();
}

/// The same as it is, with TLS: the name in the handshake, and whom the certificate is for.
#[test]
fn location_endpoint_with_tls() {
    let api = Api::start();
    for (name, status) in [("login.example.com", 200), ("other.example.com", 502)] {
        let pki = Pki::of(name);
        let server = TlsServer::start(&pki, &["http/1.1"]);
        let nginx = Nginx::builder()
            .var("api", api.url())
            .file("ca.pem", pki.ca)
            .example("location-endpoint.conf")
            .adapt("server 127.0.0.1:8443;", &format!("server {};", server.addr()))
            .adapt("server 127.0.0.2:8443 backup;", "")
            .adapt("/etc/ssl/certs/ca-certificates.crt", "@dir@/ca.pem")
            .allow_log("upstream SSL certificate does not match \"login.example.com\"")
            .start();
        let response = http::get(nginx.addr(), "/api/", &[("Authorization", "Bearer opaque")]);
        assert_eq!(response.status, status, "{name}");
        let requests = server.requests();
        assert_eq!(requests.len(), usize::from(status == 200), "{name}");
        for request in requests {
            assert_eq!(
                (&*request.host, request.server_name.as_deref()),
                ("login.example.com", Some("login.example.com"))
            );
        }
        nginx.finish();
    }
}

#[test]
fn users() {
    let (idp, api) = (Idp::builder().shape(Shape::CurityProcedure).start(), Api::start());
    let nginx = example("users.conf", "https://login.example.com/introspect", &idp, &api)
        .adapt("phantom_token_jwt_member access_token_jwt;", "phantom_token_jwt_member phantom_token;")
        .adapt("rate=20r/s", "rate=1r/m")
        .adapt("burst=40", "burst=3")
        .allow_log("limiting requests")
        .start();
    let issue = |name: &str, scope: &str| {
        idp.issue_token(TokenSpec::new().subject(name).scope(scope).member("sub", name).member("scope", scope))
    };
    let (jane, joe) = (issue("jane", "api"), issue("joe", "other"));
    let echo = Echo::of(&get(&nginx, &jane));
    assert_eq!((echo.header("X-User"), echo.bearer()), (Some("jane"), Some(jane.jwt.as_str())));
    assert_eq!(get(&nginx, &joe).status, 403);
    let cookie = format!("__Host-token={}; theme=dark", jane.opaque);
    let response = http::get(nginx.addr(), "/", &[("Cookie", &cookie), ("Origin", "https://app.example.com")]);
    assert_eq!(response.header("Cache-Control"), Some("private"));
    assert_eq!(Echo::of(&response).all("Cookie"), ["theme=dark"]);
    for (origin, status) in [("https://api.example.com", 200), ("https://evil.example", 403), ("null", 403)] {
        let response = http::request(nginx.addr(), "POST", "/", &[("Cookie", &cookie), ("Origin", origin)], b"x");
        assert_eq!(response.status, status, "{origin}");
    }
    let mut client = Client::connect(nginx.addr());
    let statuses: Vec<_> =
        (0..3).map(|_| client.request("GET", "/", &[("Authorization", &jane.bearer())], b"").status).collect();
    assert_eq!(statuses, [200, 429, 429]);
    // without a subject, and so without a limit; what the client says of one is not the API's to read
    let nobody = idp.issue_token(TokenSpec::new().scope("api").claim("sub", serde_json::Value::Null));
    for _ in 0..4 {
        let headers = [("Authorization", &*nobody.bearer()), ("X-User", "root"), ("Connection", "close, X-User")];
        let echo = Echo::of(&Client::connect(nginx.addr()).request("GET", "/", &headers, b""));
        assert_eq!((echo.all("X-User"), echo.all("Connection")), (vec![], vec![]));
    }
    nginx.finish();
}

/// A browser's WebSocket, with the token as one of the subprotocols.
#[test]
fn users_with_websocket() {
    let idp = Idp::builder().shape(Shape::CurityProcedure).start();
    let server = RawServer::start(|connection| {
        if connection.read_request().is_some() {
            connection.send(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Protocol: chat\r\n\r\nhello",
            );
            connection.hang();
        }
    });
    let nginx = Nginx::builder()
        .idp(&idp)
        .var("api", server.url())
        .file("client-secret", idp.client_secret())
        .example("users.conf")
        .adapt("https://login.example.com/introspect", &idp.introspection_url())
        .adapt("phantom_token_jwt_member access_token_jwt;", "phantom_token_jwt_member phantom_token;")
        .start();
    let token = idp.issue_token(TokenSpec::new().subject("jane").scope("api"));
    let protocols = format!("chat, bearer.{}", token.opaque);
    for (origin, status) in [("https://app.example.com", 101), ("https://evil.example", 403)] {
        let mut client = Client::connect(nginx.addr());
        let headers = [
            ("Connection", "keep-alive, Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Protocol", &protocols),
            ("Origin", origin),
        ];
        client.send(&http::request_bytes("GET", "/socket", &headers, b""));
        let response = client.read_response();
        assert_eq!(response.status, status, "{origin}");
        if status == 101 {
            assert_eq!(client.read_exact(5), b"hello");
        }
    }
    let requests = server.requests();
    let [handshake] = requests.as_slice() else { panic!("{} requests", requests.len()) };
    let all = |name| wire::values(&handshake.head.headers, name).collect::<Vec<_>>();
    assert_eq!((all("sec-websocket-protocol"), all("authorization")), (vec!["chat"], vec![&*token.jwt_bearer()]));
    assert_eq!((all("x-user"), all("connection"), all("upgrade")), (vec!["jane"], vec!["upgrade"], vec!["websocket"]));
    nginx.finish();
}

//! How the gateway proves who it is, as the endpoint sees it.

use super::support::gateway::bare;
use super::support::idp::{ClientAuth, now};
use super::support::{Answer, Api, Echo, Idp, http, jwt};

/// Method, how the server wants it, and what else is configured; the secret is one that encodings change.
#[test]
fn methods_with_a_secret() {
    let api = Api::start();
    for (method, wanted) in [
        ("", ClientAuth::Basic),
        ("phantom_token_client_auth client_secret_basic;", ClientAuth::Basic),
        ("phantom_token_client_auth client_secret_basic_raw;", ClientAuth::BasicRaw),
        ("phantom_token_client_auth client_secret_post;", ClientAuth::Post),
    ] {
        let idp = Idp::builder().client("gate way:1", "p%ss w+rd/:=&é").client_auth(wanted).start();
        let nginx = bare(&idp, &api)
            .file("secret", idp.client_secret())
            .server(&format!(
                "location / {{ phantom_token on; phantom_token_introspection_endpoint @introspect@?x=y; phantom_token_client_id \
                 'gate way:1'; phantom_token_client_secret_file @dir@/secret; {method} proxy_pass @api@; }}"
            ))
            .start();
        let token = idp.issue();
        let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
        assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()), "{method}");
        let asked = &idp.introspections()[0];
        let names: Vec<_> = asked.form.iter().map(|(name, _)| name.as_str()).collect();
        let has_header = asked.headers.iter().any(|(name, _)| name == "authorization");
        if wanted == ClientAuth::Post {
            assert_eq!((names, has_header), (vec!["token", "token_type_hint", "client_id", "client_secret"], false));
        } else {
            assert_eq!((names, has_header), (vec!["token", "token_type_hint"], true));
        }
        nginx.finish();
    }
}

#[test]
fn bearer_and_none() {
    let (idp, api) = (Idp::builder().client_auth(ClientAuth::None).start(), Api::start());
    let nginx = bare(&idp, &api)
        .file("token", "gateway-token==\n")
        .server("phantom_token_introspection_endpoint @introspect@;")
        .server(
            "location /bearer { phantom_token on; phantom_token_client_auth bearer; \
             phantom_token_client_bearer_file @dir@/token; proxy_pass @api@; }",
        )
        .server("location /none { phantom_token on; phantom_token_client_auth none; phantom_token_client_id unused; proxy_pass @api@; }")
        .start();
    idp.add_secret("gateway-token==");
    for (path, expected) in [("/bearer", Some("Bearer gateway-token==")), ("/none", None)] {
        idp.forget_introspections();
        let token = idp.issue();
        assert_eq!(http::get(nginx.addr(), path, &[("Authorization", &token.bearer())]).status, 200, "{path}");
        let asked = &idp.introspections()[0];
        let header = asked.headers.iter().find(|(name, _)| name == "authorization").map(|(_, value)| value.as_str());
        assert_eq!((header, asked.form.len()), (expected, 2), "{path}");
    }
    nginx.finish();
}

/// RFC 7523 §3: a signed assertion with each request, for the endpoint or for whom the server says it is.
#[test]
fn private_key_jwt() {
    let (idp, api) = (Idp::builder().client_auth(ClientAuth::None).start(), Api::start());
    for (arguments, kid, audience) in [
        ("key-1", Some("key-1"), idp.introspection_url()),
        ("", None, idp.introspection_url()),
        ("aud=https://as.example key-1 alg=EdDSA", Some("key-1"), "https://as.example".to_owned()),
    ] {
        idp.forget_introspections();
        let nginx = bare(&idp, &api)
            .file("key.pem", include_str!("../../src/client_assertion/ed25519.pem"))
            .server(&format!(
                "location / {{ phantom_token on; phantom_token_introspection_endpoint @introspect@?x=y; \
                 phantom_token_client_auth private_key_jwt; phantom_token_client_id gateway; \
                 phantom_token_client_key @dir@/key.pem {arguments}; proxy_pass @api@; }}"
            ))
            .start();
        for token in [idp.issue(), idp.issue()] {
            assert_eq!(http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]).status, 200, "{arguments}");
        }
        nginx.finish();
        let mut ids = Vec::new();
        for asked in idp.introspections() {
            let names: Vec<_> = asked.form.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["token", "token_type_hint", "client_assertion_type", "client_assertion"]);
            assert_eq!(asked.form[2].1, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
            assert_eq!(asked.header("authorization"), None);
            let (header, claims) = jwt::decode(&asked.form[3].1).expect("a JWT");
            assert_eq!((&header["alg"], header["kid"].as_str()), (&"EdDSA".into(), kid), "{arguments}");
            let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
            assert_eq!([text("iss"), text("sub"), text("aud")], ["gateway", "gateway", &audience], "{arguments}");
            let (issued, expires) = (claims["iat"].as_i64().expect("iat"), claims["exp"].as_i64().expect("exp"));
            assert!((now() - issued).abs() < 30 && expires - issued == 60, "{claims}");
            ids.push(text("jti"));
        }
        assert!(ids.len() == 2 && ids[0].len() >= 20 && ids[0] != ids[1], "{ids:?}");
    }
}

/// Other credentials are another profile: nothing is shared.
#[test]
fn profiles_differ() {
    let (idp, api) = (Idp::builder().client_auth(ClientAuth::None).start(), Api::start());
    idp.answer_all(Answer::normal());
    let nginx = bare(&idp, &api)
        .workers(1)
        .server(
            "phantom_token_introspection_endpoint @introspect@; phantom_token_client_id @id@; phantom_token_client_secret @secret@;",
        )
        .server("location /a { phantom_token on; proxy_pass @api@; }")
        .server("location /b { phantom_token on; phantom_token_client_auth client_secret_post; proxy_pass @api@; }")
        .server("location /c { phantom_token on; phantom_token_client_auth client_secret_basic; proxy_pass @api@; }")
        .start();
    let token = idp.issue();
    for (path, asked) in [("/a", 1), ("/b", 2), ("/c", 2), ("/a", 2)] {
        assert_eq!(http::get(nginx.addr(), path, &[("Authorization", &token.bearer())]).status, 200);
        assert_eq!(idp.introspection_count(), asked, "{path}");
    }
    nginx.finish();
}

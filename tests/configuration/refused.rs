//! Mistakes: one `[emerg]` of `nginx -t` with directive, value and line.

use crate::support::nginx::{Builder, ConfigTest};
use crate::support::{Nginx, nginx};

const GOOD: &str = "phantom_token on; phantom_token_introspection_endpoint https://as.example/introspect;
    phantom_token_client_id id; phantom_token_client_secret secret;";

pub fn refused(what: &str, builder: Builder, at: &str, parts: &[&str]) -> ConfigTest {
    let test = builder.test();
    let line = test.line_of(at);
    eprintln!("{what}");
    test.assert_emerg(&[&[line.as_str()], parts].concat());
    // at this very line and not at one that starts with its number
    let emerg = test.stderr.lines().find(|l| l.contains("[emerg]")).unwrap();
    let after = emerg.split(&line).nth(1).unwrap().chars().next();
    assert!(!after.is_some_and(|c| c.is_ascii_digit()), "{emerg}");
    test
}

#[test]
fn values() {
    // directive, value as written, what the message has besides the directive's name
    for (directive, value, part) in [
        ("phantom_token", "maybe", "maybe"),
        ("phantom_token", "On1", "On1"),
        ("phantom_token_introspection_endpoint", "ftp://as.example/", "ftp://as.example/"),
        ("phantom_token_introspection_endpoint", "@curity", "named location"),
        ("phantom_token_introspection_endpoint", "?a=b", "names no location"),
        ("phantom_token_introspection_endpoint", "/$uri", "variables"),
        ("phantom_token_introspection_endpoint", "'/a\tb'", "control character"),
        ("phantom_token_introspection_endpoint", "http://", "http://"),
        ("phantom_token_introspection_endpoint", "https:///introspect#", "https:///introspect#"),
        ("phantom_token_introspection_endpoint", "https://user@as.example/", "user"),
        ("phantom_token_introspection_endpoint", "https://user:word@as.example/", "user"),
        ("phantom_token_introspection_endpoint", "https://@as.example/", "user"),
        ("phantom_token_introspection_endpoint", "https://as.example/#x", "fragment"),
        ("phantom_token_introspection_endpoint", "https://as.example/#", "fragment"),
        ("phantom_token_introspection_endpoint", "https://$host/", "https://$host/"),
        ("phantom_token_introspection_endpoint", "https://as.example/$uri", "$"),
        ("phantom_token_introspection_endpoint", "https://as.example:0/", "https://as.example:0/"),
        ("phantom_token_introspection_endpoint", "https://as.example:65536/", "https://as.example:65536/"),
        ("phantom_token_introspection_endpoint", "https://as.example:x/", "https://as.example:x/"),
        ("phantom_token_introspection_endpoint", "'https://as.example/a b'", "https://as.example/a b"),
        ("phantom_token_introspection_endpoint", "https://[::1/", "https://[::1/"),
        ("phantom_token_introspection_endpoint", "''", "\"\""),
        ("phantom_token_client_id", "''", "\"\""),
        ("phantom_token_client_secret", "''", "\"\""),
        ("phantom_token_client_secret_file", "/nonexistent/secret", "/nonexistent/secret"),
        ("phantom_token_client_secret_file", "@dir@", "@dir@"),
        ("phantom_token_client_secret_file", "@dir@/empty", "@dir@/empty"),
        ("phantom_token_client_secret_file", "@dir@/newline", "@dir@/newline"),
        ("phantom_token_ssl_trusted_certificate", "/nonexistent/ca.pem", "/nonexistent/ca.pem"),
        ("phantom_token_ssl_trusted_certificate", "@dir@/newline", "@dir@/newline"),
        ("phantom_token_ssl_trusted_certificate", "@dir@/no.pem", "@dir@/no.pem"),
        ("phantom_token_ssl_trusted_certificate", "@dir@/broken.pem", "@dir@/broken.pem"),
        ("phantom_token_ssl_name", "'not a name'", "not a name"),
        ("phantom_token_client_auth", "client_secret_jwt", "client_secret_jwt"),
        ("phantom_token_client_auth", "Basic", "private_key_jwt"),
        ("phantom_token_client_key", "/nonexistent/key.pem", "/nonexistent/key.pem"),
        ("phantom_token_client_key", "@dir@/no.pem", "holds no unencrypted private key"),
        ("phantom_token_client_key", "@dir@/key.pem a b", "key id"),
        ("phantom_token_client_key", "@dir@/key.pem alg=HS256", "ES256, RS256, PS256 and EdDSA"),
        ("phantom_token_client_key", "@dir@/key.pem alg=ES256 alg=ES256", "alg="),
        ("phantom_token_client_key", "@dir@/key.pem alg=RS256", "holds no private key for RS256"),
        ("phantom_token_client_key", "@dir@/key.pem aud=", "aud="),
        ("phantom_token_client_key", "@dir@/key.pem aud=a aud=b", "aud=b"),
        ("phantom_token_client_key", "@dir@/key.pem a aud=b c", "key id"),
        ("phantom_token_client_bearer_file", "@dir@/empty", "empty"),
        ("phantom_token_client_bearer_file", "@dir@/no.pem", "bearer token"),
        ("phantom_token_client_bearer_file", "/nonexistent/token", "/nonexistent/token"),
        ("phantom_token_client_key", "@dir@", "is not a file"),
        ("phantom_token_ssl_certificate_key", "/nonexistent/k.pem", "/nonexistent/k.pem"),
        ("phantom_token_stale_if_error", "long", "invalid"),
        ("phantom_token_require_scopes", "''", "\"\""),
        ("phantom_token_source", "''", "\"\""),
        ("phantom_token_ssl_certificate", "/nonexistent/c.pem", "/nonexistent/c.pem"),
        ("phantom_token_ssl_certificate_key", "@dir@", "is not a file"),
        ("phantom_token_introspection_jwt", "maybe", "neither \"reject\" nor \"forward\""),
        ("phantom_token_require_scopes", "'a b'", "more than one scope"),
        ("phantom_token_require_scopes", "a\\\"b", "scope tokens"),
        ("phantom_token_require_scopes", "a a", "named twice"),
        ("phantom_token_require_audience", "''", "empty"),
        ("phantom_token_require_issuer", "a a", "named twice"),
        ("phantom_token_source", "query=access_token", "query=access_token"),
        ("phantom_token_source", "header=Authorization", "authorization"),
        ("phantom_token_source", "cookie=a cookie=a", "named twice"),
        ("phantom_token_resource_metadata", "/metadata", "URL"),
        ("phantom_token_resource_metadata", "'https://a/\"b'", "URL"),
        ("phantom_token_ssl_verify", "optional", "optional"),
        ("phantom_token_accept", "''", "\"\""),
        ("phantom_token_jwt_member", "''", "\"\""),
        ("phantom_token_connect_timeout", "0", "greater than 0"),
        ("phantom_token_connect_timeout", "soon", "invalid"),
        ("phantom_token_connect_timeout", "-1s", "invalid"),
        ("phantom_token_timeout", "0s", "greater than 0"),
        ("phantom_token_timeout", "5parsecs", "invalid"),
        ("phantom_token_keepalive", "many", "invalid"),
        ("phantom_token_keepalive", "-1", "invalid"),
        ("phantom_token_max_pending", "x", "invalid"),
        ("phantom_token_cache", "yes", "yes"),
        ("phantom_token_cache_max_ttl", "long", "invalid"),
        ("phantom_token_cache_inactive_ttl", "x", "invalid"),
        ("phantom_token_ignore_cache_control", "1", "1"),
        ("phantom_token_realm", "\"a\nb\"", "realm"),
        ("phantom_token_scopes", "'a\"b'", "a\"b"),
        ("phantom_token_scopes", "'a  b'", "a  b"),
        ("phantom_token_scopes", "' a'", " a"),
        ("phantom_token_scopes", "'a\\b'", "a\\b"),
        ("phantom_token_scopes", "''", "\"\""),
        ("phantom_token_scope", "'a b'", "a b"),
        ("phantom_token_scope", "good 'b\"ad'", "b\"ad"),
        ("phantom_token_scope", "\u{e4}", "\u{e4}"),
    ] {
        for context in ["http", "location"] {
            let line = format!("{directive} {value}; # here");
            let (http, server) = match context {
                "http" => (line.as_str(), String::new()),
                _ => ("", format!("location / {{\n{line}\n}}")),
            };
            let builder = Nginx::builder()
                .file("empty", "")
                .file("newline", "\n")
                .file("no.pem", "no certificate")
                .file("key.pem", include_str!("../../src/client_assertion/ed25519.pem"))
                .file("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
            let part = part.trim_start_matches("@dir@");
            let at = if value.contains('\n') { "b\"; # here" } else { "; # here" };
            refused(&format!("{directive} {value}"), builder.http(http).server(&server), at, &[directive, part]);
        }
    }
}

#[test]
fn impossible_pairs() {
    let url = "phantom_token_introspection_endpoint https://as.example;";
    let (id, secret) = ("phantom_token_client_id", "phantom_token_client_secret");
    let builder =
        |text: &str| Nginx::builder().file("secret", "from-file").server(&format!("location / {{\n{text}\n}}"));
    let file = "phantom_token_client_secret_file";
    refused("both", builder(&format!("{secret} a;\n{file} @dir@/secret; # here")), "# here", &[file]);
    refused("both, reversed", builder(&format!("{file} @dir@/secret;\n{secret} a; # here")), "# here", &[secret]);
    let on = format!("phantom_token on; {url}");
    refused("id alone", builder(&format!("{on}\n{id} gateway; # here")), "# here", &[id, "gateway", secret]);
    refused("secret alone", builder(&format!("{on}\n{secret} not-shown; # here")), "# here", &[secret, id]);
    refused("file alone", builder(&format!("{on}\n{file} @dir@/secret; # here")), "# here", &[file, id]);
    let auth = "phantom_token_client_auth";
    for (method, with, needs) in [
        ("client_secret_basic", "", secret),
        ("client_secret_basic_raw", "phantom_token_client_id a;", secret),
        ("client_secret_post", "phantom_token_client_secret a;", id),
        ("private_key_jwt", "phantom_token_client_id a;", "phantom_token_client_key"),
        ("tls_client_auth", "phantom_token_client_id a;", "phantom_token_ssl_certificate"),
        ("bearer", "phantom_token_client_id a;", "phantom_token_client_bearer_file"),
    ] {
        let text = format!("{on}\n{auth} {method}; # here\n{with}");
        refused(method, builder(&text), "# here", &[auth, method, needs]);
    }
    for (one, other) in [
        ("phantom_token_ssl_certificate", "phantom_token_ssl_certificate_key"),
        ("phantom_token_ssl_certificate_key", "phantom_token_ssl_certificate"),
    ] {
        refused(one, builder(&format!("{on}\n{one} @dir@/secret; # here")), "# here", &[one, "needs", other]);
    }
    // neither is a certificate or a key
    let both = "phantom_token_ssl_certificate @dir@/secret; phantom_token_ssl_certificate_key @dir@/secret;";
    let on = format!("phantom_token on;\n{url} # here\n{both}");
    refused("not PEM", builder(&on), "# here", &["phantom_token_ssl_certificate", "no certificate found"]);
}

/// The connection to a location's upstream is that location's business.
#[test]
fn a_location_endpoint_beside_what_concerns_the_client() {
    let endpoint = "phantom_token_introspection_endpoint curity; # here";
    for directive in [
        "phantom_token_client_id gateway",
        "phantom_token_client_secret not-shown",
        "phantom_token_client_secret_file @dir@/secret",
        "phantom_token_connect_timeout 1s",
        "phantom_token_keepalive 4",
        "phantom_token_ssl_verify on",
        "phantom_token_ssl_trusted_certificate /etc/ssl/certs/ca-certificates.crt",
        "phantom_token_ssl_name as.example",
        "phantom_token_client_auth none",
        "phantom_token_client_key @dir@/key.pem",
        "phantom_token_client_bearer_file @dir@/secret",
        "phantom_token_ssl_certificate @dir@/secret",
        "phantom_token_ssl_certificate_key @dir@/secret",
    ] {
        let name = directive.split(' ').next().unwrap();
        let parts = [&format!("\"{name}\" has no effect"), "phantom_token_introspection_endpoint", "\"curity\""];
        let key = include_str!("../../src/client_assertion/ed25519.pem");
        let builder = || Nginx::builder().file("secret", "from-file").file("key.pem", key);
        for block in [format!("{directive};\n{endpoint}"), format!("{endpoint}\n{directive};")] {
            let location = format!("location / {{\n{block}\n}}");
            for builder in [builder().server(&location), builder().server(&block), builder().http(&block)] {
                let test = refused(&block, builder, "# here", &parts);
                assert!(!test.stderr.contains("not-shown"), "{}", test.stderr);
            }
        }
        // inherited, it is for the URLs of other locations
        let inherited = format!("location / {{ phantom_token on; {endpoint}\n}}");
        builder().http(&format!("{directive};")).server(&inherited).test().assert_ok();
        let inherited = format!("location / {{ phantom_token on; {directive}; }}");
        builder().http(endpoint).server(&inherited).test().assert_ok();
    }
}

#[test]
fn on_without_an_endpoint() {
    let parts = ["phantom_token on", "phantom_token_introspection_endpoint"];
    let on = "phantom_token on; # here";
    let location = format!("location / {{\n{on}\n}}");
    for server in [
        location.clone(),
        on.to_owned(),
        format!("{on}\nlocation / {{ return 200; }}"),
        // the server's own location is one too
        format!("{on}\nlocation / {{ phantom_token off; }}"),
        format!("{on}\nlocation / {{ phantom_token_introspection_endpoint https://as.example; }}"),
        format!("location /a {{ phantom_token_introspection_endpoint https://as.example; }}\n{location}"),
        format!("location / {{\n{on}\nlocation /a {{ phantom_token_introspection_endpoint https://as.example; }}\n}}"),
        format!("location / {{ limit_except GET {{\n{on}\n}} }}"),
    ] {
        refused(&server, Nginx::builder().server(&server), "# here", &parts);
    }
    refused("http", Nginx::builder().http(on).server("location / { return 200; }"), "# here", &parts);
    nginx::config_test(&format!("location / {{ {GOOD} }}")).assert_ok();
}

#[test]
fn a_secret_is_never_shown() {
    for text in [
        "phantom_token on; phantom_token_introspection_endpoint https://as.example; phantom_token_client_secret pa55word-of-it;",
        "phantom_token_client_secret pa55word-of-it; phantom_token_client_secret pa55word-of-it;",
        "phantom_token_client_secret_file @dir@/s; phantom_token_client_secret pa55word-of-it;",
    ] {
        let test = Nginx::builder().file("s", "pa55word-of-it").server(&format!("location / {{ {text} }}")).test();
        test.assert_emerg(&["phantom_token"]);
        assert!(!test.stderr.contains("pa55word"), "{}", test.stderr);
    }
}

#[test]
fn values_that_slots_of_nginx_refuse_without_naming_the_directive() {
    for (directive, value) in [("phantom_token_max_pending", "0"), ("phantom_token_preflight", "allow")] {
        let line = format!("{directive} {value}; # here");
        refused(directive, Nginx::builder().http(&line), "# here", &[directive, value]);
    }
}

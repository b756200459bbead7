//! Where each directive may stand, and how often.

use std::collections::BTreeSet;

use super::refused::refused;
use crate::support::Nginx;
use crate::support::nginx::Builder;
use crate::support::tls::Pki;

/// Every directive but `phantom_token_cache_size`, and two values of it; one where it may stand several times.
#[rustfmt::skip]
const DIRECTIVES: [(&str, &str, &str); 36] = [
    ("phantom_token", "on", "off"),
    ("phantom_token_introspection_endpoint", "https://a.example", "b"),
    ("phantom_token_client_id", "a", "b"),
    ("phantom_token_client_secret", "a", "b"),
    ("phantom_token_client_secret_file", "@dir@/a", "@dir@/a"),
    ("phantom_token_client_auth", "none", "none"),
    ("phantom_token_client_key", "@dir@/key.pem", "@dir@/key.pem kid"),
    ("phantom_token_client_bearer_file", "@dir@/a", "@dir@/a"),
    ("phantom_token_accept", "a/b", "a/b"),
    ("phantom_token_jwt_member", "a", "b c"),
    ("phantom_token_introspection_jwt", "reject", "forward"),
    ("phantom_token_connect_timeout", "1s", "2s"),
    ("phantom_token_timeout", "1s", "2s"),
    ("phantom_token_keepalive", "1", "2"),
    ("phantom_token_max_pending", "1", "2"),
    ("phantom_token_ssl_verify", "on", "on"),
    ("phantom_token_ssl_trusted_certificate", "@dir@/ca.pem", "@dir@/ca.pem"),
    ("phantom_token_ssl_name", "a.example", "b.example"),
    ("phantom_token_ssl_certificate", "@dir@/a", "@dir@/a"),
    ("phantom_token_ssl_certificate_key", "@dir@/a", "@dir@/a"),
    ("phantom_token_cache", "on", "off"),
    ("phantom_token_cache_max_ttl", "1s", "0"),
    ("phantom_token_cache_inactive_ttl", "1s", "0"),
    ("phantom_token_stale_if_error", "1s", "2s"),
    ("phantom_token_ignore_cache_control", "on", "off"),
    ("phantom_token_cache_key", "$host", "$uri"),
    ("phantom_token_cache_bypass", "$arg_a", ""),
    ("phantom_token_realm", "a", "b"),
    ("phantom_token_scopes", "a", "b"),
    ("phantom_token_scope", "a", ""),
    ("phantom_token_preflight", "forward", "forward"),
    ("phantom_token_require_scopes", "a", "b"),
    ("phantom_token_require_audience", "a", "b"),
    ("phantom_token_require_issuer", "a", "b"),
    ("phantom_token_source", "authorization", "cookie=a"),
    ("phantom_token_resource_metadata", "https://a/", "https://b/"),
];

/// With the files that the values name.
fn nginx_with(server: &str) -> Builder {
    let certificate = Pki::of("localhost").ca;
    let key = include_str!("../../src/client_assertion/ed25519.pem");
    Nginx::builder().file("a", "secret").file("key.pem", key).file("ca.pem", certificate).server(server)
}

#[test]
fn none_is_left_out_here() {
    let source = include_str!("../../src/nginx/directives.rs");
    let names = source.split("c\"phantom_token").skip(1).filter_map(|rest| rest.split_once('"'));
    let names: BTreeSet<String> = names.map(|(rest, _)| format!("phantom_token{rest}")).collect();
    let mut known: BTreeSet<String> = DIRECTIVES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    known.insert("phantom_token_cache_size".to_owned());
    assert_eq!(names, known);
}

#[test]
fn directives_twice() {
    for (directive, value, other) in DIRECTIVES.into_iter().chain([("phantom_token_cache_size", "1m", "2m")]) {
        if other.is_empty() {
            nginx_with("").http(&format!("{directive} {value}; {directive} {value} b;")).test().assert_ok();
            continue;
        }
        let twice = format!("{directive} {value};\n{directive} {other}; # here");
        refused(directive, nginx_with("").http(&twice), "# here", &[directive, "is duplicate"]);
    }
}

#[test]
fn places() {
    for (name, value, _) in DIRECTIVES {
        let directive = format!("{name} {value}");
        // what is on needs an endpoint
        let harmless = if name == "phantom_token" { "phantom_token off" } else { &directive };
        for allowed in [
            nginx_with("").http(&format!("{harmless};")),
            nginx_with(&format!("{harmless};")),
            nginx_with(&format!("location / {{ location /a {{ {harmless}; }} }}")),
            nginx_with(&format!("location / {{ limit_except GET {{ {harmless}; }} }}")),
        ] {
            allowed.test().assert_ok();
        }
        let not_allowed = [name, "is not allowed here"];
        let place = format!("location / {{\nif ($request_method = GET) {{\n{directive}; # here\n}}\n}}");
        refused("if", nginx_with(&place), "# here", &not_allowed);
        let place = format!("if ($request_method = GET) {{\n{directive}; # here\n}}");
        refused("if in a server", nginx_with(&place), "# here", &not_allowed);
        refused("main", nginx_with("").main(&format!("{directive}; # here")), "# here", &not_allowed);
        refused("no value", nginx_with(&format!("{name}; # here")), "# here", &[name, "invalid number of arguments"]);
    }
    let size = "phantom_token_cache_size";
    for place in ["phantom_token_cache_size 1m; # here".to_owned(), format!("location / {{\n{size} 1m; # here\n}}")] {
        refused("cache_size", nginx_with(&place), "# here", &[size, "is not allowed here"]);
    }
    for (value, part) in [("0", "\"0\""), ("1", "\"1\""), ("1k", "\"1k\""), ("x", "invalid"), ("-1m", "invalid")] {
        let line = format!("{size} {value}; # here");
        refused(value, Nginx::builder().http(&line), "# here", &[size, part]);
    }
    refused(
        "unknown",
        nginx_with("phantom_token_bogus x; # here"),
        "# here",
        &["unknown directive", "phantom_token_bogus"],
    );
}

#[test]
fn too_many_values() {
    let some =
        ["jwt_member", "scope", "require_scopes", "require_audience", "require_issuer", "source", "cache_bypass"];
    for (name, value, _) in DIRECTIVES {
        if some.iter().any(|suffix| name.strip_prefix("phantom_token_") == Some(suffix)) {
            continue;
        }
        let line = format!("{name} {value} v w x y z; # here");
        refused("too many", nginx_with(&line), "# here", &[name, "invalid number of arguments"]);
    }
}

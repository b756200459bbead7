//! Accepted, but worth a word.

use crate::support::nginx::config_test;

const CREDENTIALS: &str = "phantom_token_client_id id; phantom_token_client_secret secret;";

fn text(url: &str, more: &str) -> String {
    format!("location / {{\nphantom_token on;\nphantom_token_introspection_endpoint {url}; # here\n{more}\n}}")
}

#[test]
fn plain_http_to_another_host() {
    for url in ["http://as.example/introspect", "http://192.0.2.1/", "http://[2001:db8::1]:8080/", "HTTP://as.example/"]
    {
        let test = config_test(&text(url, CREDENTIALS));
        test.assert_warn(&["phantom_token_introspection_endpoint", &url.to_ascii_lowercase(), &test.line_of("# here")]);
        assert_eq!(test.stderr.matches("[warn]").count(), 1, "{}", test.stderr);
    }
    for url in
        ["http://127.0.0.1/", "http://127.1.2.3:8080/x", "http://[::1]/", "http://localhost/", "https://as.example/"]
    {
        config_test(&text(url, CREDENTIALS)).assert_ok();
    }
}

#[test]
fn no_client_credentials() {
    let test = config_test(&text("https://as.example/", ""));
    test.assert_warn(&["phantom_token_introspection_endpoint", "https://as.example/", &test.line_of("# here")]);
    assert!(test.stderr.contains("phantom_token_client_id"), "{}", test.stderr);
    assert_eq!(test.stderr.matches("[warn]").count(), 1, "{}", test.stderr);
}

/// Without `https://` a host would be looked for among the locations.
#[test]
fn a_location_that_looks_like_a_host() {
    for uri in ["as.example/introspect", "as.example:8443", "localhost:8443/introspect", "unix:/run/as.sock"] {
        let test = config_test(&text(uri, ""));
        let parts = ["phantom_token_introspection_endpoint", uri.split('?').next().unwrap(), "https://"];
        test.assert_warn(&[&parts[..], &[&test.line_of("# here")]].concat());
        assert_eq!(test.stderr.matches("[warn]").count(), 1, "{}", test.stderr);
    }
    for uri in ["curity", "/curity", "/as.example:8443/introspect", "curity/introspect?a=b.c:d"] {
        config_test(&text(uri, "")).assert_ok();
    }
}

#[test]
fn off_is_nobodys_business() {
    config_test("location / { phantom_token off; phantom_token_introspection_endpoint http://as.example/; }")
        .assert_ok();
    config_test("phantom_token_client_id id; location / { return 200; }").assert_ok();
}

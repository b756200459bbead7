//! Accepted, but worth a word.

use crate::support::Nginx;
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
    config_test(&text("https://as.example/", "phantom_token_client_auth none;")).assert_ok();
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

/// A secret has no place in a file for everybody.
#[test]
fn an_inline_secret_in_a_file_that_all_may_read() {
    let with = |mode: u32, more: &str| {
        Nginx::builder().mode(mode).file("secret", "from-file").server(&text("https://as.example/", more)).test()
    };
    for mode in [0o644, 0o604] {
        let test = with(mode, "phantom_token_client_id id;\nphantom_token_client_secret pa55word; # secret");
        test.assert_warn(&[
            "phantom_token_client_secret",
            "phantom_token_client_secret_file",
            &test.line_of("# secret"),
        ]);
        assert_eq!(test.stderr.matches("[warn]").count(), 1, "{}", test.stderr);
        assert!(!test.stderr.contains("pa55word"), "{}", test.stderr);
        with(mode, "phantom_token_client_id id; phantom_token_client_secret_file @dir@/secret;").assert_ok();
    }
    for mode in [0o600, 0o640] {
        with(mode, CREDENTIALS).assert_ok();
    }
}

/// Only who begins a block with it is told: later ones may stand behind a condition.
#[test]
fn on_in_a_block_that_returns() {
    let protect = format!("phantom_token_introspection_endpoint https://as.example/; {CREDENTIALS}");
    let on = "phantom_token on; # on";
    for block in [
        format!("location / {{\n{on}\nreturn 200;\n}}"),
        format!("location / {{\nreturn 302 /elsewhere;\n{on}\n}}"),
        format!("location / {{ location /a {{\n{on}\nreturn 200 text;\n}} }}"),
        format!("{on}\nreturn 404;"),
    ] {
        let test = config_test(&format!("{protect}\n{block}"));
        test.assert_warn(&["\"phantom_token on\"", "\"return\"", &test.line_of("# on")]);
        assert_eq!(test.stderr.matches("[warn]").count(), 1, "{}", test.stderr);
    }
    for block in [
        format!("location / {{ {on}\n if ($request_method = PUT) {{ return 405; }} }}"),
        format!("location / {{ {on}\n rewrite ^/a$ /b; }}"),
        format!("location / {{ {on}\n set $a b; }}"),
        format!("location / {{ {on}\n }}"),
        format!("{on}\n location = /healthz {{ return 200; }}"),
        "location / { phantom_token off; return 200; }".to_owned(),
    ] {
        config_test(&format!("{protect}\n{block}")).assert_ok();
    }
}

/// Without the cache every request waits for a server on another machine.
#[test]
fn cache_off() {
    let off = "phantom_token_cache off; # off";
    let test = config_test(&text("https://as.example/introspect", &format!("{CREDENTIALS}\n{off}")));
    let parts = ["\"phantom_token_cache off\"", "https://as.example/introspect", "phantom_token_cache_bypass"];
    test.assert_warn(&[&parts[..], &[&test.line_of("# off")]].concat());
    assert_eq!(test.stderr.matches("[warn]").count(), 1, "{}", test.stderr);
    // once, however many locations it is for
    let locations = format!(
        "{CREDENTIALS} phantom_token_introspection_endpoint https://as.example/; phantom_token_cache off;
        location /a {{ phantom_token on; }} location /b {{ phantom_token on; }}"
    );
    let test = config_test(&locations);
    assert_eq!(test.stderr.matches("[warn]").count(), 1, "{}\n{}", test.stderr, test.config);
    for (endpoint, more) in [
        ("https://localhost:8443/", format!("{CREDENTIALS} phantom_token_cache off;")),
        ("http://127.0.0.1/", format!("{CREDENTIALS} phantom_token_cache off;")),
        ("/introspect", "phantom_token_cache off;".to_owned()),
        ("https://as.example/", format!("{CREDENTIALS} phantom_token_cache on;")),
        ("https://as.example/", format!("{CREDENTIALS} phantom_token_cache_bypass 1;")),
    ] {
        config_test(&text(endpoint, &more)).assert_ok();
    }
}

#[test]
fn off_is_nobodys_business() {
    config_test("location / { phantom_token off; phantom_token_introspection_endpoint http://as.example/; }")
        .assert_ok();
    config_test("phantom_token_client_id id; location / { return 200; }").assert_ok();
}

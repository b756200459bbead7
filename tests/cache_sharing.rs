//! Which locations share answers and flights, and what the cache may cost.

mod support;

use std::time::{Duration, Instant};

use support::http::{self, Client, Response};
use support::idp::ClientAuth;
use support::nginx::Builder;
use support::{Answer, Api, Gate, Idp, Nginx, Token, TokenSpec, wait};

/// One worker, so that every request meets the same cache. `X-Token` says what became of the token.
fn builder(idp: &Idp, api: &Api, http: &str) -> Builder {
    Nginx::builder()
        .idp(idp)
        .workers(1)
        .var("api", api.url())
        .http("phantom_token_introspection_endpoint @introspect@;")
        .http("add_header X-Token \"$phantom_token_status $phantom_token_cache_status\" always;")
        .http(http)
        .server("location = /status { stub_status; }")
        .server("location / { phantom_token on; proxy_pass @api@; }")
}

#[track_caller]
fn verdict(response: &Response) -> String {
    response.header("x-token").unwrap_or_else(|| panic!("no X-Token: {response:?}")).to_owned()
}

fn ask(client: &mut Client, path: &str, bearer: &str) -> String {
    verdict(&client.request("GET", path, &[("Authorization", bearer)], b""))
}

const CREDENTIALS: &str = "phantom_token_client_id @id@; phantom_token_client_secret @secret@;";

/// Not part of the profile.
const SAME: [(&str, &str); 8] = [
    ("/again", ""),
    ("/realm", "phantom_token_realm other;"),
    ("/scopes", "phantom_token_scopes \"a b\";"),
    ("/timeout", "phantom_token_timeout 4s;"),
    ("/keepalive", "phantom_token_keepalive 3;"),
    ("/connect_timeout", "phantom_token_connect_timeout 3s;"),
    ("/max_pending", "phantom_token_max_pending 7;"),
    ("/written_out", "phantom_token_cache_max_ttl 60s; phantom_token_accept application/jwt; phantom_token_cache on;"),
];

/// Part of it.
const DIFFERENT: [(&str, &str); 13] = [
    ("/accept", "phantom_token_accept \"application/jwt;q=1\";"),
    ("/jwt_member", "phantom_token_jwt_member jwt;"),
    ("/client_id", "phantom_token_client_id other; phantom_token_client_secret @secret@;"),
    ("/client_secret", "phantom_token_client_id @id@; phantom_token_client_secret other;"),
    ("/max_ttl", "phantom_token_cache_max_ttl 59s;"),
    ("/inactive_ttl", "phantom_token_cache_inactive_ttl 4s;"),
    ("/ignore_cache_control", "phantom_token_ignore_cache_control on;"),
    ("/ssl_verify", "phantom_token_ssl_verify off;"),
    ("/ssl_name", "phantom_token_ssl_name as.example;"),
    ("/endpoint", "phantom_token_introspection_endpoint @introspect@/CurityRaw;"),
    ("/introspection_jwt", "phantom_token_introspection_jwt forward;"),
    ("/client_auth", "phantom_token_client_auth bearer; phantom_token_client_bearer_file @dir@/bearer;"),
    ("/cache_key", "phantom_token_cache_key $uri;"),
];

fn sharing(idp: &Idp, api: &Api) -> Nginx {
    let mut builder = builder(idp, api, CREDENTIALS).file("bearer", "gateway-token").port("other").http(
        "server { listen 127.0.0.1:@other@; location = /status { stub_status; } \
         location / { phantom_token on; proxy_pass @api@; } }",
    );
    for (path, directives) in SAME.iter().chain(&DIFFERENT) {
        builder = builder.server(&format!("location = {path} {{ phantom_token on; {directives} proxy_pass @api@; }}"));
    }
    builder.start()
}

#[test]
fn locations_of_equal_profile_share_answers() {
    let (idp, api) = (Idp::builder().client_auth(ClientAuth::None).start(), Api::start());
    let nginx = sharing(&idp, &api);
    let mut client = Client::connect(nginx.addr());
    for token in [idp.issue().bearer(), "Bearer unknown".to_owned()] {
        idp.forget_introspections();
        assert!(ask(&mut client, "/", &token).ends_with("E MISS"));
        for (path, _) in SAME {
            assert!(ask(&mut client, path, &token).ends_with("E HIT"), "{path}");
        }
        assert!(ask(&mut Client::connect(nginx.addr_of("other")), "/", &token).ends_with("E HIT"), "another server");
        assert_eq!(idp.introspection_count(), 1);
        for (path, _) in DIFFERENT {
            assert!(ask(&mut client, path, &token).ends_with("E MISS"), "{path}");
            assert!(ask(&mut client, path, &token).ends_with("E HIT"), "{path}");
        }
        assert_eq!(idp.introspection_count(), 1 + DIFFERENT.len());
    }
    nginx.finish();
}

#[test]
fn locations_of_equal_profile_share_flights() {
    let (idp, api) = (Idp::builder().client_auth(ClientAuth::None).start(), Api::start());
    let nginx = sharing(&idp, &api);
    let (gate, token) = (Gate::closed(), idp.issue());
    idp.answer_all(Answer::normal().gated(&gate));
    let paths = SAME.iter().chain(&DIFFERENT).map(|(path, _)| (*path, nginx.addr()));
    let mut clients: Vec<_> = paths
        .chain([("/", nginx.addr()), ("/", nginx.addr_of("other"))])
        .map(|(path, addr)| {
            let mut client = Client::connect(addr);
            client.send(&http::request_bytes("GET", path, &[("Authorization", &token.bearer())], b""));
            client
        })
        .collect();
    let waiting = format!("Writing: {} ", clients.len() + 1);
    wait::until("all requests at NGINX", || http::get(nginx.addr(), "/status", &[]).text().contains(&waiting));
    idp.wait_for_introspections(1 + DIFFERENT.len());
    gate.open();
    let verdicts: Vec<_> = clients.iter_mut().map(|client| verdict(&client.read_response())).collect();
    let count = |status: &str| verdicts.iter().filter(|verdict| *verdict == status).count();
    assert_eq!(count("ACTIVE MISS"), 1 + DIFFERENT.len(), "{verdicts:?}");
    assert_eq!(count("ACTIVE COALESCED"), SAME.len() + 1, "{verdicts:?}");
    assert_eq!(idp.introspection_count(), 1 + DIFFERENT.len());
    nginx.finish();
}

#[test]
fn revocation_takes_effect_within_max_ttl() {
    let (idp, api) = (Idp::start(), Api::start());
    let ttls = "phantom_token_cache_max_ttl 1500ms; phantom_token_cache_inactive_ttl 1s;";
    let nginx = builder(&idp, &api, &format!("{CREDENTIALS} {ttls}")).start();
    let mut client = Client::connect(nginx.addr());
    let token = idp.issue();
    let stored = Instant::now();
    assert_eq!(ask(&mut client, "/", &token.bearer()), "ACTIVE MISS");
    idp.revoke(&token.opaque);
    assert_eq!(ask(&mut client, "/", &token.bearer()), "ACTIVE HIT", "the documented delay");
    let after = wait::for_value("a refusal", || match ask(&mut client, "/", &token.bearer()).as_str() {
        "ACTIVE HIT" => None,
        // the answer takes the place of the earlier one
        "INACTIVE MISS" => Some(stored.elapsed()),
        other => panic!("{other}"),
    });
    assert!(after >= Duration::from_millis(1450) && after < Duration::from_secs(6), "{after:?}");
    assert_eq!(ask(&mut client, "/", &token.bearer()), "INACTIVE HIT");
    // And the other way round.
    idp.answer_for(&token.opaque, Answer::jwt(&token.jwt));
    wait::until("the token to be active again", || ask(&mut client, "/", &token.bearer()) == "ACTIVE MISS");
    assert_eq!(ask(&mut client, "/", &token.bearer()), "ACTIVE HIT");
    nginx.finish();
}

#[test]
fn oldest_answers_make_room() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = builder(
        &idp,
        &api,
        &format!("{CREDENTIALS} phantom_token_cache_size 256k; access_log off; keepalive_requests 100000;"),
    )
    .start();
    let mut client = Client::connect(nginx.addr());
    let spec = TokenSpec::new().jwt_at_least(4000);
    // 4 kB each: fewer than 64 fit into 256 kB
    let tokens: Vec<Token> = (0..150).map(|_| idp.issue_token(spec.clone())).collect();
    for (i, token) in tokens.iter().enumerate() {
        assert_eq!(ask(&mut client, "/", &token.bearer()), "ACTIVE MISS", "{i}");
        if i % 10 == 0 && i > 0 {
            assert_eq!(ask(&mut client, "/", &tokens[0].bearer()), "ACTIVE HIT", "used often, so kept: {i}");
        }
    }
    for (i, token) in tokens.iter().enumerate().skip(120) {
        assert_eq!(ask(&mut client, "/", &token.bearer()), "ACTIVE HIT", "{i}");
    }
    for (i, token) in tokens.iter().enumerate().take(80).skip(1) {
        assert_eq!(ask(&mut client, "/", &token.bearer()), "ACTIVE MISS", "{i}");
    }
    // One that is larger than the whole cache is served all the same.
    let large = idp.issue_token(TokenSpec::new().jwt_at_least(60_000));
    assert_eq!(ask_large(&nginx, &large), "ACTIVE MISS");
    nginx.finish();
}

fn ask_large(nginx: &Nginx, token: &Token) -> String {
    verdict(&http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]))
}

#[test]
fn garbage_pushes_out_no_valid_token() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = builder(
        &idp,
        &api,
        &format!("{CREDENTIALS} phantom_token_cache_size 256k; access_log off; keepalive_requests 100000;"),
    )
    .server("error_log @dir@/error.log error;")
    .start();
    let mut client = Client::connect(nginx.addr());
    let tokens: Vec<Token> = (0..20).map(|_| idp.issue()).collect();
    for token in &tokens {
        assert_eq!(ask(&mut client, "/", &token.bearer()), "ACTIVE MISS");
    }
    // An entry takes more than 100 bytes: these would fill the cache.
    for i in 0..2600 {
        assert_eq!(ask(&mut client, "/", &format!("Bearer garbage-{i}")), "INACTIVE MISS");
    }
    for token in &tokens {
        assert_eq!(ask(&mut client, "/", &token.bearer()), "ACTIVE HIT");
    }
    nginx.finish();
}

#[test]
fn memory_is_bounded() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = builder(
        &idp,
        &api,
        &format!("{CREDENTIALS} phantom_token_cache_size 256k; access_log off; keepalive_requests 100000;"),
    )
    .start();
    let mut client = Client::connect(nginx.addr());
    let mut pass = |count: usize| {
        for _ in 0..count {
            let token = idp.issue_token(TokenSpec::new().jwt_at_least(16_000));
            assert_eq!(ask(&mut client, "/", &token.bearer()), "ACTIVE MISS");
        }
        nginx.resident_kib(nginx.workers()[0])
    };
    let before = pass(200);
    let after = pass(1500);
    // 24 MB went through
    assert!(after < before + 6 * 1024, "from {before} KiB to {after} KiB");
    nginx.finish();
}

//! The module at work, in one minute: starts an authorization server, an API and NGINX with the module on 127.0.0.1,
//! gets a token as a client does, calls the API with it and shows what every part of the way saw. Then it stays until
//! Ctrl-C, for calls of your own; `--once` ends after the show. Fails if anything is not as it should be.
//!
//! `scripts/demo.sh` builds what it needs and runs it.

#[path = "../tests/support/mod.rs"]
mod support;

use std::net::SocketAddr;

use nix::sys::signal::{SigSet, Signal};
use serde_json::Value;
use support::http::{self, Response};
use support::{Api, Echo, Idp, Nginx, ports};

const LOCATION: &str = "
    location /api/ {
        phantom_token on;
        phantom_token_introspection_endpoint @introspect@;
        phantom_token_client_id @id@;
        phantom_token_client_secret @secret@;
        phantom_token_scope api:read;

        add_header X-Token-Cache $phantom_token_cache_status;
        proxy_pass @api@;
    }";

fn main() {
    let once = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--once") => true,
        Some(other) => {
            eprintln!("unknown argument {other}; there is --once");
            std::process::exit(2);
        }
    };
    // Before any thread is started: the main thread waits for these.
    let mut interrupts = SigSet::empty();
    interrupts.add(Signal::SIGINT);
    interrupts.add(Signal::SIGTERM);
    interrupts.thread_block().expect("block Ctrl-C until it is waited for");

    let port = |number| ports::try_reserve(number).unwrap_or_else(ports::reserve);
    let idp = Idp::builder().port(port(8081)).start();
    let api = Api::start_on(port(8082));
    let nginx = Nginx::builder().on(port(8080)).idp(&idp).var("api", api.url()).server(LOCATION).start();
    idp.set_token_lifetime(8 * 3600);

    println!("authorization server  {}", idp.url());
    println!("API                   {}", api.url());
    println!("NGINX                 {}   {}", nginx.url(), nginx.dir().join("nginx.conf").display());
    let location = LOCATION.replace("@introspect@", &idp.introspection_url()).replace("@api@", &api.url());
    println!("{}\n", location.replace("@id@", idp.client_id()).replace("@secret@", "…").trim_end());
    let token = show(&idp, nginx.addr());

    if !once {
        println!("Everything keeps running; Ctrl-C stops it. Your own call:\n");
        println!("    curl -i -H 'Authorization: Bearer {token}' {}/api/orders\n", nginx.url());
        interrupts.wait().expect("wait for Ctrl-C");
        println!("\nstopping");
    }
    nginx.finish();
}

/// The five calls; the token they were made with.
fn show(idp: &Idp, nginx: SocketAddr) -> String {
    step(1, "The client gets an access token from the authorization server (client_credentials)");
    let granted = http::request(
        idp.addr(),
        "POST",
        "/oauth/token",
        &[("Authorization", &idp.client_authorization()), ("Content-Type", "application/x-www-form-urlencoded")],
        b"grant_type=client_credentials&scope=api:read",
    );
    expect(&granted, 200);
    let token = granted.json()["access_token"].as_str().expect("an access token").to_owned();
    println!("   it is opaque: {token}\n");

    step(2, "The client calls the API through NGINX with it");
    let bearer = format!("Bearer {token}");
    let mut client = http::Client::connect(nginx);
    let first = client.request("GET", "/api/orders", &[("Authorization", &bearer)], b"");
    expect(&first, 200);
    let echo = Echo::of(&first);
    let jwt = echo.bearer().expect("a bearer token at the API");
    let (header, claims) = echo.jwt().expect("a JWT at the API");
    assert!(idp.signer().verifies(jwt), "the API got a JWT that the authorization server did not sign");
    println!("   client sent   Authorization: {bearer}");
    println!(
        "   API received  Authorization: Bearer {}…{}  (a JWT of {} bytes)",
        &jwt[..20],
        &jwt[jwt.len() - 8..],
        jwt.len()
    );
    println!("   its header    {header}");
    println!("   its claims    {}\n", indented(&claims));

    step(3, "The client calls again, on the same connection: answered from the worker's cache");
    let second = client.request("GET", "/api/orders", &[("Authorization", &bearer)], b"");
    expect(&second, 200);
    assert_eq!(second.header("X-Token-Cache"), Some("HIT"));
    assert_eq!(idp.introspections_of(&token), 1);
    println!("   $phantom_token_cache_status: HIT   introspections so far: 1\n");

    step(4, "Without a token");
    refused(&http::get(nginx, "/api/orders", &[]), r#"Bearer realm="api", scope="api:read""#);

    step(5, "With a token nobody issued");
    let unknown = http::get(nginx, "/api/orders", &[("Authorization", "Bearer not-a-token-of-ours")]);
    refused(&unknown, r#"Bearer realm="api", scope="api:read", error="invalid_token""#);
    token
}

fn step(number: usize, what: &str) {
    println!("{number}. {what}");
}

#[track_caller]
fn expect(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{}", response.text());
}

#[track_caller]
fn refused(response: &Response, challenge: &str) {
    expect(response, 401);
    assert_eq!(response.header("WWW-Authenticate"), Some(challenge));
    assert_eq!(response.json()["code"], "unauthorized_request");
    println!("   401  WWW-Authenticate: {challenge}\n        {}\n", response.text());
}

fn indented(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON").replace('\n', "\n                 ")
}

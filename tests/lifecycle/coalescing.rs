//! Many requests with one cold token: one introspection per worker.

use super::support::gateway::{gateway, wait_for_in_progress};
use super::support::http::{self, Client, request_bytes};
use super::support::{Answer, Api, Echo, Gate, Idp, Token, wait};
use std::net::SocketAddr;

const CLIENTS: usize = 200;

fn send(addr: SocketAddr, token: &Token) -> Client {
    let mut client = Client::connect(addr);
    client.send(&request_bytes("GET", "/", &[("Authorization", &token.bearer())], b""));
    client
}

#[test]
fn two_hundred_requests_with_one_cold_token() {
    let (idp, api) = (Idp::start(), Api::start());
    // connections are spread over both workers
    let nginx = gateway(&idp, &api).port("spread").server("listen 127.0.0.1:@spread@ reuseport;").start();
    let gate = Gate::closed();
    let token = idp.issue();
    idp.answer_all(Answer::normal().gated(&gate));
    let clients: Vec<Client> = (0..CLIENTS).map(|_| send(nginx.addr_of("spread"), &token)).collect();
    wait_for_in_progress(&nginx, CLIENTS);
    idp.wait_for_introspections(2);
    gate.open();
    let mut missed = Vec::new();
    for mut client in clients {
        let response = client.read_response();
        assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
        match response.header("x-cache") {
            Some("MISS") => missed.push(response.header("x-pid").map(str::to_owned)),
            cache => assert_eq!(cache, Some("COALESCED")),
        }
    }
    assert_eq!(missed.len(), 2);
    assert_ne!(missed[0], missed[1], "one in each worker");
    assert_eq!(idp.introspection_count(), 2);
    nginx.finish();
}

#[test]
fn a_refusal_is_coalesced_too() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api).workers(1).start();
    let gate = Gate::closed();
    let token = idp.issue();
    idp.revoke(&token.opaque);
    idp.answer_all(Answer::normal().gated(&gate));
    let clients: Vec<Client> = (0..50).map(|_| send(nginx.addr(), &token)).collect();
    wait_for_in_progress(&nginx, 50);
    gate.open();
    for mut client in clients {
        let response = client.read_response();
        assert_eq!(response.status, 401);
        assert_eq!(response.all("www-authenticate").len(), 1, "{response:?}");
    }
    assert_eq!(idp.introspection_count(), 1);
    nginx.finish();
}

#[test]
fn the_leader_leaves() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api).workers(1).start();
    let gate = Gate::closed();
    let token = idp.issue();
    idp.answer_all(Answer::normal().gated(&gate));
    let leader = send(nginx.addr(), &token);
    idp.wait_for_introspections(1);
    let followers: Vec<Client> = (1..CLIENTS).map(|_| send(nginx.addr(), &token)).collect();
    wait_for_in_progress(&nginx, CLIENTS);
    leader.reset();
    wait_for_in_progress(&nginx, CLIENTS - 1);
    gate.open();
    for mut follower in followers {
        assert_eq!(Echo::of(&follower.read_response()).bearer(), Some(token.jwt.as_str()));
    }
    assert_eq!(idp.introspection_count(), 1);
    nginx.finish();
}

#[test]
fn callers_are_coalesced_even_if_nothing_is_stored() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api).workers(1).start();
    let gate = Gate::closed();
    let token = idp.issue();
    idp.answer_all(Answer::normal().header("Cache-Control", "no-store").gated(&gate));
    let clients: Vec<Client> = (0..50).map(|_| send(nginx.addr(), &token)).collect();
    wait_for_in_progress(&nginx, 50);
    gate.open();
    for mut client in clients {
        assert_eq!(Echo::of(&client.read_response()).bearer(), Some(token.jwt.as_str()));
    }
    assert_eq!(idp.introspection_count(), 1);
    let next = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
    assert_eq!(next.header("x-cache"), Some("MISS"));
    assert_eq!(idp.introspection_count(), 2);
    nginx.finish();
}

#[test]
fn all_workers_name_a_token_alike() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api).port("spread").server("listen 127.0.0.1:@spread@ reuseport;").start();
    let (one, other) = (idp.issue(), idp.issue());
    let of = |token: &Token| {
        let mut seen: Vec<(String, String)> = Vec::new();
        wait::until("answers of both workers", || {
            let response = http::get(nginx.addr_of("spread"), "/", &[("Authorization", &token.bearer())]);
            let field = |name| response.header(name).unwrap_or_default().to_owned();
            seen.push((field("x-pid"), field("x-fingerprint")));
            seen.iter().any(|(pid, _)| *pid != seen[0].0)
        });
        let fingerprint = seen[0].1.clone();
        assert!(seen.iter().all(|(_, also)| *also == fingerprint), "{seen:?}");
        fingerprint
    };
    let fingerprint = of(&one);
    assert!(!fingerprint.is_empty() && !one.opaque.contains(&fingerprint), "{fingerprint}");
    assert_ne!(fingerprint, of(&other));
    nginx.reload();
    assert_eq!(of(&one), of(&one));
    nginx.finish();
}

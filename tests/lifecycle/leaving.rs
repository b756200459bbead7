//! Clients that leave while their token is introspected.

use nix::sys::signal::Signal;

use super::support::gateway::{
    PROTECT, bare, for_both_endpoints, gateway, gateway_that, in_progress, wait_for_in_progress,
};
use super::support::http::{self, Client, request_bytes};
use super::support::{Answer, Api, Echo, Gate, Idp, Nginx, Token, wait};

for_both_endpoints![one_that_has_left_before_it_is_parked];

const LEAVERS: usize = 60;

fn send(nginx: &Nginx, path: &str, token: &Token) -> Client {
    let mut client = Client::connect(nginx.addr());
    client.send(&request_bytes("GET", path, &[("Authorization", &token.bearer()), ("Connection", "close")], b""));
    client
}

/// Sixty clients of as many cold tokens leave, half of them with RST; gives their tokens.
fn round(nginx: &Nginx, idp: &Idp) -> Vec<Token> {
    let gate = Gate::closed();
    idp.answer_all(Answer::normal().gated(&gate));
    idp.forget_introspections();
    let logged = nginx.access_log().lines().count();
    let tokens: Vec<Token> = (0..LEAVERS).map(|_| idp.issue()).collect();
    let leavers: Vec<Client> = tokens.iter().map(|token| send(nginx, "/leaver", token)).collect();
    idp.wait_for_introspections(LEAVERS);
    // ten stay, behind leaders that leave
    let stayers: Vec<(Client, &Token)> =
        tokens[LEAVERS - 10..].iter().map(|token| (send(nginx, "/stayer", token), token)).collect();
    wait_for_in_progress(nginx, LEAVERS + 10);
    for (i, leaver) in leavers.into_iter().enumerate() {
        if i % 2 == 0 { leaver.reset() } else { drop(leaver) }
    }
    wait_for_in_progress(nginx, 10);
    let lines = nginx.wait_for_access_log(logged + LEAVERS);
    let left = lines[logged..].iter().filter(|line| line.contains("\"GET /leaver HTTP/1.1\" 499 "));
    assert_eq!(left.count(), LEAVERS, "{lines:#?}");
    gate.open();
    for (mut stayer, token) in stayers {
        let response = stayer.read_response();
        assert_eq!(response.header("x-cache"), Some("COALESCED"));
        assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
    }
    idp.wait_for_answers(LEAVERS);
    assert_eq!(idp.introspection_count(), LEAVERS, "clients that leave cause no further introspections");
    tokens
}

#[test]
fn clients_that_leave_are_logged_and_harm_nobody() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api).workers(1).start();
    let worker = nginx.workers();
    let tokens = round(&nginx, &idp);
    // the answers nobody waited for are in the cache: a hung endpoint is not asked again
    idp.answer_all(Answer::hang());
    for token in &tokens {
        let response = wait::for_value("the cache has the answer nobody waited for", || {
            let response = http::get(nginx.addr(), "/later", &[("Authorization", &token.bearer())]);
            (response.header("x-cache") == Some("HIT")).then_some(response)
        });
        assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
    }
    assert_eq!(idp.introspection_count(), LEAVERS);
    assert!(api.requests().iter().all(|request| request.uri != "/leaver"), "nothing is forwarded for who has left");
    assert_eq!(nginx.workers(), worker);
    nginx.finish();
}

#[test]
fn clients_that_leave_leave_nothing_behind() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api).workers(1).start();
    let worker = nginx.workers()[0];
    round(&nginx, &idp);
    round(&nginx, &idp);
    let settled = || {
        wait::until("nothing in progress", || in_progress(&nginx) == 0);
        wait::for_value("pooled connections within their bound", || (idp.connections_open() <= 32).then_some(()));
        (nginx.open_files(worker) - idp.connections_open(), nginx.threads(worker), nginx.resident_kib(worker))
    };
    let (files, threads, resident) = settled();
    for _ in 0..5 {
        round(&nginx, &idp);
    }
    // the exits of connections are seen at both ends a little apart
    wait::until("as many descriptors as before", || settled().0 <= files);
    let (_, threads_after, resident_after) = settled();
    assert_eq!(threads_after, threads);
    assert!(resident_after <= resident + 4096, "resident memory grew from {resident} to {resident_after} KiB");
    nginx.finish();
}

#[test]
fn a_leader_and_all_its_followers_leave() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api).workers(1).start();
    let gate = Gate::closed();
    let token = idp.issue();
    idp.answer_next(Answer::normal().gated(&gate));
    let clients: Vec<Client> = (0..20).map(|_| send(&nginx, "/", &token)).collect();
    wait_for_in_progress(&nginx, 20);
    clients.into_iter().for_each(Client::reset);
    wait_for_in_progress(&nginx, 0);
    // whoever comes now joins the introspection that is still in flight
    let mut late = send(&nginx, "/", &token);
    wait_for_in_progress(&nginx, 1);
    gate.open();
    assert_eq!(Echo::of(&late.read_response()).bearer(), Some(token.jwt.as_str()));
    assert_eq!(idp.introspection_count(), 1);
    nginx.finish();
}

#[test]
fn a_half_closed_connection_is_a_client_that_left() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api).workers(1).start();
    idp.answer_all(Answer::hang());
    let client = send(&nginx, "/half", &idp.issue());
    wait_for_in_progress(&nginx, 1);
    client.shutdown_write();
    let lines = nginx.wait_for_access_log(1);
    assert!(lines[0].contains("\"GET /half HTTP/1.1\" 499 "), "{lines:?}");
    nginx.finish();
}

/// What says so is there together with the request, and no event follows it.
fn one_that_has_left_before_it_is_parked(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway_that(protect, &idp, &api).workers(1).server("phantom_token_timeout 60s;").start();
    idp.answer_all(Answer::hang());
    let worker = nginx.workers()[0];
    nginx.signal_to(worker, Signal::SIGSTOP);
    let client = send(&nginx, "/gone", &idp.issue());
    client.shutdown_write();
    nginx.signal_to(worker, Signal::SIGCONT);
    let lines = nginx.wait_for_access_log(1);
    assert!(lines[0].contains("\"GET /gone HTTP/1.1\" 499 "), "{lines:?}");
    wait_for_in_progress(&nginx, 0);
    nginx.finish();
}

#[test]
fn the_log_says_how_long_a_client_that_left_had_waited() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = bare(&idp, &api)
        .http("log_format waited '$status $phantom_token_time'; access_log @dir@/waited.log waited;")
        .server(&format!("location / {{ {PROTECT} proxy_pass @api@; }}"))
        .start();
    let token = idp.issue();
    idp.answer_for(&token.opaque, Answer::hang());
    let mut client = Client::connect(nginx.addr());
    client.send(&http::request_bytes("GET", "/", &[("Authorization", &token.bearer())], b""));
    idp.wait_for_introspections(1);
    drop(client);
    let line = wait::for_value("the line of the one that left", || {
        nginx.log("waited.log").lines().find(|line| line.starts_with("499 ")).map(str::to_owned)
    });
    assert!(line[4..].parse::<f64>().is_ok(), "{line}");
    nginx.finish();
}

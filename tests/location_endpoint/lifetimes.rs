//! The subrequest lives with one request and works for many: who may leave when.

use std::time::{Duration, Instant};

use super::support::gateway::{bare, in_progress, wait_for_in_progress};
use super::support::http2::Connection;
use super::support::nginx::Builder;
use super::support::{Answer, Api, Echo, Gate, Idp, http, wait};

fn gateway(idp: &Idp, api: &Api) -> Builder {
    bare(idp, api)
        .workers(1)
        .var("basic", idp.client_authorization())
        .server("add_header X-Cache $phantom_token_cache_status always;")
        .server(
            "location / { phantom_token on; phantom_token_introspection_endpoint /ask; proxy_pass @api@; }
             location /impatient { phantom_token on; phantom_token_introspection_endpoint /ask; phantom_token_timeout 500ms; proxy_pass @api@; }",
        )
        .server("location = /ask { internal; log_subrequest on; proxy_set_header Authorization \"@basic@\"; proxy_pass @introspect@; }")
}

fn request(path: &str, bearer: &str) -> Vec<u8> {
    http::request_bytes("GET", path, &[("Authorization", bearer)], b"")
}

#[test]
fn many_wait_for_one_subrequest() {
    let (idp, api, gate) = (Idp::start(), Api::start(), Gate::closed());
    let token = idp.issue();
    idp.answer_all(Answer::normal().gated(&gate));
    let nginx = gateway(&idp, &api).listen_h2().start();
    let mut clients: Vec<_> = (0..50).map(|_| http::Client::connect(nginx.addr())).collect();
    for client in &mut clients {
        client.send(&request("/", &token.bearer()));
    }
    wait_for_in_progress(&nginx, 50);
    gate.open();
    let mut words: Vec<_> = clients
        .iter_mut()
        .map(|client| {
            let response = client.read_response();
            assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
            response.header("X-Cache").map(str::to_owned)
        })
        .collect();
    words.sort();
    assert_eq!(words.iter().filter(|word| word.as_deref() == Some("MISS")).count(), 1);
    assert_eq!(words.iter().filter(|word| word.as_deref() == Some("COALESCED")).count(), 49);
    assert_eq!(idp.introspection_count(), 1);
    nginx.finish();
}

/// The owner's client leaves: the next asks again, and all the others are answered.
#[test]
fn the_owner_leaves() {
    let (idp, api, gate) = (Idp::start(), Api::start(), Gate::closed());
    let token = idp.issue();
    idp.answer_all(Answer::normal().gated(&gate));
    let nginx = gateway(&idp, &api).start();
    let mut clients: Vec<_> = Vec::new();
    for n in 1..=4 {
        let mut client = http::Client::connect(nginx.addr());
        client.send(&request("/", &token.bearer()));
        wait_for_in_progress(&nginx, n);
        clients.push(client);
    }
    idp.wait_for_introspections(1);
    for left in 1..=2 {
        clients.remove(0).reset();
        idp.wait_for_introspections(1 + left);
    }
    gate.open();
    for client in &mut clients {
        assert_eq!(Echo::of(&client.read_response()).bearer(), Some(token.jwt.as_str()));
    }
    assert_eq!(idp.introspection_count(), 3);
    nginx.finish();
}

/// Then nobody is asked any longer.
#[test]
fn all_leave() {
    let (idp, api) = (Idp::start(), Api::start());
    let token = idp.issue();
    idp.answer_all(Answer::hang());
    let nginx = gateway(&idp, &api).start();
    let mut clients: Vec<_> = (0..3).map(|_| http::Client::connect(nginx.addr())).collect();
    for client in &mut clients {
        client.send(&request("/", &token.bearer()));
    }
    wait_for_in_progress(&nginx, 3);
    idp.wait_for_introspections(1);
    clients.into_iter().for_each(http::Client::reset);
    wait_for_in_progress(&nginx, 0);
    // NGINX has let go of what nobody waits for
    idp.wait_for_open_connections(0);
    idp.answer_normally();
    let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
    assert_eq!((response.status, response.header("X-Cache")), (200, Some("MISS")));
    nginx.finish();
}

/// At its deadline the owner is answered, its connection serves the next request, and the upstream's is closed.
#[test]
fn the_deadline() {
    let (idp, api) = (Idp::start(), Api::start());
    let token = idp.issue();
    idp.answer_next(Answer::hang());
    let nginx =
        gateway(&idp, &api).allow_log("timed out while waiting for the introspection endpoint's answer").start();
    let mut client = http::Client::connect(nginx.addr());
    let begun = Instant::now();
    client.send(&request("/impatient", &token.bearer()));
    assert_eq!(client.read_response().status, 504);
    assert!(begun.elapsed() >= Duration::from_millis(490));
    idp.wait_for_open_connections(0);
    client.send(&request("/impatient", &token.bearer()));
    assert_eq!(Echo::of(&client.read_response()).bearer(), Some(token.jwt.as_str()));
    assert_eq!(in_progress(&nginx), 0);
    nginx.finish();
}

/// The owner's deadline comes first; who waits longer still gets the answer to the owner's question.
#[test]
fn the_owner_times_out_and_another_waits_on() {
    let (idp, api, gate) = (Idp::start(), Api::start(), Gate::closed());
    let token = idp.issue();
    idp.answer_all(Answer::normal().gated(&gate));
    let nginx =
        gateway(&idp, &api).allow_log("timed out while waiting for the introspection endpoint's answer").start();
    let mut owner = http::Client::connect(nginx.addr());
    owner.send(&request("/impatient", &token.bearer()));
    wait_for_in_progress(&nginx, 1);
    let mut other = http::Client::connect(nginx.addr());
    other.send(&request("/", &token.bearer()));
    assert_eq!(owner.read_response().status, 504);
    gate.open();
    let response = other.read_response();
    assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
    assert_eq!((response.header("X-Cache"), idp.introspection_count()), (Some("COALESCED"), 1));
    nginx.finish();
}

/// A graceful quit waits for the answer, as it does for any request.
#[test]
fn a_quit_while_waiting() {
    let (idp, api, gate) = (Idp::start(), Api::start(), Gate::closed());
    let token = idp.issue();
    idp.answer_all(Answer::normal().gated(&gate));
    let mut nginx = gateway(&idp, &api).start();
    let mut client = http::Client::connect(nginx.addr());
    client.send(&request("/", &token.bearer()));
    idp.wait_for_introspections(1);
    nginx.begin_quit();
    gate.open();
    assert_eq!(Echo::of(&client.read_response()).bearer(), Some(token.jwt.as_str()));
    nginx.wait_for_exit();
    nginx.finish();
}

/// Terminated while a subrequest is under way.
#[test]
fn a_termination_while_waiting() {
    let (idp, api) = (Idp::start(), Api::start());
    let token = idp.issue();
    idp.answer_all(Answer::hang());
    let mut nginx = gateway(&idp, &api).start();
    let mut clients: Vec<_> = (0..3).map(|_| http::Client::connect(nginx.addr())).collect();
    for client in &mut clients {
        client.send(&request("/", &token.bearer()));
    }
    idp.wait_for_introspections(1);
    assert!(nginx.terminate() < wait::DEADLINE);
    nginx.finish();
}

/// `worker_shutdown_timeout` closes the connections of clients, and with them their subrequests.
#[test]
fn a_quit_that_waits_no_longer() {
    let (idp, api) = (Idp::start(), Api::start());
    idp.answer_all(Answer::hang());
    let mut nginx = gateway(&idp, &api)
        .main("worker_shutdown_timeout 1s;")
        .server("phantom_token_timeout 60s;")
        .listen_h2()
        .start();
    let mut clients: Vec<_> = (0..3).map(|_| http::Client::connect(nginx.addr())).collect();
    for client in &mut clients {
        client.send(&request("/", &idp.issue().bearer()));
    }
    let connection = Connection::open(nginx.addr_of("h2"));
    let stream = connection.start("GET", "/", &[("authorization", &idp.issue().bearer())], b"");
    idp.wait_for_introspections(4);
    let elapsed = nginx.quit();
    assert!(elapsed > Duration::from_millis(900), "not before its time: {elapsed:?}");
    assert!(elapsed < Duration::from_secs(6), "{elapsed:?}");
    for client in &mut clients {
        assert!(client.closes_within(wait::DEADLINE), "without a response");
    }
    assert!(stream.try_response().is_err());
    nginx.finish();
}

/// Over HTTP/2 the owner is one stream of a connection that goes on.
#[test]
fn streams() {
    let (idp, api, gate) = (Idp::start(), Api::start(), Gate::closed());
    let token = idp.issue();
    idp.answer_all(Answer::normal().gated(&gate));
    let nginx = gateway(&idp, &api).listen_h2().start();
    let connection = Connection::open(nginx.addr_of("h2"));
    let headers = [("authorization", token.bearer())];
    let headers = [(headers[0].0, headers[0].1.as_str())];
    let owner = connection.start("GET", "/", &headers, b"");
    idp.wait_for_introspections(1);
    let others: Vec<_> = (0..10).map(|_| connection.start("GET", "/", &headers, b"")).collect();
    wait_for_in_progress(&nginx, 11);
    owner.cancel();
    idp.wait_for_introspections(2);
    gate.open();
    for other in others {
        assert_eq!(Echo::of(&other.response()).bearer(), Some(token.jwt.as_str()));
    }
    assert_eq!((connection.get("/", &headers).status, idp.introspection_count()), (200, 2));
    nginx.finish();
}

/// `limit_req` delays a subrequest on the client's connection, which is with the request that waits.
#[test]
fn a_limit_of_the_location() {
    let (idp, api) = (Idp::start(), Api::start());
    let ask = |name: &str, rate: &str| {
        format!(
            "location = /{name} {{ internal; limit_req zone={rate} burst=10; \
             proxy_set_header Authorization \"@basic@\"; proxy_pass @introspect@; }}"
        )
    };
    let nginx = gateway(&idp, &api)
        .http(
            "limit_req_zone $server_name zone=fast:1m rate=20r/s; limit_req_zone $server_name zone=slow:1m rate=1r/m;",
        )
        .server(&ask("fast", "fast"))
        .server(&ask("slow", "slow"))
        .server("location /a { phantom_token on; phantom_token_introspection_endpoint /fast; proxy_pass @api@; }")
        .server(
            "location /b { phantom_token on; phantom_token_introspection_endpoint /slow; phantom_token_timeout 300ms; \
             proxy_pass @api@; }",
        )
        .listen_h2()
        .allow_log("delaying request")
        .allow_log("timed out while waiting for the introspection endpoint's answer")
        .start();
    let mut client = http::Client::connect(nginx.addr());
    for _ in 0..5 {
        let token = idp.issue();
        let response = client.request("GET", "/a", &[("Authorization", &token.bearer())], b"");
        assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
    }
    // The first may pass; the others are given up at their deadline, and the connection is as good as before.
    let statuses: Vec<_> =
        (0..3).map(|_| client.request("GET", "/b", &[("Authorization", &idp.issue().bearer())], b"").status).collect();
    assert_eq!(statuses, [200, 504, 504]);
    let connection = Connection::open(nginx.addr_of("h2"));
    assert_eq!(connection.get("/b", &[("authorization", &idp.issue().bearer())]).status, 504);
    let token = idp.issue();
    assert_eq!(connection.get("/a", &[("authorization", &token.bearer())]).status, 200);
    // A client that leaves while its subrequest is delayed.
    let mut leaver = http::Client::connect(nginx.addr());
    leaver.send(&request("/b", &idp.issue().bearer()));
    wait_for_in_progress(&nginx, 1);
    leaver.reset();
    wait_for_in_progress(&nginx, 0);
    nginx.finish();
}

/// Nor does a limit there stand for one of the request's own, which comes afterwards.
#[test]
fn limits_of_the_request_after_those_of_the_location() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = bare(&idp, &api)
        .workers(1)
        .var("basic", idp.client_authorization())
        .http(
            "limit_req_zone $server_name zone=asked:1m rate=100r/s; limit_req_zone $server_name zone=own:1m rate=1r/m;",
        )
        .http("limit_conn_zone $server_name zone=connections:1m;")
        .server("phantom_token_introspection_endpoint /ask; limit_req_status 429;")
        .server("add_header X-Limits \"$limit_req_status|$limit_conn_status\" always;")
        .server(
            "location = /ask { internal; limit_req zone=asked burst=100 nodelay; limit_conn connections 100; \
             proxy_set_header Authorization \"@basic@\"; proxy_pass @introspect@; }",
        )
        .server("location / { phantom_token on; proxy_pass @api@; }")
        .server("location /limited { phantom_token on; try_files /.none @limited; }")
        .server(
            "location @limited { phantom_token on; limit_req zone=own; limit_conn connections 9; proxy_pass @api@; }",
        )
        .allow_log("limiting requests, excess")
        .start();
    let get = |path| http::get(nginx.addr(), path, &[("Authorization", &idp.issue().bearer())]);
    for (path, status, limit) in
        [("/", 200, ""), ("/limited", 200, "PASSED"), ("/limited", 429, "REJECTED"), ("/", 200, "")]
    {
        let response = get(path);
        let seen = response.header("X-Limits").expect("both");
        assert_eq!((response.status, seen.split('|').next()), (status, Some(limit)), "{path}: {seen}");
        assert!(!limit.is_empty() || seen == "|", "{path}: {seen}");
    }
    assert_eq!(idp.introspection_count(), 4);
    nginx.finish();
}

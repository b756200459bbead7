//! Statuses of the endpoint other than 200 and 204.

use serde_json::json;

use crate::bench::{Bench, INVALID, OVERLOADED, REFUSED, UNREACHABLE};
use crate::support::{Answer, Gate, RawServer, http};

#[test]
fn statuses_that_mean_nothing_here() {
    let bench = Bench::start();
    let good = bench.idp.issue();
    for status in [201, 202, 203, 205, 206, 226, 300, 304, 399] {
        let answer = Answer::status(status).header("Content-Type", "application/jwt");
        let answer = if [205, 304].contains(&status) { answer } else { answer.body(good.jwt.as_str()) };
        let token = bench.token_answered(answer);
        bench.assert_token_refused(&status.to_string(), &token, INVALID, 2);
        bench.assert_logged(&status.to_string(), 2, "[error]", &status.to_string());
    }
    bench.assert_healthy();
    bench.finish();
}

#[test]
fn redirects_are_not_followed() {
    let bench = Bench::start();
    let elsewhere = RawServer::answering("HTTP/1.1 204 No Content\r\n\r\n");
    for status in [301, 302, 303, 307, 308] {
        for location in [format!("{}/x", elsewhere.url()), "/oauth/introspect/elsewhere".to_owned()] {
            let token = bench.token_answered(Answer::status(status).header("Location", &location));
            bench.assert_token_refused(&format!("{status}"), &token, INVALID, 2);
            bench.assert_logged(&format!("{status}"), 2, "[error]", &status.to_string());
        }
    }
    assert_eq!(elsewhere.connections(), 0);
    assert!(bench.idp.introspections().iter().all(|asked| asked.path == "/oauth/introspect"));
    bench.assert_healthy();
    bench.finish();
}

#[test]
fn a_refused_gateway_is_not_the_clients_fault() {
    let bench = Bench::start();
    let error = |status, error: &str| {
        Answer::status(status).header("Content-Type", "application/json").body(json!({"error": error}).to_string())
    };
    let credentials = "client credentials";
    for (what, answer, text) in [
        ("401", Answer::status(401).header("WWW-Authenticate", "Bearer error=\"invalid_token\""), credentials),
        (
            "401 invalid_client",
            error(401, "invalid_client").header("WWW-Authenticate", "Basic realm=\"x\""),
            credentials,
        ),
        ("400 invalid_client", error(400, "invalid_client"), credentials),
        ("400", Answer::status(400), "400"),
        ("400 invalid_request", error(400, "invalid_request"), "invalid_request"),
        ("402", Answer::status(402), "402"),
        ("403", Answer::status(403), "403"),
        ("403 JSON", Answer::status(403).header("Content-Type", "application/json").body("{\"active\":false}"), "403"),
        ("404", Answer::status(404), "phantom_token_introspection_endpoint"),
        ("405", Answer::status(405), "405"),
        ("406", Answer::status(406), "406"),
        ("408", Answer::status(408), "408"),
        ("410", Answer::status(410), "410"),
        ("413", Answer::status(413), "413"),
        ("415", Answer::status(415), "415"),
        ("418", Answer::status(418), "418"),
        ("431", Answer::status(431), "431"),
        ("451", Answer::status(451), "451"),
        ("499", Answer::status(499), "499"),
    ] {
        let token = bench.token_answered(answer);
        bench.assert_token_refused(what, &token, REFUSED, 2);
        bench.assert_logged(what, 2, "[error]", text);
    }
    // credentials are named only where they are at fault
    let named = bench.nginx.log_count(credentials);
    assert_eq!(named, 6, "{}", bench.nginx.error_log());
    bench.assert_healthy();
    bench.finish();
}

#[test]
fn a_broken_endpoint() {
    let bench = Bench::start();
    for status in [500, 501, 502, 504, 505, 507, 511, 520, 599] {
        let token = bench.token_answered(Answer::status(status).header("Retry-After", "9"));
        bench.assert_token_refused(&status.to_string(), &token, UNREACHABLE, 2);
        bench.assert_logged(&status.to_string(), 2, "[error]", &status.to_string());
    }
    bench.assert_healthy();
    bench.finish();
}

#[test]
fn an_overloaded_endpoint_and_when_to_come_back() {
    let bench = Bench::start();
    for status in [429, 503] {
        for (retry_after, expected) in [
            (None, "1"),
            (Some("1"), "1"),
            (Some("7"), "7"),
            (Some("007"), "7"),
            (Some("3600"), "3600"),
            (Some("3601"), "1"),
            (Some("0"), "1"),
            (Some("-5"), "1"),
            (Some("1.5"), "1"),
            (Some("5s"), "1"),
            (Some("99999999999999999999"), "1"),
            (Some(""), "1"),
            (Some("soon"), "1"),
            (Some("Fri, 31 Dec 2038 23:59:59 GMT"), "1"),
        ] {
            let answer =
                retry_after.into_iter().fold(Answer::status(status), |a, value| a.header("Retry-After", value));
            let token = bench.token_answered(answer);
            let what = format!("{status} {retry_after:?}");
            let response = bench.assert_token_refused(&what, &token, OVERLOADED, 2);
            assert_eq!(response.all("retry-after"), [expected], "{what}");
        }
    }
    bench.assert_healthy();
    bench.finish();
}

#[test]
fn as_many_tokens_as_may_wait() {
    let bench = Bench::with("phantom_token_max_pending 2;");
    let gate = Gate::closed();
    let waiting = [bench.idp.issue(), bench.idp.issue()];
    let mut clients = Vec::new();
    for (i, token) in waiting.iter().enumerate() {
        bench.idp.answer_for(&token.opaque, Answer::normal().gated(&gate));
        let mut client = http::Client::connect(bench.addr());
        client.send(&http::request_bytes("GET", "/", &[("Authorization", &token.bearer())], b""));
        bench.idp.wait_for_introspections(i + 1);
        clients.push(client);
    }
    let third = bench.idp.issue();
    let response = bench.assert_token_refused("one too many", &third.opaque, OVERLOADED, 0);
    assert_eq!(response.all("retry-after"), ["1"]);
    assert!(bench.nginx.wait_for_log("phantom_token_max_pending").contains("phantom token: "));
    // one more of those already waiting is none too many
    let mut joins = http::Client::connect(bench.addr());
    joins.send(&http::request_bytes("GET", "/", &[("Authorization", &waiting[0].bearer())], b""));
    gate.open();
    for client in clients.iter_mut().chain([&mut joins]) {
        assert_eq!(client.read_response().status, 200);
    }
    bench.assert_forwarded("afterwards", &third.opaque, &third.jwt);
    assert_eq!(bench.idp.introspection_count(), 3);
    bench.finish();
}

//! The four variables: in every situation, in logs and headers, before the access phase and after internal redirects.

mod support;

use std::collections::HashSet;
use std::time::Duration;

use support::http::{self, Client};
use support::nginx::Builder;
use support::{Answer, Api, Gate, Idp, Nginx, TokenSpec, ports, wait};

const VALUES: &str = "$phantom_token_status|$phantom_token_cache_status|$phantom_token_time|$phantom_token_fingerprint";

/// `X-Token` and the access log tell all four variables.
fn builder(idp: &Idp, api: &Api) -> Builder {
    Nginx::builder()
        .idp(idp)
        .var("api", api.url())
        .var("down", format!("http://{}/", ports::reserve().addr()))
        .http(&format!("log_format token '$uri {VALUES}'; access_log @dir@/token.log token;"))
        .http(&format!("add_header X-Token \"{VALUES}\" always;"))
        .http("phantom_token_introspection_endpoint @introspect@;")
        .http("phantom_token_client_id @id@; phantom_token_client_secret @secret@;")
}

/// What the variables were in the response; the access log must say the same.
#[derive(Debug)]
struct Seen {
    code: u16,
    status: String,
    cache: String,
    time: String,
    fingerprint: String,
}

fn seen(code: u16, values: &str) -> Seen {
    let values: Vec<_> = values.split('|').map(|value| if value == "-" { "" } else { value }.to_owned()).collect();
    let [status, cache, time, fingerprint] = values.try_into().unwrap_or_else(|values| panic!("{values:?}"));
    Seen { code, status, cache, time, fingerprint }
}

#[track_caller]
fn get(nginx: &Nginx, path: &str, headers: &[(&str, &str)]) -> Seen {
    let response = http::get(nginx.addr(), path, headers);
    let values = response.header("x-token").unwrap_or_else(|| panic!("no X-Token: {response:?}"));
    let shown = seen(response.status, values);
    // an empty variable is "-" in a log
    let logged =
        values.split('|').map(|value| if value.is_empty() { "-" } else { value }).collect::<Vec<_>>().join("|");
    wait::until("its line in the access log", || nginx.log("token.log").lines().any(|line| line.ends_with(&logged)));
    shown
}

fn ask(nginx: &Nginx, path: &str, token: &str) -> Seen {
    get(nginx, path, &[("Authorization", &format!("Bearer {token}"))])
}

/// Seconds with milliseconds, as `$upstream_response_time`.
#[track_caller]
fn seconds(time: &str) -> f64 {
    let (whole, thousandths) = time.split_once('.').unwrap_or_else(|| panic!("no seconds.milliseconds: {time:?}"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    assert!(digits(whole) && digits(thousandths) && thousandths.len() == 3, "{time:?}");
    time.parse().expect("a number")
}

#[test]
fn every_status() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = builder(&idp, &api)
        .workers(1)
        .server("phantom_token on;")
        .server("location / { proxy_pass @api@; }")
        .server("location /down { phantom_token_introspection_endpoint @down@; proxy_pass @api@; }")
        .server("location /timeout { phantom_token_timeout 300ms; proxy_pass @api@; }")
        .server("location /off { phantom_token off; proxy_pass @api@; }")
        .start();
    for (token, answer) in [
        ("refused", Answer::status(401)),
        ("forbidden", Answer::status(403)),
        ("html", Answer::ok("text/html", "<p>")),
        ("no-active", Answer::ok("application/json", "{}")),
        ("redirect", Answer::status(302)),
        ("broken", Answer::status(500)),
        ("unavailable", Answer::status(503)),
        ("too-many", Answer::status(429)),
        ("reset", Answer::reset()),
        ("hang", Answer::hang()),
    ] {
        idp.answer_for(token, answer);
    }
    let token = idp.issue().opaque;
    // Path, token, response, $phantom_token_status, $phantom_token_cache_status.
    for (path, token, code, status, cache) in [
        ("/", token.as_str(), 200, "ACTIVE", "MISS"),
        ("/", &token, 200, "ACTIVE", "HIT"),
        ("/", "unknown", 401, "INACTIVE", "MISS"),
        ("/", "unknown", 401, "INACTIVE", "HIT"),
        ("/", "refused", 502, "REFUSED", "MISS"),
        ("/", "forbidden", 502, "REFUSED", "MISS"),
        ("/", "html", 502, "INVALID_RESPONSE", "MISS"),
        ("/", "no-active", 502, "INVALID_RESPONSE", "MISS"),
        ("/", "redirect", 502, "INVALID_RESPONSE", "MISS"),
        ("/", "broken", 502, "UNREACHABLE", "MISS"),
        ("/", "reset", 502, "UNREACHABLE", "MISS"),
        ("/down", "any", 502, "UNREACHABLE", "MISS"),
        ("/", "unavailable", 503, "OVERLOADED", "MISS"),
        ("/", "too-many", 503, "OVERLOADED", "MISS"),
        ("/timeout", "hang", 504, "TIMEOUT", "MISS"),
    ] {
        let seen = ask(&nginx, path, token);
        assert_eq!((seen.code, &*seen.status, &*seen.cache), (code, status, cache), "{path} {token}: {seen:?}");
        let waited = seconds(&seen.time);
        assert!(if cache == "HIT" { waited == 0.0 } else { waited < 10.0 }, "{path} {token}: {seen:?}");
        if status == "TIMEOUT" {
            assert!(waited >= 0.29, "{seen:?}");
        }
        assert!(!seen.fingerprint.is_empty() && !seen.fingerprint.contains(token), "{seen:?}");
    }
    // No token: nothing to look up, to wait for or to hash.
    let preflight = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "PUT")];
    let response = http::request(nginx.addr(), "OPTIONS", "/", &preflight, b"");
    assert_eq!((response.status, response.header("x-token")), (204, Some("PREFLIGHT|||")));
    for (credential, status) in [("Basic eDp5", "ABSENT"), ("Bearer", "ABSENT"), ("Bearer a b", "MALFORMED")] {
        let seen = get(&nginx, "/", &[("Authorization", credential)]);
        assert_eq!((seen.code, &*seen.status, &*seen.cache, &*seen.fingerprint), (401, status, "", ""), "{credential}");
        assert!(seen.time.is_empty() || seconds(&seen.time) == 0.0, "{seen:?}");
    }
    assert_eq!(get(&nginx, "/", &[]).status, "ABSENT");
    let off = ask(&nginx, "/off", &token);
    assert_eq!((&*off.status, &*off.cache, &*off.time, &*off.fingerprint), ("", "", "", ""));
    nginx.finish();
}

#[test]
fn overload_of_our_own() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = builder(&idp, &api)
        .workers(1)
        .server("location / { phantom_token on; phantom_token_max_pending 1; proxy_pass @api@; }")
        .start();
    let gate = Gate::closed();
    idp.answer_all(Answer::normal().gated(&gate));
    let mut client = Client::connect(nginx.addr());
    client.send(&http::request_bytes("GET", "/", &[("Authorization", &idp.issue().bearer())], b""));
    idp.wait_for_introspections(1);
    let seen = ask(&nginx, "/", "another");
    assert_eq!((seen.code, &*seen.status), (503, "OVERLOADED"));
    gate.open();
    assert_eq!(client.read_response().status, 200);
    nginx.finish();
}

#[test]
fn time_is_that_of_the_wait() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = builder(&idp, &api)
        .workers(1)
        .server("location = /status { stub_status; }")
        .server("location / { phantom_token on; proxy_pass @api@; }")
        .start();
    let gate = Gate::closed();
    let token = idp.issue();
    idp.answer_all(Answer::normal().gated(&gate));
    let request = http::request_bytes("GET", "/", &[("Authorization", &token.bearer())], b"");
    let mut first = Client::connect(nginx.addr());
    first.send(&request);
    idp.wait_for_introspections(1);
    let held = std::time::Instant::now();
    std::thread::sleep(Duration::from_millis(1100));
    let mut second = Client::connect(nginx.addr());
    second.send(&request);
    wait::until("both at NGINX", || http::get(nginx.addr(), "/status", &[]).text().contains("Writing: 3 "));
    std::thread::sleep(Duration::from_millis(400));
    let least = held.elapsed().as_secs_f64();
    gate.open();
    let [first, second] =
        [first.read_response(), second.read_response()].map(|r| seen(200, r.header("x-token").expect("X-Token")));
    let most = held.elapsed().as_secs_f64() + 1.0;
    assert_eq!((&*first.cache, &*second.cache), ("MISS", "COALESCED"));
    let (waited, joined) = (seconds(&first.time), seconds(&second.time));
    assert!(waited > least - 0.05 && waited < most, "{waited} of {least} to {most}");
    // counted from when it joined
    assert!(joined > 0.3 && joined < waited - 1.0, "{joined} of {waited}");
    nginx.finish();
}

#[test]
fn fingerprint_is_of_the_token_and_the_master() {
    let (idp, api) = (Idp::start(), Api::start());
    let start = || {
        builder(&idp, &api)
            .http("log_format worker '$pid $phantom_token_fingerprint'; access_log @dir@/worker.log worker;")
            .server("phantom_token on; location / { proxy_pass @api@; }")
            .server("location /other { phantom_token_jwt_member x; phantom_token_cache off; proxy_pass @api@; }")
            .start()
    };
    let nginx = start();
    let (token, other) = (idp.issue().opaque, idp.issue().opaque);
    let fingerprint = ask(&nginx, "/", &token).fingerprint;
    let header_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    assert!(fingerprint.bytes().all(header_safe) && (8..=32).contains(&fingerprint.len()), "{fingerprint}");
    assert_eq!(ask(&nginx, "/other", &token).fingerprint, fingerprint);
    let unknown: HashSet<_> = (0..20).map(|i| ask(&nginx, "/", &format!("unknown-{i}")).fingerprint).collect();
    assert_eq!(unknown.len(), 20);
    let others = ask(&nginx, "/", &other).fingerprint;
    assert!(others != fingerprint && !unknown.contains(&others) && !unknown.contains(&fingerprint));
    // The same in both workers: ask until both have answered.
    wait::until("requests in both workers", || {
        ask(&nginx, "/", &token);
        let log = nginx.log("worker.log");
        let of_token = log.lines().filter_map(|line| line.split_once(' ')).filter(|(_, print)| *print == fingerprint);
        of_token.map(|(pid, _)| pid).collect::<HashSet<_>>().len() == 2
    });
    nginx.reload();
    assert_eq!(ask(&nginx, "/", &token).fingerprint, fingerprint, "after a reload");
    // Nobody can compute it without the master's key.
    let second = start();
    assert_ne!(ask(&second, "/", &token).fingerprint, fingerprint);
    second.finish();
    nginx.finish();
}

#[test]
fn empty_before_the_access_phase_and_right_afterwards() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = builder(&idp, &api)
        .workers(1)
        .http("limit_req_zone $phantom_token_status$phantom_token_fingerprint zone=token:64k rate=1r/m;")
        .http("map $phantom_token_status $mapped { volatile; default other; '' empty; ACTIVE active; }")
        .server(&format!(
            "location / {{ phantom_token on; set $early \"{VALUES}\"; if ($phantom_token_status) {{ return 418; }}"
        ))
        .server("  set $early_map $mapped; limit_req zone=token; add_header X-Early \"$early $early_map $mapped\";")
        .server(&format!("  add_header X-Token \"{VALUES}\" always; proxy_pass @api@; }}"))
        .start();
    let token = idp.issue();
    // more than the rate allows: an empty key is not limited
    for cache in ["MISS", "HIT", "HIT"] {
        let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
        assert_eq!((response.status, response.header("x-early")), (200, Some("||| empty active")), "{response:?}");
        let seen = seen(200, response.header("x-token").expect("X-Token"));
        assert_eq!((&*seen.status, &*seen.cache), ("ACTIVE", cache));
        wait::until("the access log", || nginx.log("token.log").contains(&format!("/ ACTIVE|{cache}|{}|", seen.time)));
    }
    nginx.finish();
}

#[test]
fn survive_internal_redirects() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = builder(&idp, &api)
        .workers(1)
        .server("location /try { phantom_token on; try_files /.none @named; }")
        .server("location @named { proxy_pass @api@; }")
        .server("location /again { phantom_token on; try_files /.none @protected; }")
        .server("location @protected { phantom_token on; proxy_pass @api@; }")
        .server("location /page { phantom_token on; error_page 401 502 = /refused; proxy_pass @api@; }")
        .server("location = /refused { internal; return 403 refused; }")
        .server("location /rewritten { phantom_token on; index x.html; try_files /.none /try/; }")
        .start();
    idp.answer_for("broken", Answer::status(500));
    let token = idp.issue_token(TokenSpec::new()).opaque;
    for (path, token, code, status, cache) in [
        ("/try", &*token, 200, "ACTIVE", "MISS"),
        ("/try", &token, 200, "ACTIVE", "HIT"),
        ("/again", &token, 200, "ACTIVE", "HIT"),
        ("/rewritten", &token, 200, "ACTIVE", "HIT"),
        ("/page", "unknown", 403, "INACTIVE", "MISS"),
        ("/page", "unknown", 403, "INACTIVE", "HIT"),
        ("/page", "broken", 403, "UNREACHABLE", "MISS"),
        ("/page", "a b", 403, "MALFORMED", ""),
    ] {
        let seen = ask(&nginx, path, token);
        assert_eq!((seen.code, &*seen.status, &*seen.cache), (code, status, cache), "{path} {token}: {seen:?}");
        assert_eq!(seen.fingerprint.is_empty(), status == "MALFORMED", "{seen:?}");
    }
    // The first wait is the request's, whatever the second pass does.
    let gate = Gate::closed();
    idp.answer_all(Answer::normal().gated(&gate));
    let mut client = Client::connect(nginx.addr());
    client.send(&http::request_bytes("GET", "/again", &[("Authorization", &idp.issue().bearer())], b""));
    idp.wait_for_introspections(4);
    std::thread::sleep(Duration::from_millis(300));
    gate.open();
    let seen = seen(200, client.read_response().header("x-token").expect("X-Token"));
    assert_eq!((&*seen.status, &*seen.cache), ("ACTIVE", "MISS"));
    assert!(seconds(&seen.time) > 0.25, "{seen:?}");
    nginx.finish();
}

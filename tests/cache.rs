//! How long answers are kept, who shares them, and what the cache may cost.

mod support;

use std::thread::scope;
use std::time::{Duration, Instant};

use support::http::{self, Client, Response};
use support::idp::now;
use support::nginx::Builder;
use support::{Answer, Api, Gate, Idp, Nginx, Shape, TokenSpec, wait};

/// One worker, so that every request meets the same cache. `X-Token` says what became of the token.
fn builder(idp: &Idp, api: &Api, http: &str) -> Builder {
    Nginx::builder()
        .idp(idp)
        .workers(1)
        .var("api", api.url())
        .http("phantom_token_introspection_endpoint @introspect@;")
        .http("phantom_token_client_id @id@; phantom_token_client_secret @secret@;")
        .http("add_header X-Token \"$phantom_token_status $phantom_token_cache_status\" always;")
        .http(http)
        .server("location = /status { stub_status; }")
}

/// A protected location with these directives in it.
fn location(path: &str, directives: &str) -> String {
    format!("location {path} {{ phantom_token on; {directives} proxy_pass @api@; }}")
}

fn ask(nginx: &Nginx, path: &str, bearer: &str) -> String {
    verdict(&http::get(nginx.addr(), path, &[("Authorization", bearer)]))
}

#[track_caller]
fn verdict(response: &Response) -> String {
    let verdict = response.header("x-token").unwrap_or_else(|| panic!("no X-Token: {response:?}"));
    assert_eq!(response.status, if verdict.starts_with("ACTIVE") { 200 } else { 401 }, "{response:?}");
    verdict.to_owned()
}

/// Waits until NGINX is busy with `n` requests besides the one that asks.
fn wait_for_requests(nginx: &Nginx, n: usize) {
    let writing = format!("Writing: {} ", n + 1);
    wait::until(&format!("{n} requests at NGINX"), || {
        http::get(nginx.addr(), "/status", &[]).text().contains(&writing)
    });
}

#[derive(Clone, Copy)]
enum Kept {
    Not,
    /// At least and less than so many milliseconds after the first request.
    Between(u64, u64),
    /// Beyond all the others.
    Long,
}
use Kept::{Between, Long, Not};

/// Asks once, asks again at once, and then until the answer is no longer in the cache.
fn check_lifetime(nginx: &Nginx, case: &str, path: &str, bearer: &str, state: &str, kept: Kept) {
    let begun = Instant::now();
    assert_eq!(ask(nginx, path, bearer), format!("{state} MISS"), "{case}");
    let second = ask(nginx, path, bearer);
    let (least, most) = match kept {
        Not => return assert_eq!(second, format!("{state} MISS"), "{case}"),
        Long => (4000, 4000),
        Between(least, most) => (least, most),
    };
    assert_eq!(second, format!("{state} HIT"), "{case}");
    let gone = wait::try_for(Duration::from_millis(most).saturating_sub(begun.elapsed()), || {
        std::thread::sleep(Duration::from_millis(20));
        // On a busy machine the token itself may have expired meanwhile.
        (ask(nginx, path, bearer) != format!("{state} HIT")).then(|| begun.elapsed())
    });
    match (gone, kept) {
        (None, Long) => {}
        // NGINX's clock is that of its last wake-up
        (Some(after), Between(..)) => assert!(after.as_millis() + 50 >= least.into(), "{case}: gone after {after:?}"),
        (gone, _) => panic!("{case}: gone after {gone:?}"),
    }
}

type Fields = Vec<(&'static str, &'static str)>;

#[test]
fn lifetime_of_active_answers() {
    const EPOCH: (&str, &str) = ("Date", "Mon, 01 Jan 2024 00:00:00 GMT");
    let cc = |value| vec![("Cache-Control", value)];
    // Location, caching fields of the answer, seconds to `exp`, how long it is kept.
    let table: Vec<(&str, Fields, Option<i64>, Kept)> = vec![
        ("/", cc("no-store"), Some(300), Not),
        ("/", cc("no-cache"), Some(300), Not),
        ("/", cc("private"), Some(300), Not),
        ("/", cc("max-age=0"), Some(300), Not),
        ("/", cc("No-Store, max-age=60"), Some(300), Not),
        ("/", cc("max-age=60, private"), Some(300), Not),
        ("/", cc("s-maxage=60, max-age=0"), Some(300), Not),
        ("/", vec![("Vary", "*")], Some(300), Not),
        ("/", vec![("Vary", "Accept, *"), ("Cache-Control", "max-age=60")], Some(300), Not),
        ("/", vec![("Vary", "Accept")], Some(300), Long),
        ("/", cc("max-age=2"), Some(300), Between(2000, 20_000)),
        ("/", cc("public, max-age=60"), Some(300), Long),
        ("/", cc("s-maxage=2, max-age=60"), Some(300), Between(2000, 20_000)),
        ("/", cc("max-age=1, s-maxage=60"), Some(300), Long),
        ("/", vec![("Cache-Control", "max-age=60"), ("Age", "58")], Some(300), Between(2000, 20_000)),
        ("/", vec![("Cache-Control", "max-age=60"), ("Age", "60")], Some(300), Not),
        ("/", vec![EPOCH, ("Expires", "Mon, 01 Jan 2024 00:00:02 GMT")], Some(300), Between(2000, 20_000)),
        ("/", vec![EPOCH, ("Expires", "Mon, 01 Jan 2024 00:01:00 GMT")], Some(300), Long),
        ("/", vec![EPOCH, ("Expires", "Mon, 01 Jan 2024 00:00:00 GMT")], Some(300), Not),
        (
            "/",
            vec![EPOCH, ("Expires", "Mon, 01 Jan 2024 00:00:01 GMT"), ("Cache-Control", "max-age=60")],
            Some(300),
            Long,
        ),
        ("/", vec![], Some(300), Long),
        ("/", vec![], None, Long),
        // exp − now − 1 s, in whole seconds
        ("/", cc("max-age=60"), Some(8), Between(6000, 20_000)),
        ("/", vec![], Some(8), Between(6000, 20_000)),
        ("/", cc("max-age=60"), None, Long),
        ("/short", vec![], Some(300), Between(700, 20_000)),
        ("/short", vec![], None, Between(700, 20_000)),
        ("/short", cc("max-age=60"), Some(300), Between(700, 20_000)),
        ("/ignore", cc("no-store"), Some(300), Between(3000, 20_000)),
        ("/ignore", vec![("Vary", "*")], Some(300), Between(3000, 20_000)),
        ("/ignore", cc("max-age=1"), Some(300), Between(3000, 20_000)),
        ("/ignore", cc("no-store"), Some(4), Between(2000, 20_000)),
    ];
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = builder(&idp, &api, "")
        .server(&location("/", ""))
        .server(&location("/short", "phantom_token_cache_max_ttl 700ms;"))
        .server(&location("/ignore", "phantom_token_cache_max_ttl 3s; phantom_token_ignore_cache_control on;"))
        .start();
    scope(|scope| {
        for (path, headers, expires_in, kept) in table {
            let case = format!("{path} {headers:?}, exp {expires_in:?}");
            let mut answer = Answer::normal().without_header("Cache-Control");
            for (name, value) in headers {
                answer = answer.header(name, value);
            }
            let spec = TokenSpec::new();
            let (idp, nginx) = (&idp, &nginx);
            scope.spawn(move || {
                let spec = expires_in.map_or(spec.clone().without_exp(), |seconds| spec.expires_in(seconds));
                // it stays active, so that only the cache can tell
                let token = idp.issue_token(spec.active_after_exp());
                idp.answer_for(&token.opaque, answer);
                check_lifetime(nginx, &case, path, &token.bearer(), "ACTIVE", kept);
            });
        }
    });
    nginx.finish();
}

#[test]
fn exp_is_in_the_jwt_or_in_the_json() {
    let idp = Idp::builder().shape(Shape::CurityProcedure).start();
    let api = Api::start();
    let nginx = builder(&idp, &api, "").server(&location("/", "")).start();
    // Of two the earlier counts.
    let far = idp.issue_token(TokenSpec::new().member("exp", now() + 8).active_after_exp());
    let near = idp.issue_token(TokenSpec::new().expires_in(8).member("exp", now() + 300).active_after_exp());
    scope(|scope| {
        for token in [&far, &near] {
            let nginx = &nginx;
            scope.spawn(move || {
                check_lifetime(nginx, "two exp", "/", &token.bearer(), "ACTIVE", Between(6000, 20_000));
            });
        }
    });
    nginx.finish();
}

#[test]
fn lifetime_of_inactive_answers() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = builder(&idp, &api, "")
        .server(&location("/", ""))
        .server(&location("/second", "phantom_token_cache_inactive_ttl 1s;"))
        .server(&location("/never", "phantom_token_cache_inactive_ttl 0;"))
        .start();
    let json = || Answer::ok("application/json", r#"{"active":false}"#);
    let no_content = || Answer::status(204);
    let table = [
        ("/", no_content(), Between(5000, 20_000)),
        ("/second", no_content(), Between(1000, 4000)),
        ("/second", no_content().header("Cache-Control", "no-store"), Between(1000, 4000)),
        ("/second", json().header("Cache-Control", "no-cache").header("Vary", "*"), Between(1000, 4000)),
        ("/second", json().header("Cache-Control", "max-age=60"), Between(1000, 4000)),
        ("/never", json().header("Cache-Control", "max-age=60"), Not),
        ("/never", no_content(), Not),
    ];
    scope(|scope| {
        for (i, (path, answer, kept)) in table.into_iter().enumerate() {
            let (idp, nginx) = (&idp, &nginx);
            scope.spawn(move || {
                let token = format!("inactive-{i}");
                let case = format!("{path} {answer:?}");
                idp.answer_for(&token, answer);
                check_lifetime(nginx, &case, path, &format!("Bearer {token}"), "INACTIVE", kept);
            });
        }
    });
    nginx.finish();
}

#[test]
fn says_once_that_the_server_forbids_to_keep_its_answers() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = builder(&idp, &api, "")
        .server(&location("/one", ""))
        .server(&location("/two", "phantom_token_jwt_member other;"))
        .server(&location("/ignore", "phantom_token_ignore_cache_control on;"))
        .start();
    let notices = || nginx.log_count("phantom_token_ignore_cache_control");
    let ask_all = || {
        for path in ["/ignore", "/one", "/two", "/one", "/two"] {
            assert_eq!(ask(&nginx, path, &idp.issue().bearer()), "ACTIVE MISS", "{path}");
        }
    };
    assert_eq!(ask(&nginx, "/one", &idp.issue().bearer()), "ACTIVE MISS");
    assert_eq!(notices(), 0, "{}", nginx.error_log());
    idp.answer_all(Answer::normal().header("Cache-Control", "no-store"));
    ask_all();
    let line = nginx.wait_for_log("phantom_token_ignore_cache_control");
    assert!(line.contains("[notice]"), "{line}");
    assert_eq!(notices(), 2, "one worker, two profiles: {}", nginx.error_log());
    nginx.reload();
    ask_all();
    assert_eq!(notices(), 4, "another worker: {}", nginx.error_log());
    nginx.finish();
}

#[test]
fn cache_off_neither_reads_nor_stores_but_coalesces() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = builder(&idp, &api, "")
        .server(&location("/", ""))
        .server(&location("/off", "phantom_token_cache off;"))
        .start();
    let token = idp.issue();
    assert_eq!(ask(&nginx, "/off", &token.bearer()), "ACTIVE MISS");
    assert_eq!(ask(&nginx, "/off", &token.bearer()), "ACTIVE MISS", "stored");
    assert_eq!(ask(&nginx, "/", &token.bearer()), "ACTIVE MISS", "stored");
    assert_eq!(ask(&nginx, "/", &token.bearer()), "ACTIVE HIT");
    assert_eq!(ask(&nginx, "/off", &token.bearer()), "ACTIVE MISS", "read");
    for _ in 0..2 {
        assert_eq!(ask(&nginx, "/off", "Bearer unknown"), "INACTIVE MISS");
    }
    assert_eq!(idp.introspection_count(), 6);
    coalesces(&nginx, &idp, "/off", Answer::normal());
    nginx.finish();
}

#[test]
fn answers_that_are_not_stored_are_shared_by_who_waits() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = builder(&idp, &api, "phantom_token_cache_inactive_ttl 0;").server(&location("/", "")).start();
    coalesces(&nginx, &idp, "/", Answer::normal().header("Cache-Control", "no-store"));
    coalesces(&nginx, &idp, "/", Answer::status(204));
    nginx.finish();
}

/// 30 requests while one answer is held back: one introspection, and another one afterwards.
fn coalesces(nginx: &Nginx, idp: &Idp, path: &str, answer: Answer) {
    let (gate, token) = (Gate::closed(), idp.issue());
    idp.answer_for(&token.opaque, answer.gated(&gate));
    let request = http::request_bytes("GET", path, &[("Authorization", &token.bearer())], b"");
    let mut clients: Vec<_> = (0..30).map(|_| Client::connect(nginx.addr())).collect();
    clients.iter_mut().for_each(|client| client.send(&request));
    wait_for_requests(nginx, 30);
    wait::until("the introspection", || idp.introspections_of(&token.opaque) > 0);
    assert_eq!(idp.introspections_of(&token.opaque), 1);
    gate.open();
    let verdicts: Vec<_> = clients.iter_mut().map(|client| verdict(&client.read_response())).collect();
    let count = |status: &str| verdicts.iter().filter(|verdict| verdict.ends_with(status)).count();
    assert_eq!((count(" MISS"), count(" COALESCED")), (1, 29), "{verdicts:?}");
    assert!(ask(nginx, path, &token.bearer()).ends_with(" MISS"));
    assert_eq!(idp.introspections_of(&token.opaque), 2);
}

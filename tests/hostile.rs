//! Clients that want to do harm: floods of unknown tokens, requests that never end, bytes that belong nowhere.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::gateway::{PROTECT, in_progress, wait_for_in_progress};
use support::http::{Client, request_bytes};
use support::http2::{Connection, Pending};
use support::idp::random;
use support::neighbour::{Neighbour, Served};
use support::nginx::keeps_freed_memory;
use support::{Answer, Api, Echo, Idp, Nginx, Token, http, wait};

/// What a neighbour may wait at most, on a busy machine: far less than any deadline here.
const PROMPT: Duration = Duration::from_millis(700);

fn gateway(idp: &Idp, api: &Api, directives: &str) -> Nginx {
    support::gateway::bare(idp, api)
        .workers(1)
        .listen_h2()
        .log_level("error")
        .http("keepalive_requests 1000000; phantom_token_cache_size 256k;")
        .server("access_log off; client_header_timeout 1s; add_header X-Cache $phantom_token_cache_status always;")
        .server(&format!("location / {{ {PROTECT} {directives} proxy_pass @api@; }}"))
        .allow_log("phantom_token_max_pending")
        .allow_log("introspection of token")
        .start()
}

/// Tokens that are in the cache.
fn cached(idp: &Idp, nginx: &Nginx, count: usize) -> Vec<Token> {
    let tokens: Vec<_> = (0..count).map(|_| idp.issue()).collect();
    for token in &tokens {
        assert_eq!(http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]).status, 200);
    }
    tokens
}

/// Each is still answered from the cache.
#[track_caller]
fn assert_still_cached(nginx: &Nginx, tokens: &[Token]) {
    let mut client = Client::connect(nginx.addr());
    for token in tokens {
        let response = client.request("GET", "/", &[("Authorization", &token.bearer())], b"");
        assert_eq!(response.header("x-cache"), Some("HIT"), "pushed out");
        assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
    }
}

/// So many distinct tokens that nobody has issued, over four connections; counts the statuses that `expected` names.
fn flood<const N: usize>(nginx: &Nginx, tokens: usize, expected: [u16; N]) -> [usize; N] {
    let counts = [const { AtomicUsize::new(0) }; N];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::connect(nginx.addr());
                for _ in 0..tokens / 4 {
                    let response =
                        client.request("GET", "/", &[("Authorization", &format!("Bearer {}", random(24)))], b"");
                    let kind = expected.iter().position(|status| *status == response.status);
                    counts[kind.unwrap_or_else(|| panic!("{response:?}"))].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    counts.map(AtomicUsize::into_inner)
}

/// Unknown tokens push no active one out, and what the cache and everything else keeps of them is bounded.
#[test]
fn a_flood_that_is_answered() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api, "phantom_token_cache_inactive_ttl 1h;");
    let (worker, tokens) = (nginx.workers()[0], cached(&idp, &nginx, 50));
    // An eighth of 256 KiB is full after 215, and all of it would be after 1724.
    nginx.assert_memory_settles(worker, || {
        let neighbour = Neighbour::start(nginx.addr(), "/", &tokens[0].bearer());
        assert_eq!(flood(&nginx, 1600, [401]), [1600]);
        assert!(idp.introspection_count() >= 1600, "each is asked about");
        idp.forget_introspections();
        let served = neighbour.stop();
        println!("a neighbour of 1600 unknown tokens: {served:?}");
        assert!(served.longest < PROMPT, "{served:?}");
        wait_for_in_progress(&nginx, 0);
    });
    assert_still_cached(&nginx, &tokens);
    assert_eq!(idp.introspection_count(), 0);
    nginx.finish();
}

/// So many tokens may wait, and no more; the others are refused at once, and who has a token in the cache notices nothing.
#[test]
fn a_flood_that_is_not_answered() {
    const WAITING: usize = 100;
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api, "phantom_token_max_pending 100; phantom_token_timeout 8s;");
    let (worker, tokens) = (nginx.workers()[0], cached(&idp, &nginx, 50));
    idp.forget_introspections();
    idp.answer_all(Answer::hang());
    let mut parked: Vec<_> = (0..WAITING)
        .map(|_| {
            let mut client = Client::connect(nginx.addr());
            client.send(&request_bytes("GET", "/", &[("Authorization", &format!("Bearer {}", random(24)))], b""));
            client
        })
        .collect();
    wait_for_in_progress(&nginx, WAITING);
    idp.wait_for_introspections(64);
    let begun = Instant::now();
    flood(&nginx, 400, [503]);
    let neighbour = Neighbour::start(nginx.addr(), "/", &tokens[0].bearer());
    let calm = nginx.resident_kib(worker);
    assert_eq!(flood(&nginx, 4000, [503]), [4000]);
    let served: Served = neighbour.stop();
    assert!(begun.elapsed() < Duration::from_secs(7), "the flood has outlasted the deadline: {:?}", begun.elapsed());
    println!("a neighbour of 4000 refused and {WAITING} waiting tokens: {served:?}");
    assert!(served.longest < PROMPT, "{served:?}");
    assert_eq!(idp.introspection_count(), 64, "exchanges in flight");
    assert_eq!(in_progress(&nginx), WAITING);
    let grown = nginx.resident_kib(worker);
    assert!(keeps_freed_memory() || grown <= calm + 1024, "{calm} KiB, then {grown}");
    for client in &mut parked {
        assert_eq!(client.read_response().status, 504);
    }
    idp.answer_normally();
    assert_still_cached(&nginx, &tokens);
    assert_eq!(http::get(nginx.addr(), "/", &[("Authorization", &idp.issue().bearer())]).status, 200, "room again");
    nginx.finish();
}

/// Streams that are reset as soon as they are sent: none waits, so that no limit of connections or streams holds them back. What is
/// begun for them is bounded all the same, and ends.
#[test]
fn streams_reset_at_once() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api, "phantom_token_max_pending 100; phantom_token_timeout 2s;");
    let (worker, tokens) = (nginx.workers()[0], cached(&idp, &nginx, 50));
    nginx.assert_memory_settles(worker, || {
        idp.answer_all(Answer::hang());
        let neighbour = Neighbour::start(nginx.addr(), "/", &tokens[0].bearer());
        for _ in 0..30 {
            let connection = Connection::open(nginx.addr_of("h2"));
            let bearer = || format!("Bearer {}", random(24));
            let streams: Vec<_> =
                (0..50).map(|_| connection.start("GET", "/", &[("authorization", &bearer())], b"")).collect();
            streams.into_iter().for_each(Pending::cancel);
        }
        let served = neighbour.stop();
        println!("a neighbour of 1500 streams that were reset: {served:?}");
        assert!(served.longest < PROMPT, "{served:?}");
        wait_for_in_progress(&nginx, 0);
        idp.answer_normally();
        wait::until("room for new tokens", || {
            let status = http::get(nginx.addr(), "/", &[("Authorization", &idp.issue().bearer())]).status;
            assert!([200, 503, 504].contains(&status), "{status}");
            status == 200
        });
    });
    assert_still_cached(&nginx, &tokens);
    nginx.finish();
}

/// Bodies that come a byte at a time, of requests that wait: each has its answer at its deadline, and nobody else waits for them.
#[test]
fn bodies_without_end() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api, "phantom_token_timeout 1s;");
    let tokens = cached(&idp, &nginx, 1);
    idp.answer_all(Answer::hang());
    let neighbour = Neighbour::start(nginx.addr(), "/", &tokens[0].bearer());
    let begun = Instant::now();
    let heads = ["Content-Length: 1000000\r\n", "Transfer-Encoding: chunked\r\n"];
    let mut clients: Vec<_> = (0..60)
        .map(|n| {
            let mut client = Client::connect(nginx.addr());
            let head = format!(
                "POST /slow HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n{}\r\n",
                random(24),
                heads[n % 2]
            );
            client.send(head.as_bytes());
            client
        })
        .collect();
    wait_for_in_progress(&nginx, clients.len() + 1);
    while begun.elapsed() < Duration::from_millis(1200) {
        for client in &mut clients {
            // one that has been answered may be closed by now
            let _ = client.try_send(b"1");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for client in &mut clients {
        assert_eq!(client.read_response().status, 504);
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let served = neighbour.stop();
    assert!(served.longest < PROMPT, "{served:?}");
    drop(clients);
    wait_for_in_progress(&nginx, 0);
    assert!(api.requests().iter().all(|request| request.uri != "/slow"));
    nginx.finish();
}

/// Heads that come a byte at a time are NGINX's to end; with a token complete in them, nobody is asked before they are.
#[test]
fn heads_without_end() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api, "");
    let tokens = cached(&idp, &nginx, 1);
    idp.forget_introspections();
    let neighbour = Neighbour::start(nginx.addr(), "/", &tokens[0].bearer());
    let mut clients: Vec<_> = (0..60).map(|_| Client::connect(nginx.addr())).collect();
    for client in &mut clients {
        client.send(format!("GET /slow HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nX-", random(24)).as_bytes());
    }
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(800) {
        clients.iter_mut().for_each(|client| drop(client.try_send(b"s")));
        std::thread::sleep(Duration::from_millis(20));
    }
    for client in &mut clients {
        assert!(client.closes_within(wait::DEADLINE), "a head that goes on is not waited for");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let served = neighbour.stop();
    assert!(served.longest < PROMPT, "{served:?}");
    assert_eq!(idp.introspection_count(), 0);
    nginx.finish();
}

/// Where a byte may be.
const PLACES: [(&str, &str); 5] = [
    ("Authorization: Bearer to", "ken"),
    ("Authorization: Be", "arer token"),
    ("Authorization:", " Bearer token"),
    ("Authorization: Bearer token\r\nX-Other: a", "b"),
    ("Authorization: Bearer token\r\nX-Ot", "her: b"),
];

/// Every byte in every place: what reaches the API has the JWT in the token's place and nothing else of a token, and the endpoint
/// is asked about nothing but whole tokens of the form that tokens have.
#[test]
fn every_byte() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api, "");
    let jwt = idp.issue_token(support::TokenSpec::new().opaque("token")).jwt;
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for (place, (before, after)) in PLACES.iter().enumerate() {
        for byte in 0..=255u8 {
            let request = [
                b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n",
                before.as_bytes(),
                &[byte],
                after.as_bytes(),
                b"\r\n\r\n",
            ];
            let what = format!("byte {byte:#04x} in place {place}");
            let response = http::send(nginx.addr(), &request.concat());
            *statuses.entry(response.status).or_default() += 1;
            match response.status {
                200 => assert_eq!(Echo::of(&response).all("authorization"), [format!("Bearer {jwt}")], "{what}"),
                400 | 401 => {}
                status => panic!("{what}: {status}"),
            }
            let is_token = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            match place {
                0 if is_token => assert_eq!(response.status, 401, "{what}"),
                // another header does not spoil the request, unless NGINX itself refuses it
                3 if byte >= 0x20 => assert_eq!(response.status, 200, "{what}"),
                _ => {}
            }
        }
    }
    println!("{statuses:?}");
    let is_form = |token: &str| token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b));
    for asked in idp.introspections() {
        let token = asked.token().expect("a token");
        assert!(is_form(token), "asked about {token:?}");
        // nothing was left out or put together; "to" is where a line feed ends the line, as RFC 9112 §2.2 lets it
        let with_a_byte = token.len() == 6 && token.starts_with("to") && token.ends_with("ken");
        assert!(["token", "to"].contains(&token) || with_a_byte, "{token:?}");
    }
    assert!(api.requests().iter().all(|request| request.bearer() == Some(jwt.as_str())));
    nginx.finish();
}

/// RFC 9112 §5.2: a server must reject a folded line or replace the fold by spaces. Whatever NGINX does, no part of a token is
/// taken for a token.
#[test]
fn folded_lines() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api, "");
    let token = idp.issue();
    let (half, rest) = token.opaque.split_at(16);
    idp.answer_for(half, Answer::jwt(&token.jwt));
    for (what, lines) in [
        ("within the token", format!("Authorization: Bearer {half}\r\n {rest}\r\n")),
        ("within the token, with a tab", format!("Authorization: Bearer {half}\r\n\t{rest}\r\n")),
        ("before the token", format!("Authorization: Bearer\r\n {}\r\n", token.opaque)),
        ("before the scheme", format!("Authorization:\r\n Bearer {}\r\n", token.opaque)),
        ("as the first line", format!(" Authorization: Bearer {}\r\n", token.opaque)),
        ("a name that is folded", format!("Authori\r\n zation: Bearer {}\r\n", token.opaque)),
        ("within another header", format!("X-Other: a\r\n Authorization: Bearer {}\r\n", token.opaque)),
        ("a line of its own end", format!("X-Other: a\n Authorization: Bearer {}\r\n", token.opaque)),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}\r\n");
        let response = http::send(nginx.addr(), request.as_bytes());
        // the first half is what NGINX makes of the line; it is a token of its own, which the client might have sent alone
        let expected: &[u16] = if what.starts_with("within the token") { &[200, 400] } else { &[400, 401] };
        assert!(expected.contains(&response.status), "{what}: {response:?}");
        if response.status == 200 {
            let echo = Echo::of(&response);
            assert_eq!(echo.all("authorization"), [token.jwt_bearer()], "{what}");
            assert!(!format!("{echo:?}").contains(rest), "{what}: a part of a token reached the API");
        }
    }
    let asked: Vec<_> = idp.introspections();
    assert!(asked.iter().all(|asked| asked.token() == Some(half)), "{asked:?}");
    assert_eq!(http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]).status, 200);
    nginx.finish();
}

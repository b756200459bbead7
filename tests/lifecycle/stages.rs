//! Clients that leave at every stage of a request: with half of its body sent, while it is resumed, with half of the response read.

use std::sync::atomic::{AtomicBool, Ordering};

use super::support::gateway::{PROTECT, PROTECT_BY_LOCATION, asked_by_location, bare, wait_for_in_progress};
use super::support::http::{self, Client, request_bytes};
use super::support::http2::{Connection, Pending};
use super::support::{Answer, Api, Echo, Gate, Idp, Nginx};

/// By the module's client, and by a location.
const PATHS: [&str; 2] = ["/url", "/uri"];

fn gateway(idp: &Idp, api: &Api) -> Nginx {
    asked_by_location(bare(idp, api), idp)
        .workers(1)
        .listen_h2()
        .server(&format!("location /url {{ {PROTECT} proxy_pass @api@; }}"))
        .server(&format!("location /uri {{ {PROTECT_BY_LOCATION} proxy_pass @api@; }}"))
        .start()
}

/// The worker is the one it was, nobody is left in it, and it serves.
#[track_caller]
fn assert_unharmed(nginx: &Nginx, idp: &Idp, worker: &[u32]) {
    wait_for_in_progress(nginx, 0);
    idp.answer_normally();
    for path in PATHS {
        let token = idp.issue();
        let response = http::get(nginx.addr(), path, &[("Authorization", &token.bearer())]);
        assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()), "{path}");
    }
    assert_eq!(nginx.workers(), worker);
}

#[test]
fn half_of_the_body_sent() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api);
    let worker = nginx.workers();
    for path in PATHS {
        for framing in ["Content-Length: 200000", "Transfer-Encoding: chunked"] {
            let gate = Gate::closed();
            idp.answer_all(Answer::normal().gated(&gate));
            let clients: Vec<_> = (0..20)
                .map(|_| {
                    let mut client = Client::connect(nginx.addr());
                    let head = format!(
                        "POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n{framing}\r\n\r\n",
                        idp.issue().bearer()
                    );
                    client.send(&[head.as_bytes(), b"1000\r\n", &[b'x'; 3000]].concat());
                    client
                })
                .collect();
            wait_for_in_progress(&nginx, clients.len());
            // half of them while the request waits, the others while NGINX reads the rest of the body for the API
            let (leavers, stayers) = clients.into_iter().enumerate().partition::<Vec<_>, _>(|(n, _)| n % 2 == 0);
            for (n, client) in leavers {
                if n % 4 == 0 { client.reset() } else { drop(client) }
            }
            wait_for_in_progress(&nginx, stayers.len());
            gate.open();
            for (n, mut client) in stayers {
                let _ = client.try_send(b"x");
                if n % 4 == 1 { client.reset() } else { drop(client) }
            }
            assert_unharmed(&nginx, &idp, &worker);
        }
    }
    assert!(api.requests().iter().all(|request| request.body_length == 0), "a body that was not whole was forwarded");
    nginx.finish();
}

/// The answer and the end of the client come at the same time, in every order that comes about.
#[test]
fn while_it_is_resumed() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api);
    let worker = nginx.workers();
    for round in 0..24 {
        let path = PATHS[round % 2];
        let gate = Gate::closed();
        idp.answer_all(Answer::normal().gated(&gate));
        // with one token and with many
        let shared = idp.issue();
        let token = |n: usize| if n % 2 == 0 { shared.bearer() } else { idp.issue().bearer() };
        let clients: Vec<_> = (0..30)
            .map(|n| {
                let mut client = Client::connect(nginx.addr());
                client.send(&request_bytes("GET", path, &[("Authorization", &token(n))], b""));
                client
            })
            .collect();
        let connection = Connection::open(nginx.addr_of("h2"));
        let streams: Vec<Pending> =
            (0..30).map(|n| connection.start("GET", path, &[("authorization", &token(n))], b"")).collect();
        wait_for_in_progress(&nginx, 60);
        let opened = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                gate.open();
                opened.store(true, Ordering::SeqCst);
            });
            // begins before, at, or after the answers, from round to round
            while round % 3 == 1 && !opened.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
            for (n, (client, stream)) in clients.into_iter().zip(streams).enumerate() {
                if n % 2 == 0 {
                    client.reset()
                } else {
                    drop(client)
                }
                stream.cancel();
            }
        });
        wait_for_in_progress(&nginx, 0);
    }
    assert_unharmed(&nginx, &idp, &worker);
    nginx.finish();
}

/// Of a refusal that takes the place of NGINX's page, and of the API's response.
#[test]
fn half_of_the_response_read() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api);
    let worker = nginx.workers();
    for path in PATHS {
        let (good, bad) = (idp.issue(), idp.issue());
        idp.revoke(&bad.opaque);
        for token in [&good, &bad] {
            for n in 0..20 {
                let mut client = Client::connect(nginx.addr());
                client.send(&request_bytes("GET", path, &[("Authorization", &token.bearer())], b""));
                client.read_exact(n);
                client.reset();
            }
        }
        // a window of a few bytes: the response cannot be sent at once
        for token in [&good, &bad] {
            let connection = Connection::with_window(nginx.addr_of("h2"), 5);
            let stuck: Vec<_> =
                (0..10).map(|_| connection.start("GET", path, &[("authorization", &token.bearer())], b"")).collect();
            wait_for_in_progress(&nginx, stuck.len());
            stuck.into_iter().for_each(Pending::cancel);
            wait_for_in_progress(&nginx, 0);
        }
    }
    assert_unharmed(&nginx, &idp, &worker);
    nginx.finish();
}

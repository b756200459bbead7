//! The ways that a request can end, once each and slowly: for `scripts/valgrind.sh`, which looks at the memory meanwhile.

mod support;

use support::gateway::{PROTECT, PROTECT_BY_LOCATION, asked_by_location, bare, wait_for_in_progress};
use support::http::{self, Client, request_bytes};
use support::http2::Connection;
use support::tls::{Pki, TlsServer};
use support::{Answer, Api, Echo, Gate, Idp, Nginx, TokenSpec, wait};

fn get(nginx: &Nginx, path: &str, bearer: &str) -> u16 {
    http::get(nginx.addr(), path, &[("Authorization", bearer), ("Cookie", "a=b; other=c")]).status
}

#[test]
#[ignore = "is for scripts/valgrind.sh"]
fn every_end_of_a_request() {
    let (idp, api, pki) = (Idp::start(), Api::start(), Pki::of("127.0.0.1"));
    let tls = TlsServer::start(&pki, &["h2"]);
    // One process: it is to be seen from its start to its end.
    let mut nginx = asked_by_location(bare(&idp, &api), &idp)
        .single_process()
        .listen_h2()
        .file("ca.pem", pki.ca.clone())
        .server("phantom_token_timeout 5s; add_header X-Claim \"$phantom_token_claim_sub $phantom_token_fingerprint\" always;")
        .server("error_page 403 = @elsewhere;")
        .server(&format!("location /url {{ {PROTECT} proxy_pass @api@; }}"))
        .server(&format!("location /uri {{ {PROTECT_BY_LOCATION} proxy_pass @api@; }}"))
        .server(&format!("location /cookie {{ {PROTECT} phantom_token_source cookie=token header=x-token; proxy_pass @api@; }}"))
        .server(&format!("location /scope {{ {PROTECT} phantom_token_require_scopes admin; proxy_pass @api@; }}"))
        .server(&format!("location @elsewhere {{ {PROTECT_BY_LOCATION} proxy_pass @api@; }}"))
        .server(&format!(
            "location /tls {{ phantom_token on; phantom_token_client_auth none; phantom_token_ssl_trusted_certificate @dir@/ca.pem; \
             phantom_token_introspection_endpoint {}; proxy_pass @api@; }}",
            tls.url("127.0.0.1")
        ))
        .allow_log("introspection of token")
        .allow_log("upstream")
        .start();
    let http2 = Connection::open(nginx.addr_of("h2"));
    for path in ["/url", "/uri"] {
        let token = idp.issue();
        for _ in 0..3 {
            assert_eq!(get(&nginx, path, &token.bearer()), 200);
            assert_eq!(http2.get(path, &[("authorization", &token.bearer())]).status, 200);
        }
        assert_eq!((get(&nginx, path, "Basic x"), get(&nginx, path, "Bearer a b")), (401, 401));
        for (answer, status) in [
            (Answer::status(204), 401),
            (Answer::status(500), 502),
            (Answer::status(429).header("Retry-After", "7"), 503),
            (Answer::ok("text/html", "<html>"), 502),
            (Answer::close(), 502),
            (Answer::reset(), 502),
        ] {
            idp.answer_all(answer);
            assert_eq!(get(&nginx, path, &idp.issue().bearer()), status);
            assert_eq!(http2.get(path, &[("authorization", &idp.issue().bearer())]).status, status);
        }
        // some leave, one of them with half of its body sent; the others are answered
        let gate = Gate::closed();
        idp.answer_all(Answer::normal().gated(&gate));
        let token = idp.issue();
        let mut clients: Vec<_> = (0..6).map(|_| Client::connect(nginx.addr())).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            let length = if n == 1 { "100" } else { "0" };
            let headers = [("Authorization", &*token.bearer()), ("Content-Length", length)];
            client.send(&request_bytes("POST", path, &headers, b""));
            wait_for_in_progress(&nginx, n + 1);
        }
        let streams: Vec<_> =
            (0..4).map(|_| http2.start("GET", path, &[("authorization", &token.bearer())], b"")).collect();
        wait_for_in_progress(&nginx, 10);
        let staying = clients.split_off(3);
        clients.into_iter().for_each(Client::reset);
        for (n, stream) in streams.into_iter().enumerate() {
            if n % 2 == 0 { stream.cancel() } else { drop(stream) }
        }
        wait_for_in_progress(&nginx, 3);
        gate.open();
        for mut client in staying {
            assert_eq!(Echo::of(&client.read_response()).bearer(), Some(token.jwt.as_str()));
        }
        idp.answer_all(Answer::hang());
        assert_eq!(get(&nginx, path, &idp.issue().bearer()), 504);
        idp.answer_normally();
    }
    let token = idp.issue();
    for _ in 0..2 {
        let cookie = format!("a=b; token={}; c=d", token.opaque);
        let response = http::get(nginx.addr(), "/cookie", &[("Cookie", &cookie), ("X-Token", &token.opaque)]);
        assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
    }
    // refused here, and then looked at by a location of another profile
    assert_eq!(get(&nginx, "/scope", &idp.issue_token(TokenSpec::new().scope("read")).bearer()), 200);
    for n in 0..3 {
        assert_eq!(get(&nginx, "/tls", &format!("Bearer tls-{n}")), 200);
    }
    wait_for_in_progress(&nginx, 0);
    // and some that are there at the end, which a single process does not wait for
    idp.answer_all(Answer::hang());
    let mut last: Vec<_> = ["/url", "/uri"]
        .iter()
        .map(|path| {
            let mut client = Client::connect(nginx.addr());
            client.send(&request_bytes("GET", path, &[("Authorization", &idp.issue().bearer())], b""));
            client
        })
        .collect();
    wait_for_in_progress(&nginx, last.len());
    nginx.begin_quit();
    assert!(last.iter_mut().all(|client| client.closes_within(wait::DEADLINE)));
    nginx.wait_for_exit();
    nginx.finish();
}

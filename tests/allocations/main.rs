//! Memory that is not to be had: whichever of the module's calls fails, the request ends with 500 or 502 or as if nothing had been, and
//! the worker lives. Needs a test build of the module: `scripts/allocations.sh`.

#[path = "../support/mod.rs"]
mod support;

use support::gateway::{PROTECT, PROTECT_BY_LOCATION, asked_by_location, bare, wait_for_in_progress};
use support::{Api, Idp, TokenSpec, http};

/// More calls than the first request needs.
const MOST: usize = 40;
/// So many make more calls than that.
const REQUESTS: usize = 15;

#[test]
#[ignore = "needs the build of scripts/allocations.sh"]
fn every_call_fails_once() {
    let (idp, api) = (Idp::start(), Api::start());
    for (name, location, status) in [
        ("url", format!("{PROTECT} phantom_token_cache_key $host;"), 200),
        ("uri", PROTECT_BY_LOCATION.to_owned(), 200),
        ("cookie", format!("{PROTECT} phantom_token_source cookie=token header=x-token;"), 200),
        ("forbidden", format!("{PROTECT} phantom_token_require_scopes admin;"), 403),
        ("inactive", PROTECT.to_owned(), 401),
        ("overloaded", format!("{PROTECT} phantom_token_max_pending 1;"), 503),
    ] {
        let mut failed = 0;
        for n in 0..MOST {
            let nginx = asked_by_location(bare(&idp, &api), &idp)
                .workers(1)
                .main(&format!("env FAIL_AT={n};"))
                .server(
                    "add_header X-Sub $phantom_token_claim_sub always; add_header X-Time $phantom_token_time always;",
                )
                .server(&format!("location / {{ {location} error_page 418 /x; proxy_pass @api@; }}"))
                .allow_log("introspection of token")
                .start();
            let worker = nginx.workers();
            let token = idp.issue_token(TokenSpec::new().scope("read"));
            if name == "inactive" {
                idp.revoke(&token.opaque);
            }
            if name == "overloaded" {
                idp.answer_for(&token.opaque, support::Answer::status(503));
            }
            let cookie = format!("a=b; token={}", token.opaque);
            let bearer = token.bearer();
            let headers = if name == "cookie" {
                [("Cookie", cookie.as_str()), ("X-Token", token.opaque.as_str())]
            } else {
                [("Authorization", bearer.as_str()), ("X-Other", "1")]
            };
            let mut unusual = 0;
            for _ in 0..REQUESTS {
                let mut client = http::Client::connect(nginx.addr());
                client.send(&http::request_bytes("GET", "/", &headers, b""));
                // where not even a response could be made the connection is closed
                let got = client.try_read_response_to("GET").ok().flatten().map(|response| response.status);
                assert!(got.is_none_or(|got| [status, 500, 502].contains(&got)), "{name}, call {n}: {got:?}");
                unusual += usize::from(got != Some(status));
            }
            assert!(unusual <= 1, "{name}, call {n}: one failure harmed {unusual} requests");
            failed += unusual;
            wait_for_in_progress(&nginx, 0);
            assert_eq!(nginx.workers(), worker, "{name}, call {n}: the worker is gone");
            nginx.finish();
        }
        println!("{name}: {failed} of {MOST} calls that failed were seen by a client");
        assert!(failed > 0, "{name}: nothing has failed");
    }
}

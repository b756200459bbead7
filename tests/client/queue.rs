//! Jobs: their order, their limits, and what becomes of them when nobody waits or the worker ends.

use std::time::{Duration, Instant};

use ngx_http_phantom_token_module::client::MAX_IN_FLIGHT;
use ngx_http_phantom_token_module::introspection::{Failure, Phase};
use ngx_http_phantom_token_module::worker::Outcome;

use crate::support::{Bench, INACTIVE, LONG_MS, Peer, Server, settings};

/// As many exchanges as may be are in flight; the connections they hold.
fn saturated(endpoint: &Server, bench: &Bench) -> Vec<Peer> {
    (0..MAX_IN_FLIGHT as u64)
        .map(|id| {
            bench.submit(id, LONG_MS);
            let mut peer = endpoint.accept();
            assert!(peer.request().1.starts_with(&format!("token=token-{id}&")));
            peer
        })
        .collect()
}

#[test]
fn queues_in_order_what_may_not_be_in_flight() {
    let endpoint = Server::bind();
    let mut bench = Bench::new(settings(&endpoint.url()));
    let mut peers = saturated(&endpoint, &bench);
    let queued = 1000..1005;
    let controls: Vec<_> = queued.clone().map(|id| bench.submit(id, LONG_MS)).collect();
    // Its turn comes when nobody wants it any more.
    controls[1].abandon();
    // Nobody, and then somebody again.
    controls[2].abandon();
    controls[2].extend(LONG_MS);
    let peer = &mut peers[0];
    peer.answer(INACTIVE);
    bench.next();
    for id in queued {
        if id == 1001 {
            continue;
        }
        // One place is free at a time, and its connection with it.
        assert!(peer.request().1.starts_with(&format!("token=token-{id}&")));
        assert!(endpoint.is_quiet());
        peer.answer(INACTIVE);
        let mut completion = bench.next();
        if completion.id == 1001 {
            assert_eq!(completion.outcome, Outcome::Abandoned);
            completion = bench.next();
        }
        assert_eq!(completion.id, id);
        assert!(matches!(completion.outcome, Outcome::Done(Ok(_))));
    }
}

#[test]
fn a_queued_job_keeps_its_limit() {
    let endpoint = Server::bind();
    let mut bench = Bench::new(settings(&endpoint.url()));
    let _peers = saturated(&endpoint, &bench);
    assert_eq!(bench.ask_within(1000, 20), Err(Failure::Timeout { phase: Phase::Answer }));
}

#[test]
fn a_job_in_flight_goes_on_when_nobody_waits() {
    let endpoint = Server::bind();
    let mut bench = Bench::new(settings(&endpoint.url()));
    let control = bench.submit(1, LONG_MS);
    let mut peer = endpoint.accept();
    peer.request();
    control.abandon();
    peer.answer(INACTIVE);
    assert!(matches!(bench.next().outcome, Outcome::Done(Ok(_))));
}

#[test]
fn a_limit_can_be_raised() {
    let endpoint = Server::bind();
    let mut bench = Bench::new(settings(&endpoint.url()));
    let begun = Instant::now();
    let control = bench.submit(1, 200);
    control.extend(600);
    control.extend(300);
    assert_eq!(bench.next().outcome, Outcome::Done(Err(Failure::Timeout { phase: Phase::Answer })));
    assert!(begun.elapsed() >= Duration::from_millis(600));
}

#[test]
fn ends_while_an_exchange_and_a_connection_hang() {
    let endpoint = Server::bind();
    let bench = Bench::new(settings(&endpoint.url()));
    bench.submit(1, LONG_MS);
    let mut peer = endpoint.accept();
    peer.request();
    bench.submit(2, LONG_MS);
    let begun = Instant::now();
    bench.worker.shutdown();
    // 200 ms are for a name resolution that hangs, the rest for a busy machine.
    assert!(begun.elapsed() < Duration::from_millis(1000), "{:?}", begun.elapsed());
    peer.closed();
}

//! The authorization server goes down and comes up again.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::support::gateway::gateway;
use super::support::{Api, Idp, Nginx, http, wait};

fn fresh(nginx: &Nginx, idp: &Idp) -> u16 {
    http::get(nginx.addr(), "/", &[("Authorization", &idp.issue().bearer())]).status
}

#[test]
fn down_when_nginx_starts_and_up_later() {
    let (idp, api) = (Idp::start(), Api::start());
    idp.go_down();
    let nginx = gateway(&idp, &api).start();
    let token = idp.issue();
    let get = || http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
    let refused = get();
    assert_eq!((refused.status, refused.header("x-status")), (502, Some("UNREACHABLE")));
    idp.come_up();
    assert_eq!(get().status, 200, "a failure is not remembered");
    nginx.finish();
}

#[test]
fn pulled_under_load() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api).start();
    let statuses: Mutex<BTreeMap<u16, usize>> = Mutex::default();
    let count = |status: u16| statuses.lock().expect("statuses").get(&status).copied().unwrap_or(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let status = fresh(&nginx, &idp);
                    *statuses.lock().expect("statuses").entry(status).or_default() += 1;
                }
            });
        }
        for round in 1..=3 {
            let before = count(200);
            wait::until("requests that succeed", || count(200) >= before + 20);
            idp.go_down();
            wait::until("requests that fail", || count(502) + count(504) >= 20 * round);
            idp.come_up();
        }
        let before = count(200);
        wait::until("recovery", || count(200) >= before + 20);
        stop.store(true, Ordering::SeqCst);
    });
    let statuses = statuses.into_inner().expect("statuses");
    assert!(statuses.keys().all(|status| [200, 502, 504].contains(status)), "{statuses:?}");
    for _ in 0..50 {
        assert_eq!(fresh(&nginx, &idp), 200);
    }
    nginx.finish();
}

#[test]
fn pooled_connections_that_died_fail_no_request() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api).workers(1).start();
    for _ in 0..20 {
        assert_eq!(fresh(&nginx, &idp), 200);
        idp.drop_connections();
        idp.wait_for_open_connections(0);
    }
    nginx.finish();
}

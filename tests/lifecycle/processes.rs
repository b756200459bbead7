//! Which processes do introspection, and what it costs them.

use super::support::gateway::{PROTECT, bare, gateway};
use super::support::{Api, Echo, Idp, Nginx, Token, http, wait};

fn get(nginx: &Nginx, token: &Token) -> http::Response {
    http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())])
}

#[test]
fn any_number_of_workers() {
    let (idp, api) = (Idp::start(), Api::start());
    for workers in [1, 2, 4] {
        let nginx = gateway(&idp, &api).workers(workers).start();
        let token = idp.issue();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        assert_eq!(Echo::of(&get(&nginx, &token)).bearer(), Some(token.jwt.as_str()));
                    }
                });
            }
        });
        let asked = idp.introspections_of(&token.opaque);
        assert!((1..=workers).contains(&asked), "{asked} introspections by {workers} workers");
        nginx.finish();
    }
}

#[test]
fn without_a_master() {
    let (idp, api) = (Idp::start(), Api::start());
    let mut nginx = gateway(&idp, &api).single_process().start();
    let token = idp.issue();
    for expected in ["MISS", "HIT"] {
        let response = get(&nginx, &token);
        assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
        assert_eq!(response.header("x-cache"), Some(expected));
    }
    assert_eq!(nginx.threads(nginx.pid()), 2);
    let elapsed = nginx.quit();
    assert!(elapsed < std::time::Duration::from_secs(3), "{elapsed:?}");
    nginx.finish();
}

#[test]
fn only_workers_have_the_thread() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api).http("proxy_cache_path @dir@/cache keys_zone=responses:1m;").start();
    let manager = wait::for_value("the cache manager", || nginx.children("cache manager process").first().copied());
    assert_eq!(get(&nginx, &idp.issue()).status, 200);
    for worker in nginx.workers() {
        assert_eq!(nginx.threads(worker), 2, "its own and the one that introspects");
    }
    assert_eq!(nginx.threads(manager), 1);
    assert_eq!(nginx.threads(nginx.pid()), 1, "the master");
    nginx.finish();
}

#[test]
fn nobody_has_the_thread_where_nothing_is_protected() {
    let nginx = Nginx::builder().server("location / { return 204; }").start();
    assert_eq!(http::get(nginx.addr(), "/", &[]).status, 204);
    for worker in nginx.workers() {
        assert_eq!(nginx.threads(worker), 1);
    }
    nginx.finish();
}

#[test]
fn descriptors_and_threads_do_not_grow() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api).workers(1).start();
    let worker = nginx.workers()[0];
    let serve = |n: usize| {
        for i in 0..n {
            let token = idp.issue();
            if i % 5 == 0 {
                idp.revoke(&token.opaque);
            }
            assert_eq!(get(&nginx, &token).status, if i % 5 == 0 { 401 } else { 200 });
        }
    };
    serve(20);
    // the last client's connection may still be closing
    let files = wait::for_value("the connections closed", || {
        let files = nginx.open_files(worker);
        (super::support::gateway::in_progress(&nginx) == 0 && files == nginx.open_files(worker)).then_some(files)
    });
    let threads = nginx.threads(worker);
    serve(500);
    wait::until("as many descriptors as before", || nginx.open_files(worker) <= files);
    assert_eq!(nginx.threads(worker), threads);
    assert!(idp.connections_opened() <= 2, "{} connections for one request at a time", idp.connections_opened());
    nginx.finish();
}

/// With one descriptor too few for its client, the worker serves what does not need it.
#[test]
fn a_worker_whose_client_cannot_start_serves_the_rest() {
    let (idp, api) = (Idp::start(), Api::start());
    let configured = || {
        bare(&idp, &api)
            .workers(1)
            .events("worker_connections 64;")
            .server("location = /open { return 204; }")
            .server(&format!("location / {{ {PROTECT} proxy_pass @api@; }}"))
    };
    let nginx = configured().start();
    wait::until("the probing connection is closed", || super::support::gateway::in_progress(&nginx) == 0);
    let worker = nginx.workers()[0];
    let numbers = std::fs::read_dir(format!("/proc/{worker}/fd")).expect("list descriptors").flatten();
    let numbers: Vec<u32> = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    nginx.finish();
    // without the one most recently opened
    let limit = numbers.len() - 1;
    let nginx =
        configured().main(&format!("worker_rlimit_nofile {limit};")).allow_log("cannot start the introspection client");
    let nginx = nginx.start();
    let line = nginx.wait_for_log("phantom token: cannot start the introspection client");
    assert!(line.contains("[crit]"), "{line}");
    for _ in 0..3 {
        assert_eq!(http::get(nginx.addr(), "/open", &[]).status, 204);
        assert_eq!(http::get(nginx.addr(), "/", &[]).status, 401);
        assert_eq!(get(&nginx, &idp.issue()).status, 502);
    }
    assert_eq!((nginx.workers().len(), idp.introspection_count()), (1, 0));
    nginx.finish();
}

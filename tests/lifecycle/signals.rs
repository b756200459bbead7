//! Reload, quit, terminate and kill, with requests in flight and without.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::support::gateway::{gateway, wait_for_in_progress};
use super::support::http::{self, Client, Response, request_bytes};
use super::support::{Answer, Api, Echo, Gate, Idp, Nginx, Token, wait};

const PROMPT: Duration = Duration::from_secs(3);

fn send(nginx: &Nginx, token: &Token) -> Client {
    let mut client = Client::connect(nginx.addr());
    client.send(&request_bytes("GET", "/", &[("Authorization", &token.bearer())], b""));
    client
}

fn get(nginx: &Nginx, token: &Token) -> Response {
    http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())])
}

#[test]
fn eight_reloads_under_load_fail_no_request() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api).start();
    let known = idp.issue();
    let stop = AtomicBool::new(false);
    let served = AtomicUsize::new(0);
    let failures: Mutex<Vec<Response>> = Mutex::default();
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (idp, nginx, known, served, failures, stop) = (&idp, &nginx, &known, &served, &failures, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let token = if client % 2 == 0 { known.clone() } else { idp.issue() };
                    let response = get(nginx, &token);
                    let forwarded = response.status == 200 && Echo::of(&response).bearer() == Some(&token.jwt);
                    if !forwarded {
                        failures.lock().expect("failures").push(response);
                    }
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for _ in 0..8 {
            let before = served.load(Ordering::SeqCst);
            wait::until("requests between reloads", || served.load(Ordering::SeqCst) >= before + 20);
            nginx.reload();
        }
        stop.store(true, Ordering::SeqCst);
    });
    let failures = failures.into_inner().expect("failures");
    assert!(failures.is_empty(), "{} of {}: {failures:?}", failures.len(), served.into_inner());
    wait::until("the exit of all old workers", || nginx.children("shutting down").is_empty());
    nginx.finish();
}

#[test]
fn reload_with_a_request_in_flight() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api).workers(1).start();
    let gate = Gate::closed();
    idp.answer_next(Answer::normal().gated(&gate));
    let token = idp.issue();
    let mut parked = send(&nginx, &token);
    idp.wait_for_introspections(1);
    let old = nginx.workers();
    nginx.reload();
    assert_eq!(get(&nginx, &token).status, 200, "the new worker serves meanwhile");
    gate.open();
    let response = parked.read_response();
    assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
    assert_eq!(response.header("x-pid"), Some(old[0].to_string().as_str()));
    let begun = Instant::now();
    nginx.wait_for_exit_of(&old);
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
    nginx.finish();
}

#[test]
fn graceful_quit_delivers_the_answer_in_flight() {
    let (idp, api) = (Idp::start(), Api::start());
    let mut nginx = gateway(&idp, &api).start();
    let gate = Gate::closed();
    idp.answer_all(Answer::normal().gated(&gate));
    let token = idp.issue();
    let mut parked = send(&nginx, &token);
    idp.wait_for_introspections(1);
    nginx.begin_quit();
    // the idle worker has gone, the busy one waits
    wait::until("the busy worker shutting down alone", || {
        nginx.workers().is_empty() && nginx.children("shutting down").len() == 1
    });
    gate.open();
    assert_eq!(Echo::of(&parked.read_response()).bearer(), Some(token.jwt.as_str()));
    let begun = Instant::now();
    nginx.wait_for_exit();
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
    nginx.finish();
}

#[test]
fn graceful_quit_waits_no_longer_than_the_deadline() {
    let (idp, api) = (Idp::start(), Api::start());
    let mut nginx = gateway(&idp, &api).server("phantom_token_timeout 1s;").start();
    idp.answer_all(Answer::hang());
    let mut parked = send(&nginx, &idp.issue());
    idp.wait_for_introspections(1);
    let elapsed = nginx.quit();
    assert_eq!(parked.read_response().status, 504);
    assert!(elapsed < Duration::from_secs(1) + PROMPT, "{elapsed:?}");
    nginx.finish();
}

#[test]
fn terminate_does_not_wait_for_requests_in_flight() {
    let (idp, api) = (Idp::start(), Api::start());
    let mut nginx = gateway(&idp, &api).server("phantom_token_timeout 60s;").start();
    idp.answer_all(Answer::hang());
    let parked: Vec<Client> = (0..10).map(|_| send(&nginx, &idp.issue())).collect();
    idp.wait_for_introspections(10);
    let elapsed = nginx.terminate();
    assert!(elapsed < PROMPT, "{elapsed:?}");
    for mut client in parked {
        assert!(client.closes_within(PROMPT), "without a response");
    }
    nginx.finish();
}

#[test]
fn quit_is_prompt_when_idle() {
    let (idp, api) = (Idp::start(), Api::start());
    for serve_first in [false, true] {
        let mut nginx = gateway(&idp, &api).start();
        if serve_first {
            // leaves pooled connections to the endpoint
            assert_eq!(get(&nginx, &idp.issue()).status, 200);
        }
        let elapsed = nginx.quit();
        assert!(elapsed < PROMPT, "{elapsed:?}");
        nginx.finish();
    }
}

#[test]
fn quit_is_prompt_when_only_an_exchange_nobody_waits_for_is_left() {
    let (idp, api) = (Idp::start(), Api::start());
    let mut nginx = gateway(&idp, &api).workers(1).server("phantom_token_timeout 60s;").start();
    idp.answer_all(Answer::hang());
    let parked = send(&nginx, &idp.issue());
    idp.wait_for_introspections(1);
    parked.reset();
    wait_for_in_progress(&nginx, 0);
    let elapsed = nginx.quit();
    assert!(elapsed < PROMPT, "{elapsed:?}");
    nginx.finish();
}

#[test]
fn worker_shutdown_timeout_ends_requests_in_flight() {
    let (idp, api) = (Idp::start(), Api::start());
    let mut nginx =
        gateway(&idp, &api).main("worker_shutdown_timeout 1s;").server("phantom_token_timeout 60s;").start();
    idp.answer_all(Answer::hang());
    let mut parked = send(&nginx, &idp.issue());
    idp.wait_for_introspections(1);
    let elapsed = nginx.quit();
    assert!(elapsed > Duration::from_millis(900), "not before its time: {elapsed:?}");
    assert!(elapsed < Duration::from_secs(1) + PROMPT, "{elapsed:?}");
    assert!(parked.closes_within(PROMPT), "without a response");
    nginx.finish();
}

#[test]
fn a_killed_worker_is_replaced_by_one_that_serves() {
    let (idp, api) = (Idp::start(), Api::start());
    let mut nginx = gateway(&idp, &api).workers(1).start();
    let token = idp.issue();
    assert_eq!(get(&nginx, &token).status, 200);
    idp.answer_all(Answer::hang());
    let mut parked = send(&nginx, &idp.issue());
    idp.wait_for_introspections(2);
    nginx.allow_log("exited on signal 9");
    let old = nginx.workers()[0];
    nginx.signal_to(old, Signal::SIGKILL);
    assert!(parked.closes_within(PROMPT));
    wait::until("a new worker", || nginx.workers().first().is_some_and(|pid| *pid != old));
    idp.answer_normally();
    let response = get(&nginx, &token);
    assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
    assert_eq!(response.header("x-cache"), Some("MISS"), "the cache is the worker's own");
    nginx.finish();
}

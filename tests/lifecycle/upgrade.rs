//! Another binary takes over while requests are under way: USR2 for the new master, QUIT for the old.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::support::gateway::gateway;
use super::support::http::{self, Client, request_bytes};
use super::support::nginx::{is_running, nginx_binary, workers_of};
use super::support::{Answer, Api, Echo, Gate, Idp, Nginx, wait};

/// Masters that have detached themselves, as an upgrade needs it; stopped at the end, however that comes.
struct Masters<'a>(&'a Nginx);

impl Masters<'_> {
    /// The process named in one of the files that masters write.
    fn named(&self, file: &str) -> Option<u32> {
        fs::read_to_string(self.0.dir().join(file)).ok()?.trim().parse().ok()
    }

    fn signal(&self, pid: u32, signal: Signal) {
        kill(Pid::from_raw(pid as i32), signal).expect("signal a master");
    }
}

impl Drop for Masters<'_> {
    fn drop(&mut self) {
        for pid in ["nginx.pid", "nginx.pid.oldbin"].iter().filter_map(|file| self.named(file)) {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGTERM);
            let _ = wait::try_for(wait::DEADLINE, || (!is_running(pid)).then_some(()));
        }
    }
}

#[test]
fn an_upgrade_under_load_fails_no_request() {
    let (idp, api) = (Idp::start(), Api::start());
    let mut nginx = gateway(&idp, &api).start();
    // The same configuration, but NGINX is on its own: it takes USR2 only where nobody waits for it.
    nginx.quit();
    nginx.edit_config("daemon off;", "daemon on;");
    let dir = nginx.dir().to_owned();
    let mut command = Command::new(nginx_binary());
    command.arg("-p").arg(&dir).arg("-c").arg(dir.join("nginx.conf")).arg("-e").arg(dir.join("error.log"));
    assert!(command.status().expect("start nginx").success());
    let masters = Masters(&nginx);
    let old = wait::for_value("the master", || masters.named("nginx.pid"));
    wait::until("its workers", || workers_of(old).len() == 2);

    let (known, stop, served) = (idp.issue(), AtomicBool::new(false), AtomicUsize::new(0));
    let gate = Gate::closed();
    let waiting = idp.issue();
    idp.answer_for(&waiting.opaque, Answer::normal().gated(&gate));
    let mut parked = Client::connect(nginx.addr());
    parked.send(&request_bytes("GET", "/", &[("Authorization", &waiting.bearer())], b""));
    idp.wait_for_introspections(1);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (idp, nginx, known, stop, served) = (&idp, &nginx, &known, &stop, &served);
                scope.spawn(move || {
                    while !stop.load(Ordering::SeqCst) {
                        let token = if client % 2 == 0 { known.clone() } else { idp.issue() };
                        let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
                        assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let some_more = |what: &str| {
            let before = served.load(Ordering::SeqCst);
            wait::until(what, || {
                assert!(!clients.iter().any(|client| client.is_finished()), "a request has failed");
                served.load(Ordering::SeqCst) >= before + 40
            });
        };
        some_more("requests before");
        masters.signal(old, Signal::SIGUSR2);
        let new = wait::for_value("the new master", || masters.named("nginx.pid").filter(|pid| *pid != old));
        wait::until("its workers", || workers_of(new).len() == 2);
        some_more("requests with two masters");
        masters.signal(old, Signal::SIGQUIT);
        wait::until("the old master without idle workers", || workers_of(old).is_empty());
        some_more("requests after the old workers were told to go");
        assert!(is_running(old), "it has a request to answer");
        gate.open();
        assert_eq!(Echo::of(&parked.read_response()).bearer(), Some(waiting.jwt.as_str()));
        wait::until("the end of the old master", || !is_running(old));
        some_more("requests of the new master alone");
        stop.store(true, Ordering::SeqCst);
    });
    drop(masters);
    nginx.finish();
}

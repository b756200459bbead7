//! NGINX between a server that misbehaves and everybody else.

use std::time::{Duration, Instant};

use super::support::gateway::{PROTECT, asked_by_location, bare, wait_for_in_progress};
use super::support::http2::Connection;
use super::support::idp::random;
use super::support::neighbour::Neighbour;
use super::support::nginx::{Builder, keeps_freed_memory};
use super::support::{Api, Echo, Idp, Nginx, Token, http};

/// Of the locations that ask the server that misbehaves.
pub const TIMEOUT: Duration = Duration::from_secs(1);

/// How much later an answer may come, on a busy machine.
const LATE: Duration = Duration::from_secs(1);

/// What a neighbour may wait: less than who waits for the server.
const PROMPT: Duration = Duration::from_millis(700);

/// Memory that the worker may keep in its pools and buffers after all faults, KiB.
const KEPT: usize = 3 * 1024;

/// A request of a client as it ended.
pub struct Ended {
    /// Which client, and by whom the server was asked.
    what: String,
    status: u16,
    took: Duration,
}

pub struct Bench {
    /// Of the neighbour.
    _idp: Idp,
    api: Api,
    nginx: Nginx,
    http2: Connection,
    token: Token,
    /// Resident memory after the first fault: what every fault needs is there.
    first: Option<usize>,
    /// Answers that NGINX's proxy makes the best of, where that may be.
    let_through: usize,
    wrong: Vec<String>,
}

impl Bench {
    /// `configure` adds the locations that [`Bench::ask`] is called with.
    pub fn start(configure: impl FnOnce(Builder) -> Builder) -> Bench {
        let (idp, api) = (Idp::start(), Api::start());
        let builder = asked_by_location(bare(&idp, &api), &idp)
            .workers(1)
            .http("keepalive_requests 100000000;")
            .server("phantom_token_timeout 1s; phantom_token_cache_inactive_ttl 0; access_log off;")
            .server(&format!("location /healthy {{ {PROTECT} proxy_pass @api@; }}"))
            .allow_log("introspection of token")
            .allow_log("upstream")
            .allow_log("SSL")
            .allow_log("could not be resolved")
            .log_level("error")
            .listen_h2();
        let nginx = configure(builder).start();
        let http2 = Connection::open(nginx.addr_of("h2"));
        let token = idp.issue();
        let bench = Bench { _idp: idp, api, nginx, http2, token, let_through: 0, first: None, wrong: Vec::new() };
        bench.assert_healthy();
        bench
    }

    fn assert_healthy(&self) {
        let response = http::get(self.nginx.addr(), "/healthy", &[("Authorization", &self.token.bearer())]);
        assert_eq!(Echo::of(&response).bearer(), Some(self.token.jwt.as_str()));
    }

    pub fn nginx(&self) -> &Nginx {
        &self.nginx
    }

    /// At the same time a client of each protocol asks for each path, while a neighbour goes on. Statuses other than those expected
    /// of the paths (0 for any), late answers and a neighbour that had to wait are remembered for the end.
    pub fn ask<const N: usize>(&mut self, fault: &str, paths: [&str; N], expected: [u16; N]) {
        let neighbour = Neighbour::start(self.nginx.addr(), "/healthy", &self.token.bearer());
        let ended: Vec<_> = std::thread::scope(|scope| {
            let (nginx, http2) = (&self.nginx, &self.http2);
            let asked = paths.iter().flat_map(|path| {
                let bearers = [(); 2].map(|()| format!("Bearer {}", random(24)));
                let [first, second] = bearers;
                [
                    scope.spawn(move || {
                        let begun = Instant::now();
                        let status = http::get(nginx.addr(), path, &[("Authorization", &first)]).status;
                        Ended { what: format!("HTTP/1.1, {path}"), status, took: begun.elapsed() }
                    }),
                    scope.spawn(move || {
                        let begun = Instant::now();
                        let status = http2.get(path, &[("authorization", &second)]).status;
                        Ended { what: format!("HTTP/2, {path}"), status, took: begun.elapsed() }
                    }),
                ]
            });
            let asked: Vec<_> = asked.collect();
            asked.into_iter().map(|thread| thread.join().expect("a client")).collect()
        });
        let served = neighbour.stop();
        for (ended, expected) in ended.iter().zip(expected.iter().flat_map(|status| [*status; 2])) {
            let is_expected = expected == 0 || ended.status == expected;
            self.let_through += usize::from(expected == 0 && ended.status == 200);
            if !is_expected || ended.took > TIMEOUT + LATE {
                let Ended { what, status, took } = ended;
                self.wrong.push(format!("{fault}: {what}: {status} after {took:?}, not {expected}"));
            }
        }
        if served.longest > PROMPT {
            self.wrong.push(format!("{fault}: a neighbour had to wait: {served:?}"));
        }
        if self.first.is_none() {
            self.first = Some(self.nginx.resident_kib(self.nginx.workers()[0]));
        }
    }

    /// Nothing is left of any of it.
    #[track_caller]
    pub fn finish(self) {
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        wait_for_in_progress(&self.nginx, 0);
        self.assert_healthy();
        let forwarded = self.api.requests().iter().filter(|request| request.uri != "/healthy").count();
        assert_eq!(forwarded, self.let_through, "something was forwarded");
        let (first, last) = (self.first.expect("a fault"), self.nginx.resident_kib(self.nginx.workers()[0]));
        println!("resident memory after the first fault: {first} KiB, after the last: {last} KiB");
        assert!(keeps_freed_memory() || last <= first + KEPT, "memory grew from {first} to {last} KiB");
        self.nginx.finish();
    }
}

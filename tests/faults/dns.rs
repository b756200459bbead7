//! Names that do not resolve: no answer, no such name, nothing in the answer, nonsense. For the module's client the system's resolver
//! asks, which knows one place only, so NGINX gets an `/etc/resolv.conf` of its own: who may not mount one cannot run these tests.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::bench::Bench;
use super::support::gateway::{PROTECT, bare, wait_for_in_progress};
use super::support::http::{self, Client, request_bytes};
use super::support::idp::random;
use super::support::neighbour::Neighbour;
use super::support::{Api, Idp, wait};

#[derive(Debug, Clone, Copy)]
enum Fault {
    Silence,
    /// RCODE 3 (RFC 1035 §4.1.1).
    NoSuchName,
    /// RCODE 2.
    ServerFailure,
    /// RCODE 0 and no record.
    Nothing,
    Nonsense,
    /// None: 127.0.0.1.
    Address,
}

/// A name server on an address of its own, at the port where the system's resolver asks.
struct NameServer {
    address: Ipv4Addr,
    fault: Arc<Mutex<Fault>>,
}

impl NameServer {
    fn start(fault: Fault) -> NameServer {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let socket = wait::for_value("an address of 127.0.0.0/8 for a name server", || {
            let [.., high, low] = (std::process::id() as usize + NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes();
            UdpSocket::bind((Ipv4Addr::new(127, 53, high, low), 53)).ok()
        });
        let SocketAddr::V4(addr) = socket.local_addr().expect("an address") else {
            unreachable!("it was bound to one")
        };
        let fault = Arc::new(Mutex::new(fault));
        let current = fault.clone();
        std::thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                if let Some(answer) = answer(*current.lock().expect("the fault"), &query[..length]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        NameServer { address: *addr.ip(), fault }
    }

    fn set(&self, fault: Fault) {
        *self.fault.lock().expect("the fault") = fault;
    }

    fn resolv_conf(&self) -> String {
        format!("nameserver {}\n", self.address)
    }
}

/// RFC 1035 §4.1: header, the question as it came, and perhaps an address.
fn answer(fault: Fault, query: &[u8]) -> Option<Vec<u8>> {
    let name_end = 12 + query.get(12..)?.iter().position(|byte| *byte == 0)?;
    let question = query.get(12..name_end + 5)?;
    let is_ipv4 = question[question.len() - 4..] == [0, 1, 0, 1];
    let (code, answers) = match fault {
        Fault::Silence => return None,
        Fault::Nonsense => return Some([&query[..2], &[0xff; 40]].concat()),
        Fault::NoSuchName => (3, 0),
        Fault::ServerFailure => (2, 0),
        Fault::Nothing => (0, 0),
        Fault::Address => (0, u8::from(is_ipv4)),
    };
    let mut answer = [&query[..2], &[0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0], question].concat();
    if answers > 0 {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}

/// Only root may, and in a container not always root.
fn may_mount() -> bool {
    let tried = Command::new("unshare").args(["--mount", "true"]).env("LC_ALL", "C").output().expect("run unshare");
    let refused = String::from_utf8_lossy(&tried.stderr).contains("Operation not permitted");
    if refused {
        eprintln!("not tested: NGINX cannot be given a resolver of its own");
    }
    !refused
}

#[test]
fn every_fault() {
    if !may_mount() {
        return;
    }
    let server = NameServer::start(Fault::Silence);
    let idp = Idp::start();
    let port = idp.addr().port();
    let mut bench = Bench::start(|builder| {
        builder
            .resolv_conf(&server.resolv_conf())
            .server(
                &format!(
                    "location /url {{ phantom_token on; phantom_token_client_id {}; phantom_token_client_secret {}; \
                 phantom_token_introspection_endpoint http://as.example:{port}/oauth/introspect; return_ok }}",
                    idp.client_id(),
                    idp.client_secret()
                )
                .replace("return_ok", "try_files /none @ok;"),
            )
            .server(&format!("resolver {} valid=1s ipv6=off; resolver_timeout 30s;", server.address))
            .server(
                "location /uri { phantom_token on; phantom_token_introspection_endpoint /asked; try_files /none @ok; }",
            )
            .server(&format!(
                "location = /asked {{ internal; set $as as.example; proxy_set_header Authorization \"{}\"; \
                 proxy_pass http://$as:{port}/oauth/introspect; }}",
                idp.client_authorization()
            ))
            .server("location @ok { return 200; }")
    });
    for (fault, status) in [
        (Fault::NoSuchName, [502, 502]),
        (Fault::ServerFailure, [502, 502]),
        (Fault::Nothing, [502, 502]),
        // the resolvers go on waiting for one with sense
        (Fault::Nonsense, [504, 504]),
        (Fault::Silence, [504, 504]),
    ] {
        server.set(fault);
        bench.ask(&format!("{fault:?}"), ["/url", "/uri"], status);
    }
    server.set(Fault::Address);
    // a look-up that hangs gives up after some seconds
    wait::until("names that resolve again", || {
        ["/url", "/uri"].iter().all(|path| {
            let status = http::get(bench.nginx().addr(), path, &[("Authorization", &idp.issue().bearer())]).status;
            assert!([200, 504].contains(&status), "{path}: {status}");
            status == 200
        })
    });
    bench.finish();
}

/// Look-ups that hang occupy all threads there are for them, and hold up neither other endpoints nor the end of the worker.
#[test]
fn look_ups_that_hang() {
    if !may_mount() {
        return;
    }
    let (idp, api, server) = (Idp::start(), Api::start(), NameServer::start(Fault::Silence));
    let hanging = |n| {
        format!(
            "location /hangs/{n} {{ phantom_token on; phantom_token_client_auth none; phantom_token_timeout 1s; \
             phantom_token_introspection_endpoint http://as-{n}.example/; proxy_pass @api@; }}"
        )
    };
    let mut nginx = bare(&idp, &api)
        .workers(1)
        .http("keepalive_requests 100000000;")
        .resolv_conf(&server.resolv_conf())
        .server(&(0..10).map(hanging).collect::<String>())
        .server(&format!("location / {{ {PROTECT} proxy_pass @api@; }}"))
        .allow_log("introspection of token")
        .start();
    let token = idp.issue();
    assert_eq!(http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]).status, 200);
    let mut clients: Vec<_> = (0..50)
        .map(|n| {
            let mut client = Client::connect(nginx.addr());
            let bearer = format!("Bearer {}", random(24));
            client.send(&request_bytes("GET", &format!("/hangs/{}", n % 10), &[("Authorization", &bearer)], b""));
            client
        })
        .collect();
    wait_for_in_progress(&nginx, clients.len());
    let neighbour = Neighbour::start(nginx.addr(), "/", &token.bearer());
    for _ in 0..20 {
        let begun = Instant::now();
        let response = http::get(nginx.addr(), "/", &[("Authorization", &idp.issue().bearer())]);
        assert_eq!(
            (response.status, begun.elapsed() < Duration::from_millis(700)),
            (200, true),
            "{:?}",
            begun.elapsed()
        );
    }
    for client in &mut clients {
        assert_eq!(client.read_response().status, 504);
    }
    let served = neighbour.stop();
    assert!(served.longest < Duration::from_millis(700), "{served:?}");
    let took = nginx.quit();
    assert!(took < Duration::from_secs(3), "the worker waited {took:?} for look-ups");
    nginx.finish();
}

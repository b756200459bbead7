//! A server that misbehaves in every way there is: the outcome table's status within the deadline, for both kinds of endpoint, and
//! nobody else in the worker notices.

mod support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;
use support::gateway::{PROTECT, asked_by_location, bare, wait_for_in_progress};
use support::raw::RawConnection;
use support::tls::Pki;
use support::{Api, Echo, Idp, Nginx, RawServer, http};

const TIMEOUT: Duration = Duration::from_millis(1500);

type Script = Box<dyn Fn(&mut RawConnection) + Send + Sync>;

struct Fault {
    name: &'static str,
    /// By a URL and by a location; 0 for any.
    status: [u16; 2],
    script: Script,
}

fn fault(name: &'static str, status: u16, script: impl Fn(&mut RawConnection) + Send + Sync + 'static) -> Fault {
    Fault { name, status: [status; 2], script: Box::new(script) }
}

fn answers(name: &'static str, status: u16, bytes: impl Into<Vec<u8>>) -> Fault {
    let bytes = bytes.into();
    fault(name, status, move |connection| {
        connection.send(&bytes);
    })
}

fn after(name: &'static str, status: u16, bytes: &'static [u8], then: fn(&mut RawConnection)) -> Fault {
    fault(name, status, move |connection| {
        connection.send(bytes);
        then(connection);
    })
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/jwt\r\n";

fn faults() -> Vec<Fault> {
    type Then = fn(&mut RawConnection);
    let (reset, hang): (Then, Then) = (RawConnection::reset, RawConnection::hang);
    let body = "eyJhbGciOiJFUzI1NiJ9.e30.c2ln";
    let whole = format!("{HEAD}Content-Length: {}\r\n\r\n{body}", body.len());
    let mut all = vec![
        after("closes without a byte", 502, b"", |_| {}),
        after("resets without a byte", 502, b"", reset),
        after("never answers", 504, b"", hang),
        after("resets in the status line", 502, b"HTTP/1.", reset),
        after("hangs in the status line", 504, b"HTTP/1.", hang),
        after("resets in the headers", 502, b"HTTP/1.1 200 OK\r\nContent-", reset),
        after("hangs in the headers", 504, b"HTTP/1.1 200 OK\r\nContent-", hang),
        after(
            "headers only",
            504,
            b"HTTP/1.1 200 OK\r\nContent-Type: application/jwt\r\nContent-Length: 9\r\n\r\n",
            hang,
        ),
        after(
            "resets in the body",
            502,
            b"HTTP/1.1 200 OK\r\nContent-Type: application/jwt\r\nContent-Length: 99\r\n\r\neyJ",
            reset,
        ),
        after(
            "closes in the body",
            502,
            b"HTTP/1.1 200 OK\r\nContent-Type: application/jwt\r\nContent-Length: 99\r\n\r\neyJ",
            |_| {},
        ),
        after(
            "closes in a chunk",
            502,
            b"HTTP/1.1 200 OK\r\nContent-Type: application/jwt\r\nTransfer-Encoding: chunked\r\n\r\n9\r\neyJ",
            |_| {},
        ),
        after(
            "closes between chunks",
            502,
            b"HTTP/1.1 200 OK\r\nContent-Type: application/jwt\r\nTransfer-Encoding: chunked\r\n\r\n3\r\neyJ\r\n",
            |_| {},
        ),
        after(
            "chunks without sense",
            502,
            b"HTTP/1.1 200 OK\r\nContent-Type: application/jwt\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            |_| {},
        ),
        fault("a byte at a time", 504, {
            let whole = whole.clone();
            move |connection| connection.trickle(whole.as_bytes(), Duration::from_millis(100))
        }),
        fault("a body without end", 502, |connection| {
            connection.send(format!("{HEAD}\r\n").as_bytes());
            while connection.send(&[b'a'; 16 << 10]) {}
        }),
        fault("headers without end", 502, |connection| {
            connection.send(b"HTTP/1.1 200 OK\r\n");
            while connection.send(format!("X-Header: {}\r\n", "x".repeat(1000)).as_bytes()) {}
        }),
        answers("100 KiB of headers", 502, format!("{HEAD}X: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(100 << 10))),
        answers("2 GiB announced", 502, format!("{HEAD}Content-Length: 2147483648\r\n\r\neyJ")),
        answers("a redirect", 502, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"),
        answers("a page", 502, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"),
        answers("no HTTP", 502, "SSH-2.0-OpenSSH_9.2\r\n"),
        answers(
            "no UTF-8",
            502,
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n{\"\xff\"".as_slice(),
        ),
        answers(
            "a switch of protocols",
            502,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        ),
        answers(
            "a line feed in the JWT",
            502,
            format!("{HEAD}Content-Length: {}\r\n\r\n{body}\r\nX: y", body.len() + 6),
        ),
    ];
    // whether that ends with the connection is for NGINX's proxy to say, and differs between versions
    all.extend([Fault {
        status: [502, 0],
        ..answers("a length that is none", 0, format!("{HEAD}Content-Length: many\r\n\r\n{body}"))
    }]);
    all
}

/// Requests with a cached token, one after the other, until told to stop: the longest any of them took.
fn neighbour(nginx: &Nginx, bearer: &str, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<Duration> {
    let (addr, bearer, stop) = (nginx.addr(), bearer.to_owned(), stop.clone());
    std::thread::spawn(move || {
        let mut longest = Duration::ZERO;
        let mut client = http::Client::connect(addr);
        while !stop.load(Ordering::SeqCst) {
            let begun = Instant::now();
            let response = client.request("GET", "/healthy", &[("Authorization", &bearer)], b"");
            assert_eq!(response.status, 200, "a neighbour was harmed");
            longest = longest.max(begun.elapsed());
        }
        longest
    })
}

#[test]
fn every_fault() {
    let (idp, api) = (Idp::start(), Api::start());
    let current: Arc<Mutex<Arc<Script>>> = Arc::new(Mutex::new(Arc::new(Box::new(|_: &mut RawConnection| {}))));
    let server = {
        let current = current.clone();
        RawServer::start(move |connection| {
            let script = current.lock().expect("the script").clone();
            if connection.read_request().is_some() {
                script(connection);
            }
        })
    };
    let nginx = asked_by_location(bare(&idp, &api), &idp)
        .workers(1)
        .var("faulty", server.url())
        .server("phantom_token_timeout 1500ms; keepalive_requests 100000000;")
        .server(&format!("location /healthy {{ {PROTECT} proxy_pass @api@; }}"))
        .server(
            "location /url { phantom_token on; phantom_token_client_auth none; \
             phantom_token_introspection_endpoint @faulty@/introspect; proxy_pass @api@; }",
        )
        .server("location /uri { phantom_token on; phantom_token_introspection_endpoint /faulty; proxy_pass @api@; }")
        .server("location = /faulty { internal; proxy_http_version 1.1; proxy_next_upstream off; proxy_pass @faulty@/introspect; }")
        .allow_log("upstream")
        .allow_log("introspection of token")
        .start();
    let token = idp.issue();
    let healthy = || http::get(nginx.addr(), "/healthy", &[("Authorization", &token.bearer())]);
    assert_eq!(Echo::of(&healthy()).bearer(), Some(token.jwt.as_str()));
    let mut wrong = Vec::new();
    for (n, fault) in faults().into_iter().enumerate() {
        *current.lock().expect("the script") = Arc::new(fault.script);
        for (path, status) in ["/url", "/uri"].into_iter().zip(fault.status) {
            let stop = Arc::new(AtomicBool::new(false));
            let neighbour = neighbour(&nginx, &token.bearer(), &stop);
            let begun = Instant::now();
            let response = http::get(nginx.addr(), path, &[("Authorization", &format!("Bearer faulty-{n}"))]);
            let took = begun.elapsed();
            stop.store(true, Ordering::SeqCst);
            let longest = neighbour.join().expect("the neighbour");
            if (status != 0 && response.status != status)
                || took > TIMEOUT + Duration::from_secs(1)
                || longest > Duration::from_secs(1)
            {
                wrong.push(format!(
                    "{} by {path}: {} after {took:?}, a neighbour waited {longest:?}",
                    fault.name, response.status
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // nothing is left of any of it
    wait_for_in_progress(&nginx, 0);
    assert_eq!(healthy().status, 200);
    assert!(api.requests().iter().all(|request| request.uri != "/url"));
    nginx.finish();
}

/// 1xx before the answer, and pauses within the deadline, are no faults.
#[test]
fn what_is_no_fault() {
    let (idp, api) = (Idp::start(), Api::start());
    let jwt = idp.issue().jwt;
    let rest = format!("{HEAD}Content-Length: {}\r\n\r\n{jwt}", jwt.len());
    let server = RawServer::start(move |connection| {
        if connection.read_request().is_some() {
            connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
            connection.trickle(&rest.as_bytes()[..40], Duration::from_millis(2));
            connection.send(&rest.as_bytes()[40..]);
        }
    });
    let nginx = bare(&idp, &api)
        .server(&format!(
            "location / {{ phantom_token on; phantom_token_client_auth none; phantom_token_introspection_endpoint {}; proxy_pass @api@; }}",
            server.url()
        ))
        .start();
    let response = http::get(nginx.addr(), "/", &[("Authorization", "Bearer any")]);
    assert_eq!(Echo::of(&response).bearer(), Some(jwt.as_str()));
    nginx.finish();
}

/// What an HTTP/2 server does with a request.
#[derive(Debug, Clone, Copy)]
enum Http2 {
    Answers,
    Reset,
    Refuses,
    GoesAway,
    Hangs,
    ResetsAfterHeaders,
    HangsAfterHeaders,
    ResetsInBody,
    EndsShort,
    Endless,
    BigHeaders,
    Drops,
}

/// One that does `current` with every request, over TLS.
fn http2_server(pki: &Pki, current: Arc<Mutex<Http2>>, jwt: &str) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    listener.set_nonblocking(true).expect("a listener for tokio");
    let addr = listener.local_addr().expect("an address");
    let (acceptor, jwt) = (pki.acceptor(&["h2"]), Bytes::copy_from_slice(jwt.as_bytes()));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, current, jwt) = (acceptor.clone(), current.clone(), jwt.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        let fault = *current.lock().expect("the fault");
                        match fault {
                            Http2::GoesAway => connection.abrupt_shutdown(Reason::INTERNAL_ERROR),
                            Http2::Drops => return,
                            Http2::Reset => respond.send_reset(Reason::INTERNAL_ERROR),
                            Http2::Refuses => respond.send_reset(Reason::REFUSED_STREAM),
                            // kept, or dropping it would reset the stream
                            Http2::Hangs => std::mem::forget(respond),
                            other => drop(tokio::spawn(respond_with(other, respond, jwt.clone()))),
                        }
                    }
                });
            }
        });
    });
    addr
}

async fn respond_with(fault: Http2, mut respond: h2::server::SendResponse<Bytes>, jwt: Bytes) {
    let mut response = hyper::Response::builder().header("content-type", "application/jwt");
    if let Http2::EndsShort | Http2::ResetsInBody = fault {
        response = response.header("content-length", jwt.len() + 10);
    }
    if let Http2::BigHeaders = fault {
        for i in 0..100 {
            response = response.header(format!("x-{i}"), "x".repeat(1024));
        }
    }
    let Ok(mut stream) = respond.send_response(response.body(()).expect("a response"), false) else { return };
    match fault {
        Http2::ResetsAfterHeaders => stream.send_reset(Reason::INTERNAL_ERROR),
        Http2::HangsAfterHeaders => std::future::pending().await,
        Http2::Endless => loop {
            stream.reserve_capacity(16 << 10);
            match std::future::poll_fn(|context| stream.poll_capacity(context)).await {
                Some(Ok(_)) if stream.send_data(Bytes::from(vec![b'a'; stream.capacity().max(1)]), false).is_ok() => {}
                _ => return,
            }
        },
        Http2::ResetsInBody => {
            let _ = stream.send_data(jwt, false);
            tokio::task::yield_now().await;
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
        _ => drop(stream.send_data(jwt, true)),
    }
}

#[test]
fn every_fault_of_http_2() {
    let (idp, api) = (Idp::start(), Api::start());
    let (pki, current) = (Pki::of("127.0.0.1"), Arc::new(Mutex::new(Http2::Answers)));
    let jwt = idp.issue().jwt;
    let server = http2_server(&pki, current.clone(), &jwt);
    let nginx = bare(&idp, &api)
        .workers(1)
        .file("ca.pem", pki.ca.clone())
        .server("phantom_token_timeout 1500ms; keepalive_requests 100000000;")
        .server(&format!("location /healthy {{ {PROTECT} proxy_pass @api@; }}"))
        .server(&format!(
            "location / {{ phantom_token on; phantom_token_client_auth none; phantom_token_cache_inactive_ttl 0; \
             phantom_token_ssl_trusted_certificate @dir@/ca.pem; \
             phantom_token_introspection_endpoint https://{server}/introspect; proxy_pass @api@; }}"
        ))
        .allow_log("introspection of token")
        .start();
    let token = idp.issue();
    let mut wrong = Vec::new();
    for (n, (fault, status)) in [
        (Http2::Answers, 200),
        (Http2::Reset, 502),
        (Http2::Refuses, 502),
        (Http2::GoesAway, 502),
        (Http2::Hangs, 504),
        (Http2::ResetsAfterHeaders, 502),
        (Http2::HangsAfterHeaders, 504),
        (Http2::ResetsInBody, 502),
        (Http2::EndsShort, 502),
        (Http2::Endless, 502),
        (Http2::BigHeaders, 502),
        (Http2::Drops, 502),
        (Http2::Answers, 200),
    ]
    .into_iter()
    .enumerate()
    {
        *current.lock().expect("the fault") = fault;
        let stop = Arc::new(AtomicBool::new(false));
        let neighbour = neighbour(&nginx, &token.bearer(), &stop);
        let begun = Instant::now();
        let response = http::get(nginx.addr(), "/", &[("Authorization", &format!("Bearer h2-{n}"))]);
        let took = begun.elapsed();
        stop.store(true, Ordering::SeqCst);
        let longest = neighbour.join().expect("the neighbour");
        if response.status != status || took > TIMEOUT + Duration::from_secs(1) || longest > Duration::from_secs(1) {
            wrong.push(format!("{fault:?}: {} after {took:?}, a neighbour waited {longest:?}", response.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    nginx.finish();
}

//! Every fault of an HTTP/1.1 server, and of one that does not even get so far.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::bench::Bench;
use super::support::gateway::bare;
use super::support::raw::RawConnection;
use super::support::{Api, Echo, Idp, RawServer, http, ports};

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
    let differing = |status, fault| Fault { status, ..fault };
    all.extend([
        answers("what gzip expands to without end", 502, {
            let bomb = gzipped(&vec![0; 10 << 20]);
            let head = format!("{HEAD}Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bomb.len());
            [head.as_bytes(), &bomb].concat()
        }),
        answers(
            "gzip that is none",
            502,
            format!("{HEAD}Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!"),
        ),
        after(
            "hangs in a chunk",
            504,
            b"HTTP/1.1 200 OK\r\nContent-Type: application/jwt\r\nTransfer-Encoding: chunked\r\n\r\n9\r\neyJ",
            hang,
        ),
        after(
            "hangs in the size of a chunk",
            504,
            b"HTTP/1.1 200 OK\r\nContent-Type: application/jwt\r\nTransfer-Encoding: chunked\r\n\r\n3\r\neyJ\r\n1",
            hang,
        ),
        after(
            "resets after the headers",
            502,
            b"HTTP/1.1 200 OK\r\nContent-Type: application/jwt\r\nContent-Length: 9\r\n\r\n",
            reset,
        ),
        // what that is to NGINX's proxy differs between versions
        differing(
            [504, 0],
            fault("interim answers without end", 0, |connection| {
                while connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n") {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }),
        ),
        // whether that ends with the connection is for NGINX's proxy to say, and differs between versions
        differing([502, 0], answers("a length that is none", 0, format!("{HEAD}Content-Length: many\r\n\r\n{body}"))),
        differing(
            [502, 0],
            answers("two lengths", 0, format!("{HEAD}Content-Length: 3\r\nContent-Length: 9\r\n\r\n{body}")),
        ),
    ]);
    all
}

fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("compress");
    encoder.finish().expect("compress")
}

/// Two locations that ask the server at this URL.
pub fn locations(url: &str) -> String {
    format!(
        "location /url {{ phantom_token on; phantom_token_client_auth none; phantom_token_introspection_endpoint {url}/introspect; \
         proxy_pass @api@; }}
         location /uri {{ phantom_token on; phantom_token_introspection_endpoint /faulty; proxy_pass @api@; }}
         location = /faulty {{ internal; proxy_http_version 1.1; proxy_next_upstream off; proxy_pass {url}/introspect; }}"
    )
}

#[test]
fn every_fault() {
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
    let mut bench = Bench::start(|builder| builder.server(&locations(&server.url())));
    for fault in faults() {
        *current.lock().expect("the script") = Arc::new(fault.script);
        bench.ask(fault.name, ["/url", "/uri"], fault.status);
    }
    bench.finish();
}

#[test]
fn nobody_listens() {
    let port = ports::reserve();
    let mut bench = Bench::start(|builder| builder.server(&locations(&format!("http://{}", port.addr()))));
    bench.ask("refused", ["/url", "/uri"], [502, 502]);
    bench.finish();
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

/// A second answer after the first is nobody's: it must not become that of the next token on this connection.
#[test]
fn an_answer_nobody_asked_for() {
    let (idp, api) = (Idp::start(), Api::start());
    let jwt = idp.issue().jwt;
    let inactive = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"active\":false}";
    let both = format!("{inactive}{HEAD}Content-Length: {}\r\n\r\n{jwt}", jwt.len());
    let server = RawServer::start(move |connection| {
        while connection.read_request().is_some() {
            connection.send(both.as_bytes());
        }
    });
    let nginx = bare(&idp, &api)
        .workers(1)
        .http(&format!("upstream faulty {{ server {}; keepalive 4; }}", server.addr()))
        .server(&format!(
            "location /url {{ phantom_token on; phantom_token_client_auth none; phantom_token_introspection_endpoint {}; \
             proxy_pass @api@; }}",
            server.url()
        ))
        .server("location /uri { phantom_token on; phantom_token_introspection_endpoint /faulty; proxy_pass @api@; }")
        .server(
            "location = /faulty { internal; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_pass http://faulty; }",
        )
        .allow_log("upstream sent more data than specified")
        .allow_log("introspection of token")
        .start();
    for path in ["/url", "/uri"] {
        for n in 0..20 {
            let response = http::get(nginx.addr(), path, &[("Authorization", &format!("Bearer {path}-{n}"))]);
            assert!([401, 502].contains(&response.status), "{path} {n}: {response:?}");
        }
    }
    assert_eq!(api.requests().len(), 0);
    nginx.finish();
}

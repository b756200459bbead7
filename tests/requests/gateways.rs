//! `fastcgi_pass`, `scgi_pass`, `uwsgi_pass`, `grpc_pass`: what they hand on is the JWT.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use super::support::gateway::{either, for_both_endpoints};
use super::support::http2::Connection;
use super::support::wait::DEADLINE;
use super::support::{Api, Idp, Nginx, Token, http};

for_both_endpoints![parameters_of_gateway_protocols, grpc,];

/// Serves connections one after the other: `request` reads one whole, and `answer` is sent.
fn serve(request: fn(&mut TcpStream) -> Vec<u8>, answer: Vec<u8>) -> (SocketAddr, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let addr = listener.local_addr().expect("an address");
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let request = request(&mut stream);
            // the test may be over
            let _ = stream.write_all(&answer);
            if sender.send(request).is_err() {
                return;
            }
        }
    });
    (addr, requests)
}

fn read(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("a whole request");
    bytes
}

/// Records until the empty one that ends FCGI_STDIN.
fn fastcgi_request(stream: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    loop {
        let header = read(stream, 8);
        let content = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let record = read(stream, content + usize::from(header[6]));
        request.extend_from_slice(&record[..content]);
        if (header[1], content) == (5, 0) {
            return request;
        }
    }
}

fn fastcgi_answer(content: &str) -> Vec<u8> {
    let record = |kind: u8, content: &[u8]| {
        let length = (content.len() as u16).to_be_bytes();
        [&[1, kind, 0, 1, length[0], length[1], 0, 0], content].concat()
    };
    [record(6, content.as_bytes()), record(6, b""), record(3, &[0; 8])].concat()
}

/// A netstring of parameters.
fn scgi_request(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = Vec::new();
    while length.last() != Some(&b':') {
        length.extend(read(stream, 1));
    }
    length.pop();
    let length: usize = String::from_utf8(length).expect("digits").parse().expect("a length");
    read(stream, length + 1)
}

/// A block of variables after its length.
fn uwsgi_request(stream: &mut TcpStream) -> Vec<u8> {
    let header = read(stream, 4);
    read(stream, usize::from(u16::from_le_bytes([header[1], header[2]])))
}

#[track_caller]
fn assert_handed_on(nginx: &Nginx, token: &Token, requests: &Receiver<Vec<u8>>) {
    for _ in ["asked", "cached"] {
        let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
        assert_eq!((response.status, response.text().as_str()), (200, "served"));
        let request = requests.recv_timeout(DEADLINE).expect("a request");
        let request = String::from_utf8_lossy(&request);
        let (_, value) = request.split_once("HTTP_AUTHORIZATION").expect("the parameter");
        // lengths come first in some, at most four bytes
        assert!(value.find(&token.jwt_bearer()).is_some_and(|at| at <= 4), "{request:?}");
        assert!(!request.contains(&token.opaque), "{request:?}");
    }
    assert_eq!(http::get(nginx.addr(), "/", &[]).status, 401);
    assert!(requests.try_recv().is_err(), "a refused request was handed on");
}

fn parameters_of_gateway_protocols(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    type Request = fn(&mut TcpStream) -> Vec<u8>;
    let cgi = "Status: 200 OK\r\nContent-Type: text/plain\r\n\r\nserved";
    let http = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nserved";
    let protocols: [(&str, Request, Vec<u8>); 3] = [
        ("fastcgi_pass", fastcgi_request, fastcgi_answer(cgi)),
        ("scgi_pass", scgi_request, cgi.into()),
        ("uwsgi_pass", uwsgi_request, http.into()),
    ];
    for (pass, request, answer) in protocols {
        let (server, requests) = serve(request, answer);
        let token = idp.issue();
        let parameter = pass.replace("pass", "param");
        let nginx = either(&idp, &api)
            .workers(1)
            .server(&format!("location / {{ {protect} {parameter} REQUEST_METHOD $request_method; {pass} {server}; }}"))
            .start();
        assert_handed_on(&nginx, &token, &requests);
        nginx.finish();
    }
}

/// An HTTP/2 server that answers as gRPC does and tells what `authorization` was.
fn grpc_server() -> (SocketAddr, Receiver<Option<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    listener.set_nonblocking(true).expect("a listener for tokio");
    let addr = listener.local_addr().expect("an address");
    let (sender, seen) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let mut connection = h2::server::handshake(stream).await.expect("HTTP/2 preface");
                let sender = sender.clone();
                tokio::spawn(async move {
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        let value = request.headers().get("authorization");
                        let _ = sender.send(value.and_then(|value| Some(value.to_str().ok()?.to_owned())));
                        let response = hyper::Response::builder().header("content-type", "application/grpc");
                        let mut stream =
                            respond.send_response(response.body(()).expect("a response"), false).expect("sent");
                        let mut trailers = hyper::HeaderMap::new();
                        trailers.insert("grpc-status", hyper::header::HeaderValue::from_static("0"));
                        stream.send_trailers(trailers).expect("sent");
                    }
                });
            }
        });
    });
    (addr, seen)
}

fn grpc(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let (server, seen) = grpc_server();
    let token = idp.issue();
    let nginx = either(&idp, &api)
        .listen_h2()
        .server(&format!("location / {{ {protect} grpc_pass grpc://{server}; }}"))
        .start();
    let connection = Connection::open(nginx.addr_of("h2"));
    for _ in ["asked", "cached"] {
        let headers = [("authorization", token.bearer()), ("content-type", "application/grpc".to_owned())];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let response = connection.start("POST", "/package.Service/Method", &headers, b"\0\0\0\0\0").response();
        assert_eq!((response.status, response.header("content-type")), (200, Some("application/grpc")));
        assert_eq!(seen.recv_timeout(DEADLINE), Ok(Some(token.jwt_bearer())));
    }
    assert_eq!(connection.start("POST", "/package.Service/Method", &[], b"").response().status, 401);
    assert!(seen.try_recv().is_err());
    nginx.finish();
}

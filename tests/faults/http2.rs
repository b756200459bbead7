//! Every fault of an HTTP/2 server, asked by the module's client and by NGINX's only one of HTTP/2 (`grpc_pass`).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::Reason;
use serde_json::json;

use super::bench::Bench;
use super::support::jwt;
use super::support::tls::Pki;

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
fn every_fault() {
    let (pki, current) = (Pki::of("127.0.0.1"), Arc::new(Mutex::new(Http2::Reset)));
    let jwt = format!("{}.c2lnbmF0dXJl", jwt::unsigned(&json!({"alg": "ES256"}), &json!({"sub": "jane"})));
    let server = http2_server(&pki, current.clone(), &jwt);
    let mut bench = Bench::start(|builder| {
        builder
            .file("ca.pem", pki.ca.clone())
            .server(&format!(
                "location /url {{ phantom_token on; phantom_token_client_auth none; phantom_token_cache off; \
                 phantom_token_ssl_trusted_certificate @dir@/ca.pem; \
                 phantom_token_introspection_endpoint https://{server}/introspect; try_files /none @ok; }}"
            ))
            .server("location /uri { phantom_token on; phantom_token_cache off; phantom_token_introspection_endpoint /faulty; try_files /none @ok; }")
            .server("location @ok { return 200; }")
            .server(&format!("location = /faulty {{ internal; grpc_next_upstream off; grpc_pass grpcs://{server}; }}"))
    });
    for (fault, status) in [
        (Http2::Reset, [502, 502]),
        (Http2::Refuses, [502, 502]),
        (Http2::GoesAway, [502, 502]),
        (Http2::Hangs, [504, 504]),
        (Http2::ResetsAfterHeaders, [502, 502]),
        (Http2::HangsAfterHeaders, [504, 504]),
        (Http2::ResetsInBody, [502, 502]),
        (Http2::EndsShort, [502, 502]),
        (Http2::Endless, [502, 502]),
        (Http2::BigHeaders, [502, 502]),
        (Http2::Drops, [502, 502]),
        // and nothing of it is remembered
        (Http2::Answers, [200, 200]),
    ] {
        *current.lock().expect("the fault") = fault;
        bench.ask(&format!("{fault:?}"), ["/url", "/uri"], status);
    }
    bench.finish();
}

//! A WebSocket handshake through the gateway, and what is sent on the connection afterwards.

use super::support::gateway::{either, for_both_endpoints};
use super::support::http::Client;
use super::support::{Answer, Api, Gate, Idp, RawServer, wire};

for_both_endpoints![upgrade,];

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn upgrade(protect: &str) {
    let (idp, api, gate) = (Idp::start(), Api::start(), Gate::closed());
    let server = RawServer::start(|connection| {
        if connection.read_request().is_none() {
            return;
        }
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello");
        // what the client says is read as one more request, and answered in kind
        if connection.read_request().is_some() {
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthere");
        }
    });
    let nginx = either(&idp, &api)
        .server(&format!(
            "location / {{ {protect} proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
             proxy_set_header Connection upgrade; proxy_pass {}; }}",
            server.url()
        ))
        .start();
    let token = idp.issue();
    idp.answer_all(Answer::normal().gated(&gate));
    for state in ["asked", "cached"] {
        let mut client = Client::connect(nginx.addr());
        let head = format!("GET /socket HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n{UPGRADE}\r\n", token.bearer());
        client.send(head.as_bytes());
        if state == "asked" {
            idp.wait_for_introspections(1);
            gate.open();
        }
        let response = client.read_response();
        assert_eq!((response.status, response.header("upgrade")), (101, Some("websocket")), "{state}");
        assert_eq!(client.read_exact(5), b"hello", "{state}");
        client.send(b"GET / HTTP/1.1\r\nHost: b\r\n\r\n");
        assert_eq!(client.read_response().text(), "there", "{state}");
    }
    let handshakes: Vec<_> =
        server.requests().into_iter().filter(|request| request.head.start.contains("/socket")).collect();
    assert_eq!(handshakes.len(), 2);
    for handshake in handshakes {
        let sent: Vec<_> = wire::values(&handshake.head.headers, "authorization").collect();
        assert_eq!(sent, [token.jwt_bearer()]);
    }

    let mut client = Client::connect(nginx.addr());
    client.send(format!("GET /socket HTTP/1.1\r\nHost: a\r\n{UPGRADE}\r\n").as_bytes());
    assert_eq!(client.read_response().status, 401);
    nginx.finish();
}

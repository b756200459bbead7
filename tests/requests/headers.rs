//! Header fields: all but `Authorization` arrive as they came.

use super::support::gateway::{either, for_both_endpoints, gateway_that};
use super::support::http::{self, Client};
use super::support::idp::random;
use super::support::{Api, Echo, Idp, TokenSpec, wire};

for_both_endpoints![
    forty_fields_arrive_in_order_byte_for_byte,
    a_token_of_7_kb_and_a_jwt_of_16_kb,
    a_token_is_form_encoded_for_the_endpoint,
    a_variable_read_before_is_read_anew,
];

/// Forty fields with everything a value may have in it.
fn fields() -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<(String, Vec<u8>)> = (0..34)
        .map(|i| {
            (format!("X-{}-Field{i}", if i % 2 == 0 { "UPPER" } else { "lower" }), format!("value {i}").into_bytes())
        })
        .collect();
    fields.push(("X-Again".to_owned(), b"first".to_vec()));
    fields.push(("x-again".to_owned(), b"second, third".to_vec()));
    fields.push(("X-Quoted".to_owned(), b"\"a;b\\\"c\"; q=0.5  two  spaces\tand a tab".to_vec()));
    fields.push(("X-Bytes".to_owned(), b"caf\xc3\xa9 \xe9\xff\x80".to_vec()));
    fields.push(("X-Long".to_owned(), vec![b'l'; 4000]));
    fields.push(("Cookie".to_owned(), b"session=a%20b; authorization=Bearer x".to_vec()));
    fields
}

fn forty_fields_arrive_in_order_byte_for_byte(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway_that(protect, &idp, &api).workers(1).start();
    let token = idp.issue();
    for (place, spelling) in [(0, "Authorization"), (17, "authorization"), (40, "AUTHORIZATION")] {
        let mut sent = fields();
        sent.insert(place, (spelling.to_owned(), token.bearer().into_bytes()));
        let mut bytes = b"GET /path?query=%2F HTTP/1.1\r\nHost: localhost\r\n".to_vec();
        for (name, value) in &sent {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend(b"\r\n");
        let mut client = Client::connect(nginx.addr());
        client.send(&bytes);
        let echo = Echo::of(&client.read_response());
        let mut expected: Vec<(String, String)> =
            sent.iter().map(|(name, value)| (name.clone(), wire::text(value))).collect();
        expected[place].1 = token.jwt_bearer();
        // what proxy_pass says of itself comes first
        let own = echo.headers.iter().take_while(|(name, _)| name == "Host" || name == "Connection").count();
        let arrived = &echo.headers[own..];
        assert_eq!(arrived, expected);
        assert_eq!(echo.uri, "/path?query=%2F");
    }
    assert_eq!(idp.introspection_count(), 1);
    nginx.finish();
}

fn a_token_of_7_kb_and_a_jwt_of_16_kb(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway_that(protect, &idp, &api).workers(1).listen_h2().start();
    let token = idp.issue_token(TokenSpec::new().opaque(random(5250)).jwt_at_least(16 * 1024));
    assert!(token.opaque.len() == 7000 && token.jwt.len() >= 16 * 1024);
    for expected in ["MISS", "HIT"] {
        let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
        assert_eq!(response.header("x-cache"), Some(expected));
        assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
    }
    let connection = super::support::http2::Connection::open(nginx.addr_of("h2"));
    let response = connection.get("/", &[("authorization", &token.bearer())]);
    assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
    assert_eq!(idp.introspections()[0].token(), Some(token.opaque.as_str()));
    assert_eq!(idp.introspection_count(), 1);
    nginx.finish();
}

fn a_token_is_form_encoded_for_the_endpoint(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway_that(protect, &idp, &api).workers(1).start();
    let token = idp.issue_token(TokenSpec::new().opaque(format!("a+b/c~d._-{}==", random(12))));
    let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
    assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
    let asked = &idp.introspections()[0];
    let expected = [("token", token.opaque.as_str()), ("token_type_hint", "access_token")];
    assert_eq!(asked.form, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    nginx.finish();
}

fn a_variable_read_before_is_read_anew(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let location = format!(
        "location / {{ {protect} set $x $http_authorization; proxy_pass @api@; \
         proxy_set_header Authorization $http_authorization; proxy_set_header X-Before $x; }}"
    );
    let nginx = either(&idp, &api).workers(1).listen_h2().server(&location).start();
    let token = idp.issue();
    for cache in ["cold", "cached"] {
        let echo = Echo::of(&http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]));
        assert_eq!(echo.all("authorization"), [token.jwt_bearer()], "{cache}");
        // what was copied before the access phase is the operator's own
        assert_eq!(echo.header("x-before"), Some(token.bearer().as_str()));
    }
    let connection = super::support::http2::Connection::open(nginx.addr_of("h2"));
    let echo = Echo::of(&connection.get("/", &[("authorization", &token.bearer())]));
    assert_eq!(echo.all("authorization"), [token.jwt_bearer()]);
    nginx.finish();
}

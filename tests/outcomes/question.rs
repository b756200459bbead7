//! What the authorization server is asked, to the byte, and what the API gets besides the JWT.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::bench::{Bench, CREDENTIALS, REFUSED, names};
use crate::support::idp::{ClientAuth, random};
use crate::support::{Echo, Idp, Shape, TokenSpec, http};

#[test]
fn the_request_is_the_standard_one_and_nothing_else() {
    let bench = Bench::start();
    let token = bench.idp.issue_token(TokenSpec::new().opaque("a.b-c_d+e/f=="));
    let headers = [
        ("Authorization", "Bearer a.b-c_d+e/f=="),
        ("Cookie", "session=1"),
        ("User-Agent", "client"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("Accept", "text/html"),
        ("Accept-Encoding", "gzip"),
    ];
    let echo = Echo::of(&http::request(bench.addr(), "POST", "/a?token=x", &headers, b"token=y"));
    assert_eq!(echo.bearer(), Some(token.jwt.as_str()));
    let asked = bench.idp.introspections();
    let [asked] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/oauth/introspect"));
    assert_eq!(asked.version, "HTTP/1.1");
    assert_eq!(asked.body, "token=a.b-c_d%2Be%2Ff%3D%3D&token_type_hint=access_token");
    let expected = ["accept", "authorization", "content-length", "content-type", "host"];
    assert_eq!(names(&asked.headers), expected, "{:?}", asked.headers);
    let host = bench.idp.addr().to_string();
    let authorization = bench.idp.client_authorization();
    for (name, value) in [
        ("accept", "application/jwt"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-length", &asked.body.len().to_string()),
        ("host", &host),
        ("authorization", &authorization),
    ] {
        assert_eq!(asked.header(name), Some(value), "{name}");
    }
    bench.finish();
}

#[test]
fn the_token_is_what_the_server_reads_from_the_form() {
    let bench = Bench::start();
    for opaque in ["~tilde~", "plus+plus", "slash/slash", "pad==", "-._~+/=="] {
        let token = bench.idp.issue_token(TokenSpec::new().opaque(opaque));
        bench.idp.forget_introspections();
        bench.assert_forwarded(opaque, opaque, &token.jwt);
        let form = [("token", opaque), ("token_type_hint", "access_token")];
        let form: Vec<(String, String)> = form.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
        assert_eq!(bench.idp.introspections()[0].form, form);
    }
    bench.finish();
}

#[test]
fn the_query_of_the_endpoint_is_kept() {
    let idp = Idp::start();
    let url = format!("{}?realm=a%20b&x=", idp.introspection_url());
    let bench =
        Bench::launch(idp, |builder, idp| builder.var("directives", CREDENTIALS).var("introspect", url).idp(idp));
    bench.assert_healthy();
    assert_eq!(bench.idp.introspections()[0].path, "/oauth/introspect?realm=a%20b&x=");
    bench.finish();
}

#[test]
fn accept_is_sent_as_written() {
    for (written, sent) in [
        ("application/jwt", "application/jwt"),
        ("application/json", "application/json"),
        ("\"application/JWT, application/json;q=0.5\"", "application/JWT, application/json;q=0.5"),
        ("\"application/jwt ,*/*\"", "application/jwt ,*/*"),
    ] {
        let bench = Bench::of(
            Idp::builder().shape(Shape::CurityProcedure).start(),
            &format!("phantom_token_accept {written};"),
        );
        bench.assert_healthy();
        assert_eq!(bench.idp.introspections()[0].header("accept"), Some(sent));
        bench.finish();
    }
}

#[test]
fn basic_credentials_are_form_encoded_first() {
    // RFC 6749 §2.3.1
    for (id, secret, encoded) in [
        ("gateway", "s3cr3t-of-the-gateway", "gateway:s3cr3t-of-the-gateway"),
        ("a:b", "with:colon and space", "a%3Ab:with%3Acolon+and+space"),
        ("a&b=c", "100%+1/2=p\u{e4}ss", "a%26b%3Dc:100%25%2B1%2F2%3Dp%C3%A4ss"),
        ("id*-._", "quote\"back'slash~", "id*-._:quote%22back%27slash%7E"),
    ] {
        let idp = Idp::builder().client(id, secret).start();
        let bench = Bench::launch(idp, |builder, idp| {
            let directives = "phantom_token_client_id '@id@'; phantom_token_client_secret_file @dir@/secret;";
            builder.file("secret", secret).var("directives", directives).idp(idp)
        });
        bench.assert_healthy();
        let expected = format!("Basic {}", STANDARD.encode(encoded));
        assert_eq!(bench.idp.introspections()[0].header("authorization"), Some(expected.as_str()), "{id}");
        bench.finish();
    }
}

#[test]
fn without_client_credentials_none_are_sent() {
    let idp = Idp::builder().client_auth(ClientAuth::None).start();
    let bench = Bench::launch(idp, |builder, idp| builder.var("directives", "").idp(idp));
    bench.assert_healthy();
    let asked = &bench.idp.introspections()[0];
    assert_eq!(names(&asked.headers), ["accept", "content-length", "content-type", "host"]);
    assert!(asked.body.ends_with("&token_type_hint=access_token"), "nothing added to the form");
    bench.finish();
}

#[test]
fn wrong_client_credentials_are_the_gateways_fault() {
    let secret = random(18);
    let bench = Bench::launch(Idp::start(), |builder, idp| {
        builder
            .var("directives", "phantom_token_client_id @id@; phantom_token_client_secret @wrong@;")
            .var("wrong", &secret)
            .idp(idp)
    });
    bench.idp.add_secret(&secret);
    let token = bench.idp.issue();
    bench.assert_token_refused("wrong secret", &token.opaque, REFUSED, 2);
    bench.assert_logged("wrong secret", 2, "[error]", "client credentials");
    bench.finish();
}

#[test]
fn everything_but_the_token_reaches_the_api_as_it_came() {
    let bench = Bench::start();
    let token = bench.idp.issue();
    let client = [
        ("X-First", "1"),
        ("Authorization", &token.bearer()),
        ("x-lower", "a  b"),
        ("X-Twice", "one"),
        ("Cookie", "a=b; c=d"),
        ("X-Twice", "two"),
        ("X-UPPER", "\u{fc}"),
        ("Proxy-Authorization", "Basic eDp5"),
    ];
    let target = "/p%61th/?q=%20&token=x";
    let body = b"\x00\xffbody";
    for request in 1..=2 {
        let echo = Echo::of(&http::request(bench.addr(), "PUT", target, &client, body));
        assert_eq!((echo.method.as_str(), echo.uri.as_str()), ("PUT", target));
        assert_eq!((echo.body_length, echo.body_sha256), (body.len(), crate::support::api::sha256(body)));
        let jwt = token.jwt_bearer();
        let mut expected: Vec<(String, String)> = Vec::new();
        for (name, value) in client {
            let value = if name == "Authorization" { jwt.as_str() } else { value };
            expected.push((name.to_owned(), value.to_owned()));
        }
        // what NGINX itself sets
        let own = ["host", "connection", "content-length"];
        let got = echo.headers.iter().filter(|(n, _)| !own.contains(&n.to_ascii_lowercase().as_str())).cloned();
        assert_eq!(got.collect::<Vec<_>>(), expected, "request {request}");
    }
    bench.finish();
}

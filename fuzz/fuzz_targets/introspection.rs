//! What a server may answer: nothing is active but what says so and has a JWT that is safe in a header.
#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use ngx_http_phantom_token_module::claims::{Claims, List, Wanted, has_value, picked_text, text};
use ngx_http_phantom_token_module::introspection::{Answer, MAX_BODY, Response, interpret};
use ngx_http_phantom_token_module::jwt::Jwt;
use ngx_http_phantom_token_module::settings::{ClientAuth, Endpoint, EndpointUrl, IntrospectionJwt, Profile, Tls};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    status: u16,
    content_type: Kind<'a>,
    headers: Vec<(&'a str, &'a [u8])>,
    forward: bool,
    body: &'a [u8],
}

#[derive(Arbitrary, Debug)]
enum Kind<'a> {
    Jwt,
    Json,
    Introspection,
    Other(&'a [u8]),
}

fuzz_target!(|input: Input| {
    let mut headers = HeaderMap::new();
    let content_type = match input.content_type {
        Kind::Jwt => b"application/jwt".as_slice(),
        Kind::Json => b"application/json",
        Kind::Introspection => b"application/token-introspection+jwt",
        Kind::Other(other) => other,
    };
    for (name, value) in input.headers.iter().take(8).copied().chain([("content-type", content_type)]) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let status = if input.status % 4 == 0 { 200 } else { input.status };
    let profile = Profile {
        endpoint: Endpoint::Url(EndpointUrl::parse("https://as.example/").expect("a URL")),
        client_auth: ClientAuth::None,
        accept: "application/jwt".to_owned(),
        jwt_members: vec!["phantom_token".to_owned(), "jwt".to_owned()],
        introspection_jwt: if input.forward { IntrospectionJwt::Forward } else { IntrospectionJwt::Reject },
        tls: Tls::new(),
        ignore_cache_control: false,
        max_ttl: std::time::Duration::from_secs(60),
        inactive_ttl: std::time::Duration::from_secs(5),
    };
    let response = Response { status, headers, body: Bytes::copy_from_slice(input.body) };
    let names = ["sub", "scope", "a"];
    let wanted = Wanted::new(&[List { name: "sub", separated: false }], names.map(str::to_owned).to_vec());
    match interpret(&response, &profile, &wanted) {
        Ok(Answer::Active(active)) => {
            assert_eq!(status, 200);
            let jwt = active.jwt();
            assert!(jwt.len() <= MAX_BODY && jwt.split('.').count() == 3);
            assert!(jwt.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
            let decoded = Jwt::decode(jwt).expect("a JWT");
            assert!(decoded.check_algorithm().is_ok() && !decoded.states_inactive());
            assert!(input.forward || !decoded.is_introspection_answer());
            let claims = Claims::of(&active);
            let sub = claims.get("sub").and_then(|sub| sub.as_str()).filter(|sub| !sub.contains('\n'));
            assert!(sub.is_none_or(|sub| has_value(&active, "sub", sub)));
            for name in names {
                // what is kept for a hit is what reading everything finds
                assert_eq!(picked_text(&active, name), claims.get_lowercase(name).map(text).as_deref());
                if let Some(claim) = claims.get_lowercase(name) {
                    assert!(!text(claim).bytes().any(|b| b.is_ascii_control()));
                }
            }
        }
        Ok(Answer::Inactive(_)) => assert!(status == 200 || status == 204),
        // what the log gets has no line break and an end
        Err(failure) => {
            let message = failure.to_string();
            assert!(message.len() < 1024 && !message.bytes().any(|b| b.is_ascii_control()), "{message}");
        }
    }
});

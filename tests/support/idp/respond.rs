//! The endpoints of the authorization server.

use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::answer::{Act, Answer};
use super::content::Content;
use super::server::{Cut, Line};
use super::token::{Token, TokenSpec, now};
use super::{ClientAuth, Introspection, Shape, Shared};

type Form = Vec<(String, String)>;

/// Answers one request.
pub(super) async fn respond(
    shared: Arc<Shared>,
    connection: usize,
    line: Line,
    request: Request<Incoming>,
) -> Response<Content> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return plain(400);
    };
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let form: Form = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let path = parts.uri.path().to_owned();
    if path == "/oauth/jwks" {
        return json_response(200, &shared.signer.jwks());
    }
    if path == "/oauth/token" {
        shared.record.change(|counts| counts.token_requests += 1);
        return token(&shared, &parts, &form);
    }
    let Some(shape) = path.strip_prefix("/oauth/introspect") else {
        return plain(404);
    };
    let headers = parts.headers.iter();
    let headers = headers.map(|(n, v)| (n.as_str().to_owned(), super::super::wire::text(v.as_bytes()))).collect();
    let record = Introspection {
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().map_or(path.clone(), |p| p.to_string()),
        version: format!("{:?}", parts.version),
        headers,
        body,
        form: form.clone(),
        connection,
        at: Instant::now(),
    };
    let answer = shared.script(record.token());
    shared.record.change(|counts| counts.introspections.push(record));
    if !answer.delay.is_zero() {
        tokio::time::sleep(answer.delay).await;
    }
    if let Some(gate) = &answer.gate {
        gate.pass().await;
    }
    let mut response = match &answer.act {
        Act::Normal => introspect(&shared, shape.trim_start_matches('/'), &parts, &form),
        Act::Verbatim { status, body } => content(*status, body.clone()),
        Act::Hang => std::future::pending().await,
        Act::Close => cut(&shared, &line, Cut::Close).await,
        Act::Reset => cut(&shared, &line, Cut::Reset).await,
    };
    dress(&mut response, &answer);
    shared.record.change(|counts| counts.answered += 1);
    response
}

async fn cut(shared: &Shared, line: &Line, cut: Cut) -> Response<Content> {
    shared.record.change(|counts| counts.answered += 1);
    let _ = line.send(cut);
    std::future::pending().await
}

/// Puts the scripted fields on a response.
fn dress(response: &mut Response<Content>, answer: &Answer) {
    response.body_mut().length_unknown = answer.chunked;
    let headers = response.headers_mut();
    for name in &answer.removed {
        headers.remove(name.as_str());
    }
    let named: Vec<(HeaderName, &Vec<u8>)> =
        answer.headers.iter().map(|(name, value)| (name.parse().expect("a header name in a script"), value)).collect();
    for (name, _) in &named {
        headers.remove(name);
    }
    for (name, value) in named {
        let value = HeaderValue::from_bytes(value).expect("a header value in a script");
        headers.append(name, value);
    }
}

/// RFC 6749 §4.4.
fn token(shared: &Shared, parts: &Parts, form: &Form) -> Response<Content> {
    if parts.method != Method::POST {
        return plain(405);
    }
    if !authenticated(shared, ClientAuth::Basic, parts, form) {
        return invalid_client();
    }
    if value(form, "grant_type") != Some("client_credentials") {
        return json_response(400, &json!({"error": "unsupported_grant_type"}));
    }
    let scope = value(form, "scope").unwrap_or("read");
    let lifetime = shared.settings().lifetime;
    let spec = TokenSpec::new().subject(&shared.client_id).scope(scope).expires_in(lifetime);
    let token = shared.issue(spec);
    let mut response = json_response(
        200,
        &json!({
            "access_token": token.opaque, "token_type": "Bearer",
            "expires_in": lifetime, "scope": scope,
        }),
    );
    no_store(&mut response);
    response
}

/// RFC 7662, in one of its shapes.
fn introspect(shared: &Shared, shape: &str, parts: &Parts, form: &Form) -> Response<Content> {
    if parts.method != Method::POST {
        return plain(405);
    }
    if !authenticated(shared, shared.client_auth, parts, form) {
        return invalid_client();
    }
    let Some(asked) = value(form, "token") else {
        return json_response(400, &json!({"error": "invalid_request"}));
    };
    let settings = shared.settings();
    let found = settings.tokens.get(asked).filter(|token| token.is_active());
    let shape = named(shape).unwrap_or(settings.shape);
    let accept = parts.headers.get(ACCEPT).map_or("", |v| v.to_str().unwrap_or(""));
    let wants_jwt = accept.contains("application/jwt");
    let mut members = found.map_or(json!({"active": false}), |t| t.members.clone().into());
    match shape {
        Shape::CurityRaw if wants_jwt => curity_raw(found),
        Shape::CurityRaw => json_response(200, &members),
        Shape::CurityProcedure => {
            add(&mut members, "phantom_token", found);
            json_response(200, &members)
        }
        Shape::Keycloak => {
            // Keycloak compares the whole value
            add(&mut members, "jwt", found.filter(|_| accept == "application/jwt"));
            let mut response = json_response(200, &members);
            no_store(&mut response);
            response
        }
        Shape::Plain => json_response(200, &members),
        Shape::Rfc9701 => {
            let payload = json!({
                "iss": shared.url, "aud": shared.client_id, "iat": now(),
                "token_introspection": members,
            });
            let jwt = shared.signer.sign("token-introspection+jwt", &payload);
            let mut response = content(200, jwt.into_bytes());
            typed(&mut response, "application/token-introspection+jwt");
            no_store(&mut response);
            response
        }
    }
}

fn curity_raw(token: Option<&Token>) -> Response<Content> {
    let Some(token) = token else {
        return plain(204);
    };
    let mut response = content(200, token.jwt.clone().into_bytes());
    typed(&mut response, "application/jwt");
    if let Some(seconds) = token.remaining() {
        let value = format!("max-age={}", seconds.max(0));
        let value = HeaderValue::try_from(value).expect("a max-age");
        response.headers_mut().insert(CACHE_CONTROL, value);
    }
    response
}

fn add(members: &mut Value, name: &str, token: Option<&Token>) {
    if let Some(token) = token {
        members[name] = token.jwt.clone().into();
    }
}

fn named(shape: &str) -> Option<Shape> {
    use Shape::*;
    [CurityRaw, CurityProcedure, Keycloak, Plain, Rfc9701].into_iter().find(|known| format!("{known:?}") == shape)
}

fn authenticated(shared: &Shared, method: ClientAuth, parts: &Parts, form: &Form) -> bool {
    let (id, secret) = (&shared.client_id, &shared.client_secret);
    let authorization = parts.headers.get(AUTHORIZATION);
    match method {
        ClientAuth::None => true,
        ClientAuth::Post => value(form, "client_id") == Some(id) && value(form, "client_secret") == Some(secret),
        ClientAuth::BasicRaw => {
            let expected = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
            authorization.is_some_and(|v| v.as_bytes() == expected.as_bytes())
        }
        ClientAuth::Basic => authorization
            .and_then(|v| v.to_str().ok()?.strip_prefix("Basic "))
            .and_then(|credentials| STANDARD.decode(credentials).ok())
            .and_then(|credentials| String::from_utf8(credentials).ok())
            .and_then(|credentials| {
                let (i, s) = credentials.split_once(':')?;
                Some((decoded(i), decoded(s)))
            })
            .is_some_and(|(i, s)| &i == id && &s == secret),
    }
}

/// `Authorization: Basic` as RFC 6749 §2.3.1 has it.
pub(super) fn basic(id: &str, secret: &str) -> String {
    let encoded = |s: &str| form_urlencoded::byte_serialize(s.as_bytes()).collect::<String>();
    let credentials = format!("{}:{}", encoded(id), encoded(secret));
    format!("Basic {}", STANDARD.encode(credentials))
}

fn decoded(part: &str) -> String {
    // the name of a form without values: what is decoded and neither split nor joined
    let part = part.replace('&', "%26").replace('=', "%3D");
    let first = form_urlencoded::parse(part.as_bytes()).next();
    first.map_or_else(String::new, |(name, _)| name.into_owned())
}

fn value<'a>(form: &'a Form, name: &str) -> Option<&'a str> {
    let found = form.iter().find(|(n, _)| n == name);
    found.map(|(_, value)| value.as_str())
}

fn invalid_client() -> Response<Content> {
    let mut response = json_response(401, &json!({"error": "invalid_client"}));
    let challenge = HeaderValue::from_static("Basic realm=\"oauth\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn json_response(status: u16, value: &Value) -> Response<Content> {
    let mut response = content(status, value.to_string().into_bytes());
    typed(&mut response, "application/json");
    response
}

fn plain(status: u16) -> Response<Content> {
    content(status, Vec::new())
}

fn content(status: u16, body: Vec<u8>) -> Response<Content> {
    let mut response = Response::new(Content::new(body));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status code");
    response
}

fn typed(response: &mut Response<Content>, value: &'static str) {
    let value = HeaderValue::from_static(value);
    response.headers_mut().insert(CONTENT_TYPE, value);
}

fn no_store(response: &mut Response<Content>) {
    let value = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, value);
}

impl Shared {
    /// The script for an introspection; a queued one is used up.
    fn script(&self, token: Option<&str>) -> Answer {
        let mut settings = self.settings();
        settings
            .next
            .pop_front()
            .or_else(|| settings.of_token.get(token?).cloned())
            .or_else(|| settings.of_all.clone())
            .unwrap_or_else(Answer::normal)
    }
}

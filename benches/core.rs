//! What the core's steps take by themselves: `cargo bench --no-default-features`. `scripts/bench.sh core` runs it and puts the medians into
//! its report.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, header};
use ngx_http_phantom_token_module::bearer::credential;
use ngx_http_phantom_token_module::cache::{Cache, Known, Now};
use ngx_http_phantom_token_module::claims::Wanted;
use ngx_http_phantom_token_module::freshness;
use ngx_http_phantom_token_module::introspection::{Active, Response, interpret, request_form};
use ngx_http_phantom_token_module::key::{Key, KeyMaker, Seed};
use ngx_http_phantom_token_module::settings::{ClientAuth, Endpoint, EndpointUrl, IntrospectionJwt, Profile, Tls};
use serde_json::json;

const NOW: Now = Now { msec: 1_000_000, unix: 1_800_000_000 };
const LIFETIME: u64 = 3_600_000;
const EXP: i64 = 4_102_444_800;

fn profile() -> Profile {
    Profile {
        endpoint: Endpoint::Url(EndpointUrl::parse("https://login.example.com/introspect").unwrap()),
        client_auth: ClientAuth::None,
        accept: "application/jwt".to_owned(),
        jwt_members: vec!["phantom_token".to_owned(), "jwt".to_owned()],
        introspection_jwt: IntrospectionJwt::Reject,
        tls: Tls::new(),
        ignore_cache_control: false,
        max_ttl: Duration::from_secs(60),
        inactive_ttl: Duration::from_secs(5),
    }
}

fn token(n: usize) -> String {
    format!("t{n:063}")
}

/// Of about this many bytes; nobody here verifies its signature.
fn jwt(size: usize) -> String {
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(&json!({"alg": "ES256", "typ": "at+jwt"}));
    let claims = |pad: usize| {
        part(&json!({
            "iss": "https://login.example.com", "sub": "bench", "aud": ["api"], "scope": "read write",
            "exp": EXP, "pad": "x".repeat(pad),
        }))
    };
    let around = header.len() + claims(0).len() + 2 + 86;
    format!("{header}.{}.{}", claims(size.saturating_sub(around) * 3 / 4), "s".repeat(86))
}

fn response(content_type: &'static str, body: String) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    headers.insert(header::DATE, HeaderValue::from_static("Fri, 15 Jan 2027 08:00:00 GMT"));
    Response { status: 200, headers, body: Bytes::from(body) }
}

fn request(c: &mut Criterion) {
    let value = format!("Bearer {}", token(1));
    c.bench_function("credential", |b| b.iter(|| credential(Some(black_box(value.as_bytes())))));
    let keys = KeyMaker::new(&Seed::draw().unwrap(), &profile());
    let token = token(1);
    c.bench_function("key", |b| b.iter(|| keys.key(black_box(b""), black_box(token.as_bytes()))));
    c.bench_function("request_form", |b| b.iter(|| request_form(black_box(token.as_bytes()), "")));
}

/// A cache with this many tokens, and their keys in an order without order.
fn filled(count: usize) -> (Cache, Vec<Key>) {
    let keys = KeyMaker::new(&Seed::draw().unwrap(), &profile());
    let mut cache = Cache::new(4 << 30, 0);
    let jwt = jwt(512);
    let mut order: Vec<Key> = (0..count).map(|n| keys.key(b"", token(n).as_bytes())).collect();
    for key in &order {
        cache.insert_active(*key, Active::new(&jwt, Some(EXP), ""), LIFETIME, NOW);
    }
    // a permutation by a step that has no divisor in common with a power of ten
    order = (0..count).map(|n| order[(n * 7_919 + 13) % count]).collect();
    (cache, order)
}

fn cache(c: &mut Criterion) {
    let mut group = c.benchmark_group("cache_get");
    for count in [1, 100, 10_000, 1_000_000] {
        let (mut cache, keys) = filled(count);
        let mut next = 0;
        group.bench_function(count.to_string(), |b| {
            b.iter(|| {
                next = if next + 1 == keys.len() { 0 } else { next + 1 };
                let known = cache.get(black_box(&keys[next]), NOW);
                assert!(matches!(known, Some(Known::Active(_))));
            });
        });
    }
    group.finish();

    // each insertion has to make room: the cache holds some thousand entries
    let keys = KeyMaker::new(&Seed::draw().unwrap(), &profile());
    let mut cache = Cache::new(8 << 20, 0);
    let jwt = jwt(1024);
    let mut next = 0;
    let mut insert = |cache: &mut Cache| {
        next += 1;
        let key = keys.key(b"", &usize::to_le_bytes(next));
        cache.insert_active(key, Active::new(&jwt, Some(EXP), ""), LIFETIME, NOW);
    };
    for _ in 0..20_000 {
        insert(&mut cache);
    }
    let (entries, _) = cache.usage()[0];
    assert!(entries < 20_000, "nothing was evicted");
    c.bench_function("cache_insert_evicting", |b| b.iter(|| insert(&mut cache)));
}

fn answer(c: &mut Criterion) {
    let (profile, wanted) = (profile(), Wanted::default());
    let mut group = c.benchmark_group("interpret");
    for size in [1024, 4096] {
        let jwt = jwt(size);
        let raw = response("application/jwt", jwt.clone());
        let members = json!({
            "active": true, "sub": "bench", "scope": "read write", "client_id": "app", "exp": EXP,
            "token_type": "Bearer", "phantom_token": jwt,
        });
        let json = response("application/json", members.to_string());
        for (name, response) in [("jwt", raw), ("json", json)] {
            assert!(interpret(&response, &profile, &wanted).is_ok(), "an answer that cannot be used");
            group.throughput(Throughput::Bytes(response.body.len() as u64));
            group.bench_function(format!("{name}_{size}"), |b| {
                b.iter(|| interpret(black_box(&response), &profile, &wanted));
            });
        }
    }
    group.finish();

    let headers = response("application/jwt", String::new()).headers;
    c.bench_function("freshness", |b| {
        b.iter(|| {
            let stated = freshness::stated(black_box(&headers), false);
            freshness::lifetime(NOW.unix, stated, Some(EXP), profile.max_ttl)
        });
    });
}

criterion_group!(core, request, cache, answer);
criterion_main!(core);

//! Caching headers of every kind: no lifetime beyond the bound, none into the last second before `exp`.
#![no_main]

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use ngx_http_phantom_token_module::freshness::{Stated, lifetime, stated};

fuzz_target!(|input: (Vec<(u8, &[u8])>, i64, Option<i64>, u32, bool)| {
    let (lines, now, exp, max_ttl, ignore) = input;
    let names = ["cache-control", "age", "expires", "date", "vary", "pragma"].map(HeaderName::from_static);
    let mut headers = HeaderMap::new();
    for (name, value) in lines.into_iter().take(16) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(names[usize::from(name) % names.len()].clone(), value);
        }
    }
    let stated = stated(&headers, ignore);
    assert!(!ignore || matches!(stated, Stated::Nothing));
    let max_ttl = Duration::from_secs(max_ttl.into());
    if let Some(lifetime) = lifetime(now, stated, exp, max_ttl) {
        assert!(lifetime <= max_ttl && !matches!(stated, Stated::Forbidden));
        if let Some(exp) = exp {
            let end = now.saturating_add(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX));
            assert!(end < exp, "{end} {exp}");
        }
    }
});

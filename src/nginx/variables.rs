//! What may logs, maps and headers know of the token?
//!
//! Values come from the request's record, which survives internal redirects, and are computed when they are read: NGINX
//! is told not to cache them, for they change in the access phase.

use ::ngx::ffi as ngx;
use ngx::{ngx_conf_t, ngx_http_request_t, ngx_http_variable_value_t, ngx_int_t, ngx_str_t};

use crate::claims::{self, Claims};

use super::log::{FAILED, guard};
use super::record::Record;
use super::request::{OutOfMemory, Request, static_str};

type Value = Result<Option<ngx_str_t>, OutOfMemory>;
type Getter = fn(Request, &Record) -> Value;

/// Name and value of each variable; NGINX hands a variable's index back when it is read.
const VARIABLES: [(&str, Getter); 4] = [
    ("phantom_token_status", |_, record| Ok(record.status.map(|status| static_str(status.as_str())))),
    ("phantom_token_cache_status", |_, record| Ok(record.cache_status.map(|status| static_str(status.as_str())))),
    ("phantom_token_time", |r, record| {
        // SAFETY: a record refers to a context only while it is parked, and both live in the request's pool.
        let waiting = record.parked.map(|parked| unsafe { parked.as_ref() }.waited());
        // one that still waits when it is logged has been left by its client
        let Some(waited) = waiting.or(record.waited) else { return Ok(None) };
        r.copy(&[format!("{}.{:03}", waited / 1000, waited % 1000).as_bytes()]).map(Some)
    }),
    ("phantom_token_fingerprint", |r, record| {
        if record.token().is_empty() {
            return Ok(None);
        }
        let fingerprint = r.main_conf().seed.fingerprint(record.token().as_bytes());
        r.copy(&[fingerprint.to_string().as_bytes()]).map(Some)
    }),
];

/// Of `$phantom_token_claim_NAME`; NGINX hands the whole name back when it is read, in lower case.
const CLAIM: &str = "phantom_token_claim_";

/// Makes the variables known to the configuration.
///
/// # Safety
///
/// `cf` must be the context of the running `preconfiguration`.
pub unsafe fn add(cf: *mut ngx_conf_t) -> ngx_int_t {
    type Handler = unsafe extern "C" fn(*mut ngx_http_request_t, *mut ngx_http_variable_value_t, usize) -> ngx_int_t;
    let names = VARIABLES.iter().enumerate().map(|(index, (name, _))| (*name, 0, get as Handler, index));
    for (name, flags, handler, data) in names.chain([(CLAIM, ngx::NGX_HTTP_VAR_PREFIX, get_claim as Handler, 0)]) {
        let mut name = static_str(name);
        let flags = (ngx::NGX_HTTP_VAR_NOCACHEABLE | flags) as usize;
        // SAFETY: `cf` is valid by the caller's promise; NGINX copies the name.
        let variable = unsafe { ngx::ngx_http_add_variable(cf, &raw mut name, flags) };
        if variable.is_null() {
            return FAILED;
        }
        // SAFETY: NGINX returned the variable it added.
        unsafe { (*variable).get_handler = Some(handler) };
        // SAFETY: as above.
        unsafe { (*variable).data = data };
    }
    ngx::NGX_OK as ngx_int_t
}

unsafe extern "C" fn get(r: *mut ngx_http_request_t, value: *mut ngx_http_variable_value_t, index: usize) -> ngx_int_t {
    // SAFETY: NGINX calls getters with a live request and a place for the value.
    unsafe {
        answer(r, value, |r| match (Record::find(r), VARIABLES.get(index)) {
            (Some(record), Some((_, getter))) => getter(r, record),
            _ => Ok(None),
        })
    }
}

unsafe extern "C" fn get_claim(
    r: *mut ngx_http_request_t,
    value: *mut ngx_http_variable_value_t,
    name: usize,
) -> ngx_int_t {
    // SAFETY: NGINX calls getters with a live request and a place for the value.
    unsafe {
        answer(r, value, |r| {
            let Some(active) = Record::find(r).and_then(|record| record.answer.clone()) else { return Ok(None) };
            // SAFETY: of a variable found by its prefix NGINX passes the name, which lives as the configuration.
            let name = &*std::ptr::with_exposed_provenance::<ngx_str_t>(name);
            let Some(name) = name.as_bytes().get(CLAIM.len()..).and_then(|name| std::str::from_utf8(name).ok()) else {
                return Ok(None);
            };
            match Claims::of(&active).get_lowercase(name) {
                Some(claim) => r.copy(&[claims::text(claim).as_bytes()]).map(Some),
                None => Ok(None),
            }
        })
    }
}

/// Fills a variable's value.
///
/// # Safety
///
/// `r` and `value` must be what NGINX has called a getter with.
unsafe fn answer(
    r: *mut ngx_http_request_t,
    value: *mut ngx_http_variable_value_t,
    compute: impl FnOnce(Request) -> Value,
) -> ngx_int_t {
    guard(FAILED, || {
        // SAFETY: by the caller's promise.
        let r = unsafe { Request::new(r) };
        // SAFETY: as above.
        let value = unsafe { &mut *value };
        match compute(r) {
            Ok(Some(text)) => {
                value.set_len(text.len as u32);
                value.data = text.data;
                value.set_valid(1);
                value.set_no_cacheable(0);
                value.set_not_found(0);
            }
            Ok(None) => value.set_not_found(1),
            Err(OutOfMemory) => return FAILED,
        }
        ngx::NGX_OK as ngx_int_t
    })
}

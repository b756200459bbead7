//! What may logs, maps and headers know of the token?
//!
//! Values come from the request's record, which survives internal redirects, and are computed when they are read: NGINX
//! is told not to cache them, for they change in the access phase.

use ::ngx::ffi as ngx;
use ngx::{ngx_conf_t, ngx_http_request_t, ngx_http_variable_t, ngx_http_variable_value_t, ngx_int_t, ngx_str_t};

use crate::claims::{self, Claims};

use super::log::{FAILED, guard};
use super::record::Record;
use super::request::{OutOfMemory, Request, static_str};
use super::worker_process;

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
        let fingerprint = r.main_conf().seed.fingerprint(record.token());
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

/// The claims that the configuration reads by a variable, in lower case.
pub fn claims_read(core: &ngx::ngx_http_core_main_conf_t) -> Vec<String> {
    let variables = &core.variables;
    if variables.elts.is_null() {
        return Vec::new();
    }
    // SAFETY: the array holds as many variables, all that anything in the configuration refers to, and is not changed
    // any more.
    let variables =
        unsafe { std::slice::from_raw_parts(variables.elts.cast::<ngx_http_variable_t>(), variables.nelts) };
    let names = variables.iter().filter_map(|variable| variable.name.to_str().ok()?.strip_prefix(CLAIM));
    names.map(str::to_owned).collect()
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
            let Some(active) = Record::find(r).and_then(|record| record.answer.as_ref()) else { return Ok(None) };
            // SAFETY: of a variable found by its prefix NGINX passes the name, which lives as the configuration.
            let name = &*std::ptr::with_exposed_provenance::<ngx_str_t>(name);
            let Some(name) = name.as_bytes().get(CLAIM.len()..).and_then(|name| std::str::from_utf8(name).ok()) else {
                return Ok(None);
            };
            if worker_process::wanted().has_text(name) {
                // The record keeps the answer as long as the request lives, and with it the text.
                let text = claims::picked_text(active, name);
                return Ok(text.map(|text| ngx_str_t { len: text.len(), data: text.as_ptr().cast_mut() }));
            }
            // Asked for by a name that the configuration does not have: by a script.
            match Claims::of(active).get_lowercase(name) {
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

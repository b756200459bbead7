//! What may logs, maps and headers know of the token?
//!
//! Values come from the request's record, which survives internal redirects, and are computed when they are read: NGINX
//! is told not to cache them, for they change in the access phase.

use ::ngx::ffi as ngx;
use ngx::{ngx_conf_t, ngx_http_request_t, ngx_http_variable_value_t, ngx_int_t, ngx_str_t};

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

/// Makes the variables known to the configuration.
///
/// # Safety
///
/// `cf` must be the context of the running `preconfiguration`.
pub unsafe fn add(cf: *mut ngx_conf_t) -> ngx_int_t {
    for (index, (name, _)) in VARIABLES.iter().enumerate() {
        let mut name = static_str(name);
        // SAFETY: `cf` is valid by the caller's promise; NGINX copies the name.
        let variable = unsafe { ngx::ngx_http_add_variable(cf, &raw mut name, ngx::NGX_HTTP_VAR_NOCACHEABLE as usize) };
        if variable.is_null() {
            return FAILED;
        }
        // SAFETY: NGINX returned the variable it added.
        unsafe { (*variable).get_handler = Some(get) };
        // SAFETY: as above.
        unsafe { (*variable).data = index };
    }
    ngx::NGX_OK as ngx_int_t
}

unsafe extern "C" fn get(r: *mut ngx_http_request_t, value: *mut ngx_http_variable_value_t, index: usize) -> ngx_int_t {
    guard(FAILED, || {
        // SAFETY: NGINX calls getters with a live request.
        let r = unsafe { Request::new(r) };
        // SAFETY: and with a place for the value.
        let value = unsafe { &mut *value };
        let text = match (Record::find(r), VARIABLES.get(index)) {
            (Some(record), Some((_, getter))) => match getter(r, record) {
                Ok(text) => text,
                Err(OutOfMemory) => return FAILED,
            },
            _ => None,
        };
        match text {
            Some(text) => {
                value.set_len(text.len as u32);
                value.data = text.data;
                value.set_valid(1);
                value.set_no_cacheable(0);
                value.set_not_found(0);
            }
            None => value.set_not_found(1),
        }
        ngx::NGX_OK as ngx_int_t
    })
}

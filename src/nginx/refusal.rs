//! What does the client read when it is refused?
//!
//! Where NGINX would send its built-in page for a refusal of this module, JSON takes the page's place. An `error_page`
//! needs no treatment: its redirect wipes the module's context, and what it leads to is sent as it is.

use ::ngx::ffi as ngx;
use ngx::{ngx_buf_t, ngx_chain_t, ngx_int_t};

use super::log::FAILED;
use super::pending::{Context, State};
use super::request::{Request, static_str};

const JSON: &str = "application/json";

/// Makes the header of NGINX's page that of what takes its place, if this response is such a page.
pub fn replace_header(r: Request) {
    let Some(body) = refusal_to_send(r) else { return };
    // SAFETY: the request is live, and nothing else refers to its response headers now.
    let headers = unsafe { &mut (*r.as_ptr()).headers_out };
    headers.content_type = static_str(JSON);
    headers.content_type_len = JSON.len();
    headers.content_type_lowcase = std::ptr::null_mut();
    headers.charset = ngx::ngx_str_t::empty();
    headers.content_length_n = body.len() as ngx::off_t;
    let length = std::mem::replace(&mut headers.content_length, std::ptr::null_mut());
    if !length.is_null() {
        // SAFETY: the header is an element of the response's list; 0 is "do not send it".
        unsafe { (*length).hash = 0 };
    }
}

/// The content that takes the place of NGINX's page, if this response is one.
fn refusal_to_send(r: Request) -> Option<&'static str> {
    if !r.is_main() {
        return None;
    }
    match &mut Context::of(r)?.state {
        State::Refused { status, body, replacing } if r.response_status() == *status => {
            *replacing = true;
            Some(body)
        }
        _ => None,
    }
}

/// The chain to send instead of `chain`, which is then marked as sent; none if that is to be sent.
///
/// # Safety
///
/// `chain` must be what a body filter is called with for this request.
pub unsafe fn replace_body(r: Request, chain: *mut ngx_chain_t) -> Result<Option<*mut ngx_chain_t>, ngx_int_t> {
    let body = match Context::of(r) {
        Some(Context { state: State::Refused { body, replacing: true, .. }, .. }) if r.is_main() => *body,
        _ => return Ok(None),
    };
    let mut last = false;
    let mut link = chain;
    while !link.is_null() {
        // SAFETY: chains are linked until null, and each link has a buffer.
        let current = unsafe { &*link };
        // SAFETY: as above.
        let buffer = unsafe { &mut *current.buf };
        buffer.pos = buffer.last;
        buffer.file_pos = buffer.file_last;
        last |= buffer.last_buf() != 0;
        link = current.next;
    }
    if !last {
        // The rest of the page is still to come.
        return Ok(Some(std::ptr::null_mut()));
    }
    // SAFETY: every field of a buffer may be zero.
    let mut buffer: ngx_buf_t = unsafe { std::mem::zeroed() };
    buffer.pos = body.as_ptr().cast_mut();
    buffer.last = body.as_bytes().as_ptr_range().end.cast_mut();
    buffer.start = buffer.pos;
    buffer.end = buffer.last;
    buffer.set_memory(1);
    buffer.set_last_buf(1);
    buffer.set_last_in_chain(1);
    let buffer = r.allocate(buffer).map_err(|_| FAILED)?;
    let link = ngx_chain_t { buf: buffer.as_ptr(), next: std::ptr::null_mut() };
    let link = r.allocate(link).map_err(|_| FAILED)?;
    Ok(Some(link.as_ptr()))
}

//! What is a location asked, and what of the client's request does it see?
//!
//! `POST` with the form of RFC 7662 §2.1 and four headers: `Host` (the client's), `Content-Type`, `Content-Length`,
//! `Accept`. Nothing else of the client's headers, and nothing of its body. Values of variables are the subrequest's
//! own, except those that `set`, `map` and their like have given to the client's request.

use std::ptr::{self, NonNull};

use ::ngx::ffi as ngx;
use ngx::{ngx_http_request_t, ngx_http_variable_value_t, ngx_str_t, ngx_table_elt_t};

use crate::introspection::request_form;
use crate::settings::EndpointLocation;

use super::super::request::{OutOfMemory, Request, static_str};
use super::LENGTH_UNKNOWN;

const MAX_HEADERS: usize = 4;

/// All that a subrequest needs, in its owner's pool.
pub struct Question {
    pub uri: ngx_str_t,
    pub args: ngx_str_t,
    headers: NonNull<[ngx_table_elt_t; MAX_HEADERS]>,
    count: usize,
    body: NonNull<ngx::ngx_http_request_body_t>,
    /// The content of `body`.
    pub form: ngx_str_t,
    variables: NonNull<ngx_http_variable_value_t>,
}

impl Question {
    /// Puts it together; `r` will be the owner.
    pub fn new(r: Request, location: &EndpointLocation, accept: &str, token: &[u8]) -> Result<Self, OutOfMemory> {
        let form = request_form(token, "");
        // SAFETY: every field of a header may be zero.
        let mut headers: [ngx_table_elt_t; MAX_HEADERS] = unsafe { std::mem::zeroed() };
        let mut lines = vec![
            (c"Content-Type", c"content-type", static_str("application/x-www-form-urlencoded")),
            (c"Content-Length", c"content-length", r.copy(&[form.len().to_string().as_bytes()])?),
            (c"Accept", c"accept", r.copy(&[accept.as_bytes()])?),
        ];
        if let Some(host) = r.host() {
            lines.push((c"Host", c"host", host));
        }
        let count = lines.len();
        for (header, (key, lowcase_key, value)) in headers.iter_mut().zip(lines) {
            header.key = ngx_str_t { len: key.count_bytes(), data: key.as_ptr().cast_mut().cast() };
            header.lowcase_key = lowcase_key.as_ptr().cast_mut().cast();
            // SAFETY: NGINX only reads the bytes.
            header.hash = unsafe { ngx::ngx_hash_key(header.lowcase_key, header.key.len) };
            header.value = value;
        }
        let form = r.copy(&[form.as_bytes()])?;
        Ok(Self {
            uri: r.copy(&[location.uri.as_bytes()])?,
            args: r.copy(&[location.args.as_bytes()])?,
            headers: r.allocate(headers)?,
            count,
            body: body(r, form)?,
            form,
            variables: variables(r)?,
        })
    }

    /// Makes it the subrequest's.
    ///
    /// # Safety
    ///
    /// `subrequest` must have been created for the owner, and not have run yet.
    pub unsafe fn put(self, subrequest: NonNull<ngx_http_request_t>) {
        // SAFETY: live by the caller's promise, and nothing else refers to it now.
        let subrequest = unsafe { &mut *subrequest.as_ptr() };
        subrequest.method = ngx::NGX_HTTP_POST as usize;
        subrequest.method_name = static_str("POST");
        subrequest.request_body = self.body.as_ptr();
        subrequest.variables = self.variables.as_ptr();

        let elements = self.headers.as_ptr().cast::<ngx_table_elt_t>();
        // The order is that of `new`.
        let element = |i| if i < self.count { elements.wrapping_add(i) } else { ptr::null_mut() };
        // SAFETY: every field may be zero: no header.
        let mut headers: ngx::ngx_http_headers_in_t = unsafe { std::mem::zeroed() };
        headers.content_type = element(0);
        headers.content_length = element(1);
        headers.host = element(3);
        headers.server = subrequest.headers_in.server;
        // `precontent_handler` tells it later
        headers.content_length_n = LENGTH_UNKNOWN;
        headers.keep_alive_n = -1;
        subrequest.headers_in = headers;
        let list = &mut subrequest.headers_in.headers;
        list.part = ngx::ngx_list_part_t { elts: elements.cast(), nelts: self.count, next: ptr::null_mut() };
        list.last = &raw mut list.part;
        list.size = size_of::<ngx_table_elt_t>();
        list.nalloc = MAX_HEADERS;
        list.pool = subrequest.pool;
    }
}

/// A request body that has been read whole, into one buffer.
fn body(r: Request, content: ngx_str_t) -> Result<NonNull<ngx::ngx_http_request_body_t>, OutOfMemory> {
    // SAFETY: every field of a buffer may be zero.
    let mut buffer: ngx::ngx_buf_t = unsafe { std::mem::zeroed() };
    buffer.start = content.data;
    buffer.pos = content.data;
    buffer.last = content.data.wrapping_add(content.len);
    buffer.end = buffer.last;
    buffer.set_temporary(1);
    buffer.set_last_buf(1);
    let buffer = r.allocate(buffer)?;
    let link = r.allocate(ngx::ngx_chain_t { buf: buffer.as_ptr(), next: ptr::null_mut() })?;
    // SAFETY: every field of a request body may be zero.
    let mut body: ngx::ngx_http_request_body_t = unsafe { std::mem::zeroed() };
    body.bufs = link.as_ptr();
    r.allocate(body)
}

/// Variables of the subrequest's own: a cached `$request_body` of the client's must not become part of a
/// `proxy_cache_key` here, nor the token of this one part of anything there.
fn variables(r: Request) -> Result<NonNull<ngx_http_variable_value_t>, OutOfMemory> {
    let known = r.core_main_conf().variables;
    // SAFETY: the array holds variables, and is complete once the configuration is read.
    let known = unsafe { known.as_slice::<ngx::ngx_http_variable_t>() };
    // SAFETY: every field of a value may be zero: not computed yet.
    let values = unsafe { r.allocate_zeroed::<ngx_http_variable_value_t>(known.len()) }?;
    for (i, variable) in known.iter().enumerate() {
        let flags = variable.flags & (ngx::NGX_HTTP_VAR_CHANGEABLE | ngx::NGX_HTTP_VAR_NOCACHEABLE) as usize;
        if flags != ngx::NGX_HTTP_VAR_CHANGEABLE as usize {
            continue;
        }
        // SAFETY: a request has a value for every variable that has an index.
        let value = unsafe { *(*r.as_ptr()).variables.add(i) };
        if value.valid() != 0 {
            // SAFETY: there is room for as many.
            unsafe { *values.as_ptr().add(i) = value };
        }
    }
    Ok(values)
}

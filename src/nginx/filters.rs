//! Which responses does the module have a hand in?
//!
//! Two: its own refusals, whose pages are replaced on their way to the client ([`refusal`]), and answers to its own
//! subrequests, which do not leave this place ([`subrequest`]).

use std::cell::Cell;

use ::ngx::ffi as ngx;
use ngx::{ngx_chain_t, ngx_http_request_t, ngx_int_t};

use super::log::{FAILED, guard};
use super::request::Request;
use super::thread::EventLoop;
use super::{refusal, subrequest};

static NEXT_HEADER: EventLoop<Cell<ngx::ngx_http_output_header_filter_pt>> = EventLoop::new(Cell::new(None));
static NEXT_BODY: EventLoop<Cell<ngx::ngx_http_output_body_filter_pt>> = EventLoop::new(Cell::new(None));

/// Puts the filters on top of those installed before.
///
/// # Safety
///
/// To be called once for each configuration, from `postconfiguration`.
pub unsafe fn install() {
    // SAFETY: modules read and write the tops of the chains while the configuration is read, on this thread.
    NEXT_HEADER.set(unsafe { ngx::ngx_http_top_header_filter });
    // SAFETY: as above.
    NEXT_BODY.set(unsafe { ngx::ngx_http_top_body_filter });
    // SAFETY: as above.
    unsafe { ngx::ngx_http_top_header_filter = Some(header_filter) };
    // SAFETY: as above.
    unsafe { ngx::ngx_http_top_body_filter = Some(body_filter) };
}

unsafe extern "C" fn header_filter(r: *mut ngx_http_request_t) -> ngx_int_t {
    guard((), || {
        // SAFETY: NGINX calls filters with a live request.
        let request = unsafe { Request::new(r) };
        match subrequest::flight_of(request) {
            Some(flight) => subrequest::capture_header(request, flight),
            None => refusal::replace_header(request),
        }
    });
    match NEXT_HEADER.get() {
        // SAFETY: the filter that was on top when ours was installed, called as NGINX calls filters. Of a subrequest's
        // header nothing is sent.
        Some(next) => unsafe { next(r) },
        None => FAILED,
    }
}

unsafe extern "C" fn body_filter(r: *mut ngx_http_request_t, chain: *mut ngx_chain_t) -> ngx_int_t {
    let to_send = guard(Err(FAILED), || {
        // SAFETY: NGINX calls filters with a live request.
        let request = unsafe { Request::new(r) };
        if let Some(flight) = subrequest::flight_of(request) {
            // SAFETY: NGINX calls filters with a chain, which may be null.
            unsafe { subrequest::capture_body(flight, chain) };
            return Ok(None);
        }
        if chain.is_null() {
            return Ok(Some(chain));
        }
        // SAFETY: as above.
        let replacement = unsafe { refusal::replace_body(request, chain) }?;
        Ok(Some(replacement.unwrap_or(chain)))
    });
    match (to_send, NEXT_BODY.get()) {
        // SAFETY: the filter that was on top when ours was installed, called as NGINX calls filters.
        (Ok(Some(chain)), Some(next)) => unsafe { next(r, chain) },
        (Ok(None), _) => ngx::NGX_OK as ngx_int_t,
        (Err(failed), _) => failed,
        (_, None) => FAILED,
    }
}

//! What does the client read when it is refused?
//!
//! Where NGINX would send its built-in page for a refusal of this module, JSON takes the page's place. An `error_page`
//! needs no treatment: its redirect wipes the module's context, and what it leads to is sent as it is.

use std::sync::OnceLock;

use nginx_sys as ngx;
use ngx::{ngx_chain_t, ngx_http_request_t, ngx_int_t, ngx_str_t, ngx_uint_t};

use super::log::{FAILED, guard};
use super::pending::{Context, State};
use super::request::{Request, static_str};

static NEXT_HEADER: OnceLock<ngx::ngx_http_output_header_filter_pt> = OnceLock::new();
static NEXT_BODY: OnceLock<ngx::ngx_http_output_body_filter_pt> = OnceLock::new();

const JSON: &str = "application/json";

/// Puts the filters on top of those installed before.
///
/// # Safety
///
/// To be called once per configuration, from `postconfiguration`.
pub unsafe fn install() {
    // The filters below are functions of NGINX and of modules loaded before this one. A reload builds the same chain.
    // SAFETY: written by modules while the configuration is read, on this thread.
    NEXT_HEADER.get_or_init(|| unsafe { ngx::ngx_http_top_header_filter });
    // SAFETY: as above.
    NEXT_BODY.get_or_init(|| unsafe { ngx::ngx_http_top_body_filter });
    // SAFETY: as above.
    unsafe { ngx::ngx_http_top_header_filter = Some(header_filter) };
    // SAFETY: as above.
    unsafe { ngx::ngx_http_top_body_filter = Some(body_filter) };
}

//! What does `load_module` look for in this file?
//!
//! Left out where NGINX's own build compiles the module (`config`): that writes the lists, or needs none.

use std::ffi::{c_char, c_void};
use std::ptr;

use super::module::ngx_http_phantom_token_module;

/// Pointers in the lists below, which NGINX reads and does not write.
#[repr(transparent)]
pub struct List<const N: usize>([*const c_void; N]);

// SAFETY: nobody writes to them.
unsafe impl<const N: usize> Sync for List<N> {}

const NAME: *const c_char = c"ngx_http_phantom_token_module".as_ptr();

/// The modules in this file.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static ngx_modules: List<2> = List([(&raw const ngx_http_phantom_token_module).cast(), ptr::null()]);

/// Their names.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static ngx_module_names: List<2> = List([NAME.cast(), ptr::null()]);

/// Where they belong: as `auto/module` has it for an HTTP_AUX_FILTER. Placed before NGINX's own modules, the filters
/// would be lost, for those assign the top of the chain.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static ngx_module_order: List<3> = List([NAME.cast(), c"ngx_http_copy_filter_module".as_ptr().cast(), ptr::null()]);

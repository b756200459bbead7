//! What does the configuration around a directive say about it?
//!
//! Facts for the warnings of `nginx -t`: what is accepted, but probably not meant.

use std::ffi::CStr;

use ::ngx::ffi as ngx;
use ngx::{ngx_array_t, ngx_conf_t, ngx_module_t};

/// Whether every user of the machine may read the file that is being read.
///
/// # Safety
///
/// `cf` must be the context of a running directive.
pub unsafe fn is_world_readable(cf: *mut ngx_conf_t) -> bool {
    // SAFETY: `cf` is NGINX's, by the caller's promise.
    let file = unsafe { (*cf).conf_file };
    // SAFETY: it is null, or the file being read, whose `info` NGINX has filled when it opened it. A directive of the
    // command line has no file.
    unsafe { file.as_ref() }.is_some_and(|file| file.file.fd >= 0 && file.file.info.st_mode & 0o004 != 0)
}

/// Whether the block being merged begins with a `return` of its own, so that no access rule is ever asked there.
///
/// # Safety
///
/// `cf` must be the context of a running `merge_loc_conf`.
pub unsafe fn begins_with_return(cf: *mut ngx_conf_t) -> bool {
    // SAFETY: by the caller's promise.
    let Some(rewrite) = (unsafe { module(cf, c"ngx_http_rewrite_module") }) else { return false };
    // SAFETY: as above; while locations are merged, `ctx` has the inner block's configurations.
    let context = unsafe { (*cf).ctx }.cast::<ngx::ngx_http_conf_ctx_t>();
    // SAFETY: as above; the rewrite module has one for every block. Its type is private to it, but begins with the array
    // of compiled directives, in every version since 0.1.
    let conf = unsafe { *(*context).loc_conf.add(rewrite.ctx_index) }.cast::<*const ngx_array_t>();
    // SAFETY: null, or an array in the configuration's pool.
    let Some(codes) = (unsafe { conf.as_ref().and_then(|codes| codes.as_ref()) }) else { return false };
    if codes.elts.is_null() || codes.nelts == 0 {
        return false;
    }
    // SAFETY: a compiled directive begins with the function that carries it out, or with null at the end.
    let first = unsafe { *codes.elts.cast::<usize>() };
    first == ngx::ngx_http_script_return_code as *const () as usize
}

/// A module of this NGINX by its name; that of `rewrite` may have been left out of the build.
unsafe fn module(cf: *mut ngx_conf_t, name: &CStr) -> Option<&'static ngx_module_t> {
    // SAFETY: `cf` is NGINX's, by the caller's promise.
    let mut modules = unsafe { (*(*cf).cycle).modules };
    loop {
        // SAFETY: the list ends with null, and modules are never freed while a configuration is read.
        let module = unsafe { (*modules).as_ref() }?;
        // SAFETY: a module has a name.
        if unsafe { CStr::from_ptr(module.name) } == name {
            return Some(module);
        }
        // SAFETY: not at the end yet.
        modules = unsafe { modules.add(1) };
    }
}

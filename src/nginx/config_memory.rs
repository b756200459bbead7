//! Where does NGINX keep the module's configuration, and how is it reached?
//!
//! NGINX has one structure of ours for the `http` block and one for every location, made when a block is opened, merged
//! when all is read, and dropped with the configuration's pool.

use std::ffi::{c_char, c_void};

use ::ngx::ffi as ngx;
use ngx::{ngx_conf_t, ngx_http_request_t};

use super::advice;
use super::config::{LocationConf, LocationSettings, MainConf};
use super::directives::FAILED;
use super::log::{Level, Log, guard};
use super::module::{module_index, seed};

/// Puts a value into the configuration's pool, to be dropped with it.
unsafe fn keep<T>(cf: *mut ngx_conf_t, value: T) -> *mut c_void {
    unsafe extern "C" fn drop_value<T>(data: *mut c_void) {
        // SAFETY: `keep` wrote a `T` there, and a pool runs its cleanups once.
        guard((), || unsafe { data.cast::<T>().drop_in_place() });
    }
    const { assert!(align_of::<T>() <= ngx::NGX_ALIGNMENT) };
    // SAFETY: NGINX calls this with a valid `cf`.
    let cleanup = unsafe { ngx::ngx_pool_cleanup_add((*cf).pool, size_of::<T>()) };
    if cleanup.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: the cleanup has room for a `T`.
    let place = unsafe { (*cleanup).data };
    // SAFETY: as above, and aligned by the assertion.
    unsafe { place.cast::<T>().write(value) };
    // SAFETY: as above.
    unsafe { (*cleanup).handler = Some(drop_value::<T>) };
    place
}

/// `create_main_conf`
pub unsafe extern "C" fn create_main(cf: *mut ngx_conf_t) -> *mut c_void {
    guard(std::ptr::null_mut(), || {
        let seed = match seed() {
            Ok(seed) => seed,
            Err(error) => {
                // SAFETY: NGINX calls this with a valid `cf`.
                let log = unsafe { Log::new((*cf).log) };
                log.write(Level::Emerg, format_args!("no random numbers to be had: {error}"));
                return std::ptr::null_mut();
            }
        };
        // SAFETY: NGINX calls this with a valid `cf`.
        unsafe { keep(cf, MainConf::new(seed)) }
    })
}

/// `create_loc_conf`
pub unsafe extern "C" fn create_location(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: NGINX calls this with a valid `cf`.
    guard(std::ptr::null_mut(), || unsafe { keep(cf, LocationConf::new()) })
}

/// `merge_loc_conf`
pub unsafe extern "C" fn merge_location(cf: *mut ngx_conf_t, outer: *mut c_void, inner: *mut c_void) -> *mut c_char {
    guard(FAILED, || {
        // SAFETY: both were made by `create_location`, and are different blocks'.
        let outer = unsafe { &*outer.cast::<LocationConf>() };
        // SAFETY: as above.
        let inner = unsafe { &mut *inner.cast::<LocationConf>() };
        // SAFETY: NGINX calls this with a valid `cf`.
        let log = unsafe { Log::new((*cf).log) };
        // SAFETY: as above; no other reference to it is alive.
        let main = unsafe { main_of_conf(cf) };
        // SAFETY: as above.
        let server = unsafe { server_of_conf(cf) };
        if let Some(place) = inner.own_on() {
            // SAFETY: as above.
            if unsafe { advice::begins_with_return(cf) } {
                log.write(
                    Level::Warn,
                    format_args!(
                        "\"phantom_token on\" in {place} has no effect: \"return\" in the same block answers before any \
                         access rule is asked"
                    ),
                );
            }
        }
        match merge(main, server, outer, inner, log) {
            Ok(()) => std::ptr::null_mut(),
            Err(message) => {
                log.write(Level::Emerg, format_args!("{message}"));
                FAILED
            }
        }
    })
}

fn merge(
    main: &mut MainConf,
    server: usize,
    outer: &LocationConf,
    inner: &mut LocationConf,
    log: Log,
) -> Result<(), String> {
    // The `http` block itself is never an inner one.
    outer.check_location_endpoint()?;
    inner.check_location_endpoint()?;
    inner.inherit(outer);
    if inner.enable != 0 {
        inner.settings = Some(inner.settings(main, server, log)?);
    }
    Ok(())
}

/// Settings of the location a request is in.
///
/// # Safety
///
/// `r` must be live; the result must not outlive it.
pub unsafe fn location_of(r: *mut ngx_http_request_t) -> Option<&'static LocationSettings> {
    // SAFETY: a live request is in a location, which has a structure from `create_location`.
    let conf = unsafe { *(*r).loc_conf.add(module_index()) }.cast::<LocationConf>();
    // SAFETY: as above; nothing changes it once the configuration is read.
    unsafe { (*conf).settings.as_ref() }
}

/// The main configuration of a request.
///
/// # Safety
///
/// `r` must be live; the result must not outlive it.
pub unsafe fn main_of(r: *mut ngx_http_request_t) -> &'static MainConf {
    // SAFETY: every request has a main configuration, with a structure from `create_main`.
    unsafe { &*(*(*r).main_conf.add(module_index())).cast::<MainConf>() }
}

/// The main configuration being read.
///
/// # Safety
///
/// `cf` must be the context of a running configuration callback; the reference must be the only one.
pub unsafe fn main_of_conf(cf: *mut ngx_conf_t) -> &'static mut MainConf {
    // SAFETY: while the `http` block is read, `ctx` is its context, where `create_main` has put our part.
    let context = unsafe { (*cf).ctx }.cast::<ngx::ngx_http_conf_ctx_t>();
    // SAFETY: as above.
    unsafe { &mut *(*(*context).main_conf.add(module_index())).cast::<MainConf>() }
}

/// A name of the server block whose locations are being merged.
///
/// # Safety
///
/// `cf` must be the context of a running `merge_loc_conf`.
unsafe fn server_of_conf(cf: *mut ngx_conf_t) -> usize {
    // SAFETY: as in `main_of_conf`.
    let context = unsafe { (*cf).ctx }.cast::<ngx::ngx_http_conf_ctx_t>();
    // SAFETY: while a server's locations are merged, the context has the server's configurations.
    unsafe { *(*context).srv_conf.add(ngx::ngx_http_core_module.ctx_index) }.addr()
}

/// The module's and NGINX's own main configuration of a cycle, if it has an `http` block.
///
/// # Safety
///
/// `cycle` must be a running cycle.
pub unsafe fn main_of_cycle(
    cycle: *mut ngx::ngx_cycle_t,
) -> Option<(&'static MainConf, &'static ngx::ngx_http_core_main_conf_t)> {
    // SAFETY: a cycle has a context slot for every module, null where its block is absent.
    let context = unsafe { *(*cycle).conf_ctx.add(ngx::ngx_http_module.index) }.cast::<ngx::ngx_http_conf_ctx_t>();
    if context.is_null() {
        return None;
    }
    // SAFETY: as in `main_of`.
    let main = unsafe { &*(*(*context).main_conf.add(module_index())).cast() };
    // SAFETY: the core module has its configuration there, too.
    Some((main, unsafe { &*(*(*context).main_conf.add(ngx::ngx_http_core_module.ctx_index)).cast() }))
}

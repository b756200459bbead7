//! How do messages reach NGINX's error log?
//!
//! One prefix, one line. Levels mean an action: `emerg` the configuration is refused, `alert` a bug of ours, `crit` the
//! worker cannot work, `error` the endpoint is broken or misconfigured, `warn` degraded but served, `notice` worth
//! knowing once, `info` the client's fault, `debug` a trail.

use std::fmt::{Arguments, Write};

use ::ngx::ffi as ngx;
use ngx::{ngx_int_t, ngx_log_t, ngx_uint_t};

/// NGINX's levels, in NGINX's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `NGX_LOG_EMERG`
    Emerg = ngx::NGX_LOG_EMERG as isize,
    /// `NGX_LOG_ALERT`
    Alert = ngx::NGX_LOG_ALERT as isize,
    /// `NGX_LOG_CRIT`
    Crit = ngx::NGX_LOG_CRIT as isize,
    /// `NGX_LOG_ERR`
    Error = ngx::NGX_LOG_ERR as isize,
    /// `NGX_LOG_WARN`
    Warn = ngx::NGX_LOG_WARN as isize,
    /// `NGX_LOG_NOTICE`
    Notice = ngx::NGX_LOG_NOTICE as isize,
    /// `NGX_LOG_INFO`
    Info = ngx::NGX_LOG_INFO as isize,
    /// `NGX_LOG_DEBUG_HTTP`
    Debug = ngx::NGX_LOG_DEBUG_HTTP as isize,
}

/// A log of NGINX, to be used on the event loop's thread and not kept.
#[derive(Clone, Copy)]
pub struct Log(*mut ngx_log_t);

impl Log {
    /// # Safety
    ///
    /// `log` must stay valid as long as the value is used.
    pub unsafe fn new(log: *mut ngx_log_t) -> Self {
        Self(log)
    }

    /// The cycle's log: for what happens outside any request.
    pub fn cycle() -> Self {
        // SAFETY: NGINX sets ngx_cycle before it calls any module, and only its own thread changes it; callers are on
        // that thread.
        let cycle = unsafe { ngx::ngx_cycle };
        // SAFETY: a cycle's log lives as long as the cycle.
        Self(unsafe { (*cycle).log })
    }

    /// Whether a message of this level would be written; ask before formatting one.
    pub fn enabled(self, level: Level) -> bool {
        // SAFETY: valid by the promise made to `new`.
        let threshold = unsafe { (*self.0).log_level };
        match level {
            Level::Debug => threshold & ngx::NGX_LOG_DEBUG_HTTP as ngx_uint_t != 0,
            level => threshold >= level as ngx_uint_t,
        }
    }

    /// Writes `phantom token: …`; control characters are replaced.
    pub fn write(self, level: Level, message: Arguments<'_>) {
        if !self.enabled(level) {
            return;
        }
        let level = if level == Level::Debug { ngx::NGX_LOG_DEBUG as ngx_uint_t } else { level as ngx_uint_t };
        let text = line(message);
        // SAFETY: the log is valid by the promise made to `new`; `%*s` takes a length and a pointer, and `text` outlives
        // the call.
        unsafe { ngx::ngx_log_error_core(level, self.0, 0, c"%*s".as_ptr(), text.len(), text.as_ptr()) }
    }
}

/// Reports a mistake of the configuration at the place being read: NGINX appends file and line.
///
/// # Safety
///
/// `cf` must be the configuration context of the running callback.
pub unsafe fn conf_error(level: Level, cf: *mut ngx::ngx_conf_t, message: Arguments<'_>) {
    let mut text = String::new();
    let _ = write!(text, "{message}");
    sanitize(&mut text);
    // SAFETY: `cf` is valid by the caller's promise; `%*s` takes a length and a pointer, and `text` outlives the call.
    unsafe { ngx::ngx_conf_log_error(level as ngx_uint_t, cf, 0, c"%*s".as_ptr(), text.len(), text.as_ptr()) }
}

fn line(message: Arguments<'_>) -> String {
    let mut text = String::from("phantom token: ");
    let _ = write!(text, "{message}");
    sanitize(&mut text);
    text
}

fn sanitize(text: &mut String) {
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        *text = text.replace(|c: char| c.is_ascii_control(), "?");
    }
}

/// Writes to a [`Log`], formatting only when the level is on.
macro_rules! log {
    ($log:expr, $level:ident, $($message:tt)+) => {{
        let log: $crate::nginx::log::Log = $log;
        if log.enabled($crate::nginx::log::Level::$level) {
            log.write($crate::nginx::log::Level::$level, format_args!($($message)+));
        }
    }};
}
pub(crate) use log;

/// Runs the body of a callback of NGINX: a panic must not unwind into C. What was being done then counts as failed.
pub fn guard<R>(failed: R, body: impl FnOnce() -> R) -> R {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(_) => {
            Log::cycle().write(Level::Alert, format_args!("a callback panicked: this is a bug of the module"));
            failed
        }
    }
}

/// `NGX_ERROR`, for callbacks that panicked.
pub const FAILED: ngx_int_t = ngx::NGX_ERROR as ngx_int_t;

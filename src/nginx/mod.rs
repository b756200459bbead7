//! The NGINX side: all of the module's `unsafe` code, and none of its decisions.
//!
//! Everything here runs on the thread of NGINX's event loop.

/// Constants that nginx-sys leaves out: see `build.rs`.
#[allow(non_camel_case_types)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}
mod advice;
mod allocator;
mod config;
mod config_endpoint;
mod config_memory;
mod directives;
mod files;
mod filters;
mod handler;
mod header_list;
#[cfg(feature = "loadable")]
pub mod loadable;
mod log;
pub mod module;
mod pending;
mod record;
mod refusal;
mod request;
mod subrequest;
mod thread;
mod variables;
mod wakeup;
mod worker_process;

//! The NGINX side: all of the module's `unsafe` code, and none of its decisions.
//!
//! Everything here runs on the thread of NGINX's event loop.

mod config;
mod directives;
mod handler;
mod log;
pub mod module;
mod pending;
mod record;
mod refusal_filter;
mod request;
mod thread;
mod variables;
mod wakeup;
mod worker_process;

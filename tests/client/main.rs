//! The client and the worker over real sockets of 127.0.0.1, without NGINX.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod exchange;
mod https;
mod queue;
mod support;

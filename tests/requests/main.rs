//! Requests of every kind reach the API as they came, but for the token.

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod files;
mod gateways;
mod headers;
mod http1;
mod http2;
mod upstreams;
mod websocket;

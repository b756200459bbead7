//! A server that misbehaves in every way there is: the outcome table's status within the deadline, for both kinds of endpoint and for
//! clients of HTTP/1.1 and HTTP/2, and nobody else in the worker notices.

mod bench;
mod dns;
mod http1;
mod http2;
#[path = "../support/mod.rs"]
mod support;
mod tls;

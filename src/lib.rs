//! The phantom token approach for NGINX: clients hold opaque access tokens, APIs receive JWTs.
//!
//! The story of a request, and where each part of it is told:
//!
//! 1. NGINX's access phase calls the handler (`nginx::handler`), which looks for a token: [`source`], [`bearer`].
//! 2. The token becomes a [`key`], and the [`cache`] is looked at. A hit rewrites the header, and NGINX goes on.
//! 3. On a miss the first request for a token leads and the others follow: [`flight`]; [`exchange`] ties cache and
//!    flights together. The requests are parked (`nginx::pending`).
//! 4. The leader's [`job`] goes to the [`worker`], the one thread beside NGINX's, whose [`client`] asks the
//!    authorization server.
//! 5. [`introspection`] reads the answer (with [`json`] and [`jwt`]), which becomes [`active`] with the [`claims`] that are
//!    wanted, or says which [`failure`] it is; and [`freshness`] how long it may be kept.
//! 6. The event loop is woken (`nginx::wakeup`), the cache filled, every waiting request resumed: its header is
//!    rewritten, or a [`challenge`] refuses it. [`outcome`] has the words for logs and variables.
//!
//! [`settings`] are what an operator may configure. Dependencies point one way: `nginx` knows the worker, the worker the
//! core, and the core knows neither NGINX, nor sockets, nor clocks.

// core: decisions
pub mod active;
pub mod bearer;
pub mod cache;
pub mod challenge;
pub mod claims;
pub mod exchange;
pub mod failure;
pub mod flight;
pub mod freshness;
pub mod introspection;
pub mod json;
pub mod jwt;
pub mod key;
pub mod outcome;
pub mod requirements;
pub mod settings;
pub mod source;

// worker: threads and sockets
pub mod attempt;
mod bridge;
pub mod client;
pub mod client_assertion;
pub mod client_auth;
pub mod job;
mod limits;
mod places;
mod sync;
pub mod tls;
pub mod worker;

// NGINX: the only unsafe code
#[cfg(feature = "module")]
pub mod nginx;

//! Where a token may come from, what it must have, and how the gateway asks about it.

#[path = "../support/mod.rs"]
mod support;

mod claims;
mod client_auth;
mod requirements;
mod sources;

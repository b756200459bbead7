//! What becomes of a request, row by row of the outcome table: the client's response, what reached the API, what the
//! authorization server was asked, what the log says.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod bench;
mod credentials;
mod dialects;
mod endpoint;
mod inactive;
mod invalid;
mod network;
mod preflight;
mod question;

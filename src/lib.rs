//! placeholder

#![warn(missing_docs)]

pub mod attempt;
pub mod bearer;
pub mod challenge;
pub mod client;
pub mod client_auth;
pub mod failure;
pub mod freshness;
pub mod introspection;
pub mod job;
pub mod json;
pub mod jwt;
pub mod settings;
mod tls;
pub mod worker;

//! placeholder

#![warn(missing_docs)]

pub mod bearer;
pub mod challenge;
pub mod failure;
pub mod freshness;
pub mod introspection;
pub mod json;
pub mod jwt;
pub mod settings;

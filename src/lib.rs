//! placeholder

#![warn(missing_docs)]

pub mod bearer;
pub mod challenge;
pub mod freshness;
pub mod introspection;
pub mod settings;

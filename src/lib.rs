//! placeholder

#![warn(missing_docs)]

pub mod introspection;
pub mod settings;

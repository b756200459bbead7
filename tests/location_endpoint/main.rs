//! An endpoint that is a location of NGINX itself, asked by a subrequest.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod drop_in;
mod faults;
mod lifetimes;
mod questions;
mod sharing;

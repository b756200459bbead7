//! What an operator writes: what is refused and how, what is inherited, what a reload does.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod directives;
mod examples;
mod inheritance;
mod refused;
mod secrets;
mod warned;

//! The place among NGINX's phases: after the other access rules, before everything that serves.

#[path = "../support/mod.rs"]
mod support;

mod access;
mod error_pages;
mod leftovers;
mod neighbours;
mod redirects;
mod satisfy;
mod subrequests;

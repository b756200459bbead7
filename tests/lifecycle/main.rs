//! Requests, workers and the endpoint come and go: nobody is harmed, nothing is left.

#[path = "../support/mod.rs"]
mod support;

mod coalescing;
mod deadlines;
mod endpoint;
mod leaving;
mod processes;
mod signals;
mod stages;
mod upgrade;

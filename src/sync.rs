//! Which primitives do the two threads of a worker share?
//!
//! A model checker has its own: `models/` compiles [`crate::bridge`] with those in place of these.

#![forbid(unsafe_code)]

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64};

pub(crate) use nix::sys::eventfd::EventFd;
pub(crate) use parking_lot::Mutex;

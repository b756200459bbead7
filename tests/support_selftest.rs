//! The parts of the other tests work themselves.

mod support;

//! Waiting for a condition: polled, with a deadline, and a panic that says what did not happen.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// The deadline of every wait that is not given its own. Generous: it only matters on failure,
/// and sanitizer builds on shared machines are slow.
pub const DEADLINE: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(3);

/// Returns as soon as `condition` gives a value; panics with `what` after [`DEADLINE`].
#[track_caller]
pub fn for_value<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    match try_for(DEADLINE, condition) {
        Some(value) => value,
        None => panic!("waited {DEADLINE:?} in vain for {what}"),
    }
}

/// Returns as soon as `condition` holds; panics with `what` after [`DEADLINE`].
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for_value(what, || condition().then_some(()));
}

/// As [`for_value`], but gives `None` after `timeout`.
pub fn try_for<T>(timeout: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        sleep(POLL);
    }
}

//! What the authorization server was asked, as the tests look at it afterwards.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Instant;

use super::super::wait::DEADLINE;
use super::super::wire::{self, Headers};

/// An introspection request as received.
#[derive(Debug, Clone)]
pub struct Introspection {
    /// `POST`, if the module is right.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// The fields in order; names in lower case.
    pub headers: Headers,
    /// The form as sent.
    pub body: String,
    /// The form decoded, in order.
    pub form: Vec<(String, String)>,
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// When it had arrived as a whole.
    pub at: Instant,
}

impl Introspection {
    /// The token asked about.
    pub fn token(&self) -> Option<&str> {
        self.form_value("token")
    }

    /// A value of the form.
    pub fn form_value(&self, name: &str) -> Option<&str> {
        let found = self.form.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<&str> {
        wire::values(&self.headers, name).next()
    }
}

/// Requests and connections so far.
#[derive(Default)]
pub(super) struct Record {
    state: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct Counts {
    pub introspections: Vec<Introspection>,
    pub token_requests: usize,
    pub opened: usize,
    pub closed: usize,
    /// Answers begun or connections cut on purpose, one per introspection that got so far.
    pub answered: usize,
}

impl Record {
    pub fn look(&self) -> MutexGuard<'_, Counts> {
        self.state.lock().expect("record of the authorization server")
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        let result = change(&mut self.look());
        self.changed.notify_all();
        result
    }

    #[track_caller]
    pub fn wait_until(&self, what: &str, condition: impl Fn(&Counts) -> bool) {
        let guard = self.look();
        let waited = self.changed.wait_timeout_while(guard, DEADLINE, |counts| !condition(counts));
        let (counts, result) = waited.expect("record of the authorization server");
        if result.timed_out() {
            let (seen, opened) = (counts.introspections.len(), counts.opened);
            drop(counts);
            panic!(
                "waited {DEADLINE:?} in vain for {what}; \
                 {seen} introspections, {opened} connections so far"
            );
        }
    }
}

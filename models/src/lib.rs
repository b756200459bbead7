//! What the two threads of a worker share, compiled with the primitives of a model checker, which tries every order in which
//! they can meet: `scripts/models.sh`.

#![cfg(test)]

#[path = "../../src/bridge.rs"]
mod bridge;

/// In place of the module's own: the same interfaces.
mod sync {
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64};

    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().expect("no model panics with a lock")
        }
    }

    /// An eventfd, and who waits for it: NGINX by epoll, edge-triggered, or by poll where it is told to.
    pub(crate) struct EventFd {
        /// The counter, and whether there was a write that the watcher has not been told of.
        state: loom::sync::Mutex<(u64, bool)>,
        written: loom::sync::Condvar,
    }

    impl EventFd {
        pub(crate) fn new() -> Self {
            Self { state: loom::sync::Mutex::new((0, false)), written: loom::sync::Condvar::new() }
        }

        pub(crate) fn write(&self, value: u64) -> Result<usize, ()> {
            let mut state = self.state.lock().expect("no model panics with a lock");
            *state = (state.0 + value, true);
            self.written.notify_one();
            Ok(8)
        }

        pub(crate) fn read(&self) -> Result<u64, ()> {
            let mut state = self.state.lock().expect("no model panics with a lock");
            match std::mem::take(&mut state.0) {
                0 => Err(()),
                counter => Ok(counter),
            }
        }

        /// Edge-triggered: tells of a write once, and never of what was there already. If nobody writes any more, the model
        /// checker finds a deadlock.
        pub(crate) fn wait_for_write(&self) {
            let mut state = self.state.lock().expect("no model panics with a lock");
            while !std::mem::take(&mut state.1) {
                state = self.written.wait(state).expect("no model panics with a lock");
            }
        }

        /// Level-triggered: tells that there is something to read, as long as there is.
        pub(crate) fn wait_until_readable(&self) {
            let mut state = self.state.lock().expect("no model panics with a lock");
            while state.0 == 0 {
                state = self.written.wait(state).expect("no model panics with a lock");
            }
        }
    }
}

mod tests;

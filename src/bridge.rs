//! How do the event loop and the introspection thread tell each other what has happened?
//!
//! Completions go one way, through a queue beside a descriptor that is readable while there is something new in it. The
//! other way a job is told that somebody waits longer for it, or that nobody does any more. All that the two threads
//! share is here, in terms of [`crate::sync`], so that every order in which they can meet has been tried: `models/`.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::sync::{Arc, AtomicBool, AtomicU64, EventFd, Mutex};

/// Completions on their way to the event loop.
pub(crate) struct Completions<T> {
    /// Held for a push or a take, never across a wake-up.
    queue: Mutex<VecDeque<T>>,
    wake: EventFd,
}

impl<T> Completions<T> {
    /// A queue that makes `wake`, which must be non-blocking and at zero, readable.
    pub(crate) fn new(wake: EventFd) -> Self {
        Self { queue: Mutex::new(VecDeque::new()), wake }
    }

    /// Readable when there is something to [`take`](Self::take).
    pub(crate) fn wake(&self) -> &EventFd {
        &self.wake
    }

    pub(crate) fn post(&self, completion: T) {
        let was_empty = {
            let mut queue = self.queue.lock();
            queue.push_back(completion);
            queue.len() == 1
        };
        if was_empty {
            // Can only fail when the counter is at its maximum: then it is readable anyway.
            let _ = self.wake.write(1);
        }
    }

    /// Moves all completions to the end of `into` and makes the descriptor unreadable. May find none.
    pub(crate) fn take(&self, into: &mut VecDeque<T>) {
        // Cleared first: what is posted from here on either is taken below or makes it readable again. EAGAIN is fine.
        let _ = self.wake.read();
        let mut taken = std::mem::take(&mut *self.queue.lock());
        into.append(&mut taken);
    }
}

/// The duty to post one completion.
pub(crate) struct Ticket<T>(Option<(Arc<Completions<T>>, T)>);

impl<T> Ticket<T> {
    /// Posts `if_dropped` if nothing else becomes of it.
    pub(crate) fn new(completions: &Arc<Completions<T>>, if_dropped: T) -> Self {
        Self(Some((Arc::clone(completions), if_dropped)))
    }

    /// Fulfils the duty.
    pub(crate) fn post(mut self, completion: T) {
        if let Some((completions, _)) = self.0.take() {
            completions.post(completion);
        }
    }

    /// There is no duty: the job was not accepted.
    pub(crate) fn void(mut self) {
        self.0 = None;
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        if let Some((completions, if_dropped)) = self.0.take() {
            completions.post(if_dropped);
        }
    }
}

/// What the event loop tells the thread about a job under way.
#[derive(Debug)]
pub struct JobControl {
    begun: Instant,
    limit_ms: AtomicU64,
    wanted: AtomicBool,
}

impl JobControl {
    /// A job that begins now and may take so many milliseconds, its time in the queue included.
    pub fn new(limit_ms: u64) -> Self {
        Self { begun: Instant::now(), limit_ms: AtomicU64::new(limit_ms), wanted: AtomicBool::new(true) }
    }

    /// A waiter joins who waits until so many milliseconds after the job's begin; never shortens the limit. The job's
    /// completion may be on its way already, of failure even: then this waiter needs a new job.
    pub fn extend(&self, limit_ms: u64) {
        self.limit_ms.fetch_max(limit_ms, Ordering::Relaxed);
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// The last waiter is gone. A job still queued is then skipped; one in flight goes on, its answer is worth caching.
    pub fn abandon(&self) {
        self.wanted.store(false, Ordering::Relaxed);
    }

    pub(crate) fn wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    pub(crate) fn deadline(&self) -> Instant {
        let limit = Duration::from_millis(self.limit_ms.load(Ordering::Relaxed));
        self.begun.checked_add(limit).unwrap_or(self.begun)
    }
}

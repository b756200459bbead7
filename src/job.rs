//! What is to be asked, and how long is somebody waiting for it?

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::settings::{ClientSettings, Profile};

/// One token to introspect.
pub struct Job {
    /// Returned with the completion.
    pub id: u64,
    /// How the endpoint is asked and its answer read.
    pub profile: Arc<Profile>,
    /// Over which client.
    pub client: Arc<ClientSettings>,
    /// About which token.
    pub token: Zeroizing<Vec<u8>>,
    /// Shared with whoever waits.
    pub control: Arc<JobControl>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("id", &self.id).field("control", &self.control).finish_non_exhaustive()
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

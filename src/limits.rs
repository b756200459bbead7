//! Which jobs have had their time?
//!
//! The event loop has a timer for everyone who waits. That of the exchange itself only has to end what nobody waits for any
//! more, so it need not be exact, and one timer serves all jobs: a timer for each would cost the thread a system call
//! for each.

#![forbid(unsafe_code)]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::bridge::JobControl;

/// How much later than its limit a job may end.
const TICK: Duration = Duration::from_millis(50);

/// The jobs under way, and some that have ended since the last tick.
pub struct Limits {
    jobs: Vec<(Arc<JobControl>, oneshot::Sender<()>)>,
    tick: Pin<Box<Sleep>>,
}

/// Ends a job's work when its limit has passed.
pub struct Limit(oneshot::Receiver<()>);

impl Limits {
    /// No job yet. To be called in a runtime.
    pub fn new() -> Self {
        Self { jobs: Vec::new(), tick: Box::pin(sleep_until(Instant::now())) }
    }

    /// The limit of a job that begins.
    pub fn begin(&mut self, control: &Arc<JobControl>) -> Limit {
        if self.jobs.is_empty() {
            self.tick.as_mut().reset(Instant::now() + TICK);
        }
        let (end, limit) = oneshot::channel();
        self.jobs.push((Arc::clone(control), end));
        Limit(limit)
    }

    /// Waits for the next tick and ends the jobs whose limit has passed; for ever where there is no job. May be dropped
    /// and called again.
    pub async fn enforce(&mut self) {
        if self.jobs.is_empty() {
            return std::future::pending().await;
        }
        self.tick.as_mut().await;
        let now = Instant::now();
        self.tick.as_mut().reset(now + TICK);
        let mut i = 0;
        while let Some((control, end)) = self.jobs.get(i) {
            // The limit may have moved away since the job began.
            if end.is_closed() || control.deadline() <= now.into_std() {
                let (_, end) = self.jobs.swap_remove(i);
                // Of a job that has ended nobody listens.
                let _ = end.send(());
            } else {
                i += 1;
            }
        }
    }
}

impl Limit {
    /// Runs `work`; `None` if the limit has passed before its end.
    pub async fn on<T>(self, work: impl Future<Output = T>) -> Option<T> {
        let work = pin!(work);
        tokio::select! {
            biased;
            output = work => Some(output),
            Ok(()) = self.0 => None,
        }
    }
}

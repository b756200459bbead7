//! What is to be asked, and how long is somebody waiting for it?

#![forbid(unsafe_code)]

use std::sync::Arc;

use zeroize::Zeroizing;

pub use crate::bridge::JobControl;
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

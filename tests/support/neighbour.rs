//! Somebody else in the same worker: requests with a token that is in the cache, one after the other, while something goes wrong.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::http::Client;

/// One that is at it until it is told to [`stop`](Neighbour::stop).
pub struct Neighbour {
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

/// How it went.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    /// Requests, each answered with 200.
    pub count: usize,
    /// What half of them took at most.
    pub median: Duration,
    /// What each took at most.
    pub longest: Duration,
}

impl Neighbour {
    /// Begins; anything but 200 is a failure.
    pub fn start(addr: SocketAddr, path: &str, bearer: &str) -> Neighbour {
        let (path, bearer, stopped) = (path.to_owned(), bearer.to_owned(), Arc::new(AtomicBool::new(false)));
        let is_stopped = stopped.clone();
        let thread = std::thread::spawn(move || {
            let mut client = Client::connect(addr);
            let mut times = Vec::new();
            // at least one, however short it is
            while times.is_empty() || !is_stopped.load(Ordering::SeqCst) {
                let begun = Instant::now();
                let response = client.request("GET", &path, &[("Authorization", &bearer)], b"");
                assert_eq!(response.status, 200, "a neighbour was harmed");
                times.push(begun.elapsed());
            }
            times
        });
        Neighbour { stopped, thread }
    }

    /// Ends, and tells how it went.
    #[track_caller]
    pub fn stop(self) -> Served {
        self.stopped.store(true, Ordering::SeqCst);
        let mut times = self.thread.join().expect("the neighbour");
        times.sort_unstable();
        Served { count: times.len(), median: times[times.len() / 2], longest: times[times.len() - 1] }
    }
}

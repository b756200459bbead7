//! Which of a client's exchanges are in flight, and which of them are more than usual?
//!
//! There is a fixed number of places. An exchange takes the lowest that is free, so that few exchanges at a time always
//! have the same ones.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::client::MAX_IN_FLIGHT;

/// The places of one client.
pub struct Places {
    free: Semaphore,
    /// A bit for each.
    taken: AtomicU64,
    steady: usize,
}

const _: () = assert!(MAX_IN_FLIGHT <= u64::BITS as usize);

impl Places {
    /// [`MAX_IN_FLIGHT`] places, of which the lowest so many are steady.
    pub fn new(steady: usize) -> Self {
        Self { free: Semaphore::new(MAX_IN_FLIGHT), taken: AtomicU64::new(0), steady }
    }

    /// Waits for a place, first come first served.
    pub async fn take(&self) -> Place<'_> {
        let permit = self.free.acquire().await.expect("the semaphore is never closed");
        // All of a client's exchanges run on one thread, and with a permit there is a free place.
        let number = self.taken.load(Ordering::Relaxed).trailing_ones();
        self.taken.fetch_or(1 << number, Ordering::Relaxed);
        Place { places: self, number, _permit: permit }
    }
}

/// A place, free again when it is dropped.
pub struct Place<'a> {
    places: &'a Places,
    number: u32,
    /// Dropped after the place was given back.
    _permit: SemaphorePermit<'a>,
}

impl Place<'_> {
    /// Whether it is one of those that are always there.
    pub fn is_steady(&self) -> bool {
        (self.number as usize) < self.places.steady
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.places.taken.fetch_and(!(1 << self.number), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn the_lowest_first_and_no_more_than_there_are() {
        fn take<'a>(places: &'a Places) -> Option<Place<'a>> {
            match pin!(places.take()).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(place) => Some(place),
                Poll::Pending => None,
            }
        }
        let places = Places::new(2);
        let mut taken: Vec<_> = std::iter::from_fn(|| take(&places)).collect();
        let numbers: Vec<_> = taken.iter().map(|place| (place.number, place.is_steady())).collect();
        assert_eq!(numbers, (0..MAX_IN_FLIGHT as u32).map(|n| (n, n < 2)).collect::<Vec<_>>());
        taken.remove(40);
        taken.remove(1);
        let again: Vec<_> = std::iter::from_fn(|| take(&places)).collect();
        assert_eq!(again.iter().map(|place| place.number).collect::<Vec<_>>(), [1, 40]);
    }
}

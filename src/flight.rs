//! Who is waiting for which exchange?
//!
//! Single flight: the first request for a token leads, later ones follow and get the same answer. An exchange may be
//! joined only until the deadline of the request that began it: a connection that has swallowed one exchange must not
//! take every later request for that token with it. It is then superseded by a new one, and its answer, should it still
//! come, serves those who wait for it but no longer the cache.

use std::collections::{BTreeSet, HashMap};

use crate::key::{BuildKeyHasher, Key};

/// Names a waiting request. Numbers are never used twice, so an old one names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub u64);

/// Names an exchange. Numbers are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlightId(pub u64);

/// One exchange with the endpoint.
#[derive(Debug)]
pub struct Flight<C> {
    /// What is being asked.
    pub key: Key,
    /// Requests waiting, oldest first.
    pub waiters: BTreeSet<WaiterId>,
    /// At least one of those who asked uses the cache.
    pub keep: bool,
    /// When it began, milliseconds.
    pub began: u64,
    /// First millisecond at which it may no longer be joined.
    pub joinable_until: u64,
    /// The caller's handle on the exchange itself.
    pub control: C,
}

/// The exchanges of one worker that have no answer yet.
#[derive(Debug)]
pub struct Flights<C> {
    newest: HashMap<Key, FlightId, BuildKeyHasher>,
    flights: HashMap<FlightId, Flight<C>>,
    next: u64,
}

impl<C> Default for Flights<C> {
    fn default() -> Self {
        Self { newest: HashMap::default(), flights: HashMap::new(), next: 1 }
    }
}

impl<C> Flights<C> {
    /// Adds `waiter` to the exchange for `key`, if there is one that may be joined at `now`.
    pub fn join(&mut self, key: &Key, waiter: WaiterId, keep: bool, now: u64) -> Option<(FlightId, &Flight<C>)> {
        let id = *self.newest.get(key)?;
        let flight = self.flights.get_mut(&id)?;
        if now >= flight.joinable_until {
            return None;
        }
        flight.waiters.insert(waiter);
        flight.keep |= keep;
        Some((id, flight))
    }

    /// Begins an exchange led by `leader`; one for the same key that is still in flight is superseded.
    pub fn begin(&mut self, key: Key, leader: WaiterId, keep: bool, now: u64, timeout: u64, control: C) -> FlightId {
        let id = FlightId(self.next);
        self.next += 1;
        self.newest.insert(key, id);
        let flight = Flight {
            key,
            waiters: BTreeSet::from([leader]),
            keep,
            began: now,
            joinable_until: now.saturating_add(timeout),
            control,
        };
        self.flights.insert(id, flight);
        id
    }

    /// Ends an exchange: the flight, and whether its answer is the newest for its key.
    pub fn end(&mut self, id: FlightId) -> Option<(Flight<C>, bool)> {
        let flight = self.flights.remove(&id)?;
        let newest = self.newest.get(&flight.key) == Some(&id);
        if newest {
            self.newest.remove(&flight.key);
        }
        Some((flight, newest))
    }

    /// Takes `waiter` out: the flight, if nobody waits for it any longer.
    pub fn leave(&mut self, id: FlightId, waiter: WaiterId) -> Option<&Flight<C>> {
        let flight = self.flights.get_mut(&id)?;
        (flight.waiters.remove(&waiter) && flight.waiters.is_empty()).then_some(flight)
    }

    /// An exchange without an answer.
    pub fn get(&self, id: FlightId) -> Option<&Flight<C>> {
        self.flights.get(&id)
    }

    /// Exchanges without an answer.
    pub fn len(&self) -> usize {
        self.flights.len()
    }

    /// No exchange is without an answer.
    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::key::tests::key;

    fn waiters(flight: &Flight<()>) -> Vec<u64> {
        flight.waiters.iter().map(|waiter| waiter.0).collect()
    }

    #[test]
    fn followers_join_and_all_are_handed_back() {
        let mut flights = Flights::default();
        let id = flights.begin(key(1), WaiterId(1), false, 0, 5000, ());
        assert_eq!(flights.join(&key(1), WaiterId(2), true, 4999).unwrap().0, id);
        assert!(flights.join(&key(2), WaiterId(3), true, 0).is_none());
        let (flight, newest) = flights.end(id).unwrap();
        assert_eq!(waiters(&flight), [1, 2]);
        assert!(flight.keep && newest);
        assert!(flights.is_empty());
        assert!(flights.end(id).is_none());
    }

    #[test]
    fn nobody_joins_after_the_leaders_deadline() {
        let mut flights = Flights::default();
        let old = flights.begin(key(1), WaiterId(1), true, 0, 5000, ());
        assert!(flights.join(&key(1), WaiterId(2), true, 5000).is_none());
        let new = flights.begin(key(1), WaiterId(2), true, 5000, 5000, ());
        assert_eq!(flights.join(&key(1), WaiterId(3), true, 5001).unwrap().0, new);
        let (flight, newest) = flights.end(old).unwrap();
        assert_eq!(waiters(&flight), [1]);
        assert!(!newest);
        let (flight, newest) = flights.end(new).unwrap();
        assert_eq!(waiters(&flight), [2, 3]);
        assert!(newest);
    }

    #[test]
    fn leaving_tells_when_nobody_is_left() {
        let mut flights = Flights::default();
        let id = flights.begin(key(1), WaiterId(1), true, 0, 5000, ());
        flights.join(&key(1), WaiterId(2), true, 1);
        assert!(flights.leave(id, WaiterId(1)).is_none());
        assert!(flights.leave(id, WaiterId(1)).is_none());
        assert!(flights.leave(id, WaiterId(2)).is_some());
        assert!(flights.leave(id, WaiterId(2)).is_none());
        assert_eq!(flights.len(), 1);
    }
}

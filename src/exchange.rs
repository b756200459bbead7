//! Does this token need asking about, who waits for the answer, and what becomes of it?
//!
//! [`Exchange::begin`] decides for one request, [`Exchange::answer`] for all that waited. What happens between the two
//! (the HTTP exchange, parking and waking requests) is the caller's.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::cache::{Cache, Known, Now};
use crate::flight::{Flight, FlightId, Flights, WaiterId};
use crate::freshness::{self, Stated};
use crate::introspection::{Active, Answer, Failure, Inactive};
use crate::key::Key;

/// What the location of a request says about cache and exchanges.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// `phantom_token_cache`.
    pub cache: bool,
    /// `phantom_token_cache_bypass` says so of this request: only an answer asked for from now on will do.
    pub bypass: bool,
    /// `phantom_token_timeout`, milliseconds.
    pub timeout: u64,
    /// `phantom_token_max_pending`.
    pub max_pending: usize,
}

/// How a request goes on.
#[derive(Debug)]
pub enum Begun<'a> {
    /// Active, from the cache.
    Hit(&'a Active),
    /// Inactive, from the cache.
    Refused(Inactive),
    /// It waits for an exchange that is under way. The exchange must be given until `limit`, milliseconds after it began.
    Wait {
        /// The exchange.
        flight: FlightId,
        /// What it was begun with.
        limit: u64,
    },
    /// It waits for an exchange that the caller has to start.
    Ask(FlightId),
    /// Too many exchanges are pending.
    Full,
}

/// What became of a token.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It may go on with this JWT.
    Forward(Active),
    /// It is refused.
    Refuse(Inactive),
    /// The endpoint gave no usable answer.
    Fail(Failure),
}

/// The end of an exchange.
#[derive(Debug)]
pub struct Landed {
    /// What became of the token.
    pub outcome: Outcome,
    /// Who waits for it, oldest first.
    pub waiters: BTreeSet<WaiterId>,
    /// The answer was to be cached, but its caching headers forbade it.
    pub storing_forbidden: bool,
}

/// The bounds a profile sets on the lifetime of answers.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Upper bound of any lifetime.
    pub max_ttl: Duration,
    /// Lifetime of a refusal.
    pub inactive_ttl: Duration,
}

/// Cache and exchanges of one worker.
pub struct Exchange<C> {
    cache: Cache,
    flights: Flights<C>,
}

impl<C> Exchange<C> {
    /// An exchange whose cache takes `cache_size` bytes, and keeps answers for at most `reserve` milliseconds longer than
    /// they are valid.
    pub fn new(cache_size: usize, reserve: u64) -> Self {
        Self { cache: Cache::new(cache_size, reserve), flights: Flights::default() }
    }

    /// What is left of an answer about `key` whose lifetime has ended by at most `window` milliseconds.
    pub fn stale(&mut self, key: &Key, window: u64, now: Now) -> Option<&Active> {
        self.cache.stale(key, window, now)
    }

    /// Looks a token up without joining or beginning anything: [`Begun::Hit`], [`Begun::Refused`] or nothing.
    pub fn lookup(&mut self, key: &Key, now: Now) -> Option<Begun<'_>> {
        self.cache.get(key, now).map(|known| match known {
            Known::Active(active) => Begun::Hit(active),
            Known::Inactive(reason) => Begun::Refused(reason),
        })
    }

    /// Has `waiter` wait for the answer about `key`: joins the exchange under way, or begins one with `control`.
    pub fn wait(
        &mut self,
        key: Key,
        waiter: WaiterId,
        policy: Policy,
        now: Now,
        control: impl FnOnce() -> C,
    ) -> Begun<'_> {
        if !policy.bypass {
            if let Some((id, flight)) = self.flights.join(&key, waiter, policy.cache, now.msec) {
                let limit = now.msec.saturating_sub(flight.began).saturating_add(policy.timeout);
                return Begun::Wait { flight: id, limit };
            }
        }
        if self.flights.len() >= policy.max_pending {
            return Begun::Full;
        }
        Begun::Ask(self.flights.begin(key, waiter, policy.cache, now.msec, policy.timeout, control()))
    }

    /// Ends an exchange: fills the cache and hands back who waits. `None` for an exchange that is none.
    pub fn answer(
        &mut self,
        id: FlightId,
        result: Result<(Answer, Stated), Failure>,
        bounds: Bounds,
        now: Now,
    ) -> Option<Landed> {
        let (flight, newest) = self.flights.end(id)?;
        // A superseded exchange asked earlier than the one that took its place: what it learned may be outdated.
        let keep = flight.keep && newest;
        let mut storing_forbidden = false;
        let outcome = match result {
            Ok((Answer::Active(active), _)) if !active.is_valid_at(now.unix) => {
                self.refuse(&flight, newest, Inactive::Expired, bounds, now)
            }
            Ok((Answer::Active(active), stated)) => {
                if keep {
                    storing_forbidden = matches!(stated, Stated::Forbidden);
                    if let Some(lifetime) = freshness::lifetime(now.unix, stated, active.exp(), bounds.max_ttl) {
                        self.cache.insert_active(flight.key, active.settled(), millis(lifetime), now);
                    }
                }
                Outcome::Forward(active)
            }
            Ok((Answer::Inactive(reason), _)) => self.refuse(&flight, newest, reason, bounds, now),
            Err(failure) => Outcome::Fail(failure),
        };
        Some(Landed { outcome, waiters: flight.waiters, storing_forbidden })
    }

    fn refuse(&mut self, flight: &Flight<C>, newest: bool, reason: Inactive, bounds: Bounds, now: Now) -> Outcome {
        if newest {
            // Who does not use the cache keeps nothing there, but an active answer of before is disproved all the same.
            let lifetime = if flight.keep { millis(bounds.inactive_ttl) } else { 0 };
            self.cache.insert_inactive(flight.key, reason, lifetime, now);
        }
        Outcome::Refuse(reason)
    }

    /// Takes a waiter out: the control of its exchange, if nobody waits for that any longer.
    pub fn leave(&mut self, id: FlightId, waiter: WaiterId) -> Option<&C> {
        self.flights.leave(id, waiter).map(|flight| &flight.control)
    }

    /// Takes a waiter out for whom the exchange had its time, or who alone kept it going. If nobody waits for it any
    /// longer it ends, and no longer counts as pending; its control is handed back.
    pub fn leave_or_end(&mut self, id: FlightId, waiter: WaiterId) -> Option<C> {
        self.flights.leave(id, waiter)?;
        self.flights.end(id).map(|(flight, _)| flight.control)
    }

    /// The control of an exchange under way.
    pub fn control(&self, id: FlightId) -> Option<&C> {
        self.flights.get(id).map(|flight| &flight.control)
    }

    /// Who has waited longest for an exchange.
    pub fn first_waiter(&self, id: FlightId) -> Option<WaiterId> {
        self.flights.get(id)?.waiters.first().copied()
    }

    /// Exchanges under way.
    pub fn pending(&self) -> usize {
        self.flights.len()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::key::tests::key;

    const POLICY: Policy = Policy { cache: true, bypass: false, timeout: 5000, max_pending: 2 };
    const BOUNDS: Bounds = Bounds { max_ttl: Duration::from_secs(60), inactive_ttl: Duration::from_secs(5) };

    fn at(msec: u64) -> Now {
        Now { msec, unix: 1_000_000 + (msec / 1000) as i64 }
    }

    fn active(exp: Option<i64>) -> Result<(Answer, Stated), Failure> {
        Ok((Answer::Active(Active::new("a.b.c", exp, "")), Stated::Nothing))
    }

    fn inactive() -> Result<(Answer, Stated), Failure> {
        Ok((Answer::Inactive(Inactive::Stated), Stated::Nothing))
    }

    fn ask(exchange: &mut Exchange<()>, n: u64, waiter: u64, policy: Policy, now: Now) -> FlightId {
        match exchange.wait(key(n), WaiterId(waiter), policy, now, || ()) {
            Begun::Ask(id) => id,
            other => panic!("expected Ask, got {other:?}"),
        }
    }

    fn known(exchange: &mut Exchange<()>, n: u64, now: Now) -> &'static str {
        match exchange.lookup(&key(n), now) {
            Some(Begun::Hit(_)) => "hit",
            Some(Begun::Refused(_)) => "refused",
            None => "unknown",
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn first_asks_second_waits_third_hits() {
        let mut exchange = Exchange::new(1 << 20, 0);
        let id = ask(&mut exchange, 1, 1, POLICY, at(0));
        let begun = exchange.wait(key(1), WaiterId(2), POLICY, at(100), || ());
        assert!(matches!(begun, Begun::Wait { flight, limit: 5100 } if flight == id));
        let landed = exchange.answer(id, active(None), BOUNDS, at(200)).unwrap();
        assert!(matches!(landed.outcome, Outcome::Forward(_)));
        assert_eq!(landed.waiters.len(), 2);
        assert_eq!(known(&mut exchange, 1, at(201)), "hit");
        assert_eq!(exchange.pending(), 0);
    }

    #[test]
    fn inactive_is_refused_for_its_own_time() {
        let mut exchange = Exchange::new(1 << 20, 0);
        let id = ask(&mut exchange, 1, 1, POLICY, at(0));
        exchange.answer(id, inactive(), BOUNDS, at(100));
        assert_eq!(known(&mut exchange, 1, at(5099)), "refused");
        assert_eq!(known(&mut exchange, 1, at(5100)), "unknown");
    }

    #[test]
    fn active_with_past_exp_is_refused_as_expired() {
        let mut exchange = Exchange::new(1 << 20, 0);
        for exp in [1_000_000, 999_999, i64::MIN] {
            let id = ask(&mut exchange, 1, 1, POLICY, at(0));
            let landed = exchange.answer(id, active(Some(exp)), BOUNDS, at(0)).unwrap();
            assert!(matches!(landed.outcome, Outcome::Refuse(Inactive::Expired)));
        }
    }

    #[test]
    fn failures_are_never_kept_and_do_not_touch_the_cache() {
        let mut exchange = Exchange::new(1 << 20, 0);
        let id = ask(&mut exchange, 1, 1, POLICY, at(0));
        let landed = exchange.answer(id, Err(Failure::Internal), BOUNDS, at(0)).unwrap();
        assert!(matches!(landed.outcome, Outcome::Fail(Failure::Internal)));
        assert_eq!(known(&mut exchange, 1, at(0)), "unknown");
    }

    #[test]
    fn what_headers_forbid_is_coalesced_but_not_kept() {
        let mut exchange = Exchange::new(1 << 20, 0);
        let id = ask(&mut exchange, 1, 1, POLICY, at(0));
        exchange.wait(key(1), WaiterId(2), POLICY, at(0), || ());
        let answer = Ok((Answer::Active(Active::new("a.b.c", None, "")), Stated::Forbidden));
        let landed = exchange.answer(id, answer, BOUNDS, at(0)).unwrap();
        assert!(landed.storing_forbidden);
        assert_eq!(landed.waiters.len(), 2);
        assert_eq!(known(&mut exchange, 1, at(0)), "unknown");
    }

    #[test]
    fn only_those_who_use_the_cache_fill_it() {
        let off = Policy { cache: false, ..POLICY };
        let mut exchange = Exchange::new(1 << 20, 0);
        let id = ask(&mut exchange, 1, 1, off, at(0));
        exchange.answer(id, active(None), BOUNDS, at(0));
        assert_eq!(known(&mut exchange, 1, at(0)), "unknown");
        let id = ask(&mut exchange, 1, 1, off, at(0));
        exchange.wait(key(1), WaiterId(2), POLICY, at(0), || ());
        exchange.answer(id, active(None), BOUNDS, at(0));
        assert_eq!(known(&mut exchange, 1, at(0)), "hit");
    }

    #[test]
    fn an_inactive_answer_disproves_an_active_one_whoever_asked() {
        let off = Policy { cache: false, ..POLICY };
        let mut exchange = Exchange::new(1 << 20, 0);
        let id = ask(&mut exchange, 1, 1, POLICY, at(0));
        exchange.answer(id, active(None), BOUNDS, at(0));
        let id = ask(&mut exchange, 1, 2, off, at(1));
        exchange.answer(id, inactive(), BOUNDS, at(2));
        assert_eq!(known(&mut exchange, 1, at(3)), "unknown");
    }

    #[test]
    fn pending_exchanges_are_bounded_but_may_be_joined() {
        let mut exchange = Exchange::new(1 << 20, 0);
        ask(&mut exchange, 1, 1, POLICY, at(0));
        ask(&mut exchange, 2, 2, POLICY, at(0));
        assert!(matches!(exchange.wait(key(3), WaiterId(3), POLICY, at(0), || ()), Begun::Full));
        assert!(matches!(exchange.wait(key(2), WaiterId(4), POLICY, at(0), || ()), Begun::Wait { .. }));
    }

    #[test]
    fn an_answer_after_everyone_left_still_fills_the_cache() {
        let mut exchange = Exchange::new(1 << 20, 0);
        let id = ask(&mut exchange, 1, 1, POLICY, at(0));
        assert!(exchange.leave(id, WaiterId(1)).is_some());
        let landed = exchange.answer(id, active(None), BOUNDS, at(0)).unwrap();
        assert!(landed.waiters.is_empty());
        assert_eq!(known(&mut exchange, 1, at(0)), "hit");
    }

    #[test]
    fn an_exchange_ends_with_the_last_deadline() {
        let mut exchange = Exchange::new(1 << 20, 0);
        let id = ask(&mut exchange, 1, 1, POLICY, at(0));
        exchange.wait(key(1), WaiterId(2), POLICY, at(4000), || ());
        assert!(exchange.leave_or_end(id, WaiterId(1)).is_none());
        assert_eq!(exchange.pending(), 1);
        assert!(exchange.leave_or_end(id, WaiterId(2)).is_some());
        assert_eq!(exchange.pending(), 0);
        assert!(exchange.answer(id, active(None), BOUNDS, at(9001)).is_none());
        assert_eq!(known(&mut exchange, 1, at(9001)), "unknown");
    }

    #[test]
    fn who_bypasses_the_cache_joins_nobody_but_may_be_joined() {
        let bypass = Policy { bypass: true, ..POLICY };
        let mut exchange = Exchange::new(1 << 20, 0);
        let old = ask(&mut exchange, 1, 1, POLICY, at(0));
        let new = ask(&mut exchange, 1, 2, bypass, at(1));
        let begun = exchange.wait(key(1), WaiterId(3), POLICY, at(2), || ());
        assert!(matches!(begun, Begun::Wait { flight, .. } if flight == new));
        exchange.answer(new, inactive(), BOUNDS, at(3));
        exchange.answer(old, active(None), BOUNDS, at(4));
        assert_eq!(known(&mut exchange, 1, at(5)), "refused");
    }

    #[test]
    fn a_superseded_answer_serves_its_waiters_but_not_the_cache() {
        let mut exchange = Exchange::new(1 << 20, 0);
        let old = ask(&mut exchange, 1, 1, POLICY, at(0));
        let new = ask(&mut exchange, 1, 2, POLICY, at(5000));
        exchange.answer(new, inactive(), BOUNDS, at(5100));
        let landed = exchange.answer(old, active(None), BOUNDS, at(5200)).unwrap();
        assert!(matches!(landed.outcome, Outcome::Forward(_)));
        assert_eq!(known(&mut exchange, 1, at(5200)), "refused");
    }
}

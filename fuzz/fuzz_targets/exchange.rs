//! The state machine between cache, exchanges in flight and waiting requests, against a model of what it must not do: lose a
//! waiter, answer one twice, or let one pass without an active, fresh answer that was asked for after it was last disproved.
#![no_main]

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ngx_http_phantom_token_module::cache::Now;
use ngx_http_phantom_token_module::exchange::{Begun, Bounds, Exchange, Outcome, Policy};
use ngx_http_phantom_token_module::flight::{FlightId, WaiterId};
use ngx_http_phantom_token_module::freshness::Stated;
use ngx_http_phantom_token_module::introspection::{Active, Answer, Failure, Inactive, Phase};
use ngx_http_phantom_token_module::key::{Key, KeyMaker, Seed};
use ngx_http_phantom_token_module::settings::{ClientAuth, Endpoint, EndpointUrl, IntrospectionJwt, Profile, Tls};

#[derive(Arbitrary, Debug)]
enum Step {
    Ask { token: u8, cache: bool, bypass: bool, timeout: u16 },
    Leave { nth: u8, for_good: bool },
    Answer { nth: u8, kind: Kind, stated: Option<u16>, exp: Option<u16> },
    Clock { seconds: u8 },
}

#[derive(Arbitrary, Debug)]
enum Kind {
    Active,
    Inactive,
    Failure,
}

const BOUNDS: Bounds = Bounds { max_ttl: Duration::from_secs(60), inactive_ttl: Duration::from_secs(5) };
const RESERVE: u64 = 20_000;

#[derive(Default)]
struct Model {
    /// Waiter → its exchange.
    waiting: HashMap<WaiterId, FlightId>,
    /// Exchanges without an answer, with the token each is about.
    flights: Vec<(FlightId, u8)>,
    /// The exchange last begun for each token: who asked earlier may be told what is outdated.
    newest: HashMap<u8, FlightId>,
    /// Tokens with an active answer: until when it may be used, and until when as the last resort.
    good: HashMap<u8, (u64, i64)>,
}

fuzz_target!(|steps: Vec<Step>| {
    let seed = Seed::draw().expect("random numbers");
    let profile = Profile {
        endpoint: Endpoint::Url(EndpointUrl::parse("https://as.example/").expect("a URL")),
        client_auth: ClientAuth::None,
        accept: String::new(),
        jwt_members: Vec::new(),
        introspection_jwt: IntrospectionJwt::Reject,
        tls: Tls::new(),
        ignore_cache_control: false,
        max_ttl: BOUNDS.max_ttl,
        inactive_ttl: BOUNDS.inactive_ttl,
    };
    let keys = KeyMaker::new(&seed, &profile);
    let key = |token: u8| -> Key { keys.key(b"", &[token]) };
    let mut exchange: Exchange<()> = Exchange::new(256 << 10, RESERVE);
    let mut model = Model::default();
    let mut answered = HashSet::new();
    let mut now = Now { msec: 1_000_000, unix: 1_000_000 };
    let mut next = 1;
    for step in steps.into_iter().take(500) {
        match step {
            Step::Clock { seconds } => {
                now.msec += u64::from(seconds) * 1_000;
                now.unix += i64::from(seconds);
            }
            Step::Ask { token, cache, bypass, timeout } => {
                let token = token % 8;
                if cache && !bypass {
                    match exchange.lookup(&key(token), now) {
                        Some(Begun::Hit(active)) => {
                            let (until, exp) = model.good.get(&token).copied().expect("a hit without an active answer");
                            assert!(now.msec < until && now.unix < exp && active.exp().is_none_or(|exp| exp > now.unix));
                            continue;
                        }
                        Some(Begun::Refused(_)) => continue,
                        _ => {}
                    }
                }
                let waiter = WaiterId(next);
                next += 1;
                let policy = Policy { cache, bypass, timeout: timeout.into(), max_pending: 6 };
                let known: HashSet<_> = model.flights.iter().map(|(id, _)| *id).collect();
                match exchange.wait(key(token), waiter, policy, now, || ()) {
                    Begun::Ask(flight) => {
                        assert!(!known.contains(&flight) && known.len() < policy.max_pending);
                        model.flights.push((flight, token));
                        model.newest.insert(token, flight);
                        model.waiting.insert(waiter, flight);
                    }
                    Begun::Wait { flight, .. } => {
                        assert!(!bypass && model.flights.contains(&(flight, token)));
                        model.waiting.insert(waiter, flight);
                    }
                    Begun::Full => assert!(known.len() >= policy.max_pending),
                    Begun::Hit(_) | Begun::Refused(_) => panic!("an answer without one"),
                }
            }
            Step::Leave { nth, for_good } => {
                let mut waiters: Vec<_> = model.waiting.iter().map(|(waiter, flight)| (*waiter, *flight)).collect();
                waiters.sort_unstable();
                let Some((waiter, flight)) = waiters.get(usize::from(nth) % waiters.len().max(1)).copied() else { continue };
                model.waiting.remove(&waiter);
                let last = !model.waiting.values().any(|other| *other == flight);
                if for_good {
                    assert_eq!(exchange.leave_or_end(flight, waiter).is_some(), last);
                    if last {
                        model.flights.retain(|(id, _)| *id != flight);
                    }
                } else {
                    assert_eq!(exchange.leave(flight, waiter).is_some(), last);
                }
            }
            Step::Answer { nth, kind, stated, exp } => {
                if model.flights.is_empty() {
                    continue;
                }
                let (flight, token) = model.flights.remove(usize::from(nth) % model.flights.len());
                let newest = model.newest.get(&token) == Some(&flight);
                let stated = stated.map_or(Stated::Nothing, |seconds| match seconds {
                    0 => Stated::Forbidden,
                    seconds => Stated::For(Duration::from_secs(seconds.into())),
                });
                let exp = exp.map(|seconds| 999_000 + i64::from(seconds));
                let result = match kind {
                    Kind::Active => Ok((Answer::Active(Active::new("a.b.c", exp, "")), stated)),
                    Kind::Inactive => Ok((Answer::Inactive(Inactive::Stated), stated)),
                    Kind::Failure => Err(Failure::Timeout { phase: Phase::Answer }),
                };
                let landed = exchange.answer(flight, result, BOUNDS, now).expect("an exchange in flight");
                let expired = exp.is_some_and(|exp| exp <= now.unix);
                match (&landed.outcome, kind) {
                    (Outcome::Forward(_), Kind::Active) => {
                        assert!(!expired);
                        let until = now.msec + BOUNDS.max_ttl.as_millis() as u64;
                        let known = model.good.entry(token).or_insert((0, i64::MIN));
                        *known = (known.0.max(until), known.1.max(exp.unwrap_or(i64::MAX)));
                    }
                    (Outcome::Refuse(Inactive::Expired), Kind::Active) if expired => {
                        if newest {
                            model.good.remove(&token);
                        }
                    }
                    (Outcome::Refuse(_), Kind::Inactive) => {
                        if newest {
                            model.good.remove(&token);
                        }
                    }
                    (Outcome::Fail(_), Kind::Failure) => {}
                    (outcome, kind) => panic!("{kind:?} became {outcome:?}"),
                }
                let expected: HashSet<_> =
                    model.waiting.iter().filter(|(_, id)| **id == flight).map(|(waiter, _)| *waiter).collect();
                assert_eq!(landed.waiters.iter().copied().collect::<HashSet<_>>(), expected, "a waiter is lost");
                for waiter in landed.waiters {
                    assert!(answered.insert(waiter), "answered twice");
                    model.waiting.remove(&waiter);
                }
                assert!(exchange.answer(flight, Err(Failure::Internal), BOUNDS, now).is_none());
            }
        }
        assert_eq!(exchange.pending(), model.flights.len());
        for token in 0..8 {
            if let Some(active) = exchange.stale(&key(token), RESERVE, now) {
                assert!(model.good.contains_key(&token) && active.exp().is_some_and(|exp| exp > now.unix));
            }
        }
    }
});

//! The cache against the most naive one there could be: two lists in order of use, searched from end to end.

use proptest::prelude::*;

use super::*;
use crate::key::tests::key;

const BYTES: usize = 6_000;
const RESERVE: u64 = 3_000;

#[derive(Debug, Clone)]
enum Step {
    Look(u64),
    LookForStale(u64, u64),
    StoreActive {
        key: u64,
        length: usize,
        lifetime: u64,
        exp: Option<i64>,
    },
    StoreInactive {
        key: u64,
        lifetime: u64,
    },
    Wait(u64),
    /// Somebody sets the machine's clock.
    SetClock(i64),
}

fn step() -> impl Strategy<Value = Step> {
    // few keys and times, so that they meet; some lifetimes without end, whose sum with a time must not wrap around
    let key = || 0..12_u64;
    let time = |most: u64| (0..=most / 250).prop_map(|n| n * 250);
    let lifetime = || prop_oneof![8 => time(4_000), 1 => Just(u64::MAX)];
    let exp = prop_oneof![Just(None), (0..12_i64).prop_map(Some)];
    prop_oneof![
        6 => key().prop_map(Step::Look),
        2 => (key(), time(2 * RESERVE)).prop_map(|(key, window)| Step::LookForStale(key, window)),
        4 => (key(), 7..1_500_usize, lifetime(), exp)
            .prop_map(|(key, length, lifetime, exp)| Step::StoreActive { key, length, lifetime, exp }),
        // over the whole share
        1 => (key(), Just(BYTES), lifetime())
            .prop_map(|(key, length, lifetime)| Step::StoreActive { key, length, lifetime, exp: None }),
        4 => (key(), lifetime()).prop_map(|(key, lifetime)| Step::StoreInactive { key, lifetime }),
        3 => time(1_500).prop_map(Step::Wait),
        1 => (0..12_i64).prop_map(Step::SetClock),
    ]
}

#[derive(Clone)]
struct Entry {
    key: u64,
    cost: usize,
    until: u128,
    answer: Option<Active>,
}

/// The least recently used first.
#[derive(Default)]
struct List {
    entries: Vec<Entry>,
    limit: usize,
}

impl List {
    fn remove(&mut self, key: u64) -> Option<Entry> {
        let place = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(place))
    }

    /// As it is; it is the most recently used from here on.
    fn touch(&mut self, key: u64) -> Option<Entry> {
        let entry = self.remove(key)?;
        self.entries.push(entry.clone());
        Some(entry)
    }

    fn store(&mut self, entry: Entry) {
        self.remove(entry.key);
        if entry.cost > self.limit {
            return;
        }
        while self.used() + entry.cost > self.limit {
            self.entries.remove(0);
        }
        self.entries.push(entry);
    }

    fn used(&self) -> usize {
        self.entries.iter().map(|entry| entry.cost).sum()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Active(String),
    Inactive,
    Unknown,
}

struct Model {
    active: List,
    inactive: List,
}

impl Model {
    fn new() -> Self {
        let list = |limit| List { limit, ..List::default() };
        Self { active: list(BYTES - BYTES / 8), inactive: list(BYTES / 8) }
    }

    fn look(&mut self, key: u64, now: Now) -> Verdict {
        if let Some(entry) = self.active.touch(key) {
            let answer = entry.answer.unwrap();
            let lasts = answer.exp().is_none_or(|exp| exp > now.unix);
            if entry.until > now.msec.into() && lasts {
                return Verdict::Active(answer.jwt().to_owned());
            }
            let is_reserve = answer.exp().is_some() && lasts && entry.until + u128::from(RESERVE) > now.msec.into();
            if !is_reserve {
                self.active.remove(key);
            }
        }
        if let Some(entry) = self.inactive.touch(key) {
            if entry.until > now.msec.into() {
                return Verdict::Inactive;
            }
            self.inactive.remove(key);
        }
        Verdict::Unknown
    }

    fn look_for_stale(&self, key: u64, window: u64, now: Now) -> Option<String> {
        let entry = self.active.entries.iter().find(|entry| entry.key == key)?;
        let answer = entry.answer.as_ref().unwrap();
        let is_stale =
            entry.until + u128::from(window) > now.msec.into() && answer.exp().is_some_and(|exp| exp > now.unix);
        is_stale.then(|| answer.jwt().to_owned())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_the_model(steps in prop::collection::vec(step(), 1..120)) {
        let (mut cache, mut model) = (Cache::new(BYTES, RESERVE), Model::new());
        let mut now = Now { msec: 1, unix: 5 };
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Look(k) => {
                    let found = match cache.get(&key(k), now) {
                        Some(Known::Active(active)) => Verdict::Active(active.jwt().to_owned()),
                        Some(Known::Inactive(_)) => Verdict::Inactive,
                        None => Verdict::Unknown,
                    };
                    prop_assert_eq!(found, model.look(k, now));
                }
                Step::LookForStale(k, window) => {
                    let found = cache.stale(&key(k), window, now).map(|active| active.jwt().to_owned());
                    prop_assert_eq!(found, model.look_for_stale(k, window, now));
                }
                Step::StoreActive { key: k, length, lifetime, exp } => {
                    // each another text
                    let jwt = format!("{n:0width$}", width = length);
                    let answer = Active::new(&jwt, exp, "");
                    model.inactive.remove(k);
                    model.active.store(Entry {
                        key: k,
                        cost: ENTRY_OVERHEAD + answer.size(),
                        until: (u128::from(now.msec) + u128::from(lifetime)).min(u64::MAX.into()),
                        answer: Some(answer.clone()),
                    });
                    cache.insert_active(key(k), answer, lifetime, now);
                }
                Step::StoreInactive { key: k, lifetime } => {
                    model.active.remove(k);
                    if lifetime > 0 {
                        let until = (u128::from(now.msec) + u128::from(lifetime)).min(u64::MAX.into());
                        model.inactive.store(Entry { key: k, cost: ENTRY_OVERHEAD, until, answer: None });
                    }
                    cache.insert_inactive(key(k), Inactive::Stated, lifetime, now);
                }
                Step::Wait(msec) => now.msec += msec,
                Step::SetClock(unix) => now.unix = unix,
            }
            let usage = [&model.active, &model.inactive].map(|list| (list.entries.len(), list.used()));
            prop_assert_eq!(cache.usage(), usage);
            prop_assert!(usage[0].1 + usage[1].1 <= BYTES);
        }
    }
}

//! Which answers does this worker still know?
//!
//! Two LRU lists share the configured bytes: seven eighths for active tokens, one eighth for inactive ones, so that a
//! flood of garbage tokens can push out no valid one. Keys and bookkeeping are counted. Entries leave when they are
//! looked at too late, when their list is over its share, or when a later answer contradicts them.
//!
//! A large list is several, by key: the hash table of one is moved in one go when it grows, and the event loop waits.

use lru::LruCache;

use crate::introspection::{Active, Inactive};
use crate::key::{BuildKeyHasher, Key};

/// A point in time. The core reads no clock: it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a monotonic clock: ages and deadlines.
    pub msec: u64,
    /// Seconds since the epoch: compared with `exp`.
    pub unix: i64,
}

/// Bytes an entry takes beyond its answer's text: list node, hash table slot at average load, two allocation headers, the
/// text's reference counts.
const ENTRY_OVERHEAD: usize = 152;

/// Divisor of the share that inactive tokens may take.
const INACTIVE_SHARE: usize = 8;

/// Most bytes of one LRU list: its hash table, of some ten thousand entries, moves within a millisecond or two.
const SHARD_BYTES: usize = 16 * 1024 * 1024;

/// What the cache knows of a token.
#[derive(Debug)]
pub enum Known<'a> {
    /// It is active.
    Active(&'a Active),
    /// It was answered inactive a moment ago.
    Inactive(Inactive),
}

/// What may be kept.
trait Size {
    /// Bytes beyond [`ENTRY_OVERHEAD`].
    fn size(&self) -> usize;
}

impl Size for Active {
    fn size(&self) -> usize {
        Active::size(self)
    }
}

impl Size for Inactive {
    fn size(&self) -> usize {
        0
    }
}

struct Kept<T> {
    value: T,
    /// First millisecond at which it is no longer used.
    until: u64,
}

impl<T: Size> Kept<T> {
    fn cost(&self) -> usize {
        ENTRY_OVERHEAD + self.value.size()
    }
}

impl Kept<Active> {
    fn is_stale_until(&self, window: u64, now: Now) -> bool {
        self.until.saturating_add(window) > now.msec && self.value.exp().is_some_and(|exp| exp > now.unix)
    }
}

/// An LRU list that takes so many bytes.
struct Shard<T> {
    entries: LruCache<Key, Kept<T>, BuildKeyHasher>,
    used: usize,
    limit: usize,
}

impl<T: Size> Shard<T> {
    fn new(limit: usize) -> Self {
        Self { entries: LruCache::unbounded_with_hasher(BuildKeyHasher::default()), used: 0, limit }
    }

    fn insert(&mut self, key: Key, kept: Kept<T>) {
        self.remove(&key);
        let cost = kept.cost();
        if cost > self.limit {
            return;
        }
        while self.used + cost > self.limit {
            let Some((_, evicted)) = self.entries.pop_lru() else { break };
            self.used -= evicted.cost();
        }
        self.used += cost;
        self.entries.put(key, kept);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(removed) = self.entries.pop(key) {
            self.used -= removed.cost();
        }
    }
}

/// What one kind of answer may take of the cache.
struct Share<T>(Box<[Shard<T>]>);

impl<T: Size> Share<T> {
    fn new(limit: usize) -> Self {
        let count = limit.div_ceil(SHARD_BYTES).max(1);
        Self((0..count).map(|_| Shard::new(limit / count)).collect())
    }

    /// The shard where `key` is, if it is anywhere.
    fn of(&mut self, key: &Key) -> &mut Shard<T> {
        let place = key.place(self.0.len());
        &mut self.0[place]
    }

    fn usage(&self) -> (usize, usize) {
        self.0.iter().fold((0, 0), |(entries, bytes), shard| (entries + shard.entries.len(), bytes + shard.used))
    }
}

/// The cache of one worker, all profiles together.
pub struct Cache {
    active: Share<Active>,
    inactive: Share<Inactive>,
    /// How long an answer is kept beyond its lifetime, milliseconds, in case there is no newer one to be had.
    reserve: u64,
}

impl Cache {
    /// A cache that takes at most `bytes`, and keeps active answers for at most `reserve` milliseconds beyond their
    /// lifetime.
    pub fn new(bytes: usize, reserve: u64) -> Self {
        let inactive = bytes / INACTIVE_SHARE;
        Self { reserve, active: Share::new(bytes - inactive), inactive: Share::new(inactive) }
    }

    /// Looks `key` up. An active answer is checked against both clocks: its lifetime, and its `exp`.
    pub fn get(&mut self, key: &Key, now: Now) -> Option<Known<'_>> {
        // One look-up on the path every hit takes; the second comes only when there is something to throw away.
        enum Found {
            Good,
            Stale,
            Nothing,
        }
        let shard = self.active.of(key);
        let found = match shard.entries.get(key) {
            Some(kept) if kept.until > now.msec && kept.value.is_valid_at(now.unix) => Found::Good,
            Some(kept) if kept.is_stale_until(self.reserve, now) => Found::Nothing,
            Some(_) => Found::Stale,
            None => Found::Nothing,
        };
        match found {
            Found::Good => return shard.entries.peek_mru().map(|(_, kept)| Known::Active(&kept.value)),
            Found::Stale => shard.remove(key),
            Found::Nothing => {}
        }
        let shard = self.inactive.of(key);
        match shard.entries.get(key) {
            Some(kept) if kept.until > now.msec => Some(Known::Inactive(kept.value)),
            Some(_) => {
                shard.remove(key);
                None
            }
            None => None,
        }
    }

    /// An active answer whose lifetime has ended, by at most `window` milliseconds: only one that says when the token
    /// expires, and only until then.
    pub fn stale(&mut self, key: &Key, window: u64, now: Now) -> Option<&Active> {
        let kept = self.active.of(key).entries.peek(key)?;
        kept.is_stale_until(window, now).then_some(&kept.value)
    }

    /// Keeps an active answer for `lifetime` milliseconds.
    pub fn insert_active(&mut self, key: Key, active: Active, lifetime: u64, now: Now) {
        self.inactive.of(&key).remove(&key);
        self.active.of(&key).insert(key, Kept { value: active, until: now.msec.saturating_add(lifetime) });
    }

    /// Forgets an active answer and keeps the refusal for `lifetime` milliseconds; zero keeps nothing.
    pub fn insert_inactive(&mut self, key: Key, reason: Inactive, lifetime: u64, now: Now) {
        self.active.of(&key).remove(&key);
        if lifetime > 0 {
            self.inactive.of(&key).insert(key, Kept { value: reason, until: now.msec.saturating_add(lifetime) });
        }
    }

    /// Entries and bytes in use: active, inactive.
    pub fn usage(&self) -> [(usize, usize); 2] {
        [self.active.usage(), self.inactive.usage()]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod model;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::key::tests::key;
    use crate::key::{KeyMaker, Seed};
    use crate::settings::tests::profile;

    fn now(msec: u64, unix: i64) -> Now {
        Now { msec, unix }
    }

    fn active(length: usize, exp: Option<i64>) -> Active {
        Active::new(&"j".repeat(length - "Bearer ".len()), exp, "")
    }

    fn is_active(cache: &mut Cache, n: u64, at: Now) -> bool {
        matches!(cache.get(&key(n), at), Some(Known::Active(_)))
    }

    fn is_inactive(cache: &mut Cache, n: u64, at: Now) -> bool {
        matches!(cache.get(&key(n), at), Some(Known::Inactive(_)))
    }

    #[test]
    fn lifetime_ends_on_its_millisecond() {
        let mut cache = Cache::new(1 << 20, 0);
        cache.insert_active(key(1), active(10, None), 1000, now(500, 0));
        assert!(is_active(&mut cache, 1, now(1499, 0)));
        assert!(!is_active(&mut cache, 1, now(1500, 0)));
        assert_eq!(cache.usage()[0], (0, 0));
    }

    #[test]
    fn exp_is_checked_again_on_each_hit() {
        let mut cache = Cache::new(1 << 20, 0);
        cache.insert_active(key(1), active(10, Some(100)), 60_000, now(0, 50));
        assert!(is_active(&mut cache, 1, now(1, 99)));
        assert!(!is_active(&mut cache, 1, now(2, 100)));
        assert_eq!(cache.usage()[0], (0, 0));
    }

    #[test]
    fn least_recently_used_leaves_and_bytes_are_bounded() {
        let mut cache = Cache::new(8000, 0);
        let each = ENTRY_OVERHEAD + 1000;
        for n in 0..6 {
            cache.insert_active(key(n), active(1000, None), 1000, now(0, 0));
        }
        assert_eq!(cache.usage()[0], (6, 6 * each));
        assert!(is_active(&mut cache, 0, now(0, 0)));
        cache.insert_active(key(6), active(1000, None), 1000, now(0, 0));
        assert!(is_active(&mut cache, 0, now(0, 0)));
        assert!(!is_active(&mut cache, 1, now(0, 0)));
        assert_eq!(cache.usage()[0], (6, 6 * each));
    }

    #[test]
    fn replacing_an_entry_does_not_count_it_twice() {
        let mut cache = Cache::new(8000, 0);
        cache.insert_active(key(1), active(1000, None), 1000, now(0, 0));
        cache.insert_active(key(1), active(10, None), 1000, now(0, 0));
        assert_eq!(cache.usage()[0], (1, ENTRY_OVERHEAD + 10));
    }

    #[test]
    fn an_entry_over_the_whole_share_is_not_kept() {
        let mut cache = Cache::new(8000, 0);
        cache.insert_active(key(1), active(100, None), 1000, now(0, 0));
        cache.insert_active(key(2), active(7000, None), 1000, now(0, 0));
        assert!(is_active(&mut cache, 1, now(0, 0)));
        assert!(!is_active(&mut cache, 2, now(0, 0)));
    }

    #[test]
    fn a_flood_of_inactive_tokens_pushes_out_no_active_one() {
        let mut cache = Cache::new(64_000, 0);
        cache.insert_active(key(0), active(1000, None), 1000, now(0, 0));
        for n in 1..10_000 {
            cache.insert_inactive(key(n), Inactive::Stated, 1000, now(0, 0));
        }
        assert!(is_active(&mut cache, 0, now(0, 0)));
        assert!(cache.usage()[1].1 <= 8000);
        assert!(is_inactive(&mut cache, 9_999, now(0, 0)));
        assert!(!is_inactive(&mut cache, 1, now(0, 0)));
    }

    #[test]
    fn a_large_cache_is_several_that_fill_alike() {
        let mut cache = Cache::new(8 * SHARD_BYTES, 0);
        assert_eq!(cache.active.0.len(), 7);
        let seed = Seed::draw().unwrap();
        let maker = KeyMaker::new(&seed, &profile());
        let keys: Vec<_> = (0..7000_u32).map(|n| maker.key(b"", &n.to_be_bytes())).collect();
        for key in &keys {
            cache.insert_active(*key, active(10, None), 1000, now(0, 0));
        }
        assert!(keys.iter().all(|key| cache.get(key, now(0, 0)).is_some()));
        assert_eq!(cache.usage()[0], (7000, 7000 * (ENTRY_OVERHEAD + 10)));
        for shard in &cache.active.0 {
            assert!((800..1200).contains(&shard.entries.len()), "{}", shard.entries.len());
        }
    }

    #[test]
    fn the_later_answer_contradicts_the_earlier() {
        let mut cache = Cache::new(64_000, 0);
        cache.insert_active(key(1), active(10, None), 60_000, now(0, 0));
        cache.insert_inactive(key(1), Inactive::Stated, 1000, now(0, 0));
        assert!(is_inactive(&mut cache, 1, now(999, 0)));
        assert!(cache.get(&key(1), now(1000, 0)).is_none());
        cache.insert_active(key(1), active(10, None), 60_000, now(0, 0));
        cache.insert_inactive(key(1), Inactive::Stated, 0, now(0, 0));
        assert!(cache.get(&key(1), now(0, 0)).is_none());
        cache.insert_inactive(key(1), Inactive::Stated, 1000, now(0, 0));
        cache.insert_active(key(1), active(10, None), 60_000, now(0, 0));
        assert!(is_active(&mut cache, 1, now(5000, 0)));
        assert_eq!(cache.usage()[1], (0, 0));
    }

    #[test]
    fn stale_answers() {
        let mut cache = Cache::new(1 << 20, 60_000);
        let keep = |cache: &mut Cache, n, exp| cache.insert_active(key(n), active(100, exp), 10_000, now(0, 0));
        keep(&mut cache, 1, Some(40));
        keep(&mut cache, 2, None);
        keep(&mut cache, 3, Some(1_000));
        let stale = |cache: &mut Cache, n, window, at: u64| {
            let at = now(at, (at / 1_000) as i64);
            assert!(at.msec < 10_000 || !is_active(cache, n, at), "past its lifetime it is no hit");
            cache.stale(&key(n), window, at).is_some()
        };
        for (n, window, at, expected) in [
            (1, 20_000, 15_000, true),
            (1, 20_000, 29_999, true),
            (1, 20_000, 30_000, false),
            (1, 0, 15_000, false),
            (1, 60_000, 39_000, true),
            // past `exp`, and forgotten
            (1, 60_000, 40_000, false),
            (1, 60_000, 39_000, false),
            // without `exp` nobody knows
            (2, 60_000, 15_000, false),
            (3, 60_000, 69_999, true),
            (3, 60_000, 70_000, false),
            (3, 60_000, 69_999, false),
        ] {
            assert_eq!(stale(&mut cache, n, window, at), expected, "{n} {window} {at}");
        }
        assert_eq!(cache.usage()[0], (0, 0));
        keep(&mut cache, 1, Some(40));
        cache.insert_inactive(key(1), Inactive::Stated, 0, now(15_000, 15));
        assert!(!stale(&mut cache, 1, 60_000, 15_000), "an inactive answer ends it");
    }
}

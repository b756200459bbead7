//! Under which name is an answer kept, so that no token has to be?
//!
//! A key is SipHash-2-4 with 128 bits of the token. Its hash key is derived, by the same function, from a seed that the
//! master process draws once and every worker inherits, from the profile and from what `phantom_token_cache_key` says. Who
//! cannot read the seed can neither find two tokens of one key nor learn anything about a token from the time a look-up
//! takes.

use std::hash::{Hash, Hasher};

use siphasher::sip128::{Hash128, Hasher128, SipHasher24};

use crate::settings::Profile;

/// The hash key.
#[derive(Clone, Copy)]
pub struct Seed([u8; 16]);

impl Seed {
    /// Draws one from the operating system.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut seed = [0; 16];
        getrandom::fill(&mut seed)?;
        Ok(Self(seed))
    }

    /// A short name of a token that is safe to log: 64 bits of a keyed hash, the same in all workers of a master.
    pub fn fingerprint(&self, token: &[u8]) -> Fingerprint {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(b"fingerprint\0");
        hasher.write(token);
        Fingerprint(hasher.finish128().h1)
    }
}

/// A token's [`Seed::fingerprint`], printed as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What stands for (profile, cache key, token) in the cache and among the exchanges in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    high: u64,
    low: u64,
}

impl Key {
    /// One of `count` places, each as likely as the others.
    pub fn place(&self, count: usize) -> usize {
        // The other half is for the hash table there.
        ((u128::from(self.high) * count as u128) >> 64) as usize
    }
}

impl Hash for Key {
    // The key is a keyed hash already: half of it spreads as well as any hash of it would.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.low);
    }
}

/// Makes the keys of one profile; what there is to hash of the profile it has hashed once.
#[derive(Clone, Copy)]
pub struct KeyMaker {
    /// Where `phantom_token_cache_key` says nothing.
    plain: SipHasher24,
    /// Derives the hash key of what it says.
    varying: SipHasher24,
}

impl KeyMaker {
    /// The key maker of `profile`.
    pub fn new(seed: &Seed, profile: &Profile) -> Self {
        let derive = |purpose: &[u8]| {
            let mut hasher = SipHasher24::new_with_key(&seed.0);
            hasher.write(purpose);
            profile.hash(&mut hasher);
            keyed_with(hasher.finish128())
        };
        Self { plain: derive(b"key\0"), varying: derive(b"cache key\0") }
    }

    /// The key of `token`, set apart from the same token under another `cache_key`.
    pub fn key(&self, cache_key: &[u8], token: &[u8]) -> Key {
        let hash = if cache_key.is_empty() {
            self.plain.hash(token)
        } else {
            keyed_with(self.varying.hash(cache_key)).hash(token)
        };
        Key { high: hash.h1, low: hash.h2 }
    }
}

fn keyed_with(key: Hash128) -> SipHasher24 {
    SipHasher24::new_with_keys(key.h1, key.h2)
}

/// Passes a [`Key`] through unchanged.
#[derive(Default, Clone, Copy)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The hash builder of maps keyed by [`Key`].
pub type BuildKeyHasher = std::hash::BuildHasherDefault<KeyHasher>;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use crate::settings::tests::profile;

    /// A key for tests that need nothing but distinct ones.
    pub(crate) fn key(n: u64) -> Key {
        Key { high: n, low: n }
    }

    #[test]
    fn keys_differ_by_token_cache_key_profile_and_seed() {
        let seed = Seed([1; 16]);
        let maker = KeyMaker::new(&seed, &profile());
        let key = maker.key(b"", b"token");
        assert_eq!(key, maker.key(b"", b"token"));
        assert_ne!(key, maker.key(b"", b"token2"));
        assert_ne!(key, maker.key(b"t", b"oken"));
        assert_ne!(maker.key(b"a", b"b"), maker.key(b"ab", b""));
        let other = Profile { accept: "application/json".into(), ..profile() };
        assert_ne!(key, KeyMaker::new(&seed, &other).key(b"", b"token"));
        assert_ne!(key, KeyMaker::new(&Seed([2; 16]), &profile()).key(b"", b"token"));
    }

    #[test]
    fn fingerprint_is_sixteen_digits_and_not_the_key() {
        let seed = Seed::draw().unwrap();
        let text = seed.fingerprint(b"token").to_string();
        assert_eq!(text.len(), 16);
        assert_eq!(text, seed.fingerprint(b"token").to_string());
        assert_ne!(text, seed.fingerprint(b"token2").to_string());
    }
}

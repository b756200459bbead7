//! What must be remembered of a request when an internal redirect makes NGINX forget our context?
//!
//! The credential as the client sent it, what was decided, and where the request is parked. The record hangs on the
//! request's pool as a cleanup and is found by its handler, as the realip module finds its own; it dies with the pool,
//! and takes timer and waiter with it.

use std::ffi::c_void;
use std::ptr::NonNull;

use ::ngx::ffi as ngx;
use ngx::{ngx_str_t, ngx_table_elt_t};

use crate::challenge::Refusal;
use crate::introspection::Active;
use crate::key::Key;
use crate::outcome::{CacheStatus, TokenStatus};
use crate::source::Source;

use super::log::guard;
use super::pending::{self, Context};
use super::request::{OutOfMemory, Request};

/// What was decided.
#[derive(Clone, Copy)]
pub enum Verdict {
    /// Nothing yet.
    Open,
    /// The token is active; locations may ask for more. The answer is [`Record::answer`].
    Active,
    /// The request is refused.
    Refuse {
        /// How.
        refusal: Refusal,
        /// Seconds for `Retry-After`.
        retry_after: Option<u32>,
    },
}

/// See the module's description. In the request's pool; what it holds beyond that is dropped with it.
pub struct Record {
    /// The `Authorization` header's value as it came.
    pub original: ngx_str_t,
    /// The token the client sent.
    token: ngx_str_t,
    /// What the endpoint said of it, if that is active.
    pub answer: Option<Active>,
    /// Answers of earlier passes: a header or a variable may refer to them.
    earlier: Vec<Active>,
    /// Tokens that have been taken out of the request, and where they were.
    taken: Vec<(&'static Source, ngx_str_t)>,
    /// What the verdict is about, once a token was looked at.
    pub key: Option<Key>,
    /// What was decided about `key`.
    pub verdict: Verdict,
    /// `$phantom_token_status`.
    pub status: Option<TokenStatus>,
    /// `$phantom_token_cache_status`.
    pub cache_status: Option<CacheStatus>,
    /// `$phantom_token_time`, milliseconds.
    pub waited: Option<u64>,
    /// Where the request is parked.
    pub parked: Option<NonNull<Context>>,
    /// Headers a refusal added to the response.
    pub refusal_headers: [Option<NonNull<ngx_table_elt_t>>; 2],
}

impl Record {
    /// Makes the record of a request that has none.
    pub fn create(r: Request, original: ngx_str_t) -> Result<&'static mut Self, OutOfMemory> {
        // SAFETY: the pool is the live request's.
        let cleanup = unsafe { ngx::ngx_pool_cleanup_add(r.pool(), size_of::<Self>()) };
        if cleanup.is_null() {
            return Err(OutOfMemory);
        }
        // SAFETY: `ngx_pool_cleanup_add` allocated as many bytes as were asked for, aligned for any type.
        let record: *mut Self = unsafe { (*cleanup).data }.cast();
        // SAFETY: as above.
        unsafe {
            record.write(Self {
                original,
                token: ngx_str_t::empty(),
                answer: None,
                earlier: Vec::new(),
                taken: Vec::new(),
                key: None,
                verdict: Verdict::Open,
                status: None,
                cache_status: None,
                waited: None,
                parked: None,
                refusal_headers: [None; 2],
            });
        }
        // SAFETY: the record is complete, so the handler may run from here on.
        unsafe { (*cleanup).handler = Some(on_pool_destroyed) };
        // SAFETY: the record lives as long as the request, and callers hold one such reference at a time.
        Ok(unsafe { &mut *record })
    }

    /// The request's record. A subrequest shares its main request's.
    pub fn find(r: Request) -> Option<&'static mut Self> {
        // SAFETY: the pool is the live request's.
        let mut cleanup = unsafe { (*r.pool()).cleanup };
        while !cleanup.is_null() {
            // SAFETY: cleanups are linked until null.
            let current = unsafe { &*cleanup };
            if current.handler.is_some_and(|handler| handler as usize == on_pool_destroyed as *const () as usize) {
                // SAFETY: a cleanup with our handler carries a record; see `create`.
                return Some(unsafe { &mut *current.data.cast::<Self>() });
            }
            cleanup = current.next;
        }
        None
    }

    /// A new question: what was decided before was about another one.
    pub fn reopen(&mut self, key: Key, token: &[u8]) {
        self.earlier.extend(self.answer.take());
        self.token = ngx_str_t { len: token.len(), data: token.as_ptr().cast_mut() };
        self.key = Some(key);
        self.verdict = Verdict::Open;
    }

    /// The token the client sent; empty when there is none.
    pub fn token(&self) -> &[u8] {
        self.token.as_bytes()
    }

    /// The token is active.
    pub fn activate(&mut self, answer: Active) {
        self.answer = Some(answer);
        self.verdict = Verdict::Active;
        self.status = Some(TokenStatus::Active);
    }

    /// Remembers a token that is taken out of the request.
    pub fn take(&mut self, source: &'static Source, token: ngx_str_t) {
        self.taken.push((source, token));
    }

    /// The token that was taken from this source.
    pub fn taken(&self, source: &Source) -> impl Iterator<Item = ngx_str_t> {
        self.taken.iter().filter(move |(from, _)| *from == source).map(|(_, token)| *token)
    }

    /// The request is refused.
    pub fn refuse(&mut self, status: TokenStatus, refusal: Refusal, retry_after: Option<u32>) {
        self.verdict = Verdict::Refuse { refusal, retry_after };
        self.status = Some(status);
    }

    /// The verdict came from the cache, without waiting.
    pub fn decided_from_cache(&mut self) {
        self.cache_status = Some(CacheStatus::Hit);
        self.waited = Some(0);
    }

    /// Takes back the headers that an earlier refusal of this request added.
    pub fn clear_refusal_headers(&mut self) {
        for header in self.refusal_headers.iter_mut().filter_map(Option::take) {
            // SAFETY: the header is an element of the request's list.
            let key = unsafe { (*header.as_ptr()).key };
            // A list that has been emptied meanwhile may have given the element to somebody else.
            if matches!(key.as_bytes(), b"WWW-Authenticate" | b"Retry-After") {
                // SAFETY: as above; 0 is "do not send it".
                unsafe { (*header.as_ptr()).hash = 0 };
            }
        }
    }
}

/// NGINX destroys the request's pool: nothing may find the request any more.
unsafe extern "C" fn on_pool_destroyed(data: *mut c_void) {
    guard((), || {
        // SAFETY: `data` is the record that `create` wrote; the pool's memory is freed after its cleanups have run.
        let parked = unsafe { (*data.cast::<Record>()).parked };
        if let Some(parked) = parked {
            pending::abandon(parked);
        }
        // SAFETY: as above; a pool runs its cleanups once, and nothing refers to the record afterwards.
        unsafe { data.cast::<Record>().drop_in_place() };
    });
}

//! What does one worker process keep between requests?
//!
//! Cache, exchanges in flight, parked requests and the introspection thread: made in `init_process`, used on the event
//! loop's thread only, taken down in `exit_process`. No function here calls into NGINX in a way that could run a request
//! while the state is borrowed.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::ngx::ffi as ngx;
use zeroize::Zeroizing;

use crate::cache::Now;
use crate::claims::Wanted;
use crate::exchange::{Begun, Exchange, Outcome, Policy};
use crate::flight::{FlightId, WaiterId};
use crate::introspection::{Active, Failure, Inactive};
use crate::key::Key;
use crate::settings::ClientSettings;
use crate::worker::{self, Completion, Job, JobControl, Worker};

use super::config::{Carrier, LocationSettings, ProfileHandle};
use super::log::{Log, guard, log};
use super::pending::{self, Context};
use super::request::Request;
use super::thread::EventLoop;
use super::{subrequest, wakeup};

static STATE: EventLoop<RefCell<Option<WorkerProcess>>> = EventLoop::new(RefCell::new(None));

struct InFlight {
    profile: Arc<ProfileHandle>,
    carrier: Carrier,
    /// What the introspection thread is told of its job.
    control: Arc<JobControl>,
    /// Somebody's deadline has passed, and the log says so.
    reported: Cell<bool>,
}

impl InFlight {
    /// Has `client` ask about the token.
    fn submit(&self, worker: &Worker, client: &Arc<ClientSettings>, flight: FlightId, token: &[u8]) -> Result<(), Job> {
        worker.submit(Job {
            id: flight.0,
            profile: Arc::clone(&self.profile.profile),
            client: Arc::clone(client),
            token: Zeroizing::new(token.to_owned()),
            control: Arc::clone(&self.control),
        })
    }

    /// Nobody waits for the exchange, and it has ended.
    fn give_up(&self, flight: FlightId) {
        match self.carrier {
            Carrier::Client(_) => self.control.abandon(),
            Carrier::Subrequest(_) => subrequest::abandon(flight),
        }
    }
}

struct WorkerProcess {
    exchange: Exchange<InFlight>,
    parked: HashMap<WaiterId, NonNull<Context>>,
    next_waiter: u64,
    /// From subrequests; the introspection thread keeps its own.
    completions: VecDeque<Completion>,
    ready: VecDeque<Ready>,
    wanted: Arc<Wanted>,
    worker: Option<Worker>,
}

/// How much later than the last waiter the exchange itself gives up, milliseconds: the waiters' timers decide, on the
/// event loop's clock, and whoever may still join finds the exchange alive.
const GRACE: u64 = 100;

/// An outcome on its way to one of those who wait for it.
struct Ready {
    waiter: WaiterId,
    outcome: Rc<Outcome>,
    first: bool,
}

/// How a request that is not in the cache goes on.
pub enum Waiting {
    /// It waits.
    For {
        /// Its own name.
        waiter: WaiterId,
        /// The exchange it waits for.
        flight: FlightId,
        /// Another request began it. If not, and a subrequest is to carry it, the caller starts that.
        coalesced: bool,
    },
    /// It cannot be asked about.
    Failed(Failure),
}

/// NGINX's clocks: monotonic milliseconds and seconds since the epoch, as of this turn of the event loop.
pub fn clock() -> Now {
    // SAFETY: both are written on this thread only.
    let msec = unsafe { ngx::ngx_current_msec };
    Now { msec: msec as u64, unix: ngx::ngx_time() as i64 }
}

/// Sets the worker up. Without `worker` every token that is not cached, and that a client would have to ask about, is
/// answered with 502. `reserve` is for [`stale`], milliseconds. Answers keep the claims that are `wanted`.
pub fn start(cache_size: usize, reserve: u64, wanted: Arc<Wanted>, worker: Option<Worker>) {
    *STATE.borrow_mut() = Some(WorkerProcess {
        exchange: Exchange::new(cache_size, reserve),
        parked: HashMap::new(),
        next_waiter: 1,
        completions: VecDeque::new(),
        ready: VecDeque::new(),
        wanted,
        worker,
    });
}

/// Takes the worker down; the introspection thread is given 200 ms.
pub fn stop() {
    let state = STATE.borrow_mut().take();
    if let Some(worker) = state.and_then(|state| state.worker) {
        worker.shutdown();
    }
}

/// The claims that answers keep.
pub fn wanted() -> Arc<Wanted> {
    STATE.borrow().as_ref().map(|state| Arc::clone(&state.wanted)).unwrap_or_default()
}

/// What the cache says of a token.
pub fn lookup(key: &Key, now: Now) -> Option<Result<Active, Inactive>> {
    let mut state = STATE.borrow_mut();
    match state.as_mut()?.exchange.lookup(key, now)? {
        Begun::Hit(active) => Some(Ok(active.clone())),
        Begun::Refused(reason) => Some(Err(reason)),
        Begun::Wait { .. } | Begun::Ask(_) | Begun::Full => None,
    }
}

/// What the cache still has of a token, at most `window` milliseconds past its lifetime.
pub fn stale(key: &Key, window: u64, now: Now) -> Option<Active> {
    STATE.borrow_mut().as_mut()?.exchange.stale(key, window, now).cloned()
}

/// Has a new waiter wait for the answer about `token`; begins an exchange if none is under way.
pub fn wait(location: &LocationSettings, policy: Policy, key: Key, token: &[u8], now: Now) -> Waiting {
    let mut state = STATE.borrow_mut();
    let Some(WorkerProcess { exchange, next_waiter, worker, .. }) = state.as_mut() else {
        return Waiting::Failed(Failure::Internal);
    };
    let waiter = WaiterId(*next_waiter);
    *next_waiter += 1;
    let control = || InFlight {
        profile: Arc::clone(&location.profile),
        carrier: location.carrier.clone(),
        control: Arc::new(JobControl::new(policy.timeout.saturating_add(GRACE))),
        reported: Cell::new(false),
    };
    match exchange.wait(key, waiter, policy, now, control) {
        Begun::Wait { flight, limit } => {
            if let Some(in_flight) = exchange.control(flight) {
                in_flight.control.extend(limit.saturating_add(GRACE));
            }
            Waiting::For { waiter, flight, coalesced: true }
        }
        Begun::Ask(flight) => {
            let submitted = match (exchange.control(flight), &location.carrier, worker) {
                (Some(_), Carrier::Subrequest(_), _) => true,
                (Some(in_flight), Carrier::Client(client), Some(worker)) => {
                    in_flight.submit(worker, client, flight, token).is_ok()
                }
                _ => false,
            };
            if !submitted {
                exchange.answer(flight, Err(Failure::Internal), location.profile.bounds, now);
                return Waiting::Failed(Failure::Internal);
            }
            Waiting::For { waiter, flight, coalesced: false }
        }
        Begun::Full => Waiting::Failed(Failure::PendingLimit),
        Begun::Hit(_) | Begun::Refused(_) => Waiting::Failed(Failure::Internal),
    }
}

/// Remembers where a waiter is parked.
pub fn parked(waiter: WaiterId, place: NonNull<Context>) {
    if let Some(state) = STATE.borrow_mut().as_mut() {
        state.parked.insert(waiter, place);
    }
}

/// A waiter waits no longer.
pub fn leave(flight: FlightId, waiter: WaiterId) {
    if let Some(state) = STATE.borrow_mut().as_mut() {
        state.parked.remove(&waiter);
        match state.exchange.control(flight).map(|in_flight| &in_flight.carrier) {
            // What nobody waits for any longer is still worth caching.
            Some(Carrier::Client(_)) => {
                if let Some(in_flight) = state.exchange.leave(flight, waiter) {
                    in_flight.control.abandon();
                }
            }
            // It would keep the connection of its owner busy.
            Some(Carrier::Subrequest(_)) => {
                if let Some(in_flight) = state.exchange.leave_or_end(flight, waiter) {
                    in_flight.give_up(flight);
                }
            }
            None => {}
        }
    }
}

/// A waiter's deadline has passed. Whether it is the first for this exchange: one line in the log is enough for all.
pub fn time_out(flight: FlightId, waiter: WaiterId) -> bool {
    let mut state = STATE.borrow_mut();
    let Some(state) = state.as_mut() else { return true };
    state.parked.remove(&waiter);
    let first = state.exchange.control(flight).is_none_or(|in_flight| !in_flight.reported.replace(true));
    if let Some(in_flight) = state.exchange.leave_or_end(flight, waiter) {
        in_flight.give_up(flight);
    }
    first
}

/// The end of a subrequest, to be delivered soon.
pub fn complete(completion: Completion) {
    if let Some(state) = STATE.borrow_mut().as_mut() {
        state.completions.push_back(completion);
        wakeup::soon();
    }
}

/// Takes what has been completed and resumes those who waited. Runs requests: nothing may be borrowed.
pub fn deliver_completions() {
    subrequest::abort_abandoned();
    let mut completions = VecDeque::new();
    if let Some(state) = STATE.borrow_mut().as_mut() {
        completions.append(&mut state.completions);
        if let Some(worker) = &state.worker {
            worker.take(&mut completions);
        }
    }
    // A panic over one of them must not cost the others their answer.
    for completion in completions {
        if let Some(owner) = guard(None, || land(completion)) {
            // SAFETY: the owner of a new subrequest is parked, and so live.
            guard((), || unsafe { pending::run_posted(owner) });
        }
    }
    // Every outcome is in the queue before the first request is resumed, and each is taken on its own: what a resumed
    // request does may end others.
    while let Some((place, ready)) = next_ready() {
        guard((), || pending::deliver(place, &ready.outcome, ready.first));
    }
}

/// Ends an exchange, or asks again; what is returned is the owner of a subrequest that has not been run yet.
fn land(completion: Completion) -> Option<Request> {
    let now = clock();
    let flight = FlightId(completion.id);
    let mut state = STATE.borrow_mut();
    let WorkerProcess { exchange, ready, parked, worker, .. } = state.as_mut()?;
    let in_flight = exchange.control(flight)?;
    let profile = Arc::clone(&in_flight.profile);
    let result = match completion.outcome {
        worker::Outcome::Done(result) => result,
        worker::Outcome::Abandoned => {
            // The thread passed the job over because nobody waited, and somebody may have come since; or a subrequest
            // has gone with its owner.
            // SAFETY: the worker forgets a parked request when it is abandoned, so this one is still parked.
            let waiting = |waiter| parked.get(&waiter).map(|place| unsafe { place.as_ref() });
            let Some(waiting) = exchange.first_waiter(flight).and_then(waiting) else {
                exchange.answer(flight, Err(Failure::Internal), profile.bounds, now);
                return None;
            };
            match (&in_flight.carrier, worker) {
                (Carrier::Client(client), Some(worker))
                    if in_flight.submit(worker, client, flight, waiting.token()).is_ok() =>
                {
                    return None;
                }
                (Carrier::Subrequest(location), _)
                    if subrequest::start(waiting.request(), location, &profile, flight, waiting.token()).is_ok() =>
                {
                    return Some(waiting.request());
                }
                _ => Err(Failure::Internal),
            }
        }
    };
    let landed = exchange.answer(flight, result, profile.bounds, now)?;
    if landed.storing_forbidden && !profile.noticed.swap(true, Ordering::Relaxed) {
        log!(
            Log::cycle(),
            Notice,
            "answers of \"{}\" are not cached because their headers forbid it; if the server sends them by habit, \
             set \"phantom_token_ignore_cache_control on\"",
            profile.profile.endpoint.for_log()
        );
    }
    if landed.waiters.is_empty() {
        if let Outcome::Fail(failure) = &landed.outcome {
            log!(
                Log::cycle(),
                Info,
                "introspection at \"{}\" nobody waits for failed: {failure}",
                profile.profile.endpoint.for_log()
            );
        }
    }
    let outcome = Rc::new(landed.outcome);
    ready.extend(landed.waiters.into_iter().enumerate().map(|(i, waiter)| Ready {
        waiter,
        outcome: Rc::clone(&outcome),
        first: i == 0,
    }));
    None
}

fn next_ready() -> Option<(NonNull<Context>, Ready)> {
    let mut state = STATE.borrow_mut();
    let WorkerProcess { ready, parked, .. } = state.as_mut()?;
    loop {
        let next = ready.pop_front()?;
        if let Some(place) = parked.remove(&next.waiter) {
            return Some((place, next));
        }
    }
}

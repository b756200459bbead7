//! How is an endpoint asked that is a location of NGINX?
//!
//! By one background subrequest for each exchange, made as the mirror module makes its own: NGINX runs it beside the
//! request it belongs to, which stays parked and may be answered, time out or be left by its client meanwhile. What it
//! asks is put together in [`question`], what the location answers is collected by [`answer`]; neither the client's
//! headers and body go in, nor anything of the answer out to the client.
//!
//! The subrequest lives in the pool of the request that began the exchange, its owner. If the owner goes away, the
//! subrequest goes with it, and the exchange is begun again for whoever has waited longest. If nobody waits any longer,
//! it is aborted.

mod answer;
mod question;

use std::cell::{RefCell, UnsafeCell};
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use ::ngx::ffi as ngx;
use ngx::{ngx_http_request_t, ngx_int_t, ngx_str_t};

use crate::flight::FlightId;
use crate::settings::EndpointLocation;
use crate::worker::{Completion, Outcome};

use super::allocator::wipe;
use super::config::ProfileHandle;
use super::log::guard;
use super::request::{OutOfMemory, Request};
use super::thread::EventLoop;
use super::{wakeup, worker_process};

pub use answer::{capture_body, capture_header};

use answer::PartialAnswer;
use question::Question;

/// Subrequests under way, by the exchange they belong to.
static RUNNING: EventLoop<RefCell<Option<HashMap<FlightId, Running>>>> = EventLoop::new(RefCell::new(None));
/// Exchanges whose subrequests are to be aborted.
static ABANDONED: EventLoop<RefCell<Vec<FlightId>>> = EventLoop::new(RefCell::new(Vec::new()));

struct Running {
    /// Live as long as this entry.
    subrequest: NonNull<ngx_http_request_t>,
    profile: Arc<ProfileHandle>,
    answer: PartialAnswer,
    /// Of what is asked, in bytes.
    length: ngx::off_t,
    /// The answer has been handed on; what still comes is of no interest.
    concluded: bool,
    /// The owner has gone on: nobody tells the subrequest of events of the connection any longer.
    polled: bool,
}

/// No `Content-Length`, as NGINX has it.
const LENGTH_UNKNOWN: ngx::off_t = -1;

/// How often a subrequest is told of an event that may have been, milliseconds.
const POLL: ngx::ngx_msec_t = 100;

/// The timer for that; set while there is such a subrequest.
static POLLING: EventLoop<UnsafeCell<ngx::ngx_event_t>> =
    // SAFETY: every field of an event may be zero.
    EventLoop::new(UnsafeCell::new(unsafe { std::mem::zeroed() }));

fn with_running<R>(f: impl FnOnce(&mut HashMap<FlightId, Running>) -> R) -> R {
    f(RUNNING.borrow_mut().get_or_insert_default())
}

/// Asks `location` about `token`, with `r` as the owner. NGINX begins to work on it when it next runs the posted
/// requests of `r`'s connection.
pub fn start(
    r: Request,
    location: &EndpointLocation,
    profile: &Arc<ProfileHandle>,
    flight: FlightId,
    token: &[u8],
) -> Result<(), OutOfMemory> {
    // All that can fail comes first.
    let mut question = Question::new(r, location, &profile.profile.accept, token)?;
    let id = ptr::without_provenance_mut::<c_void>(flight.0 as usize);
    let end = r.allocate(ngx::ngx_http_post_subrequest_t { handler: Some(on_end), data: id })?;
    // SAFETY: the pool is the live request's.
    let cleanup = unsafe { ngx::ngx_pool_cleanup_add(r.pool(), size_of::<Owned>()) };
    if cleanup.is_null() {
        return Err(OutOfMemory);
    }
    // SAFETY: `ngx_pool_cleanup_add` allocated as many bytes as were asked for, aligned for any type.
    unsafe { (*cleanup).data.cast::<Owned>().write(Owned { flight: None, form: question.form }) };
    // SAFETY: `data` is complete, so the handler may run from here on.
    unsafe { (*cleanup).handler = Some(on_owner_gone) };
    let mut subrequest = ptr::null_mut();
    // SAFETY: the request is live; URI, arguments and `end` live in its pool.
    let created = unsafe {
        ngx::ngx_http_subrequest(
            r.as_ptr(),
            &raw mut question.uri,
            &raw mut question.args,
            &raw mut subrequest,
            end.as_ptr(),
            ngx::NGX_HTTP_SUBREQUEST_BACKGROUND as usize,
        )
    };
    let Some(subrequest) = NonNull::new(subrequest) else { return Err(OutOfMemory) };
    if created != ngx::NGX_OK as ngx_int_t {
        // It counts as begun, but NGINX could not note that it is to be run.
        // SAFETY: the subrequest was created; `NGX_DONE` only ends its count.
        unsafe { ngx::ngx_http_finalize_request(subrequest.as_ptr(), ngx::NGX_DONE as ngx_int_t) };
        return Err(OutOfMemory);
    }
    let length = question.form.len as ngx::off_t;
    // SAFETY: the subrequest is live and has not run yet.
    unsafe { question.put(subrequest) };
    let running = Running {
        subrequest,
        profile: Arc::clone(profile),
        answer: PartialAnswer::default(),
        length,
        concluded: false,
        polled: false,
    };
    with_running(|all| all.insert(flight, running));
    // SAFETY: as above; the pool is still there.
    unsafe { (*(*cleanup).data.cast::<Owned>()).flight = Some(flight) };
    Ok(())
}

/// The exchange a request works for, if it is one of the subrequests made here.
pub fn flight_of(r: Request) -> Option<FlightId> {
    if r.is_main() {
        return None;
    }
    // SAFETY: the request is live.
    let end = unsafe { (*r.as_ptr()).post_subrequest };
    // SAFETY: a subrequest's `post_subrequest` is null or lives as long as its pool.
    let end = unsafe { end.as_ref() }?;
    let is_ours = end.handler.is_some_and(|handler| handler as usize == on_end as *const () as usize);
    is_ours.then(|| FlightId(end.data.addr() as u64))
}

/// Tells how long the question is. Not before: where NGINX looks for the location it compares that with
/// `client_max_body_size`, which is a limit for clients.
pub unsafe extern "C" fn precontent_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    guard((), || {
        // SAFETY: NGINX calls phase handlers with a live request.
        let flight = flight_of(unsafe { Request::new(r) });
        let length = flight.and_then(|flight| with_running(|all| all.get(&flight).map(|running| running.length)));
        if let Some(length) = length {
            // SAFETY: as above.
            unsafe { (*r).headers_in.content_length_n = length };
        }
    });
    ngx::NGX_DECLINED as ngx_int_t
}

/// Lets a file be the answer: NGINX serves one to `GET` only. Called where no `proxy_pass` or the like takes the request.
pub unsafe extern "C" fn content_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    guard((), || {
        // SAFETY: NGINX calls phase handlers with a live request.
        if flight_of(unsafe { Request::new(r) }).is_some() {
            // SAFETY: as above.
            unsafe { (*r).method = ngx::NGX_HTTP_GET as usize };
            // An index leads to another location.
            // SAFETY: as above.
            unsafe { (*r).headers_in.content_length_n = LENGTH_UNKNOWN };
        }
    });
    ngx::NGX_DECLINED as ngx_int_t
}

/// Nobody waits for this exchange any longer. Its subrequest is aborted by [`abort_abandoned`], soon.
pub fn abandon(flight: FlightId) {
    ABANDONED.borrow_mut().push(flight);
    wakeup::soon();
}

/// Aborts the subrequests of abandoned exchanges. May end requests: nothing may be borrowed.
pub fn abort_abandoned() {
    let abandoned = ABANDONED.take();
    for flight in abandoned {
        let Some(subrequest) = with_running(|all| all.get(&flight).map(|running| running.subrequest)) else { continue };
        // SAFETY: the entry was there, so the subrequest is live.
        if unsafe { can_be_aborted(subrequest) } {
            with_running(|all| all.remove(&flight));
            // SAFETY: as above.
            guard((), || unsafe { abort(subrequest) });
        } else {
            with_running(|all| {
                if let Some(running) = all.get_mut(&flight) {
                    running.concluded = true;
                    running.polled = true;
                }
            });
            poll_later();
        }
    }
}

/// Tells the subrequest of `flight`, if it is `owner`'s, that the owner's connection has an event: a delay of `limit_req` has
/// ended, or what njs waited for has come. NGINX tells only the request that the connection is with. One that waits for
/// an upstream has the upstream's events.
pub fn on_owner_event(owner: Request, flight: FlightId) {
    let Some(subrequest) = with_running(|all| all.get(&flight).map(|running| running.subrequest)) else { return };
    // SAFETY: the entry was there, so the subrequest is live.
    unsafe {
        if (*subrequest.as_ptr()).main == owner.as_ptr() {
            tell(subrequest);
        }
    }
}

/// The owner waits no longer, but its subrequest may still run: for others, or because it cannot be stopped.
pub fn on_owner_resumed(owner: Request, flight: FlightId) {
    let polled = with_running(|all| {
        // SAFETY: the entry is there, so the subrequest is live.
        let of_owner = |running: &&mut Running| unsafe { (*running.subrequest.as_ptr()).main == owner.as_ptr() };
        all.get_mut(&flight).filter(of_owner).map(|running| running.polled = true)
    });
    if polled.is_some() {
        poll_later();
    }
}

fn poll_later() {
    let event = POLLING.get();
    // SAFETY: the event is the module's, and used on this thread only.
    let timer = unsafe { &mut *event };
    if timer.timer_set() != 0 {
        return;
    }
    timer.handler = Some(poll);
    // SAFETY: NGINX has a cycle while it calls modules.
    timer.log = unsafe { (*ngx::ngx_cycle).log };
    // NGINX's debug log reads a descriptor through an event's data, as it finds it in a connection.
    timer.data = NO_CONNECTION.get().cast();
    // A worker that quits does not wait for it.
    timer.set_cancelable(1);
    // SAFETY: the event lives as long as the process.
    unsafe { ngx::ngx_add_timer(event, POLL) };
}

/// Stands where an event has its connection.
static NO_CONNECTION: EventLoop<UnsafeCell<ngx::ngx_connection_t>> =
    // SAFETY: every field of a connection may be zero.
    EventLoop::new(UnsafeCell::new(unsafe { std::mem::zeroed() }));

unsafe extern "C" fn poll(_event: *mut ngx::ngx_event_t) {
    guard((), || {
        let polled: Vec<_> =
            with_running(|all| all.iter().filter(|(_, running)| running.polled).map(|(flight, _)| *flight).collect());
        for flight in polled {
            // What one does may end another.
            let Some(subrequest) = with_running(|all| all.get(&flight).map(|running| running.subrequest)) else {
                continue;
            };
            // SAFETY: the entry was there, so the subrequest is live, and its connection with it.
            let c = unsafe { (*subrequest.as_ptr()).connection };
            // SAFETY: as above.
            guard((), || unsafe { tell(subrequest) });
            // SAFETY: `c` was taken before; NGINX checks whether it was destroyed.
            unsafe { ngx::ngx_http_run_posted_requests(c) };
        }
        if with_running(|all| all.values().any(|running| running.polled)) {
            poll_later();
        }
    });
}

/// Calls what a subrequest without an upstream waits with.
///
/// # Safety
///
/// The subrequest must be live; it may be gone afterwards.
unsafe fn tell(subrequest: NonNull<ngx_http_request_t>) {
    // SAFETY: by the caller's promise.
    let (upstream, handler) = unsafe { ((*subrequest.as_ptr()).upstream, (*subrequest.as_ptr()).write_event_handler) };
    let Some(handler) = handler else { return };
    // Until NGINX has begun with it, its handler is the one that begins.
    let has_begun = handler as usize != ngx::ngx_http_handler as *const () as usize;
    if upstream.is_null() && has_begun {
        // SAFETY: this is how NGINX calls it.
        unsafe { handler(subrequest.as_ptr()) };
    }
}

/// Whether [`abort`] can end it.
///
/// # Safety
///
/// The subrequest must be live.
unsafe fn can_be_aborted(subrequest: NonNull<ngx_http_request_t>) -> bool {
    // SAFETY: by the caller's promise; a request's upstream lives as long as the request.
    let upstream = unsafe { (*subrequest.as_ptr()).upstream.as_ref() };
    // SAFETY: as above.
    upstream.is_some_and(|upstream| !upstream.cleanup.is_null()) || unsafe { in_preaccess(subrequest) }
}

/// Whether a subrequest is held up by a limit, before it does anything.
///
/// # Safety
///
/// The subrequest must be live.
unsafe fn in_preaccess(subrequest: NonNull<ngx_http_request_t>) -> bool {
    // SAFETY: by the caller's promise.
    let engine = unsafe { Request::new(subrequest.as_ptr()) }.core_main_conf().phase_engine.handlers;
    // SAFETY: as above.
    let at = usize::try_from(unsafe { (*subrequest.as_ptr()).phase_handler }).unwrap_or_default();
    // SAFETY: a request's place is one of the engine's.
    let checker = unsafe { (*engine.add(at)).checker };
    checker.is_some_and(|checker| checker as usize == ngx::ngx_http_core_generic_phase as *const () as usize)
}

/// Ends what a subrequest waits for: an upstream, or a limit. What else NGINX may do for it ends by itself.
///
/// # Safety
///
/// The subrequest must be live, and not used afterwards.
unsafe fn abort(subrequest: NonNull<ngx_http_request_t>) {
    // SAFETY: by the caller's promise.
    let upstream = unsafe { (*subrequest.as_ptr()).upstream };
    // SAFETY: a request's upstream lives as long as the request.
    let cleanup = unsafe { upstream.as_ref() }.map_or(ptr::null_mut(), |upstream| upstream.cleanup);
    // SAFETY: it points to a handler until that has run.
    if let Some(cleanup) = unsafe { cleanup.as_ref() }.copied().flatten() {
        // SAFETY: this is what NGINX itself calls when it terminates the request; it takes the request.
        unsafe { cleanup(subrequest.as_ptr().cast()) };
        return;
    }
    // SAFETY: by the caller's promise.
    if unsafe { in_preaccess(subrequest) } {
        // SAFETY: as above; nothing but an event of the owner's connection could have resumed it.
        unsafe { ngx::ngx_http_finalize_request(subrequest.as_ptr(), ngx::NGX_OK as ngx_int_t) };
    }
}

/// NGINX finalizes the subrequest with `rc`; what is returned is what it goes on with.
unsafe extern "C" fn on_end(subrequest: *mut ngx_http_request_t, id: *mut c_void, rc: ngx_int_t) -> ngx_int_t {
    let flight = FlightId(id.addr() as u64);
    if rc == ngx::NGX_AGAIN as ngx_int_t {
        // Part of the content is still being read from a file; NGINX finalizes again when that is done.
        return rc;
    }
    guard(ngx::NGX_OK as ngx_int_t, || {
        if let Some(status) = page_status(rc) {
            // NGINX makes a response of it, or obeys an error_page, and finalizes again.
            // SAFETY: NGINX finalizes a live request.
            unsafe { (*subrequest).headers_in.content_length_n = LENGTH_UNKNOWN };
            with_running(|all| {
                if let Some(running) = all.get_mut(&flight) {
                    running.answer.generated = Some(status);
                }
            });
            return rc;
        }
        conclude(flight);
        with_running(|all| all.remove(&flight));
        // An error of a subrequest would end the client's request, too.
        ngx::NGX_OK as ngx_int_t
    })
}

/// The status of the response NGINX makes of `rc`, if it makes one: `ngx_http_finalize_request` has these conditions.
fn page_status(rc: ngx_int_t) -> Option<u16> {
    const ENDS: [u32; 3] = [ngx::NGX_HTTP_REQUEST_TIME_OUT, ngx::NGX_HTTP_CLIENT_CLOSED_REQUEST, ngx::NGX_HTTP_CLOSE];
    const MEANT: [u32; 2] = [ngx::NGX_HTTP_CREATED, ngx::NGX_HTTP_NO_CONTENT];
    let status = u16::try_from(rc).ok()?;
    let code = u32::from(status);
    ((code >= ngx::NGX_HTTP_SPECIAL_RESPONSE && !ENDS.contains(&code)) || MEANT.contains(&code)).then_some(status)
}

/// Hands on what the location has answered, once.
fn conclude(flight: FlightId) {
    let result = with_running(|all| {
        let running = all.get_mut(&flight).filter(|running| !running.concluded)?;
        running.concluded = true;
        Some(std::mem::take(&mut running.answer).interpret(&running.profile.profile, &worker_process::wanted()))
    });
    if let Some(result) = result {
        worker_process::complete(Completion { id: flight.0, outcome: Outcome::Done(result) });
    }
}

/// What ends with the owner.
struct Owned {
    /// The exchange, once its subrequest was made.
    flight: Option<FlightId>,
    /// The question, in which the token is.
    form: ngx_str_t,
}

/// The owner's pool is destroyed, and with it the subrequest, if it still runs.
unsafe extern "C" fn on_owner_gone(data: *mut c_void) {
    guard((), || {
        // SAFETY: `data` is what `start` wrote; the pool's memory is freed after its cleanups have run.
        let owned = unsafe { &*data.cast::<Owned>() };
        // SAFETY: as above; NGINX has ended every request of this pool, and with them what might have read the form.
        unsafe { wipe(owned.form.data, owned.form.len) };
        let Some(flight) = owned.flight else { return };
        if with_running(|all| all.remove(&flight)).is_some_and(|running| !running.concluded) {
            worker_process::complete(Completion { id: flight.0, outcome: Outcome::Abandoned });
        }
    });
}

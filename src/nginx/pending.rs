//! How does a request wait without holding up anybody else?
//!
//! It is parked: its access phase ends with `NGX_AGAIN`, a timer holds its deadline (and a gracefully quitting worker),
//! and a client that leaves ends it as it ends a request in `limit_req`'s delay. It is resumed by the answer or by the
//! timer, whichever comes first, and dropped by its pool's cleanup if it ends otherwise.

use std::ptr::{self, NonNull};

use ::ngx::ffi as ngx;
use ngx::{ngx_event_t, ngx_int_t, ngx_msec_t, ngx_uint_t};

use crate::exchange::Outcome;
use crate::flight::{FlightId, WaiterId};
use crate::introspection::{Failure, Phase};

use super::handler;
use super::log::guard;
use super::record::Record;
use super::request::{Limits, OutOfMemory, Request};
use super::subrequest;
use super::worker_process;

/// How far a request is in this pass through the phases. Lives in the request's pool; NGINX forgets it at an internal
/// redirect, the [`Record`] is what remains.
#[derive(Clone, Copy)]
pub struct Context {
    request: Request,
    record: NonNull<Record>,
    /// How far it is.
    pub state: State,
    waiter: WaiterId,
    flight: FlightId,
    parked_at: u64,
    /// What limits had said of it until then.
    limits: Limits,
    deadline: ngx_event_t,
}

/// See [`Context`].
#[derive(Clone, Copy)]
pub enum State {
    /// Waiting for an answer.
    Parked,
    /// The record has the verdict; the handler is to carry it out.
    Decided,
    /// Refused; should NGINX answer with its built-in page, this takes its place.
    Refused {
        /// The status returned.
        status: ngx_uint_t,
        /// The content instead of the page.
        body: &'static str,
        /// The header of the replacement has been sent.
        replacing: bool,
    },
}

impl Context {
    fn create(r: Request, record: &mut Record, state: State) -> Result<NonNull<Self>, OutOfMemory> {
        // SAFETY: every field of an event may be zero.
        let deadline: ngx_event_t = unsafe { std::mem::zeroed() };
        let context = r.allocate(Self {
            request: r,
            record: NonNull::from(record),
            state,
            waiter: WaiterId(0),
            flight: FlightId(0),
            parked_at: 0,
            limits: r.limits(),
            deadline,
        })?;
        r.set_context(context.as_ptr().cast());
        Ok(context)
    }

    /// The context of the request's present pass.
    pub fn of(r: Request) -> Option<&'static mut Self> {
        // SAFETY: only `create` sets the module's context; the pool keeps it as long as the request, and callers hold
        // one such reference at a time.
        unsafe { r.context().cast::<Self>().as_mut() }
    }

    /// The request's record.
    pub fn record(&self) -> &'static mut Record {
        // SAFETY: the record lives in the same pool; callers hold one such reference at a time.
        unsafe { &mut *self.record.as_ptr() }
    }

    /// The request.
    pub fn request(&self) -> Request {
        self.request
    }

    /// The token of a request that waits.
    pub fn token(&self) -> &[u8] {
        // SAFETY: as in `record`; the reference is shared, and gone before anything writes.
        unsafe { self.record.as_ref() }.token()
    }

    /// Milliseconds that a parked request has waited.
    pub fn waited(&self) -> u64 {
        worker_process::clock().msec.saturating_sub(self.parked_at)
    }

    /// Remembers a refusal for the filter that replaces NGINX's page.
    pub fn refused(r: Request, record: &mut Record, status: ngx_uint_t, body: &'static str) -> Result<(), OutOfMemory> {
        let state = State::Refused { status, body, replacing: false };
        match Self::of(r) {
            Some(context) => context.state = state,
            None => {
                Self::create(r, record, state)?;
            }
        }
        Ok(())
    }
}

/// Parks a request until `flight` lands or `timeout` milliseconds have passed. What is returned is for the worker to
/// find it by; on failure nothing is left behind.
pub fn park(
    r: Request,
    record: &mut Record,
    waiter: WaiterId,
    flight: FlightId,
    timeout: u64,
) -> Result<NonNull<Context>, OutOfMemory> {
    let place = Context::create(r, record, State::Parked)?;
    // SAFETY: the connection of a live request, and its read event, live as long as the request.
    let read = unsafe { (*r.connection()).read };
    // The client's leaving must be noticed, even if it has been announced already: as limit_req does.
    // SAFETY: as above.
    if unsafe { (*read).ready() } != 0 {
        // SAFETY: the event and the queue are NGINX's, on this thread.
        unsafe { ngx::ngx_post_event(read, &raw mut ngx::ngx_posted_events) };
    // SAFETY: as above.
    } else if unsafe { ngx::ngx_handle_read_event(read, 0) } != ngx::NGX_OK as ngx_int_t {
        r.set_context(ptr::null_mut());
        return Err(OutOfMemory);
    }
    // SAFETY: the context was just created and nothing else refers to it yet.
    let context = unsafe { &mut *place.as_ptr() };
    context.waiter = waiter;
    context.flight = flight;
    context.parked_at = worker_process::clock().msec;
    context.deadline.handler = Some(on_deadline);
    // NGINX's debug log reads a descriptor through an event's data, as it finds it in a connection.
    context.deadline.data = r.connection().cast();
    // SAFETY: the connection of a live request.
    context.deadline.log = unsafe { (*r.connection()).log };
    record.parked = Some(place);
    // SAFETY: the request is live.
    unsafe { (*r.as_ptr()).read_event_handler = Some(ngx::ngx_http_test_reading) };
    // SAFETY: the request is live.
    unsafe { (*r.as_ptr()).write_event_handler = Some(on_writable) };
    // SAFETY: the event lives in the request's pool; `unpark` and `abandon` delete its timer before the pool goes.
    unsafe { ngx::ngx_add_timer(&raw mut (*place.as_ptr()).deadline, timeout as ngx_msec_t) };
    Ok(place)
}

/// Stops waiting without leaving the exchange: the timer goes, the record forgets.
fn unpark(context: &mut Context) {
    if context.deadline.timer_set() != 0 {
        // SAFETY: the event is in the timer tree.
        unsafe { ngx::ngx_del_timer(&raw mut context.deadline) };
    }
    let record = context.record();
    record.parked = None;
    record.waited = Some(context.waited());
    context.state = State::Decided;
}

/// The request will not wait any longer, and nobody is to be told.
pub fn abandon(parked: NonNull<Context>) {
    // SAFETY: a record refers to a parked context only while it is parked, and both live in the request's pool.
    let context = unsafe { &mut *parked.as_ptr() };
    unpark(context);
    worker_process::leave(context.flight, context.waiter);
}

/// The exchange has landed: the request goes on with its outcome. The request may be gone afterwards.
pub fn deliver(parked: NonNull<Context>, outcome: &Outcome, first: bool) {
    // SAFETY: the worker forgets a parked request when it is abandoned, so this one is still parked.
    let context = unsafe { &mut *parked.as_ptr() };
    unpark(context);
    let r = context.request;
    if r.context() != parked.as_ptr().cast() {
        // A redirect (`post_action`) has taken the request elsewhere.
        return;
    }
    subrequest::on_owner_resumed(r, context.flight);
    // A subrequest that has run meanwhile has named itself, and what it did, in the log's lines.
    // SAFETY: the request is live.
    unsafe { set_log_request(r.connection(), r) };
    // SAFETY: as above; a connection has a log.
    unsafe { (*(*r.connection()).log).action = ptr::null_mut() };
    // What limits of the endpoint's location have said is not the request's: its own may be still to come.
    r.set_limits(context.limits);
    // A panic here must not leave the request parked with nothing to wake it.
    if guard(Err(OutOfMemory), || handler::settle(r, context.record(), outcome, first)).is_err() {
        // SAFETY: the request is live and parked in no queue any more.
        unsafe { fail(r) };
        return;
    }
    // SAFETY: as above.
    unsafe { resume(r) };
}

/// The deadline has passed.
unsafe extern "C" fn on_deadline(event: *mut ngx_event_t) {
    guard((), || {
        // SAFETY: this handler is only ever set on the `deadline` of a context.
        let parked = unsafe { event.byte_sub(std::mem::offset_of!(Context, deadline)) }.cast::<Context>();
        let Some(parked) = NonNull::new(parked) else { return };
        // SAFETY: a timer that fires has not been deleted, so its request is still parked.
        let context = unsafe { parked.as_ref() };
        let first = worker_process::time_out(context.flight, context.waiter);
        deliver(parked, &Outcome::Fail(Failure::Timeout { phase: Phase::Answer }), first);
    });
}

/// The client's connection is writable; or a subrequest, whose connection it is too, has put a delay on it that has ended.
unsafe extern "C" fn on_writable(r: *mut ngx::ngx_http_request_t) {
    guard((), || {
        // SAFETY: NGINX calls event handlers with a live request.
        if let Some(context) = Context::of(unsafe { Request::new(r) }) {
            subrequest::on_owner_event(context.request, context.flight);
        }
    });
}

/// Lets a request run on from the access handler.
///
/// # Safety
///
/// `r` must be live, unparked, and not used by the caller afterwards.
unsafe fn resume(r: Request) {
    let c = r.connection();
    // SAFETY: the connection is a live request's.
    let read = unsafe { (*c).read };
    // SAFETY: as above.
    if unsafe { ngx::ngx_handle_read_event(read, 0) } != ngx::NGX_OK as ngx_int_t {
        // SAFETY: by the caller's promise.
        unsafe { fail(r) };
        return;
    }
    // SAFETY: as above.
    let write = unsafe { &mut *(*c).write };
    // A subrequest's delay must not hold up the response, nor its time limit end it. Nothing of that has been sent yet, so
    // it has none itself.
    write.set_delayed(0);
    if write.timer_set() != 0 {
        // SAFETY: the event is in the timer tree.
        unsafe { ngx::ngx_del_timer(write) };
    }
    // SAFETY: the request is live.
    unsafe { (*r.as_ptr()).read_event_handler = Some(ngx::ngx_http_block_reading) };
    // SAFETY: the request is live.
    unsafe { (*r.as_ptr()).write_event_handler = Some(ngx::ngx_http_core_run_phases) };
    // SAFETY: the request is live; it may be freed by this.
    unsafe { ngx::ngx_http_core_run_phases(r.as_ptr()) };
    // SAFETY: `c` was taken before; NGINX checks whether it was destroyed.
    unsafe { ngx::ngx_http_run_posted_requests(c) };
}

/// Runs what has been posted to the connection of a parked request: a subrequest that begins.
///
/// # Safety
///
/// `r` must be live; it may be freed by this.
pub unsafe fn run_posted(r: Request) {
    let c = r.connection();
    // SAFETY: by the caller's promise.
    unsafe { set_log_request(c, r) };
    // SAFETY: the connection is a live request's.
    unsafe { ngx::ngx_http_run_posted_requests(c) };
}

/// Ends a request with 500.
///
/// # Safety
///
/// As for [`resume`].
unsafe fn fail(r: Request) {
    let c = r.connection();
    // SAFETY: the request is live; it may be freed by this.
    unsafe { ngx::ngx_http_finalize_request(r.as_ptr(), ngx::NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t) };
    // SAFETY: `c` was taken before; NGINX checks whether it was destroyed.
    unsafe { ngx::ngx_http_run_posted_requests(c) };
}

/// `ngx_http_set_log_request`: names the request in the connection's log lines.
///
/// # Safety
///
/// `c` must be the connection of the live request `r`.
unsafe fn set_log_request(c: *mut ngx::ngx_connection_t, r: Request) {
    // SAFETY: a connection has a log; that of an HTTP connection carries an HTTP log context.
    let context = unsafe { (*(*c).log).data }.cast::<ngx::ngx_http_log_ctx_t>();
    // SAFETY: as above.
    unsafe { (*context).current_request = r.as_ptr() };
}

//! What makes the event loop deliver completions?
//!
//! The introspection thread, with an eventfd of its own: `ngx_notify` has a single handler slot and would take the callbacks of
//! `aio threads` away. What comes about on the event loop itself, a subrequest's end, posts an event.

use std::cell::UnsafeCell;
use std::os::fd::RawFd;
use std::ptr::NonNull;

use ::ngx::ffi as ngx;
use ngx::{ngx_connection_t, ngx_event_t, ngx_int_t};

use super::log::{FAILED, guard};
use super::thread::EventLoop;
use super::worker_process;

static SOON: EventLoop<UnsafeCell<ngx_event_t>> =
    // SAFETY: every field of an event may be zero.
    EventLoop::new(UnsafeCell::new(unsafe { std::mem::zeroed() }));

/// Has completions delivered before this turn of the event loop ends, but not from here.
pub fn soon() {
    let event = SOON.get();
    // SAFETY: the event is the module's, and used on this thread only.
    unsafe { (*event).handler = Some(on_soon) };
    // SAFETY: as above; NGINX has a cycle while it calls modules.
    unsafe { (*event).log = (*ngx::ngx_cycle).log };
    // SAFETY: the queue is NGINX's; an event that is in it already is left there.
    unsafe { ngx::ngx_post_event(event, &raw mut ngx::ngx_posted_events) };
}

unsafe extern "C" fn on_soon(_event: *mut ngx_event_t) {
    guard((), worker_process::deliver_completions);
}

/// The connection object under which NGINX watches the descriptor.
pub struct Wakeup(NonNull<ngx_connection_t>);

/// NGINX could not watch the descriptor.
#[derive(Debug)]
pub struct CannotWatch;

impl Wakeup {
    /// Watches `fd`. Takes one of the worker's connections.
    pub fn watch(fd: RawFd) -> Result<Self, CannotWatch> {
        // SAFETY: NGINX has a cycle while it calls modules.
        let cycle = unsafe { &*ngx::ngx_cycle };
        // NGINX takes one more for its channel to the master after this, and a worker without that ends.
        if cycle.free_connection_n < 2 {
            return Err(CannotWatch);
        }
        let log = cycle.log;
        // SAFETY: the event modules have set the worker's connections up before they call `init_process` of HTTP modules.
        let c = NonNull::new(unsafe { ngx::ngx_get_connection(fd, log) }).ok_or(CannotWatch)?;
        // SAFETY: `ngx_get_connection` returned a connection with its events.
        let read = unsafe { &mut *(*c.as_ptr()).read };
        // SAFETY: as above.
        let write = unsafe { &mut *(*c.as_ptr()).write };
        // As NGINX marks its own channel: no "open socket left" at exit, and not closed by `worker_shutdown_timeout`.
        read.set_channel(1);
        write.set_channel(1);
        read.log = log;
        write.log = log;
        read.handler = Some(on_wakeup);
        // SAFETY: as above.
        unsafe { (*c.as_ptr()).log = log };
        // SAFETY: as above.
        if unsafe { ngx::ngx_handle_read_event(read, 0) } != ngx::NGX_OK as ngx_int_t {
            Self(c).forget();
            return Err(CannotWatch);
        }
        Ok(Self(c))
    }

    /// Gives the connection back. The descriptor is its owner's to close, and closing it ends the watching.
    pub fn forget(self) {
        let c = self.0.as_ptr();
        // SAFETY: the connection is ours since `watch`.
        let read = unsafe { (*c).read };
        // SAFETY: as above.
        if unsafe { (*read).posted() } != 0 {
            // SAFETY: the event is in a queue, as its flag says.
            unsafe { ngx::ngx_delete_posted_event(read) };
        }
        // SAFETY: as above.
        unsafe { (*read).handler = None };
        // SAFETY: as above; nothing refers to the connection after this.
        unsafe { ngx::ngx_free_connection(c) };
        // SAFETY: connections are never deallocated; this is how `ngx_close_connection` leaves one.
        unsafe { (*c).fd = -1 };
    }
}

/// The descriptor is readable: completions are waiting.
unsafe extern "C" fn on_wakeup(event: *mut ngx_event_t) {
    // SAFETY: NGINX passes the event it was given.
    unsafe { (*event).set_ready(0) };
    guard((), worker_process::deliver_completions);
    // SAFETY: the event lives as long as the worker's connections.
    let armed = guard(FAILED, || unsafe { ngx::ngx_handle_read_event(event, 0) });
    if armed != ngx::NGX_OK as ngx_int_t {
        super::log::Log::cycle()
            .write(super::log::Level::Alert, format_args!("cannot watch the introspection thread any longer"));
    }
}

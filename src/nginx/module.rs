//! What does NGINX know of this module, and when does it call it?
//!
//! `load_module` finds it through the lists in `loadable`, a binary that it is built into through NGINX's own. Configuration
//! callbacks run in the master, process callbacks in each worker.

use std::cell::Cell;
use std::ffi::c_void;
use std::io::Write;
use std::sync::Arc;

use ::ngx::ffi as ngx;
use ngx::{ngx_conf_t, ngx_cycle_t, ngx_http_module_t, ngx_int_t, ngx_module_t, ngx_str_t};

use crate::claims::Wanted;
use crate::key::Seed;
use crate::source::Source;
use crate::worker::Worker;

use super::config_memory;
use super::directives::COMMANDS;
use super::handler::access_handler;
use super::log::{FAILED, Level, Log, guard};
use super::thread::EventLoop;
use super::wakeup::Wakeup;
use super::{filters, subrequest, variables, worker_process};

const OK: ngx_int_t = ngx::NGX_OK as ngx_int_t;

static SEED: EventLoop<Cell<Option<Seed>>> = EventLoop::new(Cell::new(None));
static WAKEUP: EventLoop<Cell<Option<Wakeup>>> = EventLoop::new(Cell::new(None));

/// The hash key, drawn once by the master and kept over reloads: a token's fingerprint stays the same.
pub fn seed() -> Result<Seed, getrandom::Error> {
    if let Some(seed) = SEED.get() {
        return Ok(seed);
    }
    let seed = Seed::draw()?;
    SEED.set(Some(seed));
    Ok(seed)
}

/// The module's place in arrays with a slot for every HTTP module.
pub fn module_index() -> usize {
    // SAFETY: NGINX numbers a module before it calls it for the first time, and not again.
    unsafe { ngx_http_phantom_token_module.ctx_index }
}

unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: NGINX calls this with a valid `cf`.
    guard(FAILED, || unsafe { variables::add(cf) })
}

unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    guard(FAILED, || {
        // SAFETY: NGINX calls this with a valid `cf`; no other reference is alive.
        let main = unsafe { config_memory::main_of_conf(cf) };
        if !main.is_used() {
            return OK;
        }
        // The JWT goes into `Authorization`, wherever the token was.
        main.sources.insert(Source::Authorization);
        for name in main.sources.iter().flat_map(Source::variables) {
            let mut name = ngx_str_t { len: name.len(), data: name.as_ptr().cast_mut() };
            // SAFETY: `cf` is valid, and NGINX copies the name.
            let index = unsafe { ngx::ngx_http_get_variable_index(cf, &raw mut name) };
            let Ok(index) = usize::try_from(index) else { return FAILED };
            main.shows_token.push(index);
        }
        // SAFETY: this is `postconfiguration`, called once for each configuration.
        unsafe { filters::install() };
        // SAFETY: as above.
        unsafe { install_handlers(cf) }
    })
}

/// Handlers of a phase run from the last to the first. The access handler is to run last, so that whoever `allow`,
/// `deny`, `auth_basic` or `auth_request` turn away costs no introspection; so is that before the content, for `try_files`
/// may lead elsewhere. The content handler is to run before those that serve files.
unsafe fn install_handlers(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: while the `http` block is read, `ctx` is its context.
    let context = unsafe { (*cf).ctx }.cast::<ngx::ngx_http_conf_ctx_t>();
    // SAFETY: the core module is there and numbered.
    let core = unsafe { *(*context).main_conf.add(ngx::ngx_http_core_module.ctx_index) };
    let core = core.cast::<ngx::ngx_http_core_main_conf_t>();
    // SAFETY: the core module's configuration has a list of handlers for every phase, which NGINX initialises before it
    // calls `postconfiguration`.
    let handlers = |phase: ngx::ngx_uint_t| unsafe { &raw mut (*core).phases[phase].handlers };
    // SAFETY: the arrays hold handlers.
    let installed = unsafe {
        run_last(handlers(ngx::ngx_http_phases_NGX_HTTP_ACCESS_PHASE as usize), access_handler)
            && run_last(
                handlers(ngx::ngx_http_phases_NGX_HTTP_PRECONTENT_PHASE as usize),
                subrequest::precontent_handler,
            )
            && run_first(handlers(ngx::ngx_http_phases_NGX_HTTP_CONTENT_PHASE as usize), subrequest::content_handler)
    };
    if installed { OK } else { FAILED }
}

type Handler = unsafe extern "C" fn(*mut ngx::ngx_http_request_t) -> ngx_int_t;

/// Puts a handler at the end of its phase's array.
///
/// # Safety
///
/// `handlers` must be an array of handlers.
unsafe fn run_first(handlers: *mut ngx::ngx_array_t, handler: Handler) -> bool {
    // SAFETY: by the caller's promise.
    let place = unsafe { ngx::ngx_array_push(handlers) }.cast::<ngx::ngx_http_handler_pt>();
    if place.is_null() {
        return false;
    }
    // SAFETY: the place is new.
    unsafe { place.write(Some(handler)) };
    true
}

/// Puts a handler at the front.
///
/// # Safety
///
/// As for [`run_first`].
unsafe fn run_last(handlers: *mut ngx::ngx_array_t, handler: Handler) -> bool {
    // SAFETY: by the caller's promise.
    if !unsafe { run_first(handlers, handler) } {
        return false;
    }
    // SAFETY: as above.
    let ngx::ngx_array_t { elts, nelts, .. } = unsafe { *handlers };
    // SAFETY: the array holds at least the handler just added, and nothing else refers to it now.
    unsafe { std::slice::from_raw_parts_mut(elts.cast::<ngx::ngx_http_handler_pt>(), nelts) }.rotate_right(1);
    true
}

/// Runs in workers, and in the cache manager and loader, which serve no requests.
unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    guard(OK, || {
        // SAFETY: NGINX sets it before it calls any module.
        let process = unsafe { ngx::ngx_process } as u32;
        if process != ngx::NGX_PROCESS_WORKER && process != ngx::NGX_PROCESS_SINGLE {
            return OK;
        }
        // SAFETY: NGINX calls this with the running cycle.
        let Some((main, core)) = (unsafe { config_memory::main_of_cycle(cycle) }) else { return OK };
        if !main.is_used() {
            return OK;
        }
        // What a panic says may hold what a request sent: only its place is printed, to the error log.
        std::panic::set_hook(Box::new(|panic| {
            if let Some(place) = panic.location() {
                // not eprintln, which panics itself where nothing can be written
                let _ = writeln!(std::io::stderr(), "phantom token: panicked at {place}: this is a bug of the module");
            }
        }));
        let wanted = Arc::new(Wanted::new(main.required_claims, variables::claims_read(core)));
        // A worker that cannot ask still serves everything else, and refuses what it cannot ask about.
        let worker = main.needs_client().then(|| start_worker(&wanted)).and_then(|worker| {
            let report =
                |error| Log::cycle().write(Level::Crit, format_args!("cannot start the introspection client: {error}"));
            worker.map_err(report).ok()
        });
        worker_process::start(main.cache_size(), main.longest_stale, wanted, worker);
        OK
    })
}

fn start_worker(wanted: &Arc<Wanted>) -> Result<Worker, String> {
    let worker = Worker::spawn(Arc::clone(wanted)).map_err(|error| error.to_string())?;
    match Wakeup::watch(std::os::fd::AsRawFd::as_raw_fd(&worker.wake_fd())) {
        Ok(wakeup) => {
            WAKEUP.set(Some(wakeup));
            Ok(worker)
        }
        Err(_) => {
            worker.shutdown();
            Err("\"worker_connections\" are not enough".into())
        }
    }
}

unsafe extern "C" fn exit_process(_cycle: *mut ngx_cycle_t) {
    guard((), || {
        if let Some(wakeup) = WAKEUP.take() {
            wakeup.forget();
        }
        worker_process::stop();
    });
}

static MODULE_CONTEXT: EventLoop<ngx_http_module_t> = EventLoop::new(ngx_http_module_t {
    preconfiguration: Some(preconfiguration),
    postconfiguration: Some(postconfiguration),
    create_main_conf: Some(config_memory::create_main),
    init_main_conf: None,
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: Some(config_memory::create_location),
    merge_loc_conf: Some(config_memory::merge_location),
});

/// The module.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static mut ngx_http_phantom_token_module: ngx_module_t = ngx_module_t {
    ctx: (&raw const MODULE_CONTEXT).cast::<c_void>().cast_mut(),
    commands: (&raw const COMMANDS).cast::<ngx::ngx_command_t>().cast_mut(),
    type_: ngx::NGX_HTTP_MODULE as usize,
    init_process: Some(init_process),
    exit_process: Some(exit_process),
    ..ngx_module_t::default()
};

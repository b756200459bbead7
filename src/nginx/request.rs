//! What does the module need of an NGINX request?
//!
//! [`Request`] wraps the pointer NGINX passes to a callback. It is valid for the length of that callback; what is kept
//! longer is kept in a [`super::record::Record`], whose pool cleanup ends it in time.

use std::ffi::c_void;
use std::ptr::{self, NonNull};

use ::ngx::ffi as ngx;
use ngx::{
    ngx_array_t, ngx_connection_t, ngx_http_complex_value_t, ngx_http_request_t, ngx_int_t, ngx_str_t, ngx_table_elt_t,
    ngx_uint_t,
};

use super::config::{LocationSettings, MainConf};
use super::header_list::{list_elements, remove_element};
use super::log::Log;
use super::module::module_index;

/// No memory was left in the system.
#[derive(Debug, Clone, Copy)]
pub struct OutOfMemory;

/// What `limit_req` and `limit_conn` have said of a request.
#[derive(Clone, Copy)]
pub struct Limits(ngx_uint_t);

unsafe extern "C" {
    fn phantom_token_limits(r: *const ngx_http_request_t) -> ngx_uint_t;
    fn phantom_token_set_limits(r: *mut ngx_http_request_t, limits: ngx_uint_t);
}

/// A live request, on the event loop's thread, for the length of a callback.
///
/// Its bit fields are for `bit_fields.c` to read and write, which says why.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Request(NonNull<ngx_http_request_t>);

impl Request {
    /// # Safety
    ///
    /// `r` must be a live request, and the value must not be used after anything that may free it.
    pub unsafe fn new(r: *mut ngx_http_request_t) -> Self {
        debug_assert!(!r.is_null());
        // SAFETY: not null by the caller's promise.
        Self(unsafe { NonNull::new_unchecked(r) })
    }

    /// The pointer.
    pub fn as_ptr(self) -> *mut ngx_http_request_t {
        self.0.as_ptr()
    }

    fn raw(&self) -> &ngx_http_request_t {
        // SAFETY: live by the promise made to `new`; nothing changes it while the reference lives, for every method
        // here lets go of it before it calls NGINX.
        unsafe { self.0.as_ref() }
    }

    /// Whether this is the request of the client, and no subrequest.
    pub fn is_main(self) -> bool {
        self.raw().main == self.as_ptr()
    }

    /// The method, one of `NGX_HTTP_*`.
    pub fn method(self) -> ngx_uint_t {
        self.raw().method
    }

    /// Whether the request announces a body.
    pub fn has_body(self) -> bool {
        let headers = &self.raw().headers_in;
        headers.content_length_n > 0 || headers.chunked() != 0
    }

    /// What `limit_req` and `limit_conn` have said of the request, or of a subrequest: NGINX asks each once for them all.
    pub fn limits(self) -> Limits {
        // SAFETY: the request is live.
        Limits(unsafe { phantom_token_limits(self.as_ptr()) })
    }

    /// Puts back what they have said.
    pub fn set_limits(self, limits: Limits) {
        // SAFETY: the request is live, and nothing else refers to it now.
        unsafe { phantom_token_set_limits(self.as_ptr(), limits.0) }
    }

    /// The client's connection.
    pub fn connection(self) -> *mut ngx_connection_t {
        self.raw().connection
    }

    /// The request's log.
    pub fn log(self) -> Log {
        // SAFETY: a live request has a connection, and a connection a log.
        unsafe { Log::new((*self.connection()).log) }
    }

    /// The request's pool.
    pub fn pool(self) -> *mut ngx::ngx_pool_t {
        self.raw().pool
    }

    /// Settings of the location the request is in now, if the module is on there.
    pub fn location(self) -> Option<&'static LocationSettings> {
        // SAFETY: NGINX gave every location the structure that `config::create_location` made; it lives as long as the
        // configuration, and the configuration as long as its requests.
        unsafe { super::config_memory::location_of(self.as_ptr()) }
    }

    /// The module's own main configuration.
    pub fn main_conf(self) -> &'static MainConf {
        // SAFETY: as for `location`.
        unsafe { super::config_memory::main_of(self.as_ptr()) }
    }

    /// NGINX's own main configuration.
    pub fn core_main_conf(self) -> &'static ngx::ngx_http_core_main_conf_t {
        // SAFETY: every request has a main configuration, the core module's among it; it lives as the configuration.
        unsafe { &*(*self.raw().main_conf.add(ngx::ngx_http_core_module.ctx_index)).cast() }
    }

    /// The module's context in this pass of the request, if it set one.
    pub fn context(self) -> *mut c_void {
        // SAFETY: `ctx` has a slot for every HTTP module, and the module was numbered before any request came.
        unsafe { *self.raw().ctx.add(module_index()) }
    }

    /// Sets the module's context.
    pub fn set_context(self, context: *mut c_void) {
        // SAFETY: as for `context`.
        unsafe { *self.raw().ctx.add(module_index()) = context }
    }

    /// The `Authorization` header, if the client sent one. NGINX refuses requests with several.
    pub fn authorization(self) -> Option<NonNull<ngx_table_elt_t>> {
        NonNull::new(self.raw().headers_in.authorization)
    }

    /// The `Host` header, if the client sent one.
    pub fn host(self) -> Option<ngx_str_t> {
        // SAFETY: the header belongs to the live request.
        unsafe { self.raw().headers_in.host.as_ref() }.map(|header| header.value)
    }

    /// Whether the client sent a header of this name, given in lower case.
    pub fn has_header(self, lowcase_name: &[u8]) -> bool {
        // SAFETY: the list belongs to the live request and is not changed while it is walked.
        unsafe { list_elements(&self.raw().headers_in.headers) }.any(|header| {
            // SAFETY: elements of the list are initialised headers.
            let key = unsafe { (*header).key };
            key.as_bytes().eq_ignore_ascii_case(lowcase_name)
        })
    }

    /// The lines of a header, given in lower case.
    pub fn header_lines(self, lowcase_name: &str) -> Vec<NonNull<ngx_table_elt_t>> {
        // SAFETY: the list belongs to the live request and is not changed while it is walked.
        unsafe { list_elements(&self.raw().headers_in.headers) }
            .filter(|header| {
                // SAFETY: elements of the list are initialised headers.
                let key = unsafe { (**header).key };
                key.as_bytes().eq_ignore_ascii_case(lowcase_name.as_bytes())
            })
            .filter_map(NonNull::new)
            .collect()
    }

    /// Takes a header out of those that go upstream. Who else refers to it finds it empty, and marked as not there.
    pub fn remove_header(self, header: NonNull<ngx_table_elt_t>) -> Result<(), OutOfMemory> {
        // SAFETY: the header is an element of the live request's list.
        unsafe { (*header.as_ptr()).value = ngx_str_t::empty() };
        // SAFETY: as above; variables of several lines pass over a hash of 0.
        unsafe { (*header.as_ptr()).hash = 0 };
        // SAFETY: the list belongs to the live request, and nothing else walks it now.
        unsafe { remove_element(&raw mut (*self.as_ptr()).headers_in.headers, header.as_ptr(), self.pool()) }
    }

    /// Adds the `Authorization` header to a request that has none.
    pub fn add_authorization(self, value: ngx_str_t) -> Result<(), OutOfMemory> {
        const NAME: &str = "Authorization";
        const LOWCASE: &str = "authorization";
        // SAFETY: the list belongs to the live request.
        let header = unsafe { ngx::ngx_list_push(&raw mut (*self.as_ptr()).headers_in.headers) };
        let header = NonNull::new(header.cast::<ngx_table_elt_t>()).ok_or(OutOfMemory)?;
        // SAFETY: every field of a header may be zero.
        let mut element: ngx_table_elt_t = unsafe { std::mem::zeroed() };
        element.key = static_str(NAME);
        element.lowcase_key = LOWCASE.as_ptr().cast_mut();
        // SAFETY: NGINX only reads the bytes.
        element.hash = unsafe { ngx::ngx_hash_key(element.lowcase_key, LOWCASE.len()) };
        element.value = value;
        // SAFETY: `ngx_list_push` returned room for one element.
        unsafe { header.write(element) };
        // SAFETY: the request is live, and the header in its list.
        unsafe { (*self.as_ptr()).headers_in.authorization = header.as_ptr() };
        Ok(())
    }

    /// Copies the concatenation of `parts` into the request's pool.
    pub fn copy(self, parts: &[&[u8]]) -> Result<ngx_str_t, OutOfMemory> {
        let len = parts.iter().map(|part| part.len()).sum();
        // SAFETY: the pool is the live request's.
        let data: *mut u8 = unsafe { ngx::ngx_pnalloc(self.pool(), len) }.cast();
        if data.is_null() {
            return Err(OutOfMemory);
        }
        let mut offset = 0;
        for part in parts {
            // SAFETY: `len` bytes were allocated, and the parts' lengths add up to `len`.
            unsafe { ptr::copy_nonoverlapping(part.as_ptr(), data.add(offset), part.len()) };
            offset += part.len();
        }
        Ok(ngx_str_t { len, data })
    }

    /// Moves `value` into the request's pool. It is not dropped with the pool.
    pub fn allocate<T: Copy>(self, value: T) -> Result<NonNull<T>, OutOfMemory> {
        const { assert!(align_of::<T>() <= ngx::NGX_ALIGNMENT) };
        // SAFETY: the pool is the live request's.
        let place = unsafe { ngx::ngx_palloc(self.pool(), size_of::<T>()) }.cast::<T>();
        let place = NonNull::new(place).ok_or(OutOfMemory)?;
        // SAFETY: the memory is large enough and, by the assertion above, aligned.
        unsafe { place.write(value) };
        Ok(place)
    }

    /// Room for `count` values in the request's pool, all bytes zero.
    ///
    /// # Safety
    ///
    /// Zero must be a value of `T`.
    pub unsafe fn allocate_zeroed<T: Copy>(self, count: usize) -> Result<NonNull<T>, OutOfMemory> {
        const { assert!(align_of::<T>() <= ngx::NGX_ALIGNMENT) };
        let size = size_of::<T>().checked_mul(count).ok_or(OutOfMemory)?;
        // SAFETY: the pool is the live request's.
        NonNull::new(unsafe { ngx::ngx_pcalloc(self.pool(), size) }.cast()).ok_or(OutOfMemory)
    }

    /// The value of a string with variables.
    ///
    /// # Safety
    ///
    /// `value` must be part of this request's configuration.
    pub unsafe fn evaluate(self, value: *mut ngx_http_complex_value_t) -> Result<ngx_str_t, OutOfMemory> {
        let mut text = ngx_str_t::empty();
        // SAFETY: the request is live, and the value the configuration's.
        let result = unsafe { ngx::ngx_http_complex_value(self.as_ptr(), value, &raw mut text) };
        if result == ngx::NGX_OK as ngx_int_t { Ok(text) } else { Err(OutOfMemory) }
    }

    /// Whether any of these strings with variables is neither empty nor `0`.
    ///
    /// # Safety
    ///
    /// `predicates` must be null, or part of this request's configuration.
    pub unsafe fn is_any_set(self, predicates: *mut ngx_array_t) -> Result<bool, OutOfMemory> {
        const NONE: ngx_int_t = ngx::NGX_OK as ngx_int_t;
        const SOME: ngx_int_t = ngx::NGX_DECLINED as ngx_int_t;
        // SAFETY: the request is live, and the predicates the configuration's.
        match unsafe { ngx::ngx_http_test_predicates(self.as_ptr(), predicates) } {
            NONE => Ok(false),
            SOME => Ok(true),
            _ => Err(OutOfMemory),
        }
    }

    /// The status of the response being sent.
    pub fn response_status(self) -> ngx_uint_t {
        self.raw().headers_out.status
    }

    /// Adds a header to the response. `key` and `value` must live as long as the request.
    pub fn add_response_header(
        self,
        key: ngx_str_t,
        value: ngx_str_t,
    ) -> Result<NonNull<ngx_table_elt_t>, OutOfMemory> {
        // SAFETY: the list belongs to the live request.
        let header = unsafe { ngx::ngx_list_push(&raw mut (*self.as_ptr()).headers_out.headers) };
        let header = NonNull::new(header.cast::<ngx_table_elt_t>()).ok_or(OutOfMemory)?;
        // SAFETY: every field of a header may be zero.
        let mut element: ngx_table_elt_t = unsafe { std::mem::zeroed() };
        // `hash` 1 is "send it"; `next`, where the field exists, stays null.
        element.hash = 1;
        element.key = key;
        element.value = value;
        // SAFETY: `ngx_list_push` returned room for one element.
        unsafe { header.write(element) };
        Ok(header)
    }

    /// Names the header that a success of another access method takes back.
    pub fn set_www_authenticate(self, header: NonNull<ngx_table_elt_t>) {
        // SAFETY: the request is live, and the header is in its list.
        unsafe { (*self.as_ptr()).headers_out.www_authenticate = header.as_ptr() };
    }

    /// Takes back every challenge that has been added to the response.
    pub fn clear_challenges(self) {
        if self.raw().headers_out.www_authenticate.is_null() {
            return;
        }
        // SAFETY: the list belongs to the live request and is not resized while it is walked.
        for header in unsafe { list_elements(&self.raw().headers_out.headers) } {
            // SAFETY: elements of the list are initialised headers.
            let key = unsafe { (*header).key };
            if key.as_bytes().eq_ignore_ascii_case(b"www-authenticate") {
                // SAFETY: as above; 0 is "do not send it".
                unsafe { (*header).hash = 0 };
            }
        }
        // SAFETY: the request is live.
        unsafe { (*self.as_ptr()).headers_out.www_authenticate = ptr::null_mut() };
    }

    /// Makes NGINX compute the variable of this index again when it is next read.
    pub fn invalidate_variable(self, index: usize) {
        // SAFETY: `variables` has a slot for every index the configuration handed out; nothing else refers to it now.
        let value = unsafe { &mut *self.raw().variables.add(index) };
        value.set_valid(0);
        value.set_not_found(0);
    }
}

/// The bytes of a string that belongs to a live request.
///
/// # Safety
///
/// They must not be used when the request is gone.
pub unsafe fn bytes_of(text: ngx_str_t) -> &'static [u8] {
    if text.len == 0 {
        return b"";
    }
    // SAFETY: a string of NGINX's has `len` bytes at `data`, which live as long as the request.
    unsafe { std::slice::from_raw_parts(text.data, text.len) }
}

/// A string that lives as long as the program.
pub const fn static_str(text: &'static str) -> ngx_str_t {
    ngx_str_t { len: text.len(), data: text.as_ptr().cast_mut() }
}

/// A string that lives as long as the program and ends in NUL: NGINX compares names of directives and of their values
/// as C strings.
pub const fn static_cstr(text: &'static std::ffi::CStr) -> ngx_str_t {
    ngx_str_t { len: text.count_bytes(), data: text.as_ptr().cast_mut().cast() }
}

//! What has the location answered?
//!
//! Collected where NGINX would send it: status and headers by the header filter, the content by the body filter,
//! however the location produces it. The content is bounded as that of any endpoint; nothing of it goes further.

use bytes::Bytes;
use http::header::{AGE, CONTENT_TYPE, DATE, EXPIRES};
use http::{HeaderMap, HeaderName, HeaderValue};

use ::ngx::ffi as ngx;
use ngx::{ngx_buf_t, ngx_chain_t, ngx_http_upstream_t};

use crate::claims::Wanted;
use crate::freshness::{self, Stated};
use crate::introspection::{self, Answer, Failure, MAX_BODY, Phase, Response};
use crate::settings::Profile;

use super::super::header_list::list_elements;
use super::super::request::Request;
use super::{FlightId, conclude, with_running};

/// As much as has come.
#[derive(Default)]
pub struct PartialAnswer {
    /// None before the header.
    status: Option<u16>,
    headers: HeaderMap,
    body: Vec<u8>,
    /// The end of the content has been seen.
    complete: bool,
    /// A part of it could not be read.
    broken: bool,
    /// The status NGINX itself gave the response, the location having none.
    pub generated: Option<u16>,
}

impl PartialAnswer {
    /// What it says of the token, and for how long; called when no more will come, or is wanted.
    pub fn interpret(self, profile: &Profile, wanted: &Wanted) -> Result<(Answer, Stated), Failure> {
        let unreachable = |cause: &str| Err(Failure::Unreachable { cause: cause.to_owned() });
        let Some(status) = self.status else { return unreachable("the location has sent no answer") };
        match status {
            504 if self.generated == self.status => return Err(Failure::Timeout { phase: Phase::Answer }),
            502 if self.generated == self.status => {
                return unreachable("the location has got no answer from its upstream; the lines before say why");
            }
            200 if !self.complete && self.body.len() <= MAX_BODY => {
                return unreachable("the location's answer ended early");
            }
            _ => {}
        }
        let response = Response { status, headers: self.headers, body: Bytes::from(self.body) };
        let answer = introspection::interpret(&response, profile, wanted)?;
        Ok((answer, freshness::stated(&response.headers, profile.ignore_cache_control)))
    }

    fn read_header(&mut self, r: Request) {
        // SAFETY: the request is live, and nothing changes its response headers meanwhile.
        let out = unsafe { &(*r.as_ptr()).headers_out };
        self.status = u16::try_from(out.status).ok();
        self.headers.clear();
        // SAFETY: the list belongs to the live request and is not changed while it is walked.
        for element in unsafe { list_elements(&raw const out.headers) } {
            // SAFETY: elements of the list are initialised headers.
            let element = unsafe { &*element };
            // A hash of 0 marks a header that has been taken back.
            if element.hash != 0 {
                self.append(element.key.as_bytes(), element.value.as_bytes());
            }
        }
        if out.content_type.len > 0 {
            self.append(CONTENT_TYPE.as_str().as_bytes(), out.content_type.as_bytes());
        }
        // SAFETY: a request's upstream, if it has one, lives as long as the request.
        if let Some(upstream) = unsafe { (*r.as_ptr()).upstream.as_ref() } {
            self.read_upstream(r, upstream);
        }
        if self.headers.contains_key(EXPIRES) && !self.headers.contains_key(DATE) {
            // RFC 9110 §6.6.1: then it is the time of receipt.
            // SAFETY: NGINX's clock, which it changes on this thread only.
            let now = unsafe { ngx::ngx_cached_http_time };
            self.append(DATE.as_str().as_bytes(), now.as_bytes());
        }
    }

    /// What NGINX keeps from the client, but the rules of caching need.
    fn read_upstream(&mut self, r: Request, upstream: &ngx_http_upstream_t) {
        // SAFETY: the header, if there was one, lives in the request's pool.
        if let Some(date) = unsafe { upstream.headers_in.date.as_ref() } {
            if !self.headers.contains_key(DATE) {
                self.append(DATE.as_str().as_bytes(), date.value.as_bytes());
            }
        }
        #[cfg(nginx_http_cache)]
        self.add_residence(r, upstream);
    }

    /// `Age` of what NGINX's own cache has answered (RFC 9111 §4.2.3): what it was when it came, and the time since.
    #[cfg(nginx_http_cache)]
    fn add_residence(&mut self, r: Request, upstream: &ngx_http_upstream_t) {
        const STORED: [u32; 3] = [ngx::NGX_HTTP_CACHE_STALE, ngx::NGX_HTTP_CACHE_UPDATING, ngx::NGX_HTTP_CACHE_HIT];
        if !STORED.contains(&upstream.cache_status()) {
            return;
        }
        // SAFETY: a response from the cache has an entry there, which lives as long as the request.
        if let Some(cache) = unsafe { (*r.as_ptr()).cache.as_ref() } {
            let before = self.headers.get(AGE).and_then(|age| age.to_str().ok()?.trim().parse::<u64>().ok());
            let resident = u64::try_from(ngx::ngx_time().saturating_sub(cache.date)).unwrap_or(0);
            self.headers.insert(AGE, HeaderValue::from(before.unwrap_or(0).saturating_add(resident)));
        }
    }

    fn append(&mut self, name: &[u8], value: &[u8]) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            self.headers.append(name, value);
        }
    }

    fn read(&mut self, buffer: &ngx_buf_t) {
        // One byte more than is of use tells that there was too much.
        let room = (MAX_BODY + 1).saturating_sub(self.body.len());
        if buffer.memory() != 0 || buffer.temporary() != 0 || buffer.mmap() != 0 {
            let len = buffer.last.addr().saturating_sub(buffer.pos.addr()).min(room);
            // SAFETY: `pos` to `last` is the buffer's content.
            self.body.extend_from_slice(unsafe { std::slice::from_raw_parts(buffer.pos, len) });
        } else if buffer.in_file() != 0 {
            let len = usize::try_from(buffer.file_last - buffer.file_pos).unwrap_or(0).min(room);
            let start = self.body.len();
            self.body.resize(start + len, 0);
            // SAFETY: there is room for `len` bytes, and the buffer's file is open as long as the buffer.
            let read =
                unsafe { ngx::ngx_read_file(buffer.file, self.body.as_mut_ptr().add(start), len, buffer.file_pos) };
            self.broken |= usize::try_from(read) != Ok(len);
        }
        // The last buffer of a subrequest is the last of its chain only.
        self.complete |= !self.broken && (buffer.last_buf() != 0 || buffer.last_in_chain() != 0);
    }
}

/// Takes status and headers of the response of `flight`'s subrequest.
pub fn capture_header(r: Request, flight: FlightId) {
    with_running(|all| {
        if let Some(running) = all.get_mut(&flight) {
            running.answer.read_header(r);
        }
    });
    // SAFETY: a request's upstream, if it has one, lives as long as the request; nothing else refers to it now.
    if let Some(upstream) = unsafe { (*r.as_ptr()).upstream.as_mut() } {
        if !must_buffer(upstream) {
            upstream.set_buffering(0);
        }
    }
}

/// Without buffers NGINX hands every part on as it comes, and a response of any size takes no more memory. With them
/// it hands on nothing before the end, for it looks at the client's connection, which waits. But only what it
/// buffers can it store in its cache; that, unless it may not write to a file what does not fit into the buffers.
fn must_buffer(upstream: &ngx_http_upstream_t) -> bool {
    if upstream.cacheable() == 0 && upstream.store() == 0 {
        return false;
    }
    // SAFETY: an upstream has a configuration, which lives as long as the location's.
    let conf = unsafe { &*upstream.conf };
    let length = usize::try_from(upstream.headers_in.content_length_n).unwrap_or(usize::MAX);
    let fits = length <= (conf.bufs.num as usize).saturating_mul(conf.bufs.size);
    conf.max_temp_file_size > 0 || fits
}

/// Takes a part of the content, so that nothing of it is left to send.
///
/// # Safety
///
/// `chain` must be what a body filter is called with for the subrequest of `flight`.
pub unsafe fn capture_body(flight: FlightId, chain: *mut ngx_chain_t) {
    let too_long = with_running(|all| {
        // None if the answer has been handed on already.
        let mut answer = all.get_mut(&flight).filter(|running| !running.concluded).map(|running| &mut running.answer);
        let mut link = chain;
        while !link.is_null() {
            // SAFETY: chains are linked until null, and each link has a buffer.
            let current = unsafe { &*link };
            // SAFETY: as above; nothing else refers to the buffer now.
            let buffer = unsafe { &mut *current.buf };
            if let Some(answer) = &mut answer {
                answer.read(buffer);
            }
            buffer.pos = buffer.last;
            buffer.file_pos = buffer.file_last;
            link = current.next;
        }
        answer.is_some_and(|answer| answer.body.len() > MAX_BODY)
    });
    if too_long {
        conclude(flight);
        super::abandon(flight);
    }
}

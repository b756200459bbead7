//! May this request go on?
//!
//! The access-phase handler, top to bottom: off → declined; waiting → again; decided → carried out; else the credential
//! is read, the cache looked at, and the request parked if the authorization server has to be asked.

use ::ngx::ffi as ngx;
use ngx::{ngx_http_request_t, ngx_int_t, ngx_str_t, ngx_uint_t};

use crate::bearer::{self, Credential};
use crate::challenge::Refusal;
use crate::claims;
use crate::exchange::{Outcome, Policy};
use crate::introspection::{Active, Failure, Inactive};
use crate::outcome::{CacheStatus, TokenStatus};
use crate::requirements::Unmet;
use crate::source::{self, Presented, Source};

use super::config::{Carrier, LocationSettings, Preflight};
use super::log::{Level, guard, log};
use super::pending::{self, Context, State};
use super::record::{Record, Verdict};
use super::request::{OutOfMemory, Request, bytes_of, static_str};
use super::subrequest;
use super::worker_process::{self, Waiting};

const OK: ngx_int_t = ngx::NGX_OK as ngx_int_t;
const DECLINED: ngx_int_t = ngx::NGX_DECLINED as ngx_int_t;
const AGAIN: ngx_int_t = ngx::NGX_AGAIN as ngx_int_t;
const NO_CONTENT: ngx_int_t = ngx::NGX_HTTP_NO_CONTENT as ngx_int_t;
const INTERNAL_SERVER_ERROR: ngx_int_t = ngx::NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

/// The access-phase handler.
pub unsafe extern "C" fn access_handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    guard(INTERNAL_SERVER_ERROR, || {
        // SAFETY: NGINX calls phase handlers with a live request.
        let r = unsafe { Request::new(r) };
        access(r).unwrap_or(INTERNAL_SERVER_ERROR)
    })
}

fn access(r: Request) -> Result<ngx_int_t, OutOfMemory> {
    let Some(location) = r.location() else { return Ok(DECLINED) };
    match Context::of(r) {
        None => decide(r, location),
        Some(context) => match context.state {
            State::Parked => Ok(AGAIN),
            State::Decided => carry_out(r, location, context.record()),
            State::Refused { status, .. } => Ok(status as ngx_int_t),
        },
    }
}

fn decide(r: Request, location: &'static LocationSettings) -> Result<ngx_int_t, OutOfMemory> {
    let record = record_of(r)?;
    if location.preflight != Preflight::Authenticate && is_preflight(r, location) {
        record.status = Some(TokenStatus::Preflight);
        if location.preflight == Preflight::Forward {
            return Ok(DECLINED);
        }
        r.clear_challenges();
        return Ok(NO_CONTENT);
    }
    let token = match credential(r, location, record) {
        Presented::One(Credential::Token(token)) => token,
        Presented::One(Credential::Absent) => {
            log!(r.log(), Info, "no access token");
            return refuse(r, location, record, TokenStatus::Absent, Refusal::Absent);
        }
        Presented::One(Credential::Malformed) => {
            log!(r.log(), Info, "malformed access token");
            return refuse(r, location, record, TokenStatus::Malformed, Refusal::Malformed);
        }
        Presented::Different => {
            log!(r.log(), Info, "different access tokens in one request");
            return refuse(r, location, record, TokenStatus::Malformed, Refusal::InvalidRequest);
        }
    };
    let cache_key = if location.cache_key.is_null() {
        ngx_str_t::empty()
    } else {
        // SAFETY: the location is the request's.
        unsafe { r.evaluate(location.cache_key) }?
    };
    let key = location.profile.keys.key(cache_key.as_bytes(), token);
    if record.key == Some(key) && !matches!(record.verdict, Verdict::Open) {
        return carry_out(r, location, record);
    }
    record.reopen(key, token);

    let now = worker_process::clock();
    // SAFETY: the location is the request's.
    let bypass = !location.cache_bypass.is_null() && unsafe { r.is_any_set(location.cache_bypass) }?;
    if location.policy.cache && !bypass {
        match worker_process::lookup(&key, now) {
            Some(Ok(active)) => {
                record.activate(active);
                record.decided_from_cache();
                return carry_out(r, location, record);
            }
            Some(Err(reason)) => {
                report_inactive(r, record, reason, false);
                record.refuse(TokenStatus::Inactive, Refusal::Inactive, None);
                record.decided_from_cache();
                return carry_out(r, location, record);
            }
            None => {}
        }
    }
    match worker_process::wait(location, Policy { bypass, ..location.policy }, key, token, now) {
        Waiting::For { waiter, flight, coalesced } => {
            record.cache_status = Some(match (bypass, coalesced) {
                (true, _) => CacheStatus::Bypass,
                (false, true) => CacheStatus::Coalesced,
                (false, false) => CacheStatus::Miss,
            });
            let place = match pending::park(r, record, waiter, flight, location.policy.timeout) {
                Ok(place) => place,
                Err(OutOfMemory) => {
                    worker_process::leave(flight, waiter);
                    return Err(OutOfMemory);
                }
            };
            worker_process::parked(waiter, place);
            if let (Carrier::Subrequest(endpoint), false) = (&location.carrier, coalesced) {
                if subrequest::start(r, endpoint, &location.profile, flight, token).is_err() {
                    pending::abandon(place);
                    return Err(OutOfMemory);
                }
            }
            Ok(AGAIN)
        }
        Waiting::Failed(failure) => {
            fail(r, location, record, &failure, true);
            carry_out(r, location, record)
        }
    }
}

fn record_of(r: Request) -> Result<&'static mut Record, OutOfMemory> {
    // There is one if an internal redirect brought the request here.
    match Record::find(r).map(|record| record.parked) {
        None => create_record(r),
        Some(parked) => {
            // Writes to the record: it is looked up again afterwards.
            if let Some(parked) = parked {
                pending::abandon(parked);
            }
            Record::find(r).ok_or(OutOfMemory)
        }
    }
}

fn create_record(r: Request) -> Result<&'static mut Record, OutOfMemory> {
    let original = r.authorization().map_or(ngx_str_t::empty(), |header| {
        // SAFETY: the header belongs to the live request.
        unsafe { header.as_ref() }.value
    });
    Record::create(r, original)
}

/// What the client presents in this location's sources. It is the client's own even where an earlier pass has replaced
/// or removed it.
fn credential(r: Request, location: &'static LocationSettings, record: &Record) -> Presented<'static> {
    // SAFETY: used in this pass of the request only, as all that comes of it.
    let original = unsafe { bytes_of(record.original) };
    let Some(sources) = &location.sources else {
        return Presented::One(bearer::credential(Some(original)));
    };
    source::choose(sources.iter().flat_map(|source| match source {
        Source::Authorization => vec![bearer::credential(Some(original))],
        other => {
            // SAFETY: as above.
            let taken = record.taken(other).map(|token| unsafe { bytes_of(token) });
            let taken: Vec<_> = taken.map(source::credential).collect();
            if taken.is_empty() { presented(r, other).map(source::credential).collect() } else { taken }
        }
    }))
}

/// The values that a source other than `Authorization` presents now.
fn presented(r: Request, source: &'static Source) -> impl Iterator<Item = &'static [u8]> {
    r.header_lines(source.header()).into_iter().flat_map(move |line| {
        // SAFETY: the header belongs to the live request.
        let line = unsafe { line.as_ref() }.value;
        // SAFETY: used in this pass of the request only.
        source.values(unsafe { bytes_of(line) })
    })
}

/// Fetch, "CORS-preflight request"; one that carries a credential or a body is none.
fn is_preflight(r: Request, location: &'static LocationSettings) -> bool {
    r.method() == ngx::NGX_HTTP_OPTIONS as ngx_uint_t
        && r.authorization().is_none()
        && location.sources.iter().flatten().all(|source| presented(r, source).next().is_none())
        && !r.has_body()
        && r.has_header(b"origin")
        && r.has_header(b"access-control-request-method")
}

/// Writes the outcome of an exchange into the record of a request that waited for it.
pub fn settle(r: Request, record: &mut Record, outcome: &Outcome, first: bool) -> Result<(), OutOfMemory> {
    match outcome {
        Outcome::Forward(active) => record.activate(active.clone()),
        Outcome::Refuse(reason) => {
            report_inactive(r, record, *reason, first);
            record.refuse(TokenStatus::Inactive, Refusal::Inactive, None);
        }
        Outcome::Fail(failure) => match r.location() {
            Some(location) => match last_answer(location, record, failure) {
                Some(active) => {
                    report_failure(
                        r,
                        location,
                        record,
                        failure,
                        first.then_some(Level::Warn),
                        "; its last answer is used",
                    );
                    record.activate(active);
                    record.cache_status = Some(CacheStatus::Stale);
                }
                None => fail(r, location, record, failure, first),
            },
            None => record.refuse(failure.token_status(), failure.refusal(), failure.retry_after()),
        },
    }
    Ok(())
}

/// What may take the place of an answer that is not to be had (RFC 5861 §4): the one before, for a while.
fn last_answer(location: &LocationSettings, record: &Record, failure: &Failure) -> Option<Active> {
    let reads_cache = location.policy.cache && record.cache_status != Some(CacheStatus::Bypass);
    if location.stale_if_error == 0 || !reads_cache || !failure.is_outage() {
        return None;
    }
    worker_process::stale(&record.key?, location.stale_if_error, worker_process::clock())
}

fn fail(r: Request, location: &'static LocationSettings, record: &mut Record, failure: &Failure, first: bool) {
    report_failure(r, location, record, failure, first.then_some(Level::Error), "");
    record.refuse(failure.token_status(), failure.refusal(), failure.retry_after());
}

/// One line at the level of the fault for an exchange; who else waited for it says so only at `info`.
fn report_failure(
    r: Request,
    location: &LocationSettings,
    record: &Record,
    failure: &Failure,
    level: Option<Level>,
    consequence: &str,
) {
    let level = level.unwrap_or(Level::Info);
    let log = r.log();
    if log.enabled(level) {
        let fingerprint = r.main_conf().seed.fingerprint(record.token());
        let endpoint = location.profile.profile.endpoint.for_log();
        log.write(
            level,
            format_args!("introspection of token {fingerprint} at \"{endpoint}\" failed: {failure}{consequence}"),
        );
    }
}

fn report_inactive(r: Request, record: &Record, reason: Inactive, fresh: bool) {
    let level = if fresh && reason == Inactive::Expired { Level::Warn } else { Level::Info };
    let log = r.log();
    if log.enabled(level) {
        let fingerprint = r.main_conf().seed.fingerprint(record.token());
        match reason {
            Inactive::Stated => log.write(level, format_args!("token {fingerprint} is not active")),
            Inactive::Expired => log.write(
                level,
                format_args!("token {fingerprint} was answered active with an \"exp\" that has passed: check clocks"),
            ),
            Inactive::NotBearer => {
                log.write(level, format_args!("token {fingerprint} is not a bearer access token: refused"));
            }
        }
    }
}

fn refuse(
    r: Request,
    location: &'static LocationSettings,
    record: &mut Record,
    status: TokenStatus,
    refusal: Refusal,
) -> Result<ngx_int_t, OutOfMemory> {
    record.refuse(status, refusal, None);
    carry_out(r, location, record)
}

/// Carries the record's verdict out in this location.
fn carry_out(r: Request, location: &'static LocationSettings, record: &mut Record) -> Result<ngx_int_t, OutOfMemory> {
    record.clear_refusal_headers();
    match record.verdict {
        Verdict::Active => {
            let Some(active) = &record.answer else { return Ok(INTERNAL_SERVER_ERROR) };
            match unmet(location, active) {
                None => {
                    // The answer, and with it the text, is the record's: both live as long as the request.
                    let text = active.authorization();
                    forward(r, location, record, ngx_str_t { len: text.len(), data: text.as_ptr().cast_mut() })
                }
                Some(unmet) => {
                    let fingerprint = || r.main_conf().seed.fingerprint(record.token());
                    log!(r.log(), Info, "token {} is refused here: its {}", fingerprint(), unmet.as_str());
                    record.status = Some(TokenStatus::Forbidden);
                    turn_away(r, location, record, unmet.refusal(), None)
                }
            }
        }
        Verdict::Refuse { refusal, retry_after } => turn_away(r, location, record, refusal, retry_after),
        Verdict::Open => Ok(INTERNAL_SERVER_ERROR),
    }
}

/// What this location asks for and the token lacks.
fn unmet(location: &LocationSettings, active: &Active) -> Option<Unmet> {
    if location.requirements.is_empty() {
        return None;
    }
    location.requirements.check(|name, value| claims::has_value(active, name, value)).err()
}

/// Lets the request go on with `authorization`, which has the JWT in the token's place.
fn forward(
    r: Request,
    location: &'static LocationSettings,
    record: &mut Record,
    authorization: ngx_str_t,
) -> Result<ngx_int_t, OutOfMemory> {
    record.status = Some(TokenStatus::Active);
    for source in location.sources.iter().flatten().filter(|source| **source != Source::Authorization) {
        take_out(r, record, source)?;
    }
    match r.authorization() {
        // SAFETY: the header belongs to the live request, and nothing else refers to it now.
        Some(mut header) => unsafe { header.as_mut() }.value = authorization,
        None => r.add_authorization(authorization)?,
    }
    // A `set $x $http_authorization` in the rewrite phase has cached the client's value.
    for index in &r.main_conf().shows_token {
        r.invalidate_variable(*index);
    }
    r.clear_challenges();
    Ok(OK)
}

/// Removes a token from what goes upstream.
fn take_out(r: Request, record: &mut Record, source: &'static Source) -> Result<(), OutOfMemory> {
    for mut header in r.header_lines(source.header()) {
        // SAFETY: the header belongs to the live request.
        let line = unsafe { header.as_ref() }.value;
        let mut found = false;
        for value in source.values(line.as_bytes()) {
            found = true;
            record.take(source, ngx_str_t { len: value.len(), data: value.as_ptr().cast_mut() });
        }
        if !found {
            continue;
        }
        match source.strip(line.as_bytes()) {
            // SAFETY: as above.
            Some(rest) => unsafe { header.as_mut() }.value = r.copy(&[&rest])?,
            None => r.remove_header(header)?,
        }
    }
    Ok(())
}

/// Refuses the request in this location.
fn turn_away(
    r: Request,
    location: &'static LocationSettings,
    record: &mut Record,
    refusal: Refusal,
    retry_after: Option<u32>,
) -> Result<ngx_int_t, OutOfMemory> {
    match location.challenge.header(refusal) {
        Some(challenge) => {
            let header = r.add_response_header(static_str("WWW-Authenticate"), static_str(challenge))?;
            r.set_www_authenticate(header);
            record.refusal_headers[0] = Some(header);
        }
        // Not for the client to mend: another method's challenge would ask it to try again.
        None => r.clear_challenges(),
    }
    if let Some(seconds) = retry_after {
        let value = r.copy(&[seconds.to_string().as_bytes()])?;
        record.refusal_headers[1] = Some(r.add_response_header(static_str("Retry-After"), value)?);
    }
    let status = refusal.status();
    Context::refused(r, record, status.into(), refusal.body())?;
    Ok(status as ngx_int_t)
}

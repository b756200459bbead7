//! How is the endpoint asked, and over which connection?
//!
//! One [`Client`] per worker and [`ClientSettings`]: a connection pool, HTTP/2 where the server offers it. It sends what
//! RFC 7662 §2.1 asks for and nothing else, follows no redirect, keeps no cookie and reads no environment.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::attempt::{self, Connection, Observed};
use crate::client_auth::Credentials;
use crate::failure::{Failure, InvalidAnswer, Phase};
use crate::introspection::{self, MAX_BODY, Response};
use crate::places::{Place, Places};
use crate::settings::{ClientSettings, Profile};
use crate::tls;

/// Exchanges of one client in flight: what authorization servers take from one peer without refusing HTTP/2 streams
/// (most allow 100), and the most connections a burst opens.
pub const MAX_IN_FLIGHT: usize = 64;

/// How long an idle connection is kept: NGINX's `keepalive_timeout` of an upstream.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long one is kept beyond `phantom_token_keepalive`: longer than a busy worker's pauses.
const BURST_IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// A peer that acknowledges nothing for so long is gone: without it, one silent HTTP/2 connection would fail every
/// exchange until the kernel gives up, after a quarter of an hour.
const DEAD_PEER_TIMEOUT: Duration = Duration::from_secs(5);

/// Header fields of an answer: several times what authorization servers send.
const MAX_HEADERS: usize = 64;

/// Their size with HTTP/2 (RFC 9113 §6.5.2).
const MAX_HEADER_LIST: u32 = 16 * 1024;

/// Whether a [`Client`] can be made from these settings: what `nginx -t` asks.
pub fn check(settings: &ClientSettings) -> Result<(), String> {
    tls::check(settings)?;
    target(settings).map(drop)
}

/// The introspection client of one endpoint.
pub struct Client {
    /// As many exchanges as there may be idle connections.
    steady: reqwest::Client,
    /// The others. Their connections stay idle for a moment only; closed at once they would all be opened anew in the
    /// next moment of a busy worker.
    burst: reqwest::Client,
    /// For the second attempt: where one idle connection was dead, the next one in the pool often is too.
    fresh: reqwest::Client,
    url: Url,
    /// The `Host` header, where the URL's host had to make way for another server name.
    host: Option<HeaderValue>,
    places: Places,
}

/// What all requests of a profile over a client have in common.
pub struct Template {
    headers: HeaderMap,
    credentials: Credentials,
}

impl Client {
    /// Sets a client up; connects to nothing yet. The error says why not, in words for the log.
    pub fn new(settings: &ClientSettings) -> Result<Self, String> {
        let (url, host) = target(settings)?;
        // HTTP/2's ":authority" is taken from the URL, which here holds the other server name.
        let http2 = host.is_none();
        let tls = tls::config(settings, http2)?;
        let build = |idle, idle_timeout| {
            let builder = reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .retry(reqwest::retry::never())
                .connect_timeout(settings.connect_timeout)
                .pool_max_idle_per_host(idle)
                .pool_idle_timeout(idle_timeout)
                .tcp_nodelay(true)
                .tcp_user_timeout(DEAD_PEER_TIMEOUT)
                .http1_max_headers(MAX_HEADERS)
                .http2_max_header_list_size(MAX_HEADER_LIST)
                .http2_initial_stream_window_size(MAX_BODY as u32)
                .http2_initial_connection_window_size((MAX_BODY * MAX_IN_FLIGHT) as u32)
                .http2_keep_alive_interval(DEAD_PEER_TIMEOUT)
                .http2_keep_alive_timeout(DEAD_PEER_TIMEOUT)
                .tls_backend_preconfigured(tls.clone())
                .connector_layer(attempt::Observe::new(url.scheme() == "https" && http2 && idle > 0));
            let builder = if host.is_some() {
                builder.dns_resolver(RealHost(settings.endpoint.url().host().map(|host| host.to_owned())))
            } else {
                builder
            };
            builder.build().map_err(cause)
        };
        let steady = settings.keepalive.min(MAX_IN_FLIGHT);
        // Who wants no idle connection gets none.
        let burst = if steady == 0 { 0 } else { MAX_IN_FLIGHT - steady };
        Ok(Self {
            steady: build(steady, IDLE_TIMEOUT)?,
            burst: build(burst, BURST_IDLE_TIMEOUT)?,
            fresh: build(0, IDLE_TIMEOUT)?,
            url,
            host,
            places: Places::new(steady),
        })
    }

    /// What this profile's requests have in common, made once.
    pub fn template(&self, profile: &Profile) -> Result<Template, String> {
        let mut headers = HeaderMap::new();
        if let Some(host) = &self.host {
            headers.insert(HOST, host.clone());
        }
        // RFC 7662 §2.1
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let accept = HeaderValue::from_str(&profile.accept)
            .map_err(|_| "\"phantom_token_accept\" is not a valid header value".to_owned())?;
        headers.insert(ACCEPT, accept);
        // Not the URL that is requested, whose host may have made way for another server name.
        let credentials = Credentials::new(&profile.client_auth, profile.endpoint.for_log())?;
        if let Some(authorization) = credentials.header() {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        Ok(Template { headers, credentials })
    }

    /// Waits, first come first served, until fewer than [`MAX_IN_FLIGHT`] exchanges are in flight.
    pub async fn place(&self) -> Place<'_> {
        self.places.take().await
    }

    /// Asks about a token, and reads the answer whole. Has no time limit but that of connecting: dropping it ends it.
    /// `connection` shows how far it is.
    pub async fn exchange(
        &self,
        place: &Place<'_>,
        template: &Template,
        token: &[u8],
        connection: &Connection,
    ) -> Result<Response, Failure> {
        // Each attempt has credentials of its own: an assertion may be good for one request (RFC 7523 §3, "jti"), and the
        // server may have read the first.
        let attempt = |client: &reqwest::Client| {
            let parameters = template.credentials.form().map_err(|cause| Failure::Unreachable { cause })?;
            let mut request = reqwest::Request::new(Method::POST, self.url.clone());
            *request.headers_mut() = template.headers.clone();
            *request.body_mut() = Some(Bytes::from_owner(introspection::request_form(token, &parameters)).into());
            Ok::<_, Failure>(connection.observe(client.execute(request)))
        };
        let pooled = if place.is_steady() { &self.steady } else { &self.burst };
        let mut answer = attempt(pooled)?.await;
        // RFC 9110 §9.2.2: a request that changes nothing may be repeated when "the underlying connection closed before
        // [the client] is able to read the response"; RFC 9112 §9.3.1 expects that of idle connections.
        if answer.as_ref().is_err_and(|error| connection.state() != Observed::Opened && found_dead(error)) {
            answer = attempt(&self.fresh)?.await;
        }
        read(answer.map_err(failure)?).await
    }
}

/// The URL to request and, if it is not the one it stands for, the `Host` header to send with it.
fn target(settings: &ClientSettings) -> Result<(Url, Option<HeaderValue>), String> {
    let mut url = settings.endpoint.url().clone();
    let Some(name) = tls::other_name(settings)? else {
        return Ok((url, None));
    };
    let invalid = || format!("invalid server name \"{name}\"");
    let authority = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => return Err(invalid()),
    };
    let host = HeaderValue::from_str(&authority).map_err(|_| invalid())?;
    url.set_host(Some(name)).map_err(|_| invalid())?;
    if !matches!(url.host(), Some(Host::Domain(_))) {
        return Err(invalid());
    }
    Ok((url, Some(host)))
}

/// Resolves the endpoint's own host whatever name is asked for.
struct RealHost(Option<Host<String>>);

impl Resolve for RealHost {
    fn resolve(&self, _: Name) -> Resolving {
        // The port is set by the caller.
        let host = self.0.clone();
        Box::pin(async move {
            let addresses: Addrs = match host {
                Some(Host::Ipv4(address)) => Box::new(std::iter::once(SocketAddr::from((address, 0)))),
                Some(Host::Ipv6(address)) => Box::new(std::iter::once(SocketAddr::from((address, 0)))),
                Some(Host::Domain(name)) => {
                    let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
                    Box::new(found.into_iter())
                }
                None => Box::new(std::iter::empty()),
            };
            Ok(addresses)
        })
    }
}

async fn read(mut answer: reqwest::Response) -> Result<Response, Failure> {
    let status = answer.status();
    let headers = std::mem::take(answer.headers_mut());
    let body = match content(answer).await {
        Ok(body) => body,
        // Any other status decides by itself, whatever became of its content.
        Err(_) if status != StatusCode::OK => Bytes::new(),
        Err(failure) => return Err(failure),
    };
    Ok(Response { status: status.as_u16(), headers, body })
}

async fn content(mut answer: reqwest::Response) -> Result<Bytes, Failure> {
    let too_long = || Failure::Invalid(InvalidAnswer::TooLong);
    let expected = answer.content_length().unwrap_or(0);
    if expected > MAX_BODY as u64 {
        return Err(too_long());
    }
    let mut body = BytesMut::with_capacity(expected as usize);
    while let Some(chunk) = answer.chunk().await.map_err(failure)? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Whether the connection was closed, reset or given up before the answer began. A head cut short is the same to hyper.
fn found_dead(error: &reqwest::Error) -> bool {
    !error.is_connect()
        && chain(error).any(|error| {
            if let Some(error) = error.downcast_ref::<hyper::Error>() {
                error.is_incomplete_message() || error.is_closed() || error.is_canceled() || error.is_timeout()
            } else if let Some(error) = error.downcast_ref::<h2::Error>() {
                // RFC 9113 §6.8, §8.7: streams after a GOAWAY and refused ones were not processed
                error.is_io()
                    || error.is_remote() && error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR)
                    || error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM)
            } else if let Some(error) = error.downcast_ref::<io::Error>() {
                use io::ErrorKind::{
                    BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut, UnexpectedEof,
                };
                matches!(
                    error.kind(),
                    BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | TimedOut | UnexpectedEof
                )
            } else {
                false
            }
        })
}

fn failure(error: reqwest::Error) -> Failure {
    if error.is_connect() && error.is_timeout() {
        Failure::Timeout { phase: Phase::Connect }
    } else {
        Failure::Unreachable { cause: cause(error) }
    }
}

/// The root cause: what is around it repeats the URL or says no more than "error sending request".
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let root = chain(&error).last().map_or_else(String::new, ToString::to_string);
    match chain(&error).find_map(tls_advice) {
        Some(advice) => format!("{root}; {advice}"),
        None => root,
    }
}

/// What to do about a certificate that is not accepted.
fn tls_advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    use rustls::CertificateError as Certificate;
    if let Some(error) = error.downcast_ref::<io::Error>() {
        // not its source, which is that of what it wraps
        return tls_advice(error.get_ref()?);
    }
    let rustls::Error::InvalidCertificate(reason) = error.downcast_ref()? else { return None };
    Some(match reason {
        Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => "check \"phantom_token_ssl_name\"",
        Certificate::UnknownIssuer | Certificate::BadSignature => "check \"phantom_token_ssl_trusted_certificate\"",
        Certificate::Expired | Certificate::ExpiredContext { .. } => {
            "renew the server's certificate, or check the clock"
        }
        _ => "check the server's certificate",
    })
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

//! The gateway most tests need: a protected server in front of the API, and a view of what is in
//! progress in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::nginx::Builder;
use super::{Api, Idp, Nginx, http, wait};

/// Protects the block it is put in with the server of [`Builder::idp`].
pub const PROTECT: &str = "phantom_token on; phantom_token_introspection_endpoint @introspect@; \
     phantom_token_client_id @id@; phantom_token_client_secret @secret@;";

/// As [`PROTECT`], with `@introspect2@`: another profile.
pub const PROTECT2: &str = "phantom_token on; phantom_token_introspection_endpoint @introspect2@; \
     phantom_token_client_id @id@; phantom_token_client_secret @secret@;";

/// As [`PROTECT`], by way of the location of [`asked_by_location`].
pub const PROTECT_BY_LOCATION: &str = "phantom_token on; phantom_token_introspection_endpoint /-/introspect;";

const PROTECT2_BY_LOCATION: &str = "phantom_token on; phantom_token_introspection_endpoint /-/introspect2;";

/// The location for what [`elsewhere`] gives; its server takes the credentials of the first.
pub const ELSEWHERE: &str = "location = /-/introspect2 { internal; access_log off; \
     proxy_set_header Authorization \"@basic@\"; proxy_pass @introspect2@; }";

/// A protection as this one, with `@introspect2@`: another profile.
pub fn elsewhere(protect: &str) -> &'static str {
    if protect == PROTECT { PROTECT2 } else { PROTECT2_BY_LOCATION }
}

/// Makes two tests of each of these functions of a protection: the endpoint is a URL, or a location.
macro_rules! for_both_endpoints {
    ($($test:ident),+ $(,)?) => {
        mod by_url {
            $(#[test] fn $test() { super::$test(crate::support::gateway::PROTECT) })+
        }
        mod by_location {
            $(#[test] fn $test() { super::$test(crate::support::gateway::PROTECT_BY_LOCATION) })+
        }
    };
}
pub(crate) use for_both_endpoints;

/// Adds the location that [`PROTECT_BY_LOCATION`] names.
pub fn asked_by_location(builder: Builder, idp: &Idp) -> Builder {
    builder.var("basic", idp.client_authorization()).server(
        "location = /-/introspect { internal; access_log off; proxy_set_header Authorization \"@basic@\"; \
         proxy_pass @introspect@; }",
    )
}

/// NGINX with the variables of both, whose locations the test adds; `in_progress` works with it.
pub fn bare(idp: &Idp, api: &Api) -> Builder {
    let status = "location = /-/status { phantom_token off; allow all; auth_basic off; access_log off; stub_status; }";
    Nginx::builder().idp(idp).var("api", api.url()).server(status)
}

/// As [`bare`], for either protection.
pub fn either(idp: &Idp, api: &Api) -> Builder {
    asked_by_location(bare(idp, api), idp)
}

/// NGINX with one location: everything is protected and goes to the API. Responses name what the module says.
pub fn gateway(idp: &Idp, api: &Api) -> Builder {
    gateway_that(PROTECT, idp, api)
}

/// The same with either protection.
pub fn gateway_that(protect: &str, idp: &Idp, api: &Api) -> Builder {
    let location = format!("location / {{ {protect} proxy_pass @api@; }}");
    either(idp, api)
        .server("add_header X-Cache $phantom_token_cache_status always;")
        .server("add_header X-Status $phantom_token_status always;")
        .server("add_header X-Fingerprint $phantom_token_fingerprint always;")
        .server("add_header X-Pid $pid always;")
        .server(&location)
}

/// Requests in progress in all workers: read as a whole, and not answered yet.
#[track_caller]
pub fn in_progress(nginx: &Nginx) -> usize {
    let status = http::get(nginx.addr(), "/-/status", &[]);
    let text = status.text();
    let writing = text.split("Writing: ").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    let writing: usize = writing.unwrap_or_else(|| panic!("not a stub status: {status:?}"));
    // the one that asks is counted too
    writing - 1
}

/// Waits until exactly `n` requests are in progress.
#[track_caller]
pub fn wait_for_in_progress(nginx: &Nginx, n: usize) {
    wait::until(&format!("{n} requests in progress"), || in_progress(nginx) == n);
}

/// Writes a file workers can read, `@dir@/name` in the configuration.
pub fn publish(nginx: &Nginx, name: &str, content: &str) {
    let path = nginx.dir().join(name);
    fs::write(&path, content).expect("write a public file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set its mode");
}

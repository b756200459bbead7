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

/// The same with one location: everything is protected and goes to the API. Responses name what the module says.
pub fn gateway(idp: &Idp, api: &Api) -> Builder {
    let location = format!("location / {{ {PROTECT} proxy_pass @api@; }}");
    bare(idp, api)
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

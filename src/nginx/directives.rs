//! Which directives are there, where may they stand, and which values are refused?
//!
//! What can be known of a value alone is checked here, while the line is read, so that NGINX adds file and line to the
//! message. What depends on several directives is checked in [`super::config`], when blocks are merged.

use std::ffi::{CStr, c_char, c_void};
use std::mem::offset_of;
use std::ptr;

use ::ngx::ffi as ngx;
use ngx::{ngx_command_t, ngx_conf_post_t, ngx_conf_t, ngx_msec_t, ngx_str_t};

use crate::bearer::{self, Credential};
use crate::challenge::{Challenge, Parameters};
use crate::client_assertion;
use crate::settings::{
    ClientAuthMethod, ClientKey, Endpoint, EndpointLocation, EndpointUrl, IntrospectionJwt, Secret, SigningAlgorithm,
    TrustedCertificate,
};
use crate::source::Source;

use super::advice;
use super::bindings::NGX_CONF_ERROR;
use super::config::{LocationConf, MIN_CACHE_SIZE, MainConf, Preflight, Set};
use super::files;
use super::log::{Level, conf_error, guard};
use super::request::static_cstr;
use super::thread::EventLoop;

/// `NGX_CONF_ERROR`
pub const FAILED: *mut c_char = ptr::without_provenance_mut(NGX_CONF_ERROR as usize);

const OK: *mut c_char = ptr::null_mut();
const DUPLICATE: &CStr = c"is duplicate";

/// A client secret file larger than this is not one.
const MAX_SECRET: u64 = 64 << 10;
/// A file of CA certificates larger than this is not one.
const MAX_CERTIFICATES: u64 = 16 << 20;

type Setter = unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char;

const EVERYWHERE: u32 =
    ngx::NGX_HTTP_MAIN_CONF | ngx::NGX_HTTP_SRV_CONF | ngx::NGX_HTTP_LOC_CONF | ngx::NGX_HTTP_LMT_CONF;

const fn command(name: &'static CStr, arguments: u32, set: Setter, offset: usize) -> ngx_command_t {
    ngx_command_t {
        name: static_cstr(name),
        type_: (EVERYWHERE | arguments) as usize,
        set: Some(set),
        conf: ngx::NGX_HTTP_LOC_CONF_OFFSET,
        offset,
        post: ptr::null_mut(),
    }
}

const fn checked(mut command: ngx_command_t, post: *const c_void) -> ngx_command_t {
    command.post = post.cast_mut();
    command
}

const FLAG: u32 = ngx::NGX_CONF_FLAG;
const ONE: u32 = ngx::NGX_CONF_TAKE1;
const ONE_TO_FOUR: u32 = ngx::NGX_CONF_TAKE1 | ngx::NGX_CONF_TAKE2 | ngx::NGX_CONF_TAKE3 | ngx::NGX_CONF_TAKE4;
const SOME: u32 = ngx::NGX_CONF_1MORE;

static POSITIVE_TIME: EventLoop<ngx_conf_post_t> =
    EventLoop::new(ngx_conf_post_t { post_handler: Some(positive_time) });
static KEEPALIVE: EventLoop<Bounds> = EventLoop::new(bounds(0, 65_535));
static MAX_PENDING: EventLoop<Bounds> = EventLoop::new(bounds(1, 1_000_000));

/// What `ngx_conf_num_bounds_t` is, with a handler that names directive and value.
#[repr(C)]
struct Bounds {
    post: ngx_conf_post_t,
    low: isize,
    high: isize,
}

const fn bounds(low: isize, high: isize) -> Bounds {
    Bounds { post: ngx_conf_post_t { post_handler: Some(within_bounds) }, low, high }
}

/// The module's command table.
pub static COMMANDS: EventLoop<[ngx_command_t; 38]> = EventLoop::new([
    command(c"phantom_token", FLAG, set_enable, offset_of!(LocationConf, enable)),
    command(c"phantom_token_introspection_endpoint", ONE, set_endpoint, 0),
    command(c"phantom_token_client_id", ONE, set_client_id, 0),
    command(c"phantom_token_client_secret", ONE, set_client_secret, 0),
    command(c"phantom_token_client_secret_file", ONE, set_client_secret_file, 0),
    command(c"phantom_token_client_auth", ONE, set_client_auth, 0),
    command(c"phantom_token_client_key", ONE_TO_FOUR, set_client_key, 0),
    command(c"phantom_token_client_bearer_file", ONE, set_client_bearer_file, 0),
    command(c"phantom_token_accept", ONE, set_accept, 0),
    command(c"phantom_token_jwt_member", SOME, set_jwt_member, 0),
    checked(
        command(
            c"phantom_token_connect_timeout",
            ONE,
            ngx::ngx_conf_set_msec_slot,
            offset_of!(LocationConf, connect_timeout),
        ),
        (&raw const POSITIVE_TIME).cast(),
    ),
    checked(
        command(c"phantom_token_timeout", ONE, ngx::ngx_conf_set_msec_slot, offset_of!(LocationConf, timeout)),
        (&raw const POSITIVE_TIME).cast(),
    ),
    checked(
        command(c"phantom_token_keepalive", ONE, ngx::ngx_conf_set_num_slot, offset_of!(LocationConf, keepalive)),
        (&raw const KEEPALIVE).cast(),
    ),
    checked(
        command(c"phantom_token_max_pending", ONE, ngx::ngx_conf_set_num_slot, offset_of!(LocationConf, max_pending)),
        (&raw const MAX_PENDING).cast(),
    ),
    command(c"phantom_token_ssl_verify", FLAG, ngx::ngx_conf_set_flag_slot, offset_of!(LocationConf, ssl_verify)),
    command(c"phantom_token_ssl_trusted_certificate", ONE, set_ssl_trusted_certificate, 0),
    command(c"phantom_token_ssl_name", ONE, set_ssl_name, 0),
    command(c"phantom_token_ssl_certificate", ONE, set_ssl_certificate, 0),
    command(c"phantom_token_ssl_certificate_key", ONE, set_ssl_certificate_key, 0),
    ngx_command_t {
        name: static_cstr(c"phantom_token_cache_size"),
        type_: (ngx::NGX_HTTP_MAIN_CONF | ONE) as usize,
        set: Some(set_cache_size),
        conf: ngx::NGX_HTTP_MAIN_CONF_OFFSET,
        offset: offset_of!(MainConf, cache_size),
        post: ptr::null_mut(),
    },
    command(c"phantom_token_cache", FLAG, set_cache, offset_of!(LocationConf, cache)),
    command(c"phantom_token_cache_max_ttl", ONE, ngx::ngx_conf_set_msec_slot, offset_of!(LocationConf, cache_max_ttl)),
    command(
        c"phantom_token_cache_inactive_ttl",
        ONE,
        ngx::ngx_conf_set_msec_slot,
        offset_of!(LocationConf, cache_inactive_ttl),
    ),
    command(
        c"phantom_token_stale_if_error",
        ONE,
        ngx::ngx_conf_set_msec_slot,
        offset_of!(LocationConf, stale_if_error),
    ),
    command(
        c"phantom_token_ignore_cache_control",
        FLAG,
        ngx::ngx_conf_set_flag_slot,
        offset_of!(LocationConf, ignore_cache_control),
    ),
    command(c"phantom_token_cache_key", ONE, ngx::ngx_http_set_complex_value_slot, offset_of!(LocationConf, cache_key)),
    command(
        c"phantom_token_cache_bypass",
        SOME,
        ngx::ngx_http_set_predicate_slot,
        offset_of!(LocationConf, cache_bypass),
    ),
    command(c"phantom_token_realm", ONE, set_realm, 0),
    command(c"phantom_token_scopes", ONE, set_scopes, 0),
    command(c"phantom_token_scope", SOME, set_scope, 0),
    command(c"phantom_token_preflight", ONE, set_preflight, 0),
    command(c"phantom_token_introspection_jwt", ONE, set_introspection_jwt, 0),
    command(c"phantom_token_require_scopes", SOME, set_require_scopes, 0),
    command(c"phantom_token_require_audience", SOME, set_require_audience, 0),
    command(c"phantom_token_require_issuer", SOME, set_require_issuer, 0),
    command(c"phantom_token_source", SOME, set_source, 0),
    command(c"phantom_token_resource_metadata", ONE, set_resource_metadata, 0),
    ngx_command_t::empty(),
]);

/// Why a directive is refused.
enum Refused {
    /// It stands twice in the block.
    Duplicate,
    /// It cannot stand beside another.
    Beside(&'static str),
    /// Its value, the n-th argument, is wrong.
    Value(usize, String),
}

/// A directive being read.
struct Directive<'a> {
    arguments: Vec<&'a str>,
    place: String,
    cf: *mut ngx_conf_t,
}

impl Directive<'_> {
    fn value(&self) -> &str {
        self.arguments[1]
    }

    /// All of its values, none of them empty or there twice.
    fn list(&self) -> Result<Vec<String>, Refused> {
        let values = &self.arguments[1..];
        for (i, value) in values.iter().enumerate() {
            if value.is_empty() {
                return Err(Refused::Value(i + 1, "it is empty".into()));
            }
            if values[..i].contains(value) {
                return Err(Refused::Value(i + 1, "it is named twice".into()));
            }
        }
        Ok(values.iter().map(|value| (*value).to_owned()).collect())
    }

    fn set<T>(&self, value: T) -> Set<T> {
        Set { value, place: self.place.clone() }
    }
}

/// Reads a directive into its block by `read`, and says what is wrong with it.
unsafe fn read(
    cf: *mut ngx_conf_t,
    conf: *mut c_void,
    read: impl FnOnce(&mut LocationConf, &Directive<'_>) -> Result<(), Refused>,
) -> *mut c_char {
    guard(FAILED, || {
        // SAFETY: NGINX passes the directive's words as an array of strings.
        let words = unsafe { (*(*cf).args).as_slice::<ngx_str_t>() };
        let name = String::from_utf8_lossy(words[0].as_bytes());
        let mut arguments = Vec::with_capacity(words.len());
        for word in words {
            match std::str::from_utf8(word.as_bytes()) {
                Ok(word) => arguments.push(word),
                Err(_) => {
                    // SAFETY: `cf` is NGINX's.
                    unsafe {
                        conf_error(Level::Emerg, cf, format_args!("a value of \"{name}\" directive is not UTF-8"))
                    };
                    return FAILED;
                }
            }
        }
        // SAFETY: `cf` is NGINX's.
        let directive = Directive { arguments, place: unsafe { place(cf) }, cf };
        // SAFETY: the command table says that this directive belongs to a location configuration.
        let conf = unsafe { &mut *conf.cast::<LocationConf>() };
        match read(conf, &directive) {
            Ok(()) => OK,
            Err(Refused::Duplicate) => DUPLICATE.as_ptr().cast_mut(),
            Err(Refused::Beside(other)) => {
                // SAFETY: `cf` is NGINX's.
                unsafe {
                    conf_error(
                        Level::Emerg,
                        cf,
                        format_args!("\"{name}\" directive is duplicate: \"{other}\" is set too"),
                    );
                }
                FAILED
            }
            Err(Refused::Value(n, why)) => {
                let value = without_user_information(directive.arguments[n]);
                // SAFETY: `cf` is NGINX's.
                unsafe {
                    conf_error(
                        Level::Emerg,
                        cf,
                        format_args!("invalid value \"{value}\" in \"{name}\" directive: {why}"),
                    )
                };
                FAILED
            }
        }
    })
}

/// A URL's password is not for the log.
fn without_user_information(value: &str) -> std::borrow::Cow<'_, str> {
    match value.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
        Some((scheme, rest)) => format!("{scheme}://...@{rest}").into(),
        None => value.into(),
    }
}

/// `FILE:LINE` of what is being read.
unsafe fn place(cf: *mut ngx_conf_t) -> String {
    // SAFETY: `cf` is NGINX's.
    let file = unsafe { (*cf).conf_file };
    if file.is_null() {
        return "command line".into();
    }
    // SAFETY: as above.
    let name = unsafe { (*file).file.name };
    // SAFETY: as above.
    let line = unsafe { (*file).line };
    format!("{}:{line}", String::from_utf8_lossy(name.as_bytes()))
}

fn put<T>(slot: &mut Option<T>, value: T) -> Result<(), Refused> {
    if slot.is_some() {
        return Err(Refused::Duplicate);
    }
    *slot = Some(value);
    Ok(())
}

macro_rules! setter {
    ($name:ident, |$conf:ident, $directive:ident| $body:block) => {
        unsafe extern "C" fn $name(cf: *mut ngx_conf_t, _cmd: *mut ngx_command_t, conf: *mut c_void) -> *mut c_char {
            fn value($conf: &mut LocationConf, $directive: &Directive<'_>) -> Result<(), Refused> $body
            // SAFETY: NGINX calls setters with the directive being read and its block's configuration.
            unsafe { read(cf, conf, value) }
        }
    };
}

unsafe extern "C" fn set_enable(cf: *mut ngx_conf_t, cmd: *mut ngx_command_t, conf: *mut c_void) -> *mut c_char {
    // SAFETY: called as NGINX calls it.
    unsafe { set_flag(cf, cmd, conf, |conf| &mut conf.enable_place) }
}

unsafe extern "C" fn set_cache(cf: *mut ngx_conf_t, cmd: *mut ngx_command_t, conf: *mut c_void) -> *mut c_char {
    // SAFETY: called as NGINX calls it.
    unsafe { set_flag(cf, cmd, conf, |conf| &mut conf.cache_place) }
}

/// NGINX's own slot, and where the directive stands.
unsafe fn set_flag(
    cf: *mut ngx_conf_t,
    cmd: *mut ngx_command_t,
    conf: *mut c_void,
    place_of: fn(&mut LocationConf) -> &mut Option<String>,
) -> *mut c_char {
    // SAFETY: called as NGINX calls it.
    let result = unsafe { ngx::ngx_conf_set_flag_slot(cf, cmd, conf) };
    if result == OK {
        // SAFETY: `cf` is NGINX's, and `conf` a location's.
        guard((), || *place_of(unsafe { &mut *conf.cast::<LocationConf>() }) = Some(unsafe { place(cf) }));
    }
    result
}

setter!(set_endpoint, |conf, directive| {
    let text = directive.value();
    let endpoint = match text.split_once("://").map(|(scheme, _)| scheme) {
        None => EndpointLocation::parse(text).map(Endpoint::Location).map_err(str::to_owned),
        Some(scheme) if ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {
            EndpointUrl::parse(text).map(Endpoint::Url).map_err(|error| error.to_string())
        }
        Some(_) => Err("it is neither an \"http://\" or \"https://\" URL nor the URI of a location".to_owned()),
    };
    put(&mut conf.endpoint, directive.set(endpoint.map_err(|error| Refused::Value(1, error))?))
});

setter!(set_client_id, |conf, directive| {
    let id = directive.value();
    // RFC 6749 appendix A.1: client-id = *VSCHAR
    if id.is_empty() || !id.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) {
        return Err(Refused::Value(1, "it is not one or more printable ASCII characters".into()));
    }
    put(&mut conf.client_id, directive.set(id.to_owned()))
});

setter!(set_client_secret, |conf, directive| {
    if directive.value().is_empty() {
        return Err(Refused::Value(1, "it is empty".into()));
    }
    put_secret(conf, directive, directive.value().to_owned(), "phantom_token_client_secret_file")?;
    // SAFETY: `cf` is NGINX's.
    if unsafe { advice::is_world_readable(directive.cf) } {
        let advice = format_args!(
            "\"phantom_token_client_secret\" is in a file that every user may read; use \
             \"phantom_token_client_secret_file\", or make the file readable by root only"
        );
        // SAFETY: as above.
        unsafe { conf_error(Level::Warn, directive.cf, advice) };
    }
    Ok(())
});

setter!(set_client_secret_file, |conf, directive| {
    let secret = read_line(directive)?;
    put_secret(conf, directive, secret, "phantom_token_client_secret")
});

setter!(set_client_auth, |conf, directive| {
    let method = ClientAuthMethod::from_name(directive.value()).ok_or_else(|| {
        Refused::Value(
            1,
            "it is none of \"client_secret_basic\", \"client_secret_basic_raw\", \"client_secret_post\", \
             \"private_key_jwt\", \"tls_client_auth\", \"bearer\" and \"none\""
                .into(),
        )
    })?;
    put(&mut conf.client_auth, directive.set(method))
});

setter!(set_client_key, |conf, directive| {
    let pem = read_text(directive)?;
    let (mut kid, mut wanted, mut audience) = (None, None, None);
    for (i, argument) in directive.arguments.iter().enumerate().skip(2) {
        match argument.split_once('=') {
            Some(("alg", name)) if wanted.is_none() => {
                let unknown = || Refused::Value(i, "it is none of ES256, RS256, PS256 and EdDSA".into());
                wanted = Some(SigningAlgorithm::from_name(name).ok_or_else(unknown)?);
            }
            Some(("aud", name)) if audience.is_none() && !name.is_empty() => audience = Some(name.to_owned()),
            Some(("alg" | "aud", _)) => return Err(not_one_of_each(i)),
            _ if kid.is_none() && !argument.is_empty() => kid = Some((*argument).to_owned()),
            _ => return Err(not_one_of_each(i)),
        }
    }
    let algorithm = client_assertion::algorithm_of(pem.expose().as_bytes(), wanted)
        .map_err(|error| Refused::Value(1, format!("the file {error}")))?;
    put(&mut conf.client_key, ClientKey::new(pem, kid, algorithm, audience))
});

/// Of what may follow the file of `phantom_token_client_key`.
fn not_one_of_each(n: usize) -> Refused {
    Refused::Value(n, "it is neither one key id nor one \"alg=\" nor one \"aud=\"".into())
}

setter!(set_client_bearer_file, |conf, directive| {
    let token = read_line(directive)?;
    if !matches!(bearer::credential(Some(format!("Bearer {token}").as_bytes())), Credential::Token(found) if found == token.as_bytes())
    {
        return Err(Refused::Value(1, "the file holds no bearer token".into()));
    }
    put(&mut conf.client_bearer, Secret::new(token))
});

setter!(set_ssl_certificate, |conf, directive| {
    let pem = read_text(directive)?;
    put(&mut conf.ssl_certificate, directive.set(pem.expose().into()))
});

setter!(set_ssl_certificate_key, |conf, directive| {
    let pem = read_text(directive)?;
    put(&mut conf.ssl_certificate_key, directive.set(pem))
});

/// The content of the file that a directive names.
fn read_text(directive: &Directive<'_>) -> Result<Secret, Refused> {
    // SAFETY: `cf` is NGINX's.
    let content = unsafe { files::read_file(directive.cf, directive.value(), MAX_SECRET) };
    let content = zeroize::Zeroizing::new(content.map_err(|error| Refused::Value(1, format!("the file {error}")))?);
    let text = std::str::from_utf8(&content).map_err(|_| Refused::Value(1, "the file is not UTF-8".into()))?;
    Ok(Secret::new(text.to_owned()))
}

/// The same without one trailing newline.
fn read_line(directive: &Directive<'_>) -> Result<String, Refused> {
    let text = read_text(directive)?;
    let text = text.expose();
    let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() {
        return Err(Refused::Value(1, "the file is empty".into()));
    }
    Ok(line.to_owned())
}

fn put_secret(
    conf: &mut LocationConf,
    directive: &Directive<'_>,
    secret: String,
    other: &'static str,
) -> Result<(), Refused> {
    let name = directive.arguments[0];
    match &conf.client_secret {
        Some((earlier, _)) if earlier == name => Err(Refused::Duplicate),
        Some(_) => Err(Refused::Beside(other)),
        None => {
            conf.client_secret = Some((name.to_owned(), directive.set(Secret::new(secret))));
            Ok(())
        }
    }
}

setter!(set_accept, |conf, directive| {
    let accept = directive.value();
    // RFC 9110 §5.5: field-value, here without obs-text
    if accept.is_empty() || !accept.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) || accept.trim() != accept {
        return Err(Refused::Value(1, "it is no value of an \"Accept\" header".into()));
    }
    put(&mut conf.accept, accept.to_owned())
});

setter!(set_jwt_member, |conf, directive| { put(&mut conf.jwt_members, directive.list()?) });

setter!(set_ssl_trusted_certificate, |conf, directive| {
    let path = directive.value();
    // SAFETY: `cf` is NGINX's.
    let pem = unsafe { files::read_file(directive.cf, path, MAX_CERTIFICATES) };
    let pem = pem.map_err(|error| Refused::Value(1, format!("the file {error}")))?;
    let certificate = TrustedCertificate::new(path.to_owned(), pem);
    crate::tls::check_trusted_certificate(&certificate).map_err(|error| Refused::Value(1, error))?;
    put(&mut conf.ssl_trusted_certificate, certificate)
});

setter!(set_ssl_name, |conf, directive| {
    let name = directive.value();
    crate::tls::check_server_name(name).map_err(|error| Refused::Value(1, error))?;
    put(&mut conf.ssl_name, name.to_owned())
});

setter!(set_realm, |conf, directive| {
    let realm = directive.value();
    Challenge::new(Parameters { realm, ..Parameters::default() })
        .map_err(|error| Refused::Value(1, error.to_string()))?;
    put(&mut conf.realm, realm.to_owned())
});

setter!(set_scopes, |conf, directive| {
    let scopes = directive.value();
    check_scope(directive, 1)?;
    put(&mut conf.scopes, scopes.to_owned())
});

setter!(set_scope, |conf, directive| {
    for (i, scope) in directive.arguments.iter().enumerate().skip(1) {
        if scope.contains(' ') {
            return Err(Refused::Value(i, "it is more than one scope; use \"phantom_token_scopes\"".into()));
        }
        check_scope(directive, i)?;
        conf.scope.push((*scope).to_owned());
    }
    Ok(())
});

/// Whether the n-th argument can be `scope` in a challenge.
fn check_scope(directive: &Directive<'_>, n: usize) -> Result<(), Refused> {
    let parameters = Parameters { scope: Some(directive.arguments[n]), ..Parameters::default() };
    Challenge::new(parameters).map(drop).map_err(|error| Refused::Value(n, error.to_string()))
}

setter!(set_require_scopes, |conf, directive| {
    for (i, scope) in directive.arguments.iter().enumerate().skip(1) {
        if scope.contains(' ') {
            return Err(Refused::Value(i, "it is more than one scope; make each an argument".into()));
        }
        check_scope(directive, i)?;
    }
    put(&mut conf.require_scopes, directive.list()?)
});

setter!(set_require_audience, |conf, directive| { put(&mut conf.require_audience, directive.list()?) });

setter!(set_require_issuer, |conf, directive| { put(&mut conf.require_issuer, directive.list()?) });

setter!(set_source, |conf, directive| {
    let mut sources = Vec::new();
    for (i, argument) in directive.arguments.iter().enumerate().skip(1) {
        let source = Source::parse(argument).map_err(|error| Refused::Value(i, error.into()))?;
        if sources.contains(&source) {
            return Err(Refused::Value(i, "it is named twice".into()));
        }
        sources.push(source);
    }
    put(&mut conf.sources, sources)
});

setter!(set_resource_metadata, |conf, directive| {
    let text = directive.value();
    let is_url = url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if !is_url || text.bytes().any(|b| !b.is_ascii_graphic() || b"\"\\".contains(&b)) {
        return Err(Refused::Value(1, "it is no \"http://\" or \"https://\" URL".into()));
    }
    put(&mut conf.resource_metadata, text.to_owned())
});

setter!(set_introspection_jwt, |conf, directive| {
    let treatment = match directive.value() {
        "reject" => IntrospectionJwt::Reject,
        "forward" => IntrospectionJwt::Forward,
        _ => return Err(Refused::Value(1, "it is neither \"reject\" nor \"forward\"".into())),
    };
    put(&mut conf.introspection_jwt, treatment)
});

setter!(set_preflight, |conf, directive| {
    let preflight = match directive.value() {
        "no_content" => Preflight::NoContent,
        "forward" => Preflight::Forward,
        "authenticate" => Preflight::Authenticate,
        _ => return Err(Refused::Value(1, "it is none of \"no_content\", \"forward\" and \"authenticate\"".into())),
    };
    put(&mut conf.preflight, preflight)
});

unsafe extern "C" fn set_cache_size(cf: *mut ngx_conf_t, cmd: *mut ngx_command_t, conf: *mut c_void) -> *mut c_char {
    // SAFETY: called as NGINX calls it.
    let result = unsafe { ngx::ngx_conf_set_size_slot(cf, cmd, conf) };
    // SAFETY: the command table says that this directive belongs to the main configuration.
    if result == OK && unsafe { (*conf.cast::<MainConf>()).cache_size } < MIN_CACHE_SIZE {
        let least = MIN_CACHE_SIZE >> 10;
        // SAFETY: `cf` is NGINX's.
        return unsafe { refuse_number(cf, format_args!("it is less than {least}k")) };
    }
    result
}

/// Refuses a time of zero, which would let nothing succeed.
unsafe extern "C" fn positive_time(cf: *mut ngx_conf_t, _post: *mut c_void, value: *mut c_void) -> *mut c_char {
    // SAFETY: NGINX passes the place of the time it has just parsed.
    if unsafe { *value.cast::<ngx_msec_t>() } == 0 {
        // SAFETY: `cf` is NGINX's.
        return unsafe { refuse_number(cf, format_args!("it must be greater than 0")) };
    }
    OK
}

/// Refuses a number outside the bounds of its directive.
unsafe extern "C" fn within_bounds(cf: *mut ngx_conf_t, post: *mut c_void, value: *mut c_void) -> *mut c_char {
    // SAFETY: the command table puts this handler into `Bounds` only.
    let Bounds { low, high, .. } = unsafe { &*post.cast::<Bounds>() };
    // SAFETY: NGINX passes the place of the number it has just parsed.
    if !(*low..=*high).contains(&unsafe { *value.cast::<isize>() }) {
        // SAFETY: `cf` is NGINX's.
        return unsafe { refuse_number(cf, format_args!("it must be between {low} and {high}")) };
    }
    OK
}

/// Refuses the first argument of the directive being read, which one of NGINX's own slots has parsed.
unsafe fn refuse_number(cf: *mut ngx_conf_t, why: std::fmt::Arguments<'_>) -> *mut c_char {
    // SAFETY: NGINX passes the directive's words as an array of strings.
    let words = unsafe { (*(*cf).args).as_slice::<ngx_str_t>() };
    let [name, value, ..] = words else { return FAILED };
    let (name, value) = (String::from_utf8_lossy(name.as_bytes()), String::from_utf8_lossy(value.as_bytes()));
    // SAFETY: `cf` is NGINX's.
    unsafe { conf_error(Level::Emerg, cf, format_args!("invalid value \"{value}\" in \"{name}\" directive: {why}")) };
    FAILED
}

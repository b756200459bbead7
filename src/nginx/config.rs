//! What do the directives of a location, and of those around it, amount to?
//!
//! NGINX keeps a [`LocationConf`] for every block and merges them from the outside in. A merged location that is on gets
//! [`LocationSettings`], which is all that requests read. Profiles and clients are interned: ten thousand locations of
//! one authorization server share one of each.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ::ngx::ffi as ngx;
use ngx::{ngx_array_t, ngx_flag_t, ngx_http_complex_value_t, ngx_int_t, ngx_msec_t};

use crate::challenge::{Challenge, Parameters};
use crate::claims::List;
use crate::client;
use crate::exchange::{Bounds, Policy};
use crate::key::{KeyMaker, Seed};
use crate::requirements::Requirements;
use crate::settings::{
    ClientAuthMethod, ClientKey, ClientSettings, Endpoint, EndpointLocation, IntrospectionJwt, Profile, Secret,
    TrustedCertificate,
};
use crate::source::Source;

use super::bindings;
use super::log::Log;

/// A value and the place in the configuration that it came from.
#[derive(Debug, Clone)]
pub struct Set<T> {
    /// The value.
    pub value: T,
    /// `FILE:LINE`
    pub place: String,
}

/// What one block says. Fields of NGINX's own types are filled by its own slots.
pub struct LocationConf {
    pub(super) enable: ngx_flag_t,
    pub(super) enable_place: Option<String>,
    pub(super) endpoint: Option<Set<Endpoint>>,
    pub(super) client_id: Option<Set<String>>,
    pub(super) client_secret: Option<(String, Set<Secret>)>,
    pub(super) client_auth: Option<Set<ClientAuthMethod>>,
    pub(super) client_key: Option<ClientKey>,
    pub(super) client_bearer: Option<Secret>,
    pub(super) accept: Option<String>,
    pub(super) jwt_members: Option<Vec<String>>,
    pub(super) connect_timeout: ngx_msec_t,
    pub(super) timeout: ngx_msec_t,
    pub(super) keepalive: ngx_int_t,
    pub(super) max_pending: ngx_int_t,
    pub(super) ssl_verify: ngx_flag_t,
    pub(super) ssl_trusted_certificate: Option<TrustedCertificate>,
    pub(super) ssl_name: Option<String>,
    pub(super) ssl_certificate: Option<Set<Arc<str>>>,
    pub(super) ssl_certificate_key: Option<Set<Secret>>,
    pub(super) cache: ngx_flag_t,
    pub(super) cache_place: Option<String>,
    pub(super) cache_max_ttl: ngx_msec_t,
    pub(super) cache_inactive_ttl: ngx_msec_t,
    pub(super) stale_if_error: ngx_msec_t,
    pub(super) ignore_cache_control: ngx_flag_t,
    pub(super) cache_key: *mut ngx_http_complex_value_t,
    pub(super) cache_bypass: *mut ngx_array_t,
    pub(super) realm: Option<String>,
    pub(super) scopes: Option<String>,
    pub(super) scope: Vec<String>,
    pub(super) preflight: Option<Preflight>,
    pub(super) introspection_jwt: Option<IntrospectionJwt>,
    pub(super) require_scopes: Option<Vec<String>>,
    pub(super) require_audience: Option<Vec<String>>,
    pub(super) require_issuer: Option<Vec<String>>,
    pub(super) sources: Option<Vec<Source>>,
    pub(super) resource_metadata: Option<String>,
    /// It has what the block around it says, too.
    pub(super) merged: bool,
    pub(super) settings: Option<LocationSettings>,
}

pub(super) const UNSET: isize = ngx::NGX_CONF_UNSET as isize;
const UNSET_SIZE: usize = bindings::NGX_CONF_UNSET_SIZE as usize;
pub(super) const UNSET_MSEC: ngx_msec_t = bindings::NGX_CONF_UNSET_MSEC as ngx_msec_t;

fn unset_ptr<T>() -> *mut T {
    std::ptr::without_provenance_mut(bindings::NGX_CONF_UNSET_PTR as usize)
}

/// `phantom_token_preflight`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preflight {
    /// Answered with 204.
    NoContent,
    /// Left to the other access rules, and to the API.
    Forward,
    /// Treated like any request.
    Authenticate,
}

/// A profile, and what is derived from it once.
pub struct ProfileHandle {
    /// The profile.
    pub profile: Arc<Profile>,
    /// Makes its cache keys.
    pub keys: KeyMaker,
    /// Its bounds on lifetimes.
    pub bounds: Bounds,
    /// This process has said that the endpoint's headers forbid caching.
    pub noticed: AtomicBool,
}

/// Who carries the question to the profile's endpoint.
#[derive(Clone)]
pub enum Carrier {
    /// The introspection thread, with this client.
    Client(Arc<ClientSettings>),
    /// A subrequest to this location.
    Subrequest(Arc<EndpointLocation>),
}

/// What a protected location amounts to.
pub struct LocationSettings {
    /// What an answer is worth here.
    pub profile: Arc<ProfileHandle>,
    /// How the endpoint is asked.
    pub carrier: Carrier,
    /// `phantom_token_cache_key`; null for the empty one.
    pub cache_key: *mut ngx_http_complex_value_t,
    /// `phantom_token_cache_bypass`; null where there is none.
    pub cache_bypass: *mut ngx_array_t,
    /// Where the token may be; `None` for `Authorization` alone.
    pub sources: Option<Vec<Source>>,
    /// What an active token must have here.
    pub requirements: Requirements,
    /// Cache, deadline and limit of this location.
    pub policy: Policy,
    /// `phantom_token_stale_if_error`, milliseconds.
    pub stale_if_error: u64,
    /// What a refused client is told.
    pub challenge: Challenge,
    /// Treatment of CORS preflights.
    pub preflight: Preflight,
}

/// The module's part of the `http` block.
pub struct MainConf {
    pub(super) cache_size: usize,
    /// Key of all keyed hashes.
    pub seed: Seed,
    /// Indices of the variables that show headers which the module changes.
    pub shows_token: Vec<usize>,
    /// Sources that are configured somewhere.
    pub(super) sources: HashSet<Source>,
    /// The longest `phantom_token_stale_if_error` of any protected location, milliseconds.
    pub longest_stale: u64,
    /// Claims that protected locations require something of.
    pub required_claims: &'static [List],
    profiles: HashMap<Arc<Profile>, Arc<ProfileHandle>>,
    clients: HashMap<Arc<ClientSettings>, Arc<ClientSettings>>,
    /// What has been warned of, and where.
    pub(super) warned: HashSet<(&'static str, String)>,
}

const DEFAULT_CACHE_SIZE: usize = 16 << 20;

/// The least that a cache of any use takes: an eighth of it still holds refusals, the rest a few large JWTs.
pub const MIN_CACHE_SIZE: usize = 256 << 10;

impl MainConf {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            cache_size: UNSET_SIZE,
            seed,
            shows_token: Vec::new(),
            sources: HashSet::new(),
            longest_stale: 0,
            required_claims: &[],
            profiles: HashMap::new(),
            clients: HashMap::new(),
            warned: HashSet::new(),
        }
    }

    /// `phantom_token_cache_size`, bytes.
    pub fn cache_size(&self) -> usize {
        if self.cache_size == UNSET_SIZE { DEFAULT_CACHE_SIZE } else { self.cache_size }
    }

    /// Whether any location is protected.
    pub fn is_used(&self) -> bool {
        !self.profiles.is_empty()
    }

    /// Whether any of them has an endpoint that the introspection thread asks.
    pub fn needs_client(&self) -> bool {
        !self.clients.is_empty()
    }

    pub(super) fn profile(&mut self, profile: Profile) -> Arc<ProfileHandle> {
        if let Some(known) = self.profiles.get(&profile) {
            return Arc::clone(known);
        }
        let profile = Arc::new(profile);
        let handle = Arc::new(ProfileHandle {
            keys: KeyMaker::new(&self.seed, &profile),
            bounds: Bounds { max_ttl: profile.max_ttl, inactive_ttl: profile.inactive_ttl },
            noticed: AtomicBool::new(false),
            profile: Arc::clone(&profile),
        });
        self.profiles.insert(profile, Arc::clone(&handle));
        handle
    }

    pub(super) fn client(&mut self, settings: ClientSettings) -> Result<Arc<ClientSettings>, String> {
        if let Some(known) = self.clients.get(&settings) {
            return Ok(Arc::clone(known));
        }
        client::check(&settings)?;
        let client = Arc::new(settings);
        self.clients.insert(Arc::clone(&client), Arc::clone(&client));
        Ok(client)
    }
}

impl LocationConf {
    pub(super) fn new() -> Self {
        Self {
            enable: UNSET,
            enable_place: None,
            endpoint: None,
            client_id: None,
            client_secret: None,
            client_auth: None,
            client_key: None,
            client_bearer: None,
            accept: None,
            jwt_members: None,
            connect_timeout: UNSET_MSEC,
            timeout: UNSET_MSEC,
            keepalive: UNSET,
            max_pending: UNSET,
            ssl_verify: UNSET,
            ssl_trusted_certificate: None,
            ssl_name: None,
            ssl_certificate: None,
            ssl_certificate_key: None,
            cache: UNSET,
            cache_place: None,
            cache_max_ttl: UNSET_MSEC,
            cache_inactive_ttl: UNSET_MSEC,
            stale_if_error: UNSET_MSEC,
            ignore_cache_control: UNSET,
            cache_key: unset_ptr(),
            cache_bypass: unset_ptr(),
            realm: None,
            scopes: None,
            scope: Vec::new(),
            preflight: None,
            introspection_jwt: None,
            require_scopes: None,
            require_audience: None,
            require_issuer: None,
            sources: None,
            resource_metadata: None,
            merged: false,
            settings: None,
        }
    }

    /// Takes from the block around what this one leaves open.
    pub(super) fn inherit(&mut self, outer: &Self) {
        fn slot<T: Copy + PartialEq>(inner: &mut T, outer: T, unset: T, default: T) {
            if *inner == unset {
                *inner = if outer == unset { default } else { outer };
            }
        }
        fn option<T: Clone>(inner: &mut Option<T>, outer: &Option<T>) {
            if inner.is_none() {
                inner.clone_from(outer);
            }
        }
        slot(&mut self.enable, outer.enable, UNSET, 0);
        option(&mut self.enable_place, &outer.enable_place);
        option(&mut self.endpoint, &outer.endpoint);
        option(&mut self.client_id, &outer.client_id);
        option(&mut self.client_secret, &outer.client_secret);
        option(&mut self.client_auth, &outer.client_auth);
        option(&mut self.client_key, &outer.client_key);
        option(&mut self.client_bearer, &outer.client_bearer);
        option(&mut self.accept, &outer.accept);
        option(&mut self.jwt_members, &outer.jwt_members);
        slot(&mut self.connect_timeout, outer.connect_timeout, UNSET_MSEC, 2_000);
        slot(&mut self.timeout, outer.timeout, UNSET_MSEC, 5_000);
        slot(&mut self.keepalive, outer.keepalive, UNSET, 32);
        slot(&mut self.max_pending, outer.max_pending, UNSET, 1024);
        slot(&mut self.ssl_verify, outer.ssl_verify, UNSET, 1);
        option(&mut self.ssl_trusted_certificate, &outer.ssl_trusted_certificate);
        option(&mut self.ssl_name, &outer.ssl_name);
        option(&mut self.ssl_certificate, &outer.ssl_certificate);
        option(&mut self.ssl_certificate_key, &outer.ssl_certificate_key);
        slot(&mut self.cache, outer.cache, UNSET, 1);
        option(&mut self.cache_place, &outer.cache_place);
        slot(&mut self.cache_max_ttl, outer.cache_max_ttl, UNSET_MSEC, 60_000);
        slot(&mut self.cache_inactive_ttl, outer.cache_inactive_ttl, UNSET_MSEC, 5_000);
        slot(&mut self.stale_if_error, outer.stale_if_error, UNSET_MSEC, 0);
        slot(&mut self.ignore_cache_control, outer.ignore_cache_control, UNSET, 0);
        slot(&mut self.cache_key, outer.cache_key, unset_ptr(), std::ptr::null_mut());
        slot(&mut self.cache_bypass, outer.cache_bypass, unset_ptr(), std::ptr::null_mut());
        option(&mut self.realm, &outer.realm);
        // The two spellings of the challenge's scope are one setting: a block that uses either overrides both.
        if self.scopes.is_none() && self.scope.is_empty() {
            self.scopes.clone_from(&outer.scopes);
            self.scope.clone_from(&outer.scope);
        }
        option(&mut self.preflight, &outer.preflight);
        option(&mut self.introspection_jwt, &outer.introspection_jwt);
        option(&mut self.require_scopes, &outer.require_scopes);
        option(&mut self.require_audience, &outer.require_audience);
        option(&mut self.require_issuer, &outer.require_issuer);
        option(&mut self.sources, &outer.sources);
        option(&mut self.resource_metadata, &outer.resource_metadata);
        self.merged = true;
    }

    /// The place of a `phantom_token on` of this block's own.
    pub(super) fn own_on(&self) -> Option<&str> {
        if self.merged || self.enable != 1 { None } else { self.enable_place.as_deref() }
    }

    /// What a merged block that is on amounts to, in the server block of this name; the error is a sentence about the
    /// configuration.
    pub(super) fn settings(&self, main: &mut MainConf, server: usize, log: Log) -> Result<LocationSettings, String> {
        let on = self.enable_place.as_deref().unwrap_or("an included file");
        let Some(endpoint) = &self.endpoint else {
            return Err(format!(
                "\"phantom_token on\" in {on} applies to a location with no \"phantom_token_introspection_endpoint\""
            ));
        };
        let (profile, carrier) = match &endpoint.value {
            Endpoint::Url(url) => self.asked_by_client(main, url, &endpoint.place, log)?,
            Endpoint::Location(location) => self.asked_by_subrequest(main, location.in_server(server), endpoint, log),
        };
        main.longest_stale = main.longest_stale.max(self.stale_if_error as u64);
        main.sources.extend(self.sources.iter().flatten().cloned());
        let requirements = Requirements {
            scopes: self.require_scopes.clone().unwrap_or_default(),
            audiences: self.require_audience.clone().unwrap_or_default(),
            issuers: self.require_issuer.clone().unwrap_or_default(),
        };
        if !requirements.is_empty() {
            main.required_claims = Requirements::CLAIMS;
        }
        let required_scope = self.require_scopes.as_ref().map(|scopes| scopes.join(" "));
        let scope = match &self.scopes {
            Some(scopes) => Some(scopes.clone()),
            None if self.scope.is_empty() => required_scope.clone(),
            None => Some(self.scope.join(" ")),
        };
        let challenge = Challenge::new(Parameters {
            realm: self.realm.as_deref().unwrap_or("api"),
            scope: scope.as_deref(),
            required_scope: required_scope.as_deref(),
            resource_metadata: self.resource_metadata.as_deref(),
        })
        .map_err(|error| format!("the challenge of \"phantom_token on\" in {on} is invalid: {error}"))?;
        Ok(LocationSettings {
            profile,
            carrier,
            cache_key: self.cache_key,
            cache_bypass: self.cache_bypass,
            sources: self.sources.clone().filter(|sources| *sources != [Source::Authorization]),
            requirements,
            policy: Policy {
                cache: self.cache != 0,
                bypass: false,
                timeout: self.timeout as u64,
                max_pending: self.max_pending as usize,
            },
            stale_if_error: self.stale_if_error as u64,
            challenge,
            preflight: self.preflight.unwrap_or(Preflight::NoContent),
        })
    }
}

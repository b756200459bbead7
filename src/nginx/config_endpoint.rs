//! Whom does a location ask, over what, and as whom?
//!
//! The part of a location's configuration that concerns the endpoint: an authorization server by the module's own client, with
//! TLS and credentials, or a location of NGINX, which has all that itself.

use std::sync::Arc;
use std::time::Duration;

use crate::settings::{
    ClientAuth, ClientAuthMethod, ClientPassword, ClientSettings, Endpoint, EndpointLocation, EndpointUrl, Identity,
    IntrospectionJwt, Profile, Tls,
};

use super::config::{Carrier, LocationConf, MainConf, ProfileHandle, Set, UNSET, UNSET_MSEC};
use super::log::{Level, Log};

impl LocationConf {
    /// The connection to an endpoint that is a location is that location's business: what one block says of both
    /// cannot be meant.
    pub(super) fn check_location_endpoint(&self) -> Result<(), String> {
        if self.merged {
            return Ok(());
        }
        let Some(Set { value: Endpoint::Location(location), place }) = &self.endpoint else { return Ok(()) };
        let secret = self.client_secret.as_ref().map_or("phantom_token_client_secret", |(name, _)| name);
        let of_client = [
            (self.client_id.is_some(), "phantom_token_client_id"),
            (self.client_secret.is_some(), secret),
            (self.client_auth.is_some(), "phantom_token_client_auth"),
            (self.client_key.is_some(), "phantom_token_client_key"),
            (self.client_bearer.is_some(), "phantom_token_client_bearer_file"),
            (self.connect_timeout != UNSET_MSEC, "phantom_token_connect_timeout"),
            (self.keepalive != UNSET, "phantom_token_keepalive"),
            (self.ssl_verify != UNSET, "phantom_token_ssl_verify"),
            (self.ssl_trusted_certificate.is_some(), "phantom_token_ssl_trusted_certificate"),
            (self.ssl_name.is_some(), "phantom_token_ssl_name"),
            (self.ssl_certificate.is_some(), "phantom_token_ssl_certificate"),
            (self.ssl_certificate_key.is_some(), "phantom_token_ssl_certificate_key"),
        ];
        match of_client.into_iter().find(|(is_set, _)| *is_set) {
            Some((_, name)) => Err(format!(
                "\"{name}\" has no effect beside \"phantom_token_introspection_endpoint\" \"{}\" in {place}: that \
                 is a location, which has \"proxy_set_header\", \"proxy_ssl_verify\" and their like for it",
                location.uri
            )),
            None => Ok(()),
        }
    }

    /// An endpoint that the module's own client asks.
    pub(super) fn asked_by_client(
        &self,
        main: &mut MainConf,
        url: &EndpointUrl,
        place: &str,
        log: Log,
    ) -> Result<(Arc<ProfileHandle>, Carrier), String> {
        let client_auth = self.client_auth(url)?;
        let tls = Tls {
            verify: self.ssl_verify != 0,
            trusted_certificate: self.ssl_trusted_certificate.clone(),
            server_name: self.ssl_name.clone(),
            identity: self.identity()?,
        };
        let unauthenticated = matches!(client_auth, ClientAuth::None) && self.client_auth.is_none();
        let profile = main.profile(self.profile(Endpoint::Url(url.clone()), client_auth, tls.clone()));
        let named = format!("\"phantom_token_introspection_endpoint\" \"{}\" in {place}", url.for_log());
        if main.warned.insert(("endpoint", place.to_owned())) {
            if url.is_plain_remote() {
                log.write(
                    Level::Warn,
                    format_args!("{named} sends tokens and credentials unencrypted over the network; use https"),
                );
            }
            if unauthenticated {
                log.write(
                    Level::Warn,
                    format_args!(
                        "{named} is asked without client credentials; set \"phantom_token_client_id\" and \
                         \"phantom_token_client_secret_file\", or \"phantom_token_client_auth none\""
                    ),
                );
            }
        }
        if let (0, Some(off), false) = (self.cache, &self.cache_place, url.is_loopback()) {
            if main.warned.insert(("cache", off.clone())) {
                log.write(
                    Level::Warn,
                    format_args!(
                        "\"phantom_token_cache off\" in {off} has \"{}\" asked for every request; to make some requests \
                         see a revocation at once, use \"phantom_token_cache_bypass\" for them",
                        url.for_log()
                    ),
                );
            }
        }
        let client = main.client(ClientSettings {
            endpoint: url.clone(),
            tls,
            connect_timeout: Duration::from_millis(self.connect_timeout as u64),
            keepalive: self.keepalive as usize,
        });
        Ok((profile, Carrier::Client(client.map_err(|error| format!("{named}: {error}"))?)))
    }

    /// An endpoint that is a location of NGINX: what concerns the client is that location's.
    pub(super) fn asked_by_subrequest(
        &self,
        main: &mut MainConf,
        location: EndpointLocation,
        endpoint: &Set<Endpoint>,
        log: Log,
    ) -> (Arc<ProfileHandle>, Carrier) {
        if location.looks_like_host() && main.warned.insert(("endpoint", endpoint.place.clone())) {
            log.write(
                Level::Warn,
                format_args!(
                    "\"phantom_token_introspection_endpoint\" \"{}\" in {} is taken for the URI of a location; if it \
                     is a host, begin it with \"https://\"",
                    location.uri, endpoint.place
                ),
            );
        }
        let carrier = Carrier::Subrequest(Arc::new(location.clone()));
        (main.profile(self.profile(Endpoint::Location(location), ClientAuth::None, Tls::new())), carrier)
    }

    fn client_auth(&self, url: &EndpointUrl) -> Result<ClientAuth, String> {
        let Some(Set { value: method, place }) = &self.client_auth else { return self.default_client_auth() };
        let needs = |directives: &str| {
            format!("\"phantom_token_client_auth {}\" in {place} needs {directives}", method.as_str())
        };
        let client_id = self.client_id.as_ref().map(|id| id.value.clone());
        let password = || match (&client_id, &self.client_secret) {
            (Some(client_id), Some((_, secret))) => {
                Ok(ClientPassword { client_id: client_id.clone(), client_secret: secret.value.clone() })
            }
            _ => Err(needs(
                "\"phantom_token_client_id\" and \"phantom_token_client_secret\" or \"phantom_token_client_secret_file\"",
            )),
        };
        match method {
            ClientAuthMethod::None => Ok(ClientAuth::None),
            ClientAuthMethod::ClientSecretBasic => password().map(ClientAuth::ClientSecretBasic),
            ClientAuthMethod::ClientSecretBasicRaw => password().map(ClientAuth::ClientSecretBasicRaw),
            ClientAuthMethod::ClientSecretPost => password().map(ClientAuth::ClientSecretPost),
            ClientAuthMethod::PrivateKeyJwt => match (client_id, self.client_key.clone()) {
                (Some(client_id), Some(key)) => Ok(ClientAuth::PrivateKeyJwt { client_id, key }),
                _ => Err(needs("\"phantom_token_client_id\" and \"phantom_token_client_key\"")),
            },
            ClientAuthMethod::TlsClientAuth => match (client_id, &self.ssl_certificate) {
                (Some(client_id), Some(_)) if url.url().scheme() == "https" => {
                    Ok(ClientAuth::TlsClientAuth { client_id })
                }
                _ => Err(needs(
                    "\"phantom_token_client_id\", \"phantom_token_ssl_certificate\" and an endpoint with \"https://\"",
                )),
            },
            ClientAuthMethod::Bearer => match self.client_bearer.clone() {
                Some(token) => Ok(ClientAuth::Bearer(token)),
                None => Err(needs("\"phantom_token_client_bearer_file\"")),
            },
        }
    }

    /// Without `phantom_token_client_auth`: `client_secret_basic` with an id.
    fn default_client_auth(&self) -> Result<ClientAuth, String> {
        match (&self.client_id, &self.client_secret) {
            (Some(id), Some((_, secret))) => Ok(ClientAuth::ClientSecretBasic(ClientPassword {
                client_id: id.value.clone(),
                client_secret: secret.value.clone(),
            })),
            (None, None) => Ok(ClientAuth::None),
            (Some(id), None) => Err(format!(
                "\"phantom_token_client_id\" \"{}\" in {} needs \"phantom_token_client_secret\" or \
                 \"phantom_token_client_secret_file\", or another \"phantom_token_client_auth\"",
                id.value, id.place
            )),
            (None, Some((directive, secret))) => {
                Err(format!("\"{directive}\" in {} needs \"phantom_token_client_id\"", secret.place))
            }
        }
    }

    fn identity(&self) -> Result<Option<Identity>, String> {
        match (&self.ssl_certificate, &self.ssl_certificate_key) {
            (Some(certificate), Some(key)) => {
                Ok(Some(Identity { certificate: Arc::clone(&certificate.value), key: key.value.clone() }))
            }
            (None, None) => Ok(None),
            (Some(certificate), None) => Err(format!(
                "\"phantom_token_ssl_certificate\" in {} needs \"phantom_token_ssl_certificate_key\"",
                certificate.place
            )),
            (None, Some(key)) => Err(format!(
                "\"phantom_token_ssl_certificate_key\" in {} needs \"phantom_token_ssl_certificate\"",
                key.place
            )),
        }
    }

    fn profile(&self, endpoint: Endpoint, client_auth: ClientAuth, tls: Tls) -> Profile {
        Profile {
            endpoint,
            client_auth,
            accept: self.accept.clone().unwrap_or_else(|| "application/jwt".into()),
            jwt_members: self.jwt_members.clone().unwrap_or_else(|| vec!["phantom_token".into(), "jwt".into()]),
            introspection_jwt: self.introspection_jwt.unwrap_or(IntrospectionJwt::Reject),
            tls,
            ignore_cache_control: self.ignore_cache_control != 0,
            max_ttl: Duration::from_millis(self.cache_max_ttl as u64),
            inactive_ttl: Duration::from_millis(self.cache_inactive_ttl as u64),
        }
    }
}

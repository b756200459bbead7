//! Whom does the client trust, and under which name?
//!
//! RFC 8446 and RFC 5246 by rustls, RFC 9525 for names.

#![forbid(unsafe_code)]

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::settings::{ClientSettings, Identity, TrustedCertificate};

/// The system's CA certificates as last read. [`check`] reads them in the master process, whose environment and
/// permissions the workers lack; they inherit the copy.
static SYSTEM: Mutex<Option<Arc<RootCertStore>>> = Mutex::new(None);

/// Whether a client can be configured from these settings; reads the system's CA certificates anew.
pub(crate) fn check(settings: &ClientSettings) -> Result<(), String> {
    if !is_https(settings) {
        return Ok(());
    }
    let host = settings.endpoint.url().host_str().unwrap_or_default();
    if ServerName::try_from(host.trim_matches(['[', ']'])).is_err() {
        return Err(format!("host \"{host}\" is not a name a certificate can be issued for"));
    }
    other_name(settings)?;
    if let Some(identity) = &settings.tls.identity {
        check_identity(identity)?;
    }
    match &settings.tls.trusted_certificate {
        Some(trusted) => roots_of(trusted).map(drop),
        None if settings.tls.verify => {
            let roots = load_system()?;
            *SYSTEM.lock() = Some(roots);
            Ok(())
        }
        None => Ok(()),
    }
}

/// Whether a file of CA certificates is one.
pub fn check_trusted_certificate(trusted: &TrustedCertificate) -> Result<(), String> {
    roots_of(trusted).map(drop)
}

/// Whether a certificate can be issued for a name that SNI can carry (RFC 6066 §3: no literal addresses).
pub fn check_server_name(name: &str) -> Result<(), String> {
    DnsName::try_from(name).map(drop).map_err(|_| "it is not a DNS name".to_owned())
}

/// The name for SNI and verification, if it is another than the URL's host.
pub(crate) fn other_name(settings: &ClientSettings) -> Result<Option<&str>, String> {
    let Some(name) = settings.tls.server_name.as_deref().filter(|_| is_https(settings)) else {
        return Ok(None);
    };
    let host = settings.endpoint.url().host_str().unwrap_or_default();
    if name.eq_ignore_ascii_case(host.trim_matches(['[', ']'])) {
        return Ok(None);
    }
    // RFC 6066 §3: literal addresses are not permitted in SNI
    match DnsName::try_from(name) {
        Ok(_) => Ok(Some(name)),
        Err(_) => Err(format!("invalid server name \"{name}\"")),
    }
}

/// The TLS configuration of one client. `http2`: whether HTTP/2 is offered.
pub(crate) fn config(settings: &ClientSettings, http2: bool) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| e.to_string())?;
    let builder = if !is_https(settings) {
        builder.with_root_certificates(RootCertStore::empty())
    } else if settings.tls.verify {
        let roots = match &settings.tls.trusted_certificate {
            Some(trusted) => Arc::new(roots_of(trusted)?),
            None => system()?,
        };
        builder.with_root_certificates(roots)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    };
    let mut config = match &settings.tls.identity {
        Some(identity) => {
            let (chain, key) = identity_of(identity)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| unusable(&error))?
        }
        None => builder.with_no_client_auth(),
    };
    // RFC 7301 §6, RFC 9113 §3.2
    config.alpn_protocols = if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    Ok(config)
}

/// Whether certificate and key belong together and can be used.
pub fn check_identity(identity: &Identity) -> Result<(), String> {
    let (chain, key) = identity_of(identity)?;
    let provider = ring::default_provider();
    rustls::sign::CertifiedKey::from_der(chain, key, &provider).map(drop).map_err(|error| unusable(&error))
}

fn unusable(error: &rustls::Error) -> String {
    format!("certificate and key for \"phantom_token_ssl_certificate\" cannot be used: {error}")
}

fn identity_of(identity: &Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect();
    let chain = chain.map_err(|error| format!("cannot read \"phantom_token_ssl_certificate\": {error}"))?;
    if chain.is_empty() {
        return Err("no certificate found in the file of \"phantom_token_ssl_certificate\"".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(identity.key.expose().as_bytes()).map_err(|error| {
        format!("no unencrypted private key found in the file of \"phantom_token_ssl_certificate_key\": {error}")
    })?;
    Ok((chain, key))
}

fn is_https(settings: &ClientSettings) -> bool {
    settings.endpoint.url().scheme() == "https"
}

fn roots_of(trusted: &TrustedCertificate) -> Result<RootCertStore, String> {
    let path = trusted.path();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(trusted.pem()) {
        let certificate = certificate.map_err(|e| format!("cannot read certificate \"{path}\": {e}"))?;
        roots.add(certificate).map_err(|e| format!("cannot use certificate \"{path}\": {e}"))?;
    }
    if roots.is_empty() { Err(format!("no certificate found in \"{path}\"")) } else { Ok(roots) }
}

fn system() -> Result<Arc<RootCertStore>, String> {
    let known = SYSTEM.lock().clone();
    if let Some(roots) = known {
        return Ok(roots);
    }
    let roots = load_system()?;
    *SYSTEM.lock() = Some(Arc::clone(&roots));
    Ok(roots)
}

fn load_system() -> Result<Arc<RootCertStore>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Ok(Arc::new(roots));
    }
    let cause = found.errors.first().map(|e| format!(": {e}")).unwrap_or_default();
    Err(format!(
        "no CA certificate found on this system, and \"phantom_token_ssl_trusted_certificate\" is not set{cause}"
    ))
}

/// Accepts every certificate, but only from a server that holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

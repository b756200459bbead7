//! How does the gateway prove with a key who it is?
//!
//! `private_key_jwt`: a JWT that it signs for each introspection request (RFC 7523 §2.2, §3; RFC 7515).

#![forbid(unsafe_code)]

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::{CryptoProvider, JwkUtils, JwtSigner};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, EncodingKey, Header, signature};
use ring::rand::SystemRandom;
use ring::rsa;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use crate::settings::{ClientKey, SigningAlgorithm};

/// How long an assertion is valid, in seconds: clocks may differ, and it is sent at once.
const LIFETIME: u64 = 60;

/// Makes the assertions of one client for one endpoint.
pub struct Signer {
    key: EncodingKey,
    header: Header,
    client_id: String,
    audience: String,
}

impl Signer {
    /// `endpoint` is the URL that is asked. RFC 7523 §3 leaves it to the two how they name the server; what is signed for
    /// its issuer identifier could be used at all of its endpoints, so that is for the key's settings to say.
    pub fn new(client_id: &str, key: &ClientKey, endpoint: &str) -> Result<Self, String> {
        let algorithm = algorithm(key.algorithm());
        let mut header = Header::new(algorithm);
        header.kid = key.kid().map(str::to_owned);
        Ok(Self {
            key: encoding_key(key.pem(), algorithm)?,
            header,
            client_id: client_id.to_owned(),
            audience: key.audience().unwrap_or(endpoint).to_owned(),
        })
    }

    /// An assertion that is valid from `now` on; each is another, for servers that accept one only once.
    pub fn assertion(&self, now: SystemTime) -> Result<String, String> {
        let now = now.duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?.as_secs();
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| error.to_string())?;
        let claims = json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.audience,
            "jti": URL_SAFE_NO_PAD.encode(id),
            "iat": now,
            "exp": now + LIFETIME,
        });
        // Who comes second finds it installed.
        let _ = RING.install_default();
        jsonwebtoken::encode(&self.header, &claims, &self.key).map_err(|error| error.to_string())
    }
}

/// Which algorithm goes with the key in a PEM file; `wanted` chooses where a key has two. The error is a sentence about
/// the file.
pub fn algorithm_of(pem: &[u8], wanted: Option<SigningAlgorithm>) -> Result<SigningAlgorithm, String> {
    use SigningAlgorithm::{EdDsa, Es256, Ps256, Rs256};
    let found = [Es256, EdDsa, Rs256, Ps256]
        .into_iter()
        .filter(|candidate| wanted.is_none_or(|wanted| wanted == *candidate))
        .find(|candidate| {
            let algorithm = algorithm(*candidate);
            encoding_key(pem, algorithm).is_ok_and(|key| signer(&algorithm, &key).is_ok())
        });
    found.ok_or_else(|| match wanted {
        Some(wanted) => format!("holds no private key for {}", wanted.as_str()),
        None => "holds no unencrypted private key of a kind that is supported: RSA of at least 2048 bits, P-256 or Ed25519, \
                 in PKCS #8 (openssl pkcs8 -topk8 -nocrypt)"
            .to_owned(),
    })
}

fn algorithm(algorithm: SigningAlgorithm) -> Algorithm {
    match algorithm {
        SigningAlgorithm::Es256 => Algorithm::ES256,
        SigningAlgorithm::Rs256 => Algorithm::RS256,
        SigningAlgorithm::Ps256 => Algorithm::PS256,
        SigningAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

/// The file's private key; `signer` finds out whether it is one for the algorithm.
fn encoding_key(pem: &[u8], algorithm: Algorithm) -> Result<EncodingKey, String> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| error.to_string())?;
    let der = key.secret_der();
    Ok(match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_der(der),
        Algorithm::EdDSA => EncodingKey::from_ed_der(der),
        _ => EncodingKey::from_rsa_der(der),
    })
}

/// The signatures are ring's, as those of TLS are.
static RING: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    // Nothing is verified here: that is for the API.
    verifier_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    jwk_utils: JwkUtils::new_unimplemented(),
};

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> jsonwebtoken::errors::Result<Box<dyn JwtSigner>> {
    let der = key.inner();
    let pair = match algorithm {
        Algorithm::ES256 => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &SystemRandom::new());
            KeyPair::Ecdsa(Box::new(pair.map_err(|_| ErrorKind::InvalidEcdsaKey)?))
        }
        Algorithm::EdDSA => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der);
            KeyPair::Ed25519(pair.map_err(|_| ErrorKind::InvalidKeyFormat)?)
        }
        Algorithm::RS256 | Algorithm::PS256 => {
            // PKCS #8, or PKCS #1, which OpenSSL before 3.0 writes
            let pair = rsa::KeyPair::from_pkcs8(der).or_else(|_| rsa::KeyPair::from_der(der));
            KeyPair::Rsa(Box::new(pair.map_err(|error| ErrorKind::InvalidRsaKey(error.to_string()))?))
        }
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    };
    Ok(Box::new(RingSigner { algorithm: *algorithm, pair }))
}

enum KeyPair {
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<rsa::KeyPair>),
}

struct RingSigner {
    algorithm: Algorithm,
    pair: KeyPair,
}

impl signature::Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let random = SystemRandom::new();
        match &self.pair {
            KeyPair::Ecdsa(pair) => pair
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| signature::Error::new()),
            KeyPair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            KeyPair::Rsa(pair) => {
                let padding: &dyn ring::signature::RsaEncoding =
                    if self.algorithm == Algorithm::PS256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, message, &mut signature).map_err(|_| signature::Error::new())?;
                Ok(signature)
            }
        }
    }
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests;

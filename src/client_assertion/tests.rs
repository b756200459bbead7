#![allow(clippy::unwrap_used)]

use std::time::Duration;

use ring::signature::{self, KeyPair as _, UnparsedPublicKey, VerificationAlgorithm};
use serde_json::Value;

use super::*;
use crate::settings::Secret;

/// Made for these tests by `openssl genpkey`.
const RSA: &str = include_str!("rsa.pem");
/// The same; rcgen's have a form that OpenSSL does not know.
const ED25519: &str = include_str!("ed25519.pem");
/// As `nginx-conf/oidc-provider.conf` says how to make one.
const P256: &str = include_str!("p256.pem");

fn pem(algorithm: &'static rcgen::SignatureAlgorithm) -> (String, Vec<u8>) {
    let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
    (pair.serialize_pem(), pair.public_key_raw().to_vec())
}

fn rsa_public() -> Vec<u8> {
    let key = encoding_key(RSA.as_bytes(), Algorithm::RS256).unwrap();
    rsa::KeyPair::from_pkcs8(key.inner()).unwrap().public_key().as_ref().to_vec()
}

/// The same key as PKCS #1 has it: without the 26 bytes of PKCS #8 around it.
fn pkcs1() -> String {
    let key = encoding_key(RSA.as_bytes(), Algorithm::RS256).unwrap();
    let base64 = base64::engine::general_purpose::STANDARD.encode(&key.inner()[26..]);
    format!("-----BEGIN RSA PRIVATE KEY-----\n{base64}\n-----END RSA PRIVATE KEY-----\n")
}

fn assertion(pem: &str, algorithm: SigningAlgorithm, kid: Option<&str>, now: u64) -> String {
    assertion_for(None, pem, algorithm, kid, now)
}

fn assertion_for(
    audience: Option<&str>,
    pem: &str,
    algorithm: SigningAlgorithm,
    kid: Option<&str>,
    now: u64,
) -> String {
    let (kid, audience) = (kid.map(str::to_owned), audience.map(str::to_owned));
    let key = ClientKey::new(Secret::new(pem.to_owned()), kid, algorithm, audience);
    let signer = Signer::new("gateway", &key, "https://as.example/introspect").unwrap();
    signer.assertion(UNIX_EPOCH + Duration::from_secs(now)).unwrap()
}

fn part(assertion: &str, n: usize) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(assertion.split('.').nth(n).unwrap()).unwrap()
}

#[test]
fn signed_by_each_kind_of_key() {
    let (p256, p256_public) = pem(&rcgen::PKCS_ECDSA_P256_SHA256);
    let (ed25519, ed25519_public) = pem(&rcgen::PKCS_ED25519);
    let table: [(&str, SigningAlgorithm, &dyn VerificationAlgorithm, Vec<u8>); 5] = [
        (&p256, SigningAlgorithm::Es256, &signature::ECDSA_P256_SHA256_FIXED, p256_public),
        (&ed25519, SigningAlgorithm::EdDsa, &signature::ED25519, ed25519_public),
        (RSA, SigningAlgorithm::Rs256, &signature::RSA_PKCS1_2048_8192_SHA256, rsa_public()),
        (&pkcs1(), SigningAlgorithm::Rs256, &signature::RSA_PKCS1_2048_8192_SHA256, rsa_public()),
        (RSA, SigningAlgorithm::Ps256, &signature::RSA_PSS_2048_8192_SHA256, rsa_public()),
    ];
    for (pem, algorithm, verification, public) in table {
        let name = algorithm.as_str();
        assert_eq!(algorithm_of(pem.as_bytes(), Some(algorithm)), Ok(algorithm), "{name}");
        let assertion = assertion(pem, algorithm, Some("k1"), 1_000);
        let (message, _) = assertion.rsplit_once('.').unwrap();
        UnparsedPublicKey::new(verification, public)
            .verify(message.as_bytes(), &part(&assertion, 2))
            .unwrap_or_else(|_| panic!("{name}: the signature is wrong"));
        let header: Value = serde_json::from_slice(&part(&assertion, 0)).unwrap();
        assert_eq!((&header["alg"], &header["kid"]), (&Value::from(name), &Value::from("k1")));
    }
}

/// RFC 7523 §3
#[test]
fn claims() {
    let (p256, _) = pem(&rcgen::PKCS_ECDSA_P256_SHA256);
    let first = assertion(&p256, SigningAlgorithm::Es256, None, 1_000);
    let claims: Value = serde_json::from_slice(&part(&first, 1)).unwrap();
    for (name, expected) in [
        ("iss", Value::from("gateway")),
        ("sub", "gateway".into()),
        ("aud", "https://as.example/introspect".into()),
        ("iat", 1_000.into()),
        ("exp", 1_060.into()),
    ] {
        assert_eq!(claims[name], expected, "{name}");
    }
    let second = assertion(&p256, SigningAlgorithm::Es256, None, 1_000);
    let other: Value = serde_json::from_slice(&part(&second, 1)).unwrap();
    assert!(claims["jti"].as_str().unwrap().len() >= 20);
    assert_ne!(claims["jti"], other["jti"]);
    let header: Value = serde_json::from_slice(&part(&first, 0)).unwrap();
    assert_eq!(header.get("kid"), None);
    let named = assertion_for(Some("https://as.example"), &p256, SigningAlgorithm::Es256, None, 1_000);
    let claims: Value = serde_json::from_slice(&part(&named, 1)).unwrap();
    assert_eq!(claims["aud"], "https://as.example");
}

#[test]
fn the_algorithm_is_that_of_the_key() {
    let (p256, _) = pem(&rcgen::PKCS_ECDSA_P256_SHA256);
    let (p384, _) = pem(&rcgen::PKCS_ECDSA_P384_SHA384);
    let (ed25519, _) = pem(&rcgen::PKCS_ED25519);
    let found = |pem: &str, wanted| algorithm_of(pem.as_bytes(), wanted).map_err(drop);
    assert_eq!(found(&p256, None), Ok(SigningAlgorithm::Es256));
    assert_eq!(found(P256, None), Ok(SigningAlgorithm::Es256));
    assert_eq!(found(&ed25519, None), Ok(SigningAlgorithm::EdDsa));
    assert_eq!(found(ED25519, None), Ok(SigningAlgorithm::EdDsa));
    assert_eq!(found(RSA, None), Ok(SigningAlgorithm::Rs256));
    assert_eq!(found(RSA, Some(SigningAlgorithm::Ps256)), Ok(SigningAlgorithm::Ps256));
    for (pem, wanted) in [
        (p256.as_str(), Some(SigningAlgorithm::Rs256)),
        (RSA, Some(SigningAlgorithm::Es256)),
        (&p384, None),
        ("", None),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", None),
        (&RSA[..RSA.len() / 2], None),
    ] {
        assert_eq!(found(pem, wanted), Err(()), "{pem:.60}");
    }
}

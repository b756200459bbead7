//! JWTs: signs them (ES256, RFC 7515 compact serialisation), verifies and decodes them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};

/// A P-256 key that signs.
pub struct Signer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    /// A new random key.
    pub fn generate() -> Signer {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("generate a P-256 key");
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("load the generated key");
        Signer { key, random }
    }

    /// Signs `payload`; `typ` is that of the header.
    pub fn sign(&self, typ: &str, payload: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": "test-key", "typ": typ});
        let signed = unsigned(&header, payload);
        let signature = self.key.sign(&self.random, signed.as_bytes());
        let signature = signature.expect("sign with P-256");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Whether the signature of `jwt` is ours.
    pub fn verifies(&self, jwt: &str) -> bool {
        let Some((signed, signature)) = jwt.rsplit_once('.') else {
            return false;
        };
        let public = self.key.public_key().as_ref();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public);
        URL_SAFE_NO_PAD.decode(signature).is_ok_and(|signature| public.verify(signed.as_bytes(), &signature).is_ok())
    }

    /// The public key as a JWK set (RFC 7517).
    pub fn jwks(&self) -> Value {
        // an uncompressed point: 4, x, y
        let point = &self.key.public_key().as_ref()[1..];
        let (x, y) = point.split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "test-key",
            "x": x, "y": y,
        }]})
    }
}

/// `header.payload`, encoded; with a `.` and anything after it, a JWT nobody signed.
pub fn unsigned(header: &Value, payload: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(payload))
}

/// Header and payload of a compact JWS; the signature is not looked at.
pub fn decode(jwt: &str) -> Option<(Value, Value)> {
    let mut parts = jwt.split('.').map(|part| {
        let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
        serde_json::from_slice(&bytes).ok()
    });
    Some((parts.next()??, parts.next()??))
}

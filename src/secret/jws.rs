//! Signed tokens (RFC 7515, RFC 7519) that the host makes with a key of its own. Those of others are
//! read and verified in `identity/jws.rs`; the algorithms are the same.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::identity::Algorithm;

/// A private key, and the algorithm that goes with it.
enum Key {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair, SystemRandom),
    Ed25519(Ed25519KeyPair),
}

/// A token could not be signed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SignError {
    #[error(
        "the key is none that can sign: use an RSA key (2048 bits or more), a P-256 key or an Ed25519 key, as PEM"
    )]
    Key,
    #[error("the key did not sign")]
    Sign,
}

impl Key {
    fn read(pem: &[u8]) -> Result<Self, SignError> {
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| SignError::Key)?;
        match &der {
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der())
                .map(Self::Rsa)
                .map_err(|_| SignError::Key),
            PrivateKeyDer::Pkcs8(key) => {
                let der = key.secret_pkcs8_der();
                let random = SystemRandom::new();
                if let Ok(key) = RsaKeyPair::from_pkcs8(der) {
                    return Ok(Self::Rsa(key));
                }
                if let Ok(key) =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random)
                {
                    return Ok(Self::P256(key, random));
                }
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                    .map(Self::Ed25519)
                    .map_err(|_| SignError::Key)
            }
            _ => Err(SignError::Key),
        }
    }

    const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa(_) => Algorithm::Rs256,
            Self::P256(..) => Algorithm::Es256,
            Self::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .map_err(|_| SignError::Sign)?;
                Ok(signature)
            }
            Self::P256(key, random) => key
                .sign(random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| SignError::Sign),
            Self::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }
}

/// A JWT with these claims, signed with the key `pem` by the algorithm that goes with it.
pub(super) fn signed(
    pem: &[u8],
    key_id: Option<&str>,
    claims: &Value,
) -> Result<String, SignError> {
    let key = Key::read(pem)?;
    let mut header = json!({"alg": key.algorithm().as_str(), "typ": "JWT"});
    if let (Some(header), Some(key_id)) = (header.as_object_mut(), key_id) {
        header.insert("kid".into(), key_id.into());
    }
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encode(&header), encode(claims));
    let signature = key.sign(message.as_bytes())?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

#[cfg(test)]
mod tests {
    use ring::signature::{self, KeyPair as _, UnparsedPublicKey};

    use super::*;

    #[test]
    fn what_is_signed_verifies_and_says_by_which_algorithm() {
        let claims = json!({"iss": "a", "exp": 5});
        for (algorithm, name) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, "ES256"),
            (&rcgen::PKCS_ED25519, "EdDSA"),
        ] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let token = signed(key.serialize_pem().as_bytes(), Some("k1"), &claims).unwrap();
            let (message, signature) = token.rsplit_once('.').unwrap();
            let (header, payload) = message.split_once('.').unwrap();
            let read = |part: &str| -> Value {
                serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
            };
            assert_eq!(
                read(header),
                json!({"alg": name, "typ": "JWT", "kid": "k1"})
            );
            assert_eq!(read(payload), claims);
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let der = key.serialize_der();
            let verified = match name {
                "ES256" => {
                    let pair = EcdsaKeyPair::from_pkcs8(
                        &ECDSA_P256_SHA256_FIXED_SIGNING,
                        &der,
                        &SystemRandom::new(),
                    )
                    .unwrap();
                    UnparsedPublicKey::new(
                        &signature::ECDSA_P256_SHA256_FIXED,
                        pair.public_key().as_ref(),
                    )
                    .verify(message.as_bytes(), &signature)
                }
                _ => {
                    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).unwrap();
                    UnparsedPublicKey::new(&signature::ED25519, pair.public_key().as_ref())
                        .verify(message.as_bytes(), &signature)
                }
            };
            verified.unwrap();
        }
    }

    #[test]
    fn what_is_no_key_is_said_without_showing_it() {
        for text in [
            "",
            "canary",
            "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----",
        ] {
            let error = signed(text.as_bytes(), None, &json!({})).unwrap_err();
            assert!(!error.to_string().contains("canary"));
        }
    }
}

//! Signed tokens of other issuers (RFC 7515, compact form): reading one, and verifying its signature.
//!
//! Straight on `ring`, not on a library for JWTs: those read the header with a lenient JSON reader,
//! take the algorithm from the token, and want a process-wide provider that panics where none was
//! installed. What is needed here is small: four algorithms, each fixed to a key before any token
//! comes; a header read strictly; no key from anywhere but the operator's key set.
//!
//! | trick | answer |
//! | --- | --- |
//! | `none`, `HS256` with a public key | not among the algorithms; a key has one, and the header must name it |
//! | `jku`, `x5u`, `jwk` | a token that brings its own key is refused |
//! | `crit`, `b64`, `zip` | extensions that are not understood: refused, as RFC 7515 asks |
//! | a `kid` that is a path or a query | compared with the ids of the set, byte by byte, and used for nothing else |
//! | two members of one name, odd base64 | refused: two readers would read two things |
//! | a token of a megabyte | refused by its length, before anything is decoded |

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json::{self, Limits};

/// Bytes of a token. Access tokens have 1 to 2 KiB; what carries lists of groups may have some more.
pub(super) const MAX_TOKEN: usize = 8 << 10;

/// Bytes of a key's id.
pub(super) const MAX_KEY_ID: usize = 256;

const HEADER: Limits = Limits {
    bytes: 2 << 10,
    depth: 4,
    nodes: 64,
};

const CLAIMS: Limits = Limits {
    bytes: MAX_TOKEN,
    // `act` nests once for each agent of a chain.
    depth: 16,
    nodes: 512,
};

/// How a token may be signed. Nothing symmetric, so that no key set can be used to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Algorithm {
    /// RSA with PKCS #1 v1.5 and SHA-256, 2,048 to 8,192 bits.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSA with PSS and SHA-256, 2,048 to 8,192 bits.
    #[serde(rename = "PS256")]
    Ps256,
    /// ECDSA with P-256 and SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    /// Its name in a header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    pub(super) fn of(name: &str) -> Option<Self> {
        [Self::Rs256, Self::Ps256, Self::Es256, Self::EdDsa]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
    }
}

/// A public key, for one algorithm only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicKey {
    algorithm: Algorithm,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    /// Modulus and exponent, big-endian, without leading zeroes.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// A point or a key, as it is encoded for its algorithm.
    Bytes(Vec<u8>),
}

impl PublicKey {
    pub(super) fn rsa(algorithm: Algorithm, n: &[u8], e: &[u8]) -> Option<Self> {
        let plain = |bytes: &[u8]| {
            let from = bytes.iter().position(|byte| *byte != 0)?;
            bytes.get(from..).map(<[u8]>::to_vec)
        };
        let (n, e) = (plain(n)?, plain(e)?);
        // `ring` refuses smaller ones too, but only once a token comes.
        let fits = (256..=1_024).contains(&n.len())
            && n.first()
                .is_some_and(|first| n.len() > 256 || *first >= 0x80)
            && e.len() <= 5;
        (fits && matches!(algorithm, Algorithm::Rs256 | Algorithm::Ps256)).then_some(Self {
            algorithm,
            material: Material::Rsa { n, e },
        })
    }

    pub(super) fn p256(x: &[u8], y: &[u8]) -> Option<Self> {
        if x.len() != 32 || y.len() != 32 {
            return None;
        }
        let mut point = vec![4];
        point.extend_from_slice(x);
        point.extend_from_slice(y);
        Some(Self {
            algorithm: Algorithm::Es256,
            material: Material::Bytes(point),
        })
    }

    pub(super) fn ed25519(x: &[u8]) -> Option<Self> {
        (x.len() == 32).then(|| Self {
            algorithm: Algorithm::EdDsa,
            material: Material::Bytes(x.to_vec()),
        })
    }

    /// The one algorithm that it verifies.
    #[must_use]
    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether both are the same key, whatever they are used for.
    pub(super) fn is_same_key(&self, other: &Self) -> bool {
        self.material == other.material
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match (&self.material, self.algorithm) {
            (Material::Rsa { n, e }, algorithm) => {
                let parameters = match algorithm {
                    Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                    _ => &RSA_PKCS1_2048_8192_SHA256,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (Material::Bytes(key), Algorithm::EdDsa) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
            }
            (Material::Bytes(key), _) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(message, signature)
            }
        };
        verified.is_ok()
    }
}

/// Why a text is no token that could be verified. No part of the text is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum JwsError {
    /// Too long.
    #[error("the token has more than {MAX_TOKEN} bytes")]
    TooLarge,
    /// Not three parts of base64url.
    #[error("the token is not three parts of base64url")]
    Parts,
    /// The header or the claims are not strict JSON objects.
    #[error("the token's {0} is not an object of strict JSON")]
    Json(&'static str),
    /// An algorithm that is not used here.
    #[error("the token is signed with no algorithm of RS256, PS256, ES256 and EdDSA")]
    Algorithm,
    /// A header member that can't be let pass.
    #[error("the token's header has `{0}`, which is not taken from a token")]
    Header(&'static str),
    /// The signature is not of that key.
    #[error("the token's signature is not that of its issuer's key")]
    Signature,
}

/// A token that was read. Nothing in it is believed yet.
#[derive(Debug)]
pub(super) struct Unverified<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    pub(super) kind: Option<String>,
    claims: Map<String, Value>,
    message: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, JwsError> {
        if text.len() > MAX_TOKEN {
            return Err(JwsError::TooLarge);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(JwsError::Parts)?;
        let (header, claims) = message.split_once('.').ok_or(JwsError::Parts)?;
        if claims.contains('.') {
            return Err(JwsError::Parts);
        }
        let mut header = object(header, &HEADER, "header")?;
        for refused in ["jku", "x5u", "jwk", "crit", "b64", "zip"] {
            if header.contains_key(refused) {
                return Err(JwsError::Header(refused));
            }
        }
        let algorithm = match header.get("alg") {
            Some(Value::String(name)) => Algorithm::of(name),
            _ => None,
        };
        let mut member = |name: &'static str| match header.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() && text.len() <= MAX_KEY_ID => {
                Ok(Some(text))
            }
            Some(_) => Err(JwsError::Header(name)),
        };
        Ok(Self {
            algorithm: algorithm.ok_or(JwsError::Algorithm)?,
            key_id: member("kid")?,
            kind: member("typ")?,
            claims: object(claims, &CLAIMS, "claims")?,
            message: message.as_bytes(),
            signature: decode(signature)?,
        })
    }

    /// A claim, to find the issuer by. Not believed until the signature is verified.
    pub(super) fn hint(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }

    /// The claims, once the signature is that of `key`.
    pub(super) fn verify(self, key: &PublicKey) -> Result<Map<String, Value>, JwsError> {
        if key.algorithm() != self.algorithm {
            return Err(JwsError::Algorithm);
        }
        if !key.verifies(self.message, &self.signature) {
            return Err(JwsError::Signature);
        }
        Ok(self.claims)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, JwsError> {
    // Refuses padding, and bits that are not used but set: one token, one text.
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Parts)
}

fn object(part: &str, limits: &Limits, what: &'static str) -> Result<Map<String, Value>, JwsError> {
    match json::parse_any_number(&decode(part)?, limits) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(JwsError::Json(what)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::jwks::KeySet;

    /// RFC 7515, A.2.
    const RS256: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    const RS256_KEY: &str = r#"{"keys":[{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}]}"#;
    /// RFC 7515, A.3.
    const ES256: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    const ES256_KEY: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    /// RFC 8037, A.4; its payload is no object, so that the signature alone is looked at.
    const EDDSA: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    const EDDSA_KEY: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn key(set: &str) -> PublicKey {
        let all = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
        let set = KeySet::parse(set.as_bytes(), &all).unwrap();
        set.keys().next().unwrap().clone()
    }

    #[test]
    fn the_examples_of_the_standards_verify() {
        for (token, set) in [(RS256, RS256_KEY), (ES256, ES256_KEY)] {
            let claims = Unverified::read(token).unwrap().verify(&key(set)).unwrap();
            assert_eq!(claims["iss"], "joe");
        }
        let (message, signature) = EDDSA.rsplit_once('.').unwrap();
        let signature = decode(signature).unwrap();
        assert!(key(EDDSA_KEY).verifies(message.as_bytes(), &signature));
        assert_eq!(
            Unverified::read(EDDSA).unwrap_err(),
            JwsError::Json("claims")
        );
    }

    #[test]
    fn a_key_verifies_its_own_algorithm_only() {
        let token = Unverified::read(RS256).unwrap();
        assert_eq!(
            token.verify(&key(ES256_KEY)).unwrap_err(),
            JwsError::Algorithm
        );
        let pss = KeySet::parse(RS256_KEY.as_bytes(), &[Algorithm::Ps256]).unwrap();
        let token = Unverified::read(RS256).unwrap();
        let error = token.verify(pss.keys().next().unwrap()).unwrap_err();
        assert_eq!(error, JwsError::Algorithm);
    }

    fn token(header: &str, claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.AAAA", part(header), part(claims))
    }

    #[test]
    fn tricks_end_before_any_key_is_looked_at() {
        for (header, expected) in [
            (r#"{"alg":"none"}"#, JwsError::Algorithm),
            (r#"{"alg":"None"}"#, JwsError::Algorithm),
            (r#"{"alg":""}"#, JwsError::Algorithm),
            (r#"{"alg":"HS256"}"#, JwsError::Algorithm),
            (r#"{"alg":"RS512"}"#, JwsError::Algorithm),
            (r#"{"alg":["RS256"]}"#, JwsError::Algorithm),
            (r#"{"typ":"JWT"}"#, JwsError::Algorithm),
            (
                r#"{"alg":"RS256","jku":"https://evil.example/k"}"#,
                JwsError::Header("jku"),
            ),
            (
                r#"{"alg":"RS256","x5u":"https://evil.example/k"}"#,
                JwsError::Header("x5u"),
            ),
            (r#"{"alg":"RS256","jwk":{}}"#, JwsError::Header("jwk")),
            (
                r#"{"alg":"RS256","crit":["exp"]}"#,
                JwsError::Header("crit"),
            ),
            (r#"{"alg":"RS256","b64":false}"#, JwsError::Header("b64")),
            (r#"{"alg":"RS256","zip":"DEF"}"#, JwsError::Header("zip")),
            (r#"{"alg":"RS256","kid":7}"#, JwsError::Header("kid")),
            (r#"{"alg":"RS256","kid":""}"#, JwsError::Header("kid")),
            (r#"{"alg":"HS256","alg":"RS256"}"#, JwsError::Json("header")),
            (r#"["alg"]"#, JwsError::Json("header")),
            ("", JwsError::Json("header")),
        ] {
            assert_eq!(
                Unverified::read(&token(header, "{}")).unwrap_err(),
                expected,
                "{header}"
            );
        }
        let twice = token(r#"{"alg":"RS256"}"#, r#"{"sub":"a","sub":"b"}"#);
        assert_eq!(
            Unverified::read(&twice).unwrap_err(),
            JwsError::Json("claims")
        );
    }

    #[test]
    fn one_token_has_one_text() {
        for text in [
            "",
            ".",
            "..",
            "a.b",
            "a.b.c.d",
            &format!("{RS256}="),
            &format!("{RS256}."),
            &format!(" {RS256}"),
            &format!("{RS256}\n"),
        ] {
            assert!(Unverified::read(text).is_err(), "{text:?}");
        }
        // The last letter of this signature has two bits that mean nothing.
        let other = format!("{}x", RS256.strip_suffix('w').unwrap());
        assert_eq!(Unverified::read(&other).unwrap_err(), JwsError::Parts);
        let large = format!("{}.{}.AAAA", "A".repeat(MAX_TOKEN), "A");
        assert_eq!(Unverified::read(&large).unwrap_err(), JwsError::TooLarge);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[A-Za-z0-9_.=-]{0,200}") {
            let _ = Unverified::read(&text);
        }

        #[test]
        fn no_single_change_verifies(at in 0..ES256.len(), to in proptest::char::range('A', 'z')) {
            let mut changed = ES256.to_owned().into_bytes();
            changed[at] = to as u8;
            let changed = String::from_utf8(changed).unwrap();
            prop_assume!(changed != ES256);
            let verified = Unverified::read(&changed).and_then(|t| t.verify(&key(ES256_KEY)));
            prop_assert!(verified.is_err());
        }
    }
}

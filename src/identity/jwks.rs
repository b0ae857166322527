//! An issuer's keys: a JSON Web Key Set (RFC 7517), read into keys with one algorithm each.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::jws::{Algorithm, MAX_KEY_ID, PublicKey};
use crate::json::{self, Limits};
use crate::name::shown;

/// Keys of one issuer. Two or three are usual while they rotate.
const MAX_KEYS: usize = 64;

/// Bytes of a set: 64 of the largest keys, with their certificates.
pub(super) const MAX_SET: usize = 512 << 10;

const LIMITS: Limits = Limits {
    bytes: MAX_SET,
    depth: 8,
    nodes: 4_096,
};

/// The keys of one issuer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeySet(Vec<(Option<String>, PublicKey)>);

/// A key set can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Not a key set.
    #[error("not a JSON Web Key Set: {0}")]
    Form(String),
    /// Someone published a private key, so that anyone may sign with it.
    #[error(
        "a key set holds a private key: replace that key at the issuer, its tokens prove nothing"
    )]
    Private,
    /// Two keys of one id.
    #[error("a key set has two keys with the id `{0}`")]
    Twice(String),
    /// No key that could verify anything.
    #[error(
        "a key set has no key for {0}: RSA keys need 2,048 bits or more, and elliptic ones must be P-256 or Ed25519"
    )]
    Empty(String),
}

impl KeySet {
    /// Reads a set. Keys for other algorithms than `algorithms` are left out; an RSA key that names no
    /// algorithm gets the first RSA one of them.
    ///
    /// # Errors
    ///
    /// It is not a set, is ambiguous, or has no usable key.
    pub(crate) fn parse(text: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeySetError> {
        let value = json::parse_any_number(text, &LIMITS)
            .map_err(|fault| KeySetError::Form(fault.message))?;
        let keys = value
            .get("keys")
            .and_then(Value::as_array)
            .ok_or_else(|| KeySetError::Form(String::from("no `keys`")))?;
        if keys.len() > MAX_KEYS {
            return Err(KeySetError::Form(format!("more than {MAX_KEYS} keys")));
        }
        let mut set: Vec<(Option<String>, PublicKey)> = Vec::new();
        for key in keys.iter().filter_map(Value::as_object) {
            if ["d", "p", "q", "dp", "dq", "qi", "k"]
                .iter()
                .any(|secret| key.contains_key(*secret))
            {
                return Err(KeySetError::Private);
            }
            let Some(public) = read(key, algorithms) else {
                continue;
            };
            let id = match key.get("kid") {
                None => None,
                Some(Value::String(id)) if !id.is_empty() && id.len() <= MAX_KEY_ID => {
                    Some(id.clone())
                }
                Some(_) => continue,
            };
            if let Some(id) = id.as_ref()
                && set.iter().any(|(other, _)| other.as_ref() == Some(id))
            {
                return Err(KeySetError::Twice(shown(id, 64)));
            }
            set.push((id, public));
        }
        if set.is_empty() {
            let names: Vec<_> = algorithms.iter().map(|a| a.as_str()).collect();
            return Err(KeySetError::Empty(names.join(", ")));
        }
        Ok(Self(set))
    }

    /// The key that a token names. One that names none gets the only key of its algorithm.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&PublicKey> {
        match id {
            Some(id) => self
                .0
                .iter()
                .find(|(known, _)| known.as_deref() == Some(id))
                .map(|(_, key)| key),
            None => {
                let mut fitting = self.keys().filter(|key| key.algorithm() == algorithm);
                match (fitting.next(), fitting.next()) {
                    (Some(only), None) => Some(only),
                    _ => None,
                }
            }
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.0.iter().map(|(_, key)| key)
    }

    /// Whether both have a key in common.
    pub(crate) fn shares_a_key(&self, other: &Self) -> bool {
        self.keys()
            .any(|key| other.keys().any(|known| known.is_same_key(key)))
    }
}

fn read(key: &Map<String, Value>, algorithms: &[Algorithm]) -> Option<PublicKey> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    // A key for encryption signs nothing.
    if text("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let operations = key.get("key_ops").and_then(Value::as_array);
    if operations.is_some_and(|all| !all.iter().any(|operation| operation == "verify")) {
        return None;
    }
    let named = match key.get("alg") {
        None => None,
        Some(name) => Some(Algorithm::of(name.as_str()?)?),
    };
    let public = match text("kty")? {
        "RSA" => {
            let algorithm = named.or_else(|| {
                let rsa = |a: &&Algorithm| matches!(a, Algorithm::Rs256 | Algorithm::Ps256);
                algorithms.iter().find(rsa).copied()
            })?;
            PublicKey::rsa(algorithm, &bytes("n")?, &bytes("e")?)
        }
        "EC" if text("crv")? == "P-256" => PublicKey::p256(&bytes("x")?, &bytes("y")?),
        "OKP" if text("crv")? == "Ed25519" => PublicKey::ed25519(&bytes("x")?),
        _ => None,
    }?;
    let fits = named.is_none_or(|named| named == public.algorithm());
    (fits && algorithms.contains(&public.algorithm())).then_some(public)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALL: [Algorithm; 4] = [
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::Es256,
        Algorithm::EdDsa,
    ];

    fn parse(keys: Value) -> Result<KeySet, KeySetError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), &ALL)
    }

    fn ed(id: &str, fill: u8) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": URL_SAFE_NO_PAD.encode([fill; 32])})
    }

    fn rsa(bits: usize, more: Value) -> Value {
        let mut n = vec![0xff; bits / 8];
        n[0] = 0x80;
        let mut key = json!({"kty": "RSA", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode(n)});
        for (name, value) in more.as_object().unwrap() {
            key[name] = value.clone();
        }
        key
    }

    #[test]
    fn keys_are_found_by_exactly_their_id() {
        let set = parse(json!([ed("a", 1), ed("../b", 2)])).unwrap();
        assert!(set.find(Some("a"), Algorithm::EdDsa).is_some());
        assert!(set.find(Some("../b"), Algorithm::EdDsa).is_some());
        for id in ["", "A", "a ", "b", "../a", "a' OR '1'='1"] {
            assert!(set.find(Some(id), Algorithm::EdDsa).is_none(), "{id}");
        }
        // Without an id it must be the only one.
        assert!(set.find(None, Algorithm::EdDsa).is_none());
        let one = parse(json!([ed("a", 1)])).unwrap();
        assert!(one.find(None, Algorithm::EdDsa).is_some());
        assert!(one.find(None, Algorithm::Rs256).is_none());
    }

    #[test]
    fn an_rsa_key_has_2048_bits_and_one_algorithm() {
        assert!(matches!(
            parse(json!([rsa(1_024, json!({}))])),
            Err(KeySetError::Empty(_))
        ));
        let set = parse(json!([rsa(2_048, json!({}))])).unwrap();
        assert_eq!(set.keys().next().unwrap().algorithm(), Algorithm::Rs256);
        let set = parse(json!([rsa(2_048, json!({"alg": "PS256"}))])).unwrap();
        assert_eq!(set.keys().next().unwrap().algorithm(), Algorithm::Ps256);
        for more in [
            json!({"alg": "RS512"}),
            json!({"alg": "HS256"}),
            json!({"alg": "ES256"}),
            json!({"alg": 7}),
            json!({"use": "enc"}),
            json!({"key_ops": ["encrypt"]}),
            json!({"n": "x".repeat(20_000)}),
        ] {
            assert!(parse(json!([rsa(2_048, more.clone())])).is_err(), "{more}");
        }
    }

    #[test]
    fn a_set_with_a_private_or_a_doubled_key_is_no_set() {
        let mut private = ed("a", 1);
        private["d"] = json!("AAAA");
        assert_eq!(parse(json!([private])), Err(KeySetError::Private));
        let symmetric = json!({"kty": "oct", "k": "AAAA"});
        assert_eq!(parse(json!([symmetric])), Err(KeySetError::Private));
        assert_eq!(
            parse(json!([ed("a", 1), ed("a", 2)])),
            Err(KeySetError::Twice("a".into()))
        );
        assert!(KeySet::parse(b"{}", &ALL).is_err());
        assert!(KeySet::parse(b"{\"keys\":[],\"keys\":[]}", &ALL).is_err());
    }

    #[test]
    fn sets_with_one_key_in_common_are_known() {
        let one = parse(json!([ed("a", 1), ed("b", 2)])).unwrap();
        let two = parse(json!([ed("other", 2)])).unwrap();
        let three = parse(json!([ed("a", 3)])).unwrap();
        assert!(one.shares_a_key(&two));
        assert!(!one.shares_a_key(&three));
    }
}

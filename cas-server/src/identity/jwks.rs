//! The keys of an issuer of JWTs, as a JSON Web Key Set has them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

/// How many keys an issuer may have: those of today, of yesterday and of tomorrow, of a few kinds.
const KEYS_MAX: usize = 64;

/// The shortest RSA key that is taken, in bytes: 2048 bits, below which none has been safe for years.
const RSA_BYTES_MIN: usize = 256;

/// How many bytes an Ed25519 key has.
const ED25519_BYTES: usize = 32;

/// What is wrong with the keys of an issuer.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It is not a key set.
    #[error("it is no JSON Web Key Set")]
    Json(#[from] serde_json::Error),
    /// It has a secret in it.
    #[error(
        "it has a symmetric key, and whoever can check a signature with that can make one: issuers publish public keys (RSA, EC or Ed25519)"
    )]
    Symmetric,
    /// It has an RSA key that is too short.
    #[error("it has an RSA key of less than {} bits", RSA_BYTES_MIN * 8)]
    Short,
    /// It has nothing to check a signature with.
    #[error("it has no key to check a signature with (RSA, EC P-256 or P-384, Ed25519)")]
    None,
    /// It has too many.
    #[error("it has {0} keys, and {KEYS_MAX} are allowed")]
    Many(usize),
    /// A key is damaged.
    #[error("it has a key that is none")]
    Key(#[from] jsonwebtoken::errors::Error),
}

/// The keys of an issuer.
pub(crate) struct Keys(Vec<Key>);

/// A key, and what it may have signed: that follows from the key, and never from what a JWT says of itself.
struct Key {
    id: Option<String>,
    algorithms: &'static [Algorithm],
    public: DecodingKey,
}

impl Keys {
    /// Parses a JSON Web Key Set. Keys of kinds that are not known, or for encryption, are passed over.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, KeysError> {
        let JwkSet { keys } = serde_json::from_slice(bytes)?;
        if keys.len() > KEYS_MAX {
            return Err(KeysError::Many(keys.len()));
        }
        let keys: Vec<_> = keys.iter().map(Key::parse).collect::<Result<_, _>>()?;
        let keys: Vec<_> = keys.into_iter().flatten().collect();
        if keys.is_empty() { Err(KeysError::None) } else { Ok(Self(keys)) }
    }

    /// Returns the one key that can have signed a JWT that says so of itself.
    ///
    /// One that names no key is taken if only one fits: trying all of them would make whoever sends garbage cost as many checks.
    pub(crate) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let fits = |key: &&Key| {
            key.algorithms.contains(&algorithm) && (id.is_none() || key.id.as_deref() == id)
        };
        let mut all = self.0.iter().filter(fits);
        let key = all.next()?;
        all.next().is_none().then_some(&key.public)
    }
}

impl Key {
    fn parse(jwk: &Jwk) -> Result<Option<Self>, KeysError> {
        let algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(parameters) => {
                let modulus = URL_SAFE_NO_PAD.decode(&parameters.n).unwrap_or_default();
                if modulus.iter().skip_while(|byte| **byte == 0).count() < RSA_BYTES_MIN {
                    return Err(KeysError::Short);
                }
                rsa(jwk)
            }
            AlgorithmParameters::EllipticCurve(parameters) => on_curve(&parameters.curve),
            AlgorithmParameters::OctetKeyPair(parameters) => {
                // Checking a signature with a shorter one would panic.
                let point = URL_SAFE_NO_PAD.decode(&parameters.x).unwrap_or_default();
                if parameters.curve == EllipticCurve::Ed25519 && point.len() != ED25519_BYTES {
                    return Err(
                        jsonwebtoken::errors::Error::from(ErrorKind::InvalidEddsaKey).into()
                    );
                }
                on_curve(&parameters.curve)
            }
            AlgorithmParameters::OctetKey(_) => return Err(KeysError::Symmetric),
            AlgorithmParameters::Other(_) | _ => &[],
        };
        let signs = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
        if algorithms.is_empty() || !signs {
            return Ok(None);
        }
        let id = jwk.common.key_id.clone();
        Ok(Some(Self { id, algorithms, public: DecodingKey::from_jwk(jwk)? }))
    }
}

fn on_curve(curve: &EllipticCurve) -> &'static [Algorithm] {
    match curve {
        EllipticCurve::P256 => &[Algorithm::ES256],
        EllipticCurve::P384 => &[Algorithm::ES384],
        EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        EllipticCurve::P521 | _ => &[],
    }
}

/// Returns what an RSA key may have signed: what it says, or anything that such keys sign.
fn rsa(jwk: &Jwk) -> &'static [Algorithm] {
    use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
    let Some(said) = jwk.common.key_algorithm else {
        return &[RS256, RS384, RS512, PS256, PS384, PS512];
    };
    match said.to_string().as_str() {
        "RS256" => &[RS256],
        "RS384" => &[RS384],
        "RS512" => &[RS512],
        "PS256" => &[PS256],
        "PS384" => &[PS384],
        "PS512" => &[PS512],
        _ => &[],
    }
}

//! JWTs: whom they name, and everything that is tried with them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cas_server::{Config, Identities, JwtError, Unauthenticated};
use http::Request;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use proptest::prelude::*;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};
use rustls_pki_types::PrivatePkcs1KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::asking::{House, request};

const ISSUER: &str = "https://forge.example";

const CONFIG: &str = r#"
[[identity.jwt]]
name = "forge"
keys = "forge.json"
issuer = "https://forge.example"
audience = "bld"

[[identity.jwt.rule]]
claims = { repository = "acme/drivers", event_name = "pull_request", ref = "refs/pull/*/merge", base_ref = "*" }
namespace = "pr/{ref}"
reads = ["branch/{base_ref}"]
rights = ["read", "write-blobs", "write-values"]

[[identity.jwt.rule]]
claims = { repository = "acme/drivers", event_name = "push", ref = "refs/heads/main", ref_protected = "true" }
namespace = "trusted"
rights = ["read", "write-blobs", "write-values"]

[[identity.jwt.rule]]
claims = { groups = "builders" }
namespace = "trusted"
rights = ["read", "execute"]
"#;

/// What stands before the 32 bytes of a private Ed25519 key in PKCS #8.
const ED25519: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// A key of an issuer.
struct Signer {
    id: String,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are RSA's")]
    fn new(id: &str, algorithm: Algorithm) -> Self {
        let generate = |kind| KeyPair::generate_for(kind).unwrap().serialize_der();
        let key = match algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_der(&generate(&PKCS_ECDSA_P256_SHA256)),
            Algorithm::ES384 => EncodingKey::from_ec_der(&generate(&PKCS_ECDSA_P384_SHA384)),
            // As `ring` writes them these keys carry their public halves, which not everybody reads.
            Algorithm::EdDSA => EncodingKey::from_ed_der(&[&ED25519[..], &[7; 32]].concat()),
            _ => {
                // Generating one takes seconds. This one everybody knows.
                let pem = include_bytes!("rsa.pem");
                let der = PrivatePkcs1KeyDer::from_pem_slice(pem).unwrap();
                EncodingKey::from_rsa_der(der.secret_pkcs1_der())
            }
        };
        Self { id: id.to_owned(), algorithm, key }
    }

    fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.clone());
        serde_json::to_value(jwk).unwrap()
    }

    fn header(&self) -> Header {
        Header { kid: Some(self.id.clone()), ..Header::new(self.algorithm) }
    }

    fn sign(&self, claims: &Value) -> String {
        encode(&self.header(), claims, &self.key).unwrap()
    }
}

fn key_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn house(keys: &[Value]) -> House {
    House::with(&[("forge.json", &key_set(keys))], CONFIG)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Returns what the forge says of a job of pull request 17, but for what is said otherwise.
fn pull_request(otherwise: &Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": "bld", "sub": "repo:acme/drivers:pull_request",
        "iat": now() - 10, "nbf": now() - 10, "exp": now() + 300,
        "repository": "acme/drivers", "event_name": "pull_request",
        "ref": "refs/pull/17/merge", "base_ref": "main", "ref_protected": "false",
    });
    for (name, value) in otherwise.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn showing(jwt: &str) -> Request<axum::body::Body> {
    request(&[("authorization", &format!("Bearer {jwt}"))])
}

#[track_caller]
fn refused(house: &House, jwt: &str) -> JwtError {
    let refusal = house.identify(&showing(jwt)).unwrap_err();
    let Unauthenticated::Jwt(error) = refusal else { panic!("{refusal:?}") };
    error
}

#[test]
fn a_job_of_a_pull_request_writes_in_its_own_namespace_and_reads_its_base() {
    for algorithm in
        [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::RS256, Algorithm::PS256]
    {
        let signer = Signer::new("1", algorithm);
        let house = house(&[signer.public()]);
        let jwt = signer.sign(&pull_request(&json!({})));
        let caller = house.identify(&showing(&jwt)).unwrap();
        assert_eq!(&*caller.name, "jwt:forge:repo:acme/drivers:pull_request");
        assert_eq!(caller.namespace.to_string(), "pr/17");
        let reads: Vec<_> = caller.reads.iter().map(ToString::to_string).collect();
        assert_eq!(reads, ["pr/17", "branch/main", "trusted"]);
        assert_eq!(caller.rights.to_string(), "read,write-blobs,write-values");
    }
}

#[test]
fn what_claims_are_decides_and_the_first_rule_that_fits_counts() {
    let signer = Signer::new("1", Algorithm::ES256);
    let house = house(&[signer.public()]);
    let who = |otherwise: Value| {
        let caller = house.identify(&showing(&signer.sign(&pull_request(&otherwise)))).unwrap();
        format!("{} {}", caller.namespace, caller.rights)
    };
    let push = json!({ "event_name": "push", "ref": "refs/heads/main", "ref_protected": true });
    assert_eq!(who(push), "trusted read,write-blobs,write-values");
    let person = json!({ "repository": null, "groups": ["staff", "builders"] });
    assert_eq!(who(person), "trusted read,execute");
    let both = json!({ "groups": "builders" });
    assert_eq!(who(both), "pr/17 read,write-blobs,write-values");
}

#[test]
fn genuine_claims_that_no_rule_is_about_are_refused() {
    let signer = Signer::new("1", Algorithm::ES256);
    let house = house(&[signer.public()]);
    for otherwise in [
        json!({ "repository": "evil/drivers" }),
        json!({ "repository": ["evil/drivers"] }),
        json!({ "repository": { "acme/drivers": 1 } }),
        json!({ "ref": "refs/pull//merge" }),
        json!({ "ref": "refs/pull/17" }),
        json!({ "base_ref": "" }),
        json!({ "base_ref": null }),
        json!({ "event_name": "push", "ref": "refs/heads/main" }),
    ] {
        let jwt = signer.sign(&pull_request(&otherwise));
        assert_eq!(refused(&house, &jwt), JwtError::NoRule, "{otherwise}");
    }
    let odd = signer.sign(&pull_request(&json!({ "ref": "refs/pull/1\n7/merge" })));
    assert!(matches!(refused(&house, &odd), JwtError::Rule(_)));
    for subject in [json!(null), json!(""), json!("a\nb"), json!("x".repeat(600))] {
        let jwt = signer.sign(&pull_request(&json!({ "sub": subject })));
        assert_eq!(refused(&house, &jwt), JwtError::Claim("sub".to_owned()));
    }
}

#[test]
fn time_issuer_and_audience_have_to_be_right() {
    let signer = Signer::new("1", Algorithm::ES256);
    let house = house(&[signer.public()]);
    let claim = |name: &str| JwtError::Claim(name.to_owned());
    for (otherwise, error) in [
        (json!({ "exp": now() - 61 }), JwtError::Expired),
        (json!({ "exp": 0 }), JwtError::Expired),
        (json!({ "exp": -5 }), claim("exp")),
        (json!({ "exp": null }), claim("exp")),
        (json!({ "exp": "tomorrow" }), claim("exp")),
        (json!({ "nbf": now() + 120 }), JwtError::Early),
        (json!({ "nbf": "today" }), claim("nbf")),
        (json!({ "iss": "https://evil.example" }), JwtError::Issuer),
        (json!({ "iss": null }), JwtError::Malformed),
        (json!({ "aud": "another" }), JwtError::Audience),
        (json!({ "aud": ["another", "third"] }), JwtError::Audience),
        (json!({ "aud": null }), claim("aud")),
        (json!({ "aud": 7 }), claim("aud")),
    ] {
        let jwt = signer.sign(&pull_request(&otherwise));
        assert_eq!(refused(&house, &jwt), error, "{otherwise}");
    }
    for otherwise in [
        json!({ "exp": now() - 30, "nbf": now() + 30 }),
        json!({ "aud": ["another", "bld"] }),
        json!({ "nbf": null }),
        json!({ "exp": 4_000_000_000.5 }),
    ] {
        let jwt = signer.sign(&pull_request(&otherwise));
        house.identify(&showing(&jwt)).unwrap();
    }
}

#[test]
fn one_that_was_checked_still_ends() {
    let signer = Signer::new("1", Algorithm::ES256);
    let house = house(&[signer.public()]);
    let jwt = signer.sign(&pull_request(&json!({})));
    house.identify(&showing(&jwt)).unwrap();
    let refusal = house.identify_at(&showing(&jwt), SystemTime::now() + Duration::from_secs(400));
    assert_eq!(refusal.unwrap_err(), Unauthenticated::Jwt(JwtError::Expired));
}

#[test]
fn nobody_chooses_how_his_signature_is_checked() {
    let signer = Signer::new("1", Algorithm::RS256);
    let house = house(&[signer.public()]);
    let claims = pull_request(&json!({}));
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());

    for none in ["none", "None", "NONE", ""] {
        let header = part(&json!({ "alg": none, "kid": "1" }));
        for signature in ["", "AAAA"] {
            let jwt = format!("{header}.{}.{signature}", part(&claims));
            assert_eq!(refused(&house, &jwt), JwtError::Malformed);
        }
    }
    // What everybody knows of the key, as if it were the secret of an HMAC.
    let public = signer.public();
    for secret in [public["n"].as_str().unwrap().to_owned(), public.to_string()] {
        let header = Header { kid: Some("1".to_owned()), ..Header::new(Algorithm::HS256) };
        let jwt = encode(&header, &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap();
        assert_eq!(refused(&house, &jwt), JwtError::Key);
    }
    // The key says that it signs RS256, and nothing else.
    let header = Header { kid: Some("1".to_owned()), ..Header::new(Algorithm::PS256) };
    let jwt = encode(&header, &claims, &signer.key).unwrap();
    assert_eq!(refused(&house, &jwt), JwtError::Key);
    // A key that the JWT brings along.
    let other = Signer::new("1", Algorithm::ES256);
    let mut header = Header { jwk: None, ..other.header() };
    header.jwk = Some(serde_json::from_value(other.public()).unwrap());
    header.jku = Some("https://evil.example/keys".to_owned());
    let jwt = encode(&header, &claims, &other.key).unwrap();
    assert_eq!(refused(&house, &jwt), JwtError::Key);
    header.crit = Some(vec!["exp".to_owned()]);
    let jwt = encode(&header, &claims, &other.key).unwrap();
    assert_eq!(refused(&house, &jwt), JwtError::Critical);
}

#[test]
fn a_signature_by_another_or_of_something_else_is_wrong() {
    let (signer, other) = (Signer::new("1", Algorithm::ES256), Signer::new("1", Algorithm::ES256));
    let house = house(&[signer.public()]);
    let jwt = other.sign(&pull_request(&json!({})));
    assert_eq!(refused(&house, &jwt), JwtError::Signature);

    let genuine = signer.sign(&pull_request(&json!({})));
    let parts: Vec<_> = genuine.split('.').collect();
    let better = URL_SAFE_NO_PAD.encode(pull_request(&json!({ "groups": "builders" })).to_string());
    let jwt = format!("{}.{better}.{}", parts[0], parts[2]);
    assert_eq!(refused(&house, &jwt), JwtError::Signature);
    let jwt = format!("{}.{}.", parts[0], parts[1]);
    assert_eq!(refused(&house, &jwt), JwtError::Signature);
    for shape in ["a.b", "a.b.c", "...", &format!("{genuine}.x"), &format!("x.{genuine}")] {
        assert_eq!(refused(&house, shape), JwtError::Malformed, "{shape}");
    }
}

#[test]
fn one_that_names_no_key_is_taken_only_if_there_is_no_choice() {
    let (one, two) = (Signer::new("1", Algorithm::ES256), Signer::new("2", Algorithm::ES256));
    let nameless = |signer: &Signer| {
        encode(&Header::new(signer.algorithm), &pull_request(&json!({})), &signer.key).unwrap()
    };
    house(&[one.public()]).identify(&showing(&nameless(&one))).unwrap();
    let both = house(&[one.public(), two.public()]);
    assert_eq!(refused(&both, &nameless(&one)), JwtError::Key);
    assert_eq!(
        refused(&both, &Signer::new("3", Algorithm::ES256).sign(&pull_request(&json!({})))),
        JwtError::Key
    );
}

#[test]
fn keys_come_and_go_while_the_server_runs() {
    let (old, new) = (Signer::new("old", Algorithm::ES256), Signer::new("new", Algorithm::EdDSA));
    let house = house(&[old.public()]);
    let by_old = old.sign(&pull_request(&json!({})));
    let by_new = new.sign(&pull_request(&json!({})));
    house.identify(&showing(&by_old)).unwrap();
    assert_eq!(refused(&house, &by_new), JwtError::Key);

    house.write("forge.json", &key_set(&[old.public(), new.public()]));
    house.refresh();
    house.identify(&showing(&by_old)).unwrap();
    house.identify(&showing(&by_new)).unwrap();

    house.write("forge.json", &key_set(&[new.public()]));
    house.refresh();
    assert_eq!(refused(&house, &by_old), JwtError::Key, "that it was checked once is no help");
    house.identify(&showing(&by_new)).unwrap();

    house.write("forge.json", "{");
    house.refresh();
    house.identify(&showing(&by_new)).expect("what made no sense changed nothing");
}

#[test]
fn keys_that_prove_nothing_are_refused_when_the_server_starts() {
    let fault = |keys: &str| {
        let folder = tempfile::tempdir().unwrap();
        let keys_file = folder.path().join("forge.json");
        std::fs::write(&keys_file, keys).unwrap();
        let config = Config::parse(CONFIG, &folder.path().join("c"), Some(folder.path())).unwrap();
        let error = Identities::open(&config).err().unwrap();
        let mut chain = Vec::new();
        let mut next: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = next {
            chain.push(error.to_string());
            next = error.source();
        }
        chain.pop().unwrap()
    };
    let short =
        json!({ "kty": "RSA", "kid": "1", "n": URL_SAFE_NO_PAD.encode([0xff; 128]), "e": "AQAB" });
    let padded = [vec![0; 128], vec![0xff; 128]].concat();
    let padded =
        json!({ "kty": "RSA", "kid": "1", "n": URL_SAFE_NO_PAD.encode(padded), "e": "AQAB" });
    for short in [short, padded] {
        assert_eq!(fault(&key_set(&[short])), "it has an RSA key of less than 2048 bits");
    }
    let symmetric = json!({ "kty": "oct", "kid": "1", "k": "c2VjcmV0" });
    assert!(fault(&key_set(&[symmetric])).starts_with("it has a symmetric key"));
    let mut encrypting = Signer::new("1", Algorithm::ES256).public();
    encrypting["use"] = json!("enc");
    let unknown = json!({ "kty": "AKP", "kid": "2", "alg": "ML-DSA-44", "pub": "AAAA" });
    assert!(fault(&key_set(&[encrypting, unknown])).starts_with("it has no key"));
    assert!(fault(&key_set(&vec![json!({ "kty": "X" }); 65])).starts_with("it has 65 keys"));
}

proptest! {
    #[test]
    fn no_jwt_makes_the_server_stumble_or_is_repeated(
        header in "[A-Za-z0-9_-]{12,60}", payload in "[A-Za-z0-9_-]{12,60}", signature in "[A-Za-z0-9_-]{12,60}",
    ) {
        let house = house(&[Signer::new("1", Algorithm::ES256).public()]);
        let shown = format!("{:?}", house.identify(&showing(&format!("{header}.{payload}.{signature}"))).unwrap_err());
        for part in [header, payload, signature] {
            prop_assert!(!shown.contains(&part));
        }
    }

    #[test]
    fn no_claims_make_the_server_stumble(reference in any::<String>(), base in any::<String>(), number in any::<f64>()) {
        let signer = Signer::new("1", Algorithm::EdDSA);
        let house = house(&[signer.public()]);
        let otherwise = json!({ "ref": format!("refs/pull/{reference}/merge"), "base_ref": base, "nbf": number });
        let jwt = signer.sign(&pull_request(&otherwise));
        if let Ok(caller) = house.identify(&showing(&jwt)) {
            prop_assert!(caller.namespace.to_string().starts_with("pr/"));
            prop_assert!(caller.reads[1].to_string().starts_with("branch/"));
        }
    }
}

#[test]
fn no_change_of_a_jwt_or_of_its_issuers_keys_lets_somebody_in_or_makes_the_server_stumble() {
    let seed = testkit::Seed::new();
    let mut fuzz = seed.mutator();
    let signers =
        [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256].map(|it| Signer::new("1", it));
    for signer in &signers {
        let keys = key_set(&[signer.public()]);
        let house = house(&[signer.public()]);
        let jwt = signer.sign(&pull_request(&json!({})));
        house.identify(&showing(&jwt)).unwrap();
        for _ in 0..testkit::cases(200) {
            let changed: String = fuzz.text(&jwt).chars().filter(char::is_ascii_graphic).collect();
            assert!(changed == jwt || house.identify(&showing(&changed)).is_err(), "{changed}");
            std::fs::write(house.path("forge.json"), fuzz.bytes(keys.as_bytes())).unwrap();
            house.refresh();
            // What is signed by nobody stays so, whatever the keys say.
            let unsigned = &jwt[..=jwt.rfind('.').unwrap()];
            house.identify(&showing(unsigned)).unwrap_err();
            house.write("forge.json", &keys);
            house.refresh();
            house.identify(&showing(&jwt)).unwrap();
        }
    }
}

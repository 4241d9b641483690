//! Certificates: of the server, of its clients, of our own authority and of others.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cas_server::{
    Authority, AuthorityError, CertificateError, Config, HandshakeError, Identities, Peer,
    PeerAddress, PeerCertificate, Role, Tls, Unauthenticated,
};
use http::Request;
use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use tempfile::TempDir;
use testkit::{Mutator, Seed, cases};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::asking::grant;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const CONFIG: &str = r#"
[tls]
certificate = "server.pem"
key = "server.key"
client_authority = "ca/ca.pem"
client_revocations = "ca/ca.crl"

[identity.anonymous]
rights = []
"#;

/// A server with an authority.
struct House {
    folder: TempDir,
    authority: Authority,
}

/// A server that runs.
struct Running {
    tls: Tls,
    identities: Identities,
}

fn days(count: u32) -> Duration {
    DAY * count
}

fn server(name: &str) -> Role {
    Role::Server { names: vec![name.to_owned()], addresses: vec![IpAddr::from([127, 0, 0, 1])] }
}

fn client(rights: &str, namespace: &str) -> Role {
    Role::Client(grant(rights, namespace, &[]))
}

impl House {
    fn new() -> Self {
        Self::since(SystemTime::now())
    }

    fn since(now: SystemTime) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(&folder.path().join("ca"));
        authority.init(now, days(3650)).unwrap();
        let house = Self { folder, authority };
        house.issue("server", &server("cache.example"));
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn issue(&self, name: &str, role: &Role) {
        self.issue_at(name, role, SystemTime::now());
    }

    fn issue_at(&self, name: &str, role: &Role, now: SystemTime) {
        self.authority.issue(name, role, now, DAY, self.folder.path()).unwrap();
    }

    fn run(&self, config: &str) -> Running {
        let config = Config::parse(config, &self.path("bld-server.toml"), Some(self.folder.path()));
        let config = config.unwrap();
        let tls = Tls::open(config.tls.as_ref().unwrap()).unwrap();
        Running { tls, identities: Identities::open(&config).unwrap() }
    }

    /// Returns somebody who trusts our authority, and shows that certificate.
    fn connector(&self, shown: Option<&str>) -> TlsConnector {
        connector(
            &self.authority.certificate(),
            shown
                .map(|name| (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")))),
        )
    }
}

fn connector(trusted: &Path, shown: Option<(PathBuf, PathBuf)>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trusted).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
            builder
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
                .unwrap()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// A connection: what the client sees, and what the server knows of it.
struct Connection {
    client: tokio_rustls::client::TlsStream<DuplexStream>,
    server: tokio_rustls::server::TlsStream<DuplexStream>,
    peer: Peer,
}

impl Running {
    async fn connect(&self, connector: TlsConnector) -> Result<Connection, HandshakeError> {
        let (near, far) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from("cache.example").unwrap();
        let from = PeerAddress::Tcp(([10, 0, 0, 7], 1).into());
        let (client, server) =
            tokio::join!(connector.connect(name, near), self.tls.accept(far, from));
        let (server, peer) = server?;
        Ok(Connection { client: client.unwrap(), server, peer })
    }

    /// Does what a running server does every second.
    fn refresh(&self) {
        self.tls.refresher().refresh();
        self.identities.refreshers().iter().for_each(|it| it.refresh());
    }

    fn identify(&self, connection: &Connection) -> Result<String, Unauthenticated> {
        self.identify_at(connection, SystemTime::now())
    }

    fn identify_at(
        &self,
        connection: &Connection,
        now: SystemTime,
    ) -> Result<String, Unauthenticated> {
        let request = Request::get("/").extension(connection.peer.clone()).body(Body::empty());
        let caller = self.identities.identify(&request.unwrap(), now)?;
        let reads: Vec<_> = caller.reads.iter().map(ToString::to_string).collect();
        Ok(format!("{} {} {}", caller.name, caller.rights, reads.join(" ")))
    }
}

impl Connection {
    fn server_certificate(&self) -> CertificateDer<'static> {
        self.client.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    }

    async fn still_works(&mut self) {
        self.client.write_all(b"ping").await.unwrap();
        self.client.flush().await.unwrap();
        let mut said = [0; 4];
        self.server.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"ping");
    }
}

fn refused(error: CertificateError) -> Result<String, Unauthenticated> {
    Err(Unauthenticated::Certificate(error))
}

#[tokio::test]
async fn a_certificate_of_our_authority_says_who_calls_and_what_he_may_do() {
    let house = House::new();
    house.issue("worker-1", &Role::Client(grant("read,execute", "pr/a&b?%/ü", &["branch/main"])));
    let running = house.run(CONFIG);
    let connection = running.connect(house.connector(Some("worker-1"))).await.unwrap();
    let who = running.identify(&connection).unwrap();
    assert_eq!(who, "certificate:worker-1 read,execute pr/a&b?%/ü branch/main trusted");
}

#[tokio::test]
async fn a_client_without_a_certificate_connects_and_is_nobody() {
    let house = House::new();
    let running = house.run(CONFIG);
    let connection = running.connect(house.connector(None)).await.unwrap();
    assert_eq!(running.identify(&connection), Err(Unauthenticated::Nothing));
    assert!(connection.peer.certificate().is_none());
}

#[tokio::test]
async fn what_a_request_shows_counts_before_the_certificate_of_its_connection() {
    let house = House::new();
    house.issue("worker-1", &client("read", "trusted"));
    let running = house.run(CONFIG);
    let connection = running.connect(house.connector(Some("worker-1"))).await.unwrap();
    let request = Request::get("/").extension(connection.peer.clone());
    let request = request.header("authorization", "Bearer hunter2").body(Body::empty()).unwrap();
    let refusal = running.identities.identify(&request, SystemTime::now()).unwrap_err();
    assert_eq!(refusal, Unauthenticated::UnknownToken);
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_and_http_2_is_preferred() {
    let house = House::new();
    let connection = house.run(CONFIG).connect(house.connector(None)).await.unwrap();
    assert_eq!(connection.server.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_turned_away() {
    let (house, other) = (House::new(), House::new());
    other.issue("worker-1", &client("read,administer", "trusted"));
    let running = house.run(CONFIG);
    let shown = Some((other.path("worker-1.pem"), other.path("worker-1.key")));
    let connector = connector(&house.authority.certificate(), shown);
    assert!(matches!(running.connect(connector).await, Err(HandshakeError::Failed(_))));
}

#[tokio::test]
async fn a_servers_certificate_calls_nobody() {
    let house = House::new();
    let running = house.run(CONFIG);
    let refused = running.connect(house.connector(Some("server"))).await;
    assert!(matches!(refused, Err(HandshakeError::Failed(_))));
}

#[tokio::test]
async fn a_certificate_ends_for_new_connections_and_for_old_ones() {
    let past = SystemTime::now() - days(30);
    let house = House::since(past);
    house.issue_at("late", &client("read", "trusted"), past);
    house.issue("worker-1", &client("read", "trusted"));
    let running = house.run(CONFIG);
    let late = running.connect(house.connector(Some("late"))).await;
    assert!(matches!(late, Err(HandshakeError::Failed(_))));

    let connection = running.connect(house.connector(Some("worker-1"))).await.unwrap();
    running.identify(&connection).unwrap();
    let tomorrow = SystemTime::now() + DAY + Duration::from_secs(60);
    assert_eq!(running.identify_at(&connection, tomorrow), refused(CertificateError::Expired));
}

#[tokio::test]
async fn a_certificate_that_is_revoked_while_it_is_in_use_is_good_for_nothing_more() {
    let house = House::new();
    house.issue("worker-1", &client("read", "trusted"));
    house.issue("worker-2", &client("read", "trusted"));
    let running = house.run(CONFIG);
    let one = running.connect(house.connector(Some("worker-1"))).await.unwrap();
    let two = running.connect(house.connector(Some("worker-2"))).await.unwrap();
    running.identify(&one).unwrap();

    house.authority.revoke("worker-1", SystemTime::now()).unwrap();
    running.refresh();
    assert_eq!(running.identify(&one), refused(CertificateError::Revoked));
    running.identify(&two).unwrap();
    let again = running.connect(house.connector(Some("worker-1"))).await;
    assert!(matches!(again, Err(HandshakeError::Failed(_))));
    running.connect(house.connector(Some("worker-2"))).await.unwrap();
}

#[tokio::test]
async fn a_server_certificate_that_is_replaced_on_disk_is_used_by_new_connections_and_old_ones_go_on()
 {
    let house = House::new();
    let running = house.run(CONFIG);
    let mut old = running.connect(house.connector(None)).await.unwrap();

    house.issue("server", &server("cache.example"));
    let before = running.connect(house.connector(None)).await.unwrap();
    assert_eq!(before.server_certificate(), old.server_certificate(), "nobody has looked yet");
    running.refresh();
    let new = running.connect(house.connector(None)).await.unwrap();
    assert_ne!(new.server_certificate(), old.server_certificate());
    let on_disk = CertificateDer::from_pem_file(house.path("server.pem")).unwrap();
    assert_eq!(new.server_certificate(), on_disk);
    old.still_works().await;
}

#[tokio::test]
async fn certificates_that_make_no_sense_on_disk_leave_those_in_use_alone() {
    let house = House::new();
    let running = house.run(CONFIG);
    let old = running.connect(house.connector(None)).await.unwrap().server_certificate();
    let good = std::fs::read(house.path("server.pem")).unwrap();

    // As it is when the certificate was replaced, and its key not yet.
    std::fs::rename(house.path("server.key"), house.path("old.key")).unwrap();
    house.issue("server", &server("cache.example"));
    std::fs::rename(house.path("old.key"), house.path("server.key")).unwrap();
    for wrong in [None, Some(""), Some("-----BEGIN CERTIFICATE-----\nAAAA\n")] {
        if let Some(text) = wrong {
            std::fs::write(house.path("server.pem"), text).unwrap();
        }
        running.refresh();
        let now = running.connect(house.connector(None)).await.unwrap().server_certificate();
        assert_eq!(now, old);
    }
    std::fs::remove_file(house.path("server.pem")).unwrap();
    running.refresh();
    std::fs::write(house.path("server.pem"), good).unwrap();
    running.refresh();
    running.connect(house.connector(None)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_finish_his_handshake_is_given_up() {
    let house = House::new();
    let running = house.run(CONFIG);
    let (_silent, far) = tokio::io::duplex(64);
    let from = PeerAddress::Unix;
    assert!(matches!(running.tls.accept(far, from).await, Err(HandshakeError::Slow)));
}

/// Makes an authority that knows nothing of us, and a certificate by it for a client who asked for all names that he could think of.
fn foreign(folder: &Path) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Corporate CA");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let own = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "laptop-7");
    params.distinguished_name.push(DnType::OrganizationalUnitName, "builders");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let uri = "bld:client?namespace=trusted&rights=read,administer";
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    let key = KeyPair::generate().unwrap();
    let signed = params.signed_by(&key, &issuer).unwrap();
    std::fs::write(folder.join("corporate.pem"), own.pem()).unwrap();
    std::fs::write(folder.join("laptop.pem"), signed.pem()).unwrap();
    std::fs::write(folder.join("laptop.key"), key.serialize_pem()).unwrap();
}

#[tokio::test]
async fn what_a_foreign_authority_signs_is_worth_what_the_rules_say() {
    let house = House::new();
    foreign(house.folder.path());
    let config = |unit: &str| {
        format!(
            "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\nclient_authority = \"corporate.pem\"\n\
             [[identity.certificate]]\nclaims = {{ organizational_unit = \"{unit}\", common_name = \"*\" }}\n\
             namespace = \"branch/{{common_name}}\"\nrights = [\"read\", \"write-blobs\"]\n"
        )
    };
    let running = house.run(&config("builders"));
    let connection = running.connect(house.connector(Some("laptop"))).await.unwrap();
    let who = running.identify(&connection).unwrap();
    assert_eq!(who, "certificate:laptop-7 read,write-blobs branch/laptop-7 trusted");

    let running = house.run(&config("testers"));
    let connection = running.connect(house.connector(Some("laptop"))).await.unwrap();
    assert_eq!(running.identify(&connection), refused(CertificateError::NoRule));
}

#[test]
fn what_is_issued_says_what_it_is_for_and_nothing_more() {
    let house = House::new();
    house.issue("worker-1", &client("read", "trusted"));
    let read = |path: PathBuf| std::fs::read(path).unwrap();
    let der = |bytes: &[u8]| CertificateDer::from_pem_slice(bytes).unwrap();
    let (authority, server, client) = (
        der(&read(house.authority.certificate())),
        der(&read(house.path("server.pem"))),
        der(&read(house.path("worker-1.pem"))),
    );
    let (_, authority) = X509Certificate::from_der(&authority).unwrap();
    assert!(authority.is_ca());
    let usage = authority.key_usage().unwrap().unwrap().value;
    assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
    for (der, is_server) in [(&server, true), (&client, false)] {
        let (_, leaf) = X509Certificate::from_der(der).unwrap();
        assert_eq!(leaf.issuer().as_raw(), authority.subject().as_raw());
        assert_ne!(leaf.subject().as_raw(), authority.subject().as_raw());
        assert_ne!(leaf.raw_serial(), authority.raw_serial());
        assert!(!leaf.is_ca());
        let purposes = leaf.extended_key_usage().unwrap().unwrap().value;
        assert_eq!((purposes.server_auth, purposes.client_auth), (is_server, !is_server));
        leaf.verify_signature(Some(authority.public_key())).unwrap();
        assert!(leaf.validity().time_to_expiration().unwrap().whole_hours() < 25);
    }
    for (path, mode) in
        [("ca/ca.key", 0o600), ("server.key", 0o600), ("ca/ca.pem", 0o644), ("server.pem", 0o644)]
    {
        let permissions = house.path(path).metadata().unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, mode, "{path}");
    }
}

#[test]
fn an_authority_remembers_what_it_issued_until_that_ends() {
    let house = House::new();
    house.issue("worker-1", &client("read", "pr/17"));
    house.issue("worker-1", &client("read", "pr/17"));
    let listed = || house.authority.list().unwrap();
    let names: Vec<_> = listed().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["server", "worker-1", "worker-1"]);
    assert_eq!(listed()[1].namespace.as_deref(), Some("pr/17"));
    assert_eq!(listed()[0].addresses, ["cache.example", "127.0.0.1"]);

    let serial = listed()[1].serial.clone();
    let now = SystemTime::now();
    assert_eq!(house.authority.revoke(&serial, now).unwrap(), [serial]);
    assert_eq!(house.authority.revoke("worker-1", now).unwrap().len(), 1);
    let nobody = house.authority.revoke("worker-1", now).unwrap_err();
    assert!(matches!(nobody, AuthorityError::NoSuchCertificate(_)));
    assert_eq!(listed().iter().filter(|it| it.revoked.is_some()).count(), 2);

    let later = now + days(3);
    house.issue_at("worker-2", &client("read", "trusted"), later);
    let names: Vec<_> = listed().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["worker-2"]);
}

#[test]
fn an_authority_does_not_do_what_would_be_regretted() {
    let house = House::new();
    let (now, folder) = (SystemTime::now(), house.folder.path());
    let issue = |name: &str, role: &Role, lifetime| {
        house.authority.issue(name, role, now, lifetime, folder).unwrap_err()
    };
    let again = house.authority.init(now, days(10)).unwrap_err();
    assert!(matches!(again, AuthorityError::Taken(_)));
    let client = client("read", "trusted");
    assert!(matches!(issue("ca", &client, DAY), AuthorityError::Reserved));
    for name in ["", "../x", "a/b", "-x", ".x", "bld authority 00000000"] {
        assert!(matches!(issue(name, &client, DAY), AuthorityError::Name(_)), "{name}");
    }
    assert!(matches!(issue("x", &client, Duration::ZERO), AuthorityError::Lifetime { .. }));
    assert!(matches!(issue("x", &client, days(400)), AuthorityError::Lifetime { .. }));
    let nowhere = Role::Server { names: Vec::new(), addresses: Vec::new() };
    assert!(matches!(issue("x", &nowhere, DAY), AuthorityError::Addressless));
    for name in ["", "x y", "*", "*.*.example", "127.0.0.1", "a..b", &"a".repeat(300)] {
        let error = issue("x", &server(name), DAY);
        assert!(matches!(error, AuthorityError::ServerName { .. }), "{name}: {error}");
    }
    house.issue("wild", &server("*.cache.example"));
    let missing = Authority::new(&house.path("elsewhere"));
    assert!(matches!(missing.list(), Err(AuthorityError::Missing(_))));

    let short = Authority::new(&house.path("short"));
    short.init(now, DAY).unwrap();
    let outlives = short.issue("x", &client, now, days(2), folder).unwrap_err();
    assert!(matches!(outlives, AuthorityError::Outlives { .. }));

    // What another key signed would be believed by nobody.
    std::fs::copy(house.authority.key(), short.key()).unwrap();
    let other = short.issue("x", &client, now, DAY / 2, folder).unwrap_err();
    assert!(matches!(other, AuthorityError::OtherKey { .. }) && other.is_mistake(), "{other}");
    std::fs::write(short.key(), "no key").unwrap();
    let none = short.issue("x", &client, now, DAY / 2, folder).unwrap_err();
    assert!(none.to_string().contains("ca.key"), "{none}");
}

/// How many changes of files are tried, if `BLD_FUZZ_CASES` does not say.
const CHANGES: u64 = 300;

/// Returns text of PEM in which something else stands.
fn change_pem(good: &str, fuzz: &mut Mutator) -> String {
    let lines: Vec<&str> = good.lines().collect();
    let [begin, inside @ .., end] = &lines[..] else { panic!("this is no PEM: {good}") };
    let inside = STANDARD.decode(inside.concat()).unwrap();
    format!("{begin}\n{}\n{end}\n", STANDARD.encode(fuzz.bytes(&inside)))
}

#[tokio::test]
async fn no_file_of_certificates_makes_the_server_stumble_and_good_ones_are_taken_again() {
    let seed = Seed::new();
    let mut fuzz = seed.mutator();
    let house = House::new();
    house.issue("worker-1", &client("read", "trusted"));
    house.authority.revoke("server", SystemTime::now()).unwrap();
    let running = house.run(CONFIG);
    let names = ["server.pem", "server.key", "ca/ca.pem", "ca/ca.crl"];
    let good = names.map(|name| std::fs::read_to_string(house.path(name)).unwrap());
    let connector = house.connector(Some("worker-1"));
    for case in 0..cases(CHANGES) {
        let at = fuzz.below(names.len());
        let in_der = fuzz.below(2) == 0;
        let changed = if in_der { change_pem(&good[at], &mut fuzz) } else { fuzz.text(&good[at]) };
        std::fs::write(house.path(names[at]), changed).unwrap();
        running.refresh();
        // What was taken of it is used, whether or not anybody can connect by it.
        let (near, far) = tokio::io::duplex(1 << 16);
        let asking = connector.connect(ServerName::try_from("cache.example").unwrap(), near);
        let from = PeerAddress::Tcp(([10, 0, 0, 7], 1).into());
        drop(tokio::join!(asking, running.tls.accept(far, from)));
        std::fs::write(house.path(names[at]), &good[at]).unwrap();
        running.refresh();
        if case % 20 == 19 {
            let connection = running.connect(connector.clone()).await.unwrap();
            running.identify(&connection).unwrap();
        }
    }
}

proptest! {
    #[test]
    fn no_certificate_makes_the_server_stumble(at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        static GENUINE: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let house = House::new();
            house.issue("worker-1", &client("read", "trusted"));
            CertificateDer::from_pem_file(house.path("worker-1.pem")).unwrap().to_vec()
        });
        let mut der = GENUINE.clone();
        let at = at.index(der.len());
        if cut {
            der.truncate(at);
        } else {
            der[at] = byte;
        }
        let read = PeerCertificate::parse(&CertificateDer::from(der));
        prop_assert!(!cut || read.is_err());
    }
}

//! What a client is answered before any service sees its request, and who gets through.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cas_server::{Config, Drain, Drained, Elsewhere, Peer, PeerAddress, Server, Unauthenticated};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use testkit::{MemoryStore, Seed, cases};
use tokio::task::JoinHandle;

use crate::asking::{CLOSED, House, bearing, grant, request, request_from};
use crate::http::client::Client;

const OPEN: &str = "[listen]\ntcp = [\"0.0.0.0:0\"]\n[identity]\nallow_unauthenticated_beyond_loopback = true\n\
                    [identity.anonymous]\nrights = [\"read\"]\n";

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn elsewhere(refusal: Elsewhere) -> Unauthenticated {
    Unauthenticated::NotFromHere(refusal)
}

/// How many changes of what is shown are tried, if `BLD_FUZZ_CASES` does not say.
const AUTHORIZATIONS: u64 = 2_000;

/// A closed house that serves over the network.
struct Serving {
    address: SocketAddr,
    drain: Drain,
    task: JoinHandle<Drained>,
}

impl Serving {
    async fn begin(house: &House) -> Self {
        let text = format!("[listen]\ntcp = [\"127.0.0.1:0\"]\n{CLOSED}");
        let config = Config::parse(&text, &house.path("bld-server.toml"), Some(&house.path("")));
        let (drain, cellar) = (Drain::new(), Arc::new(MemoryStore::new()));
        let server = Server::open(&config.unwrap(), cellar, drain.clone()).await.unwrap();
        Self { address: server.addresses()[0], drain, task: tokio::spawn(server.serve()) }
    }

    async fn end(self) {
        self.drain.begin();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn a_service_is_told_who_calls() {
    let house = House::new("");
    let secret = house.token("ci", grant("read", "trusted", &[]));
    assert_eq!(text(house.ask(bearing(&secret)).await).await, "token:ci");
    assert_eq!(text(house.ask(request(&[])).await).await, "anonymous");
}

#[tokio::test]
async fn over_http_a_refusal_is_401_and_says_what_to_send() {
    let house = House::new(CLOSED);
    let challenges = |response: &Response<Body>| -> Vec<_> {
        let all = response.headers().get_all("www-authenticate").iter();
        all.map(|it| it.to_str().unwrap().to_owned()).collect()
    };

    let nothing = house.ask(request(&[])).await;
    assert_eq!(nothing.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(challenges(&nothing), ["Bearer realm=\"bld\"", "Basic realm=\"bld\""]);

    let wrong = house.ask(request(&[("authorization", "Bearer hunter2")])).await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    let with_error = "Bearer realm=\"bld\", error=\"invalid_token\"";
    assert_eq!(challenges(&wrong), [with_error, "Basic realm=\"bld\""]);
    assert_eq!(text(wrong).await, "this token is not known here, or was revoked\n");
}

#[tokio::test]
async fn whoever_is_still_sending_hears_that_he_is_refused_and_may_say_who_he_is() {
    let house = House::new(CLOSED);
    let secret = house.token("ci", grant("read,write-blobs,write-values", "trusted", &[]));
    let serving = Serving::begin(&house).await;

    let mut client = Client::connect(serving.address).await;
    // More than is under way in all buffers together.
    let body = vec![7; 3 << 20];
    let nameless = client.put("/gradle/key", &body).await;
    assert_eq!(nameless.status, 401);
    let named = format!("Bearer {}", secret.reveal());
    let named = [("authorization", named.as_str())];
    assert_eq!(client.ask("PUT", "/gradle/key", &named, Some(&body)).await.status, 201);

    drop(client);
    serving.end().await;
}

#[tokio::test]
async fn no_authorization_makes_the_server_stumble_or_lets_somebody_in() {
    let seed = Seed::new();
    let mut fuzz = seed.mutator();
    let house = House::new(CLOSED);
    house.token("ci", grant("read", "trusted", &[]));
    let stranger = House::new(CLOSED).token("ci", grant("read", "trusted", &[]));
    let stranger = stranger.reveal();
    let shown = [
        format!("Bearer {stranger}"),
        format!("Basic {}", STANDARD.encode(format!("user:{stranger}"))),
        format!("Basic {}", STANDARD.encode(format!("{stranger}:"))),
    ];
    for case in 0..cases(AUTHORIZATIONS) {
        let shown = fuzz.pick(&shown);
        let changed = fuzz.bytes(shown.as_bytes());
        let Ok(changed) = HeaderValue::from_bytes(&changed) else { continue };
        let mut request = request(&[]);
        request.headers_mut().insert(AUTHORIZATION, changed.clone());
        if fuzz.below(8) == 0 {
            request.headers_mut().append(AUTHORIZATION, changed);
        }
        let is_grpc = fuzz.below(2) == 0;
        if is_grpc {
            let kind = HeaderValue::from_static("application/grpc");
            request.headers_mut().insert(CONTENT_TYPE, kind);
        }
        let refused = house.ask(request).await;
        if is_grpc {
            assert_eq!(refused.headers()["grpc-status"], "16", "case {case}");
        } else {
            assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "case {case}");
        }
    }
}

#[tokio::test]
async fn over_grpc_a_refusal_is_unauthenticated_in_trailers_only() {
    let house = House::new(CLOSED);
    for kind in ["application/grpc", "application/grpc+proto"] {
        let wrong = [("authorization", "Bearer hunter2"), ("content-type", kind)];
        let response = house.ask(request(&wrong)).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "16");
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert!(response.headers().contains_key("grpc-message"));
        assert_eq!(text(response).await, "");
    }
}

#[tokio::test]
async fn whoever_looks_whether_the_server_lives_need_not_say_who_he_is() {
    let house = House::new(CLOSED);
    let serving = Serving::begin(&house).await;

    let mut client = Client::connect(serving.address).await;
    assert_eq!(client.get("/healthz").await.status, 200);
    let wrong = [("authorization", "Bearer hunter2")];
    assert_eq!(client.ask("GET", "/readyz", &wrong, None).await.status, 200);
    let grpc = [("content-type", "application/grpc")];
    let said = client.ask("GET", "/grpc.health.v1.Healthy/Check", &grpc, None).await;
    assert_eq!(said.header("grpc-status"), Some("16"));
    for closed in ["/healthz/", "/", "/readyz2", "/status", "/metrics"] {
        assert_eq!(client.get(closed).await.status, 401, "{closed}");
    }

    drop(client);
    serving.end().await;
}

#[test]
fn a_server_that_others_reach_lets_nobody_in_until_somebody_can_say_who_he_is() {
    let house = House::new("[listen]\ntcp = [\"[::]:0\"]\n");
    for address in ["127.0.0.1:1", "10.0.0.7:1"] {
        let refusal = house.identify(&request_from(address, &[])).unwrap_err();
        assert_eq!(refusal, Unauthenticated::Nothing);
        let shown = request_from(address, &[("authorization", "Bearer x")]);
        assert_eq!(house.identify(&shown).unwrap_err(), Unauthenticated::UnknownToken);
    }
    let secret = house.token("ci", grant("read", "trusted", &[]));
    house.identify(&bearing(&secret)).unwrap();
}

#[test]
fn only_this_machine_calls_without_a_name() {
    let house = House::new("");
    for here in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        house.identify(&request_from(here, &[])).unwrap();
    }
    for other in ["10.0.0.7:1", "[fe80::1]:1", "0.0.0.0:1"] {
        let refusal = house.identify(&request_from(other, &[])).unwrap_err();
        assert_eq!(refusal, elsewhere(Elsewhere::Address));
    }
    let mut unknown = request(&[]);
    unknown.extensions_mut().remove::<Peer>();
    assert_eq!(house.identify(&unknown).unwrap_err(), elsewhere(Elsewhere::Address));
    let mut socket = request(&[("host", "anything")]);
    socket.extensions_mut().insert(Peer::new(PeerAddress::Unix));
    house.identify(&socket).unwrap();
}

#[test]
fn where_nobody_could_say_who_he_is_it_does_not_matter_what_he_says() {
    let shown = [("authorization", "Bearer whatever-turborepo-sends")];
    let house = House::new("");
    assert!(house.identify(&request(&shown)).unwrap().is_anonymous());
    house.identify(&request_from("10.0.0.7:1", &shown)).unwrap_err();

    house.token("ci", grant("read", "trusted", &[]));
    assert_eq!(house.identify(&request(&shown)).unwrap_err(), Unauthenticated::UnknownToken);
}

#[test]
fn what_a_proxy_passes_on_is_not_from_this_machine() {
    let house = House::new("");
    for header in ["forwarded", "x-forwarded-for", "x-real-ip"] {
        let refusal = house.identify(&request(&[(header, "127.0.0.1")])).unwrap_err();
        assert_eq!(refusal, elsewhere(Elsewhere::Proxy));
    }
}

#[test]
fn a_page_whose_name_leads_to_this_machine_gets_nothing() {
    let house = House::new("");
    for host in ["localhost", "LOCALHOST:8980", "cache.localhost:1", "127.0.0.1", "[::1]:8980"] {
        house.identify(&request(&[("host", host)])).unwrap();
    }
    for host in [
        "evil.example",
        "evil.example:8980",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
    ] {
        let refusal = house.identify(&request(&[("host", host)])).unwrap_err();
        assert_eq!(refusal, elsewhere(Elsewhere::Name), "{host}");
    }
    // Over HTTP/2 the name stands in the request's target.
    let mut request = request(&[("host", "localhost")]);
    *request.uri_mut() = "http://evil.example:8980/cas/00".parse().unwrap();
    assert_eq!(house.identify(&request).unwrap_err(), elsewhere(Elsewhere::Name));
}

#[test]
fn where_it_was_said_in_words_everybody_calls_without_a_name() {
    let house = House::new(OPEN);
    let far =
        request_from("10.0.0.7:1", &[("host", "cache.example"), ("x-forwarded-for", "1.2.3.4")]);
    let caller = house.identify(&far).unwrap();
    assert!(caller.is_anonymous());
    assert_eq!(caller.rights.to_string(), "read");
}

/// What was logged so far.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Keeps `tracing` from asking the wrong thread: while there is just one subscriber, whatever thread comes to a line first
/// decides by its own whether anybody ever hears of that line.
static ANOTHER: LazyLock<tracing::Dispatch> =
    LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_line_of_the_log_and_no_answer_holds_what_was_shown(secret in "[A-Za-z0-9_.-]{12,80}", scheme in 0..3) {
        LazyLock::force(&ANOTHER);
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answer = tracing::subscriber::with_default(subscriber, || {
            let house = House::new(CLOSED);
            let token = house.token("ci", grant("read", "trusted", &[]));
            let wrong = match scheme {
                0 => format!("Bearer {secret}"),
                1 => format!("Basic {}", STANDARD.encode(format!("user:{secret}"))),
                _ => format!("{secret} {secret}"),
            };
            house.write("tokens.toml", &format!("[[token]]\n{secret} = \"{}\"\n", token.reveal()));
            house.refresh();
            runtime.block_on(async {
                let refused = house.ask(request(&[("authorization", &wrong)])).await;
                let head = format!("{:?}", refused.headers());
                let answer = head + &text(refused).await;
                answer + token.reveal() + &text(house.ask(bearing(&token)).await).await
            })
        });
        let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        prop_assert!(logged.contains("turned away") && logged.contains("makes no sense"), "{}", logged);
        let (refused, token) = answer.split_once("bld_").unwrap();
        let (token, accepted) = token.split_once("token:ci").unwrap();
        prop_assert_eq!(accepted, "");
        prop_assert!(!logged.contains(token), "{}", logged);
        prop_assert!(!refused.contains(&secret), "{}", refused);
        let shown = logged.lines().filter(|line| line.contains("turned away"));
        prop_assert!(shown.clone().all(|line| !line.contains(&secret)));
    }
}

//! How a server ends, as its clients see it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cas_server::{Drain, Drained, Phase};
use h2::client::SendRequest;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How much fits into a connection between server and client: more than any test says.
const PIPE_BYTES: usize = 1 << 16;

/// Longer than any of this takes.
const LONG: Duration = Duration::from_secs(60);

/// A server that answers when it is told to, and a client of it.
struct Scene {
    drain: Drain,
    asked: Arc<Notify>,
    answer: Arc<Notify>,
    client: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Scene {
    async fn new() -> Self {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let drain = Drain::new();
        drain.serving();
        let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let notices = (Arc::clone(&asked), Arc::clone(&answer));
        let service = hyper::service::service_fn(move |_: Request<Incoming>| {
            let (asked, answer) = notices.clone();
            async move {
                asked.notify_one();
                answer.notified().await;
                Ok::<_, std::convert::Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let serving = drain.clone();
        tokio::spawn(async move {
            let builder = Builder::new(TokioExecutor::new());
            serving.serve(builder.serve_connection(TokioIo::new(far), service)).await
        });
        let (client, connection) = h2::client::handshake(near).await.unwrap();
        let connection = tokio::spawn(connection);
        Self { drain, asked, answer, client, connection }
    }

    /// Sends a request and waits until the server has it.
    async fn ask(&mut self) -> h2::client::ResponseFuture {
        let request = Request::get("http://server/").body(()).unwrap();
        let mut client = self.client.clone().ready().await.unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        self.asked.notified().await;
        answer
    }
}

#[tokio::test]
async fn what_is_under_way_is_finished_and_its_client_told_to_send_no_more() {
    let mut scene = Scene::new().await;
    let answer = scene.ask().await;
    assert_eq!(scene.drain.phase(), Phase::Serving);

    scene.drain.begin();
    assert_eq!(scene.drain.phase(), Phase::Draining);
    let waiting = tokio::spawn({
        let drain = scene.drain.clone();
        async move { drain.wait(LONG).await }
    });
    // The client hears GOAWAY: nothing new can be sent, though the answer is still to come.
    let mut client = scene.client.clone();
    let refused = loop {
        match client.ready().await {
            Ok(ready) => client = ready,
            Err(error) => break error,
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(refused.reason(), Some(h2::Reason::NO_ERROR));
    assert!(!waiting.is_finished());

    scene.answer.notify_one();
    assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
    assert_eq!(waiting.await.unwrap(), Drained::Finished);
    drop(scene.client);
    scene.connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_not_finished_in_time_is_cut_off() {
    let mut scene = Scene::new().await;
    let answer = scene.ask().await;
    scene.drain.begin();
    assert_eq!(scene.drain.wait(Duration::ZERO).await, Drained::Cut(1));
    answer.await.unwrap_err();
}

#[tokio::test]
async fn a_connection_on_which_nothing_happens_holds_nobody_up() {
    let mut scene = Scene::new().await;
    let answer = scene.ask().await;
    scene.answer.notify_one();
    answer.await.unwrap();
    scene.drain.begin();
    assert_eq!(scene.drain.wait(LONG).await, Drained::Finished);
    drop(scene.client);
    scene.connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn work_that_is_no_connection_is_waited_for_too() {
    let drain = Drain::new();
    let held = drain.hold();
    let working = tokio::spawn({
        let drain = drain.clone();
        async move {
            drain.cut().await;
            drop(held);
        }
    });
    drain.begin();
    assert_eq!(drain.wait(Duration::ZERO).await, Drained::Cut(1));
    working.await.unwrap();
    assert_eq!(drain.wait(LONG).await, Drained::Finished);
}

#[tokio::test]
async fn nobody_waits_for_an_end_that_has_not_begun() {
    let drain = Drain::new();
    let waited = tokio::time::timeout(Duration::ZERO, drain.wait(Duration::ZERO)).await;
    waited.unwrap_err();
}
